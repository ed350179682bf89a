// Late records and dead letters: a table, one of them in full, and bringing them back. Every redrive is shown before it is done.
import { ask, Refused, send } from "./ask.js";
import { drawTable, el } from "./elements.js";
import { clock, number } from "./format.js";
import { showSession } from "./session.js";

const PAGE = 50;
/** Letters kept in the table; the filter finds others. */
const ROWS_MAX = 1_000;
const ITEMS_SHOWN = 200;
const HEX_SHOWN = 2_048;

const byId = (id) => document.getElementById(id);

let letters = [];
let next = null;
/** The letter shown in full, its JSON as it was shown, and whether it decoded. */
let detail = null;
/** What the last dry run was asked, with its report; redriving asks the same. */
let planned = null;
/** A newer question makes an older answer worthless. */
let asked = 0;

function post(body) {
  return send("POST", "/v1/letters/redrive", body);
}

/** Runs what a person asked for, with what went wrong shown above. */
async function doing(button, work) {
  notice(null);
  if (button) button.disabled = true;
  try {
    await work();
  } catch (error) {
    if (!(error instanceof Refused)) throw error;
    notice(error.message);
  } finally {
    if (button) button.disabled = false;
  }
}

function notice(text) {
  byId("notice").hidden = text === null;
  byId("notice").textContent = text ?? "";
}

// The table

function filter() {
  const fields = [...new FormData(byId("filter"))].map(([name, value]) => [name, value.trim()]);
  return Object.fromEntries(fields.filter(([, value]) => value !== ""));
}

/** The same for a body, where numbers are numbers. */
function filterBody() {
  const { redriven, schemaId, partition, ...texts } = filter();
  return {
    ...texts,
    ...(redriven === undefined ? {} : { redriven: redriven === "true" }),
    ...(schemaId === undefined ? {} : { schemaId: Number(schemaId) }),
    ...(partition === undefined ? {} : { partition: Number(partition) }),
  };
}

async function load(cursor = null) {
  const mine = ++asked;
  if (cursor === null) {
    letters = [];
    next = null;
    detail = null;
    planned = null;
  }
  byId("list-note").textContent = "Reading.";
  const query = new URLSearchParams({ ...filter(), limit: String(PAGE), ...(cursor ? { cursor } : {}) });
  try {
    const page = await ask(`/v1/letters?${query}`);
    if (mine !== asked || !page) return;
    letters = [...letters, ...page.letters].slice(0, ROWS_MAX);
    next = letters.length < ROWS_MAX ? page.next : null;
  } finally {
    if (mine === asked) draw();
  }
}

const at = ({ kind, topic, partition, offset }) => `${kind}/${topic}/${partition}/${offset}`;

function draw() {
  const full = letters.length >= ROWS_MAX;
  byId("list-note").textContent = letters.length === 0
    ? next === null ? "None match." : "None among those looked at so far."
    : `${number(letters.length)} shown${full ? "; the filter finds others" : next === null ? ", all that match" : ""}.`;
  byId("more").hidden = next === null;
  byId("dry-run").hidden = letters.length === 0 && next === null;
  const table = byId("letters");
  drawTable(table, {
    caption: "Letters",
    head: [
      ["letter", false],
      ["time", false],
      ["pipeline", false],
      ["record", false],
      ["key", false],
      ["cause", false],
      ["bytes", true],
      ["redriven", true],
    ],
    rows: letters.map((letter) => [
      "",
      clock(letter.timestamp),
      letter.pipeline ?? "–",
      letter.source ? `${letter.topic} ${letter.source.partition}/${letter.originalOffset}` : "–",
      letter.key?.start ?? "–",
      letter.cause,
      number(letter.valueBytes),
      letter.redriven ? "yes" : letter.attempt > 0 ? `${letter.attempt} times before` : "no",
    ]),
  });
  letters.forEach((letter, i) => {
    const row = table.tBodies[0].rows[i];
    row.setAttribute("aria-selected", String(detail !== null && at(detail) === at(letter)));
    row.cells[5].classList.add("cause");
    const button = el("button", { type: "button" }, `${letter.kind} ${letter.partition}/${letter.offset}`);
    row.cells[0].replaceChildren(button);
    row.onclick = () => doing(null, () => open(letter));
  });
  byId("detail").hidden = detail === null;
  drawPlan();
}

// One letter

async function open(letter) {
  const found = await ask(`/v1/letters/${at(letter).split("/").map(encodeURIComponent).join("/")}`);
  if (!found) return;
  detail = { ...found, json: found.value === null ? "" : JSON.stringify(found.decoded, null, 2) };
  planned = null;
  drawDetail();
  draw();
  byId("detail").scrollIntoView({ block: "nearest" });
  byId("detail-title").focus({ preventScroll: true });
}

function drawDetail() {
  const { kind, topic, partition, offset, window, source } = detail;
  byId("detail-title").textContent = `${
    kind === "late" ? "Late record" : "Dead letter"
  } ${partition}/${offset} of ${topic}`;
  const facts = [
    ["Cause", detail.cause || "not told", true],
    ["Pipeline", detail.pipeline ?? "not told"],
    ["Record", source ? `partition ${source.partition}, offset ${source.offset}` : "not told"],
    ...(source && source.offset !== detail.originalOffset
      ? [["First original", `partition ${source.partition}, offset ${detail.originalOffset}`]]
      : []),
    ["Its timestamp", detail.timestamp ?? "none"],
    ["Window", window ? `${window.start} to ${window.end}` : detail.windowStart ?? "not known"],
    ["Schema", detail.schemaId === null ? "not told" : `id ${detail.schemaId}`],
    ["Redriven", `${detail.attempts} of 3 times${detail.redriven ? "" : detail.attempts > 0 ? ", and came back" : ""}`],
    ["Key", detail.keyBytes === null ? "none" : detail.keyBytes.text ?? `hex ${detail.keyBytes.hex}`, true],
  ];
  byId("facts").replaceChildren(
    ...facts.map(([name, value, wide]) =>
      el("div", wide ? { class: "wide" } : {}, el("dt", {}, name), el("dd", {}, String(value)))
    ),
  );
  byId("decoded").value = detail.json;
  byId("fault").textContent = detail.fault === null ? "" : `It decodes no further: ${detail.fault}`;
  const bytes = detail.value;
  byId("hex").textContent = bytes === null ? "no value" : [
    `${number(bytes.bytes)} bytes`,
    ...(bytes.hex.slice(0, 2 * HEX_SHOWN).match(/.{1,32}/g) ?? []).map((line) => line.replace(/(..)/g, "$1 ").trim()),
    ...(bytes.bytes > HEX_SHOWN ? ["..."] : []),
  ].join("\n");
  drawTable(byId("headers"), {
    caption: "Headers of the record",
    head: [["name", false], ["value", false]],
    rows: detail.headers.map(({ name, value }) => [name, value === null ? "null" : value.text ?? `hex ${value.hex}`]),
    empty: "None.",
  });
}

/** The changed value, or nothing when it is as it was. @throws Refused when it is not JSON */
function edit() {
  const text = byId("decoded").value;
  if (text === detail.json) return {};
  try {
    return { edit: { value: JSON.parse(text), schema: detail.schemaId === null ? "newest" : "letter" } };
  } catch (error) {
    throw new Refused(`The changed value is not JSON: ${error.message}`);
  }
}

// Redriving

async function plan(request) {
  const report = await post({ ...request, dryRun: true });
  if (!report) return;
  planned = { request, report, done: false };
  drawPlan();
  byId("redrive").scrollIntoView({ block: "nearest" });
  byId("redrive-title").focus({ preventScroll: true });
}

function bounds() {
  const [cap, rate] = [byId("cap").value, byId("rate").value].map(Number);
  if (!(Number.isInteger(cap) && cap >= 1)) throw new Refused("At most how many records? Give a whole number.");
  if (!(rate > 0)) throw new Refused("How many records a second? Give a number.");
  return { cap: Math.min(cap, 10_000), rate };
}

async function go() {
  const { request } = planned;
  const report = await post({ ...request, ...bounds(), dryRun: false });
  if (!report) return;
  planned = { request, report, done: true };
  drawPlan();
  // What was redriven is no longer among those that were not.
  const shown = planned;
  await load();
  planned = shown;
  draw();
}

function outcome({ outcome, reason, forecast }, done) {
  if (outcome !== "redriven") return `${outcome}: ${reason}`;
  if (done) return "redriven";
  if (forecast?.fate === "aggregated") return `would count in the window from ${forecast.window.start}`;
  return `would be ${forecast?.fate === "dead" ? "a dead letter again" : "filtered"}: ${forecast?.reason}`;
}

function drawPlan() {
  byId("redrive").hidden = planned === null;
  if (planned === null) return;
  const { report, done } = planned;
  const { redriven, skipped, refused, items } = report;
  byId("redrive-title").textContent = done ? "Redriven" : "What redriving does";
  byId("report").textContent = [
    `${number(redriven)} ${done ? "redriven" : "would be redriven"}, ${number(skipped)} skipped, ${
      number(refused)
    } refused.`,
    report.next === null ? "" : done ? "More are left: ask again." : "These are the oldest; more are left.",
    items.length > ITEMS_SHOWN ? `The first ${ITEMS_SHOWN} are below.` : "",
  ].filter(Boolean).join(" ");
  byId("go").disabled = done || redriven === 0;
  byId("go").textContent = `Redrive ${done ? "" : number(redriven)}`.trim();
  const table = byId("items");
  drawTable(table, {
    caption: "What redriving does, letter by letter",
    head: [["letter", false], ["goes to", false], ["attempt", true], ["what happens", false]],
    rows: items.slice(0, ITEMS_SHOWN).map((item) => [
      `${item.letter.kind} ${item.letter.partition}/${item.letter.offset}`,
      item.target ? `${item.target.topic}, partition ${item.target.partition}` : "–",
      item.target ? String(item.target.attempt) : "–",
      outcome(item, done),
    ]),
    empty: "No letter is left.",
  });
  if (items.length > 0) { for (const row of table.tBodies[0].rows) row.cells[3].classList.add("cause"); }
}

// Asking

byId("filter").addEventListener("submit", (event) => {
  event.preventDefault();
  doing(event.submitter, () => load());
});
byId("more").addEventListener("click", (event) => doing(event.target, () => load(next)));
byId("dry-run").addEventListener(
  "click",
  (event) => doing(event.target, () => plan({ selection: { filter: filterBody() }, ...bounds() })),
);
byId("detail-dry-run").addEventListener("click", (event) =>
  doing(event.target, () => {
    const { kind, topic, partition, offset } = detail;
    return plan({ selection: { letters: [{ kind, topic, partition, offset }] }, ...edit() });
  }));
// Another value than the one that was looked at is not redriven unseen.
byId("decoded").addEventListener("input", () => {
  planned = null;
  drawPlan();
});
byId("go").addEventListener("click", (event) => doing(event.target, go).then(drawPlan));

async function pipelines() {
  const body = await ask("/v1/pipelines").catch(() => null);
  const names = (body?.pipelines ?? []).map(({ name }) => name);
  byId("filter").elements.pipeline.append(...names.map((name) => el("option", { value: name }, name)));
}

showSession();
pipelines();
doing(null, () => load());
