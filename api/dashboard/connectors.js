// Sources and deliveries: what each does, one of them in full with what it rejected, and stopping, starting and slowing them.
import { ask, Refused, send } from "./ask.js";
import { STATES, summary, summaryNodes } from "./connector_words.js";
import { drawTable, el } from "./elements.js";
import { bytes, clock, number, span } from "./format.js";
import { showSession } from "./session.js";

const REFRESH_MS = 2_000;
const REJECTED_SHOWN = 20;
/** Characters of a value on its one line; all of it is shown below when it is opened. */
const LINE_MAX = 120;

const byId = (id) => document.getElementById(id);

let connectors = [];
/** The name of the one shown in full. */
let shown = decodeURIComponent(location.hash.slice(1)) || null;
/** Of which one, and at how many rejected, the table of rejected records is. */
let rejectedOf = "";
/** Told to stop or start, and not there yet. */
const turning = new Set();
/** What is wrong: with reading the figures, and with what a person asked for last. */
const problems = { reading: null, asked: null };

function problem(kind, text) {
  problems[kind] = text;
  const words = [problems.asked, problems.reading].filter(Boolean).join(" ");
  byId("notice").hidden = words === "";
  if (byId("notice").textContent !== words) byId("notice").textContent = words;
}

/** Runs what time or a person asked for, with what went wrong shown above. */
async function doing(kind, work) {
  if (kind === "asked") problem("asked", null);
  try {
    await work();
    problem(kind, null);
  } catch (error) {
    if (!(error instanceof Refused)) throw error;
    problem(kind, error.message);
  }
}

const pathOf = (name) => `/v1/connectors/${encodeURIComponent(name)}`;

async function load() {
  const told = await ask("/v1/connectors");
  if (!told) return;
  connectors = told.connectors;
  draw();
  await loadRejected();
}

// Tables

const HEAD = [
  ["name", false],
  ["state", false],
  ["in", true],
  ["out", true],
  ["read", true],
  ["= written", true],
  ["+ rejected", true],
  ["+ skipped", true],
  ["lag", true],
  ["committed", true],
  ["limit", true],
  ["", false],
];

function draw() {
  byId("empty").hidden = connectors.length > 0;
  fill(byId("summary"), summary(connectors), () => summaryNodes(connectors));
  for (const kind of ["source", "delivery"]) {
    // What is not configured stands below what is at work.
    const isAside = ({ state, reason }) => state === "stopped" && reason !== null;
    const ofKind = connectors.filter((one) => one.kind === kind);
    const sorted = [...ofKind.filter((one) => !isAside(one)), ...ofKind.filter(isAside)];
    byId(`${kind}-panel`).hidden = sorted.length === 0;
    drawConnectors(byId(kind === "source" ? "sources" : "deliveries"), kind, sorted);
  }
  drawDetail();
}

function drawConnectors(table, kind, list) {
  const caption = kind === "source" ? "Sources" : "Deliveries";
  if (!table.tHead) {
    const cells = HEAD.map(([name, right]) => el("th", { scope: "col", ...(right ? { class: "right" } : {}) }, name));
    table.replaceChildren(el("caption", {}, caption), el("thead", {}, el("tr", {}, ...cells)));
  }
  while (table.tBodies.length > list.length) table.tBodies[list.length].remove();
  list.forEach((one, i) => drawBody(table.tBodies[i] ?? table.createTBody(), one));
}

/** A row of figures, and below it why it does not run. */
function drawBody(body, one) {
  const { name, state, reason } = one;
  body.dataset.name = name;
  drawRow(body.rows[0] ?? body.insertRow(), one);
  if (reason === null) return body.rows[1]?.remove();
  const row = body.rows[1] ?? body.insertRow();
  const cell = row.cells[0] ?? row.insertCell();
  cell.colSpan = HEAD.length;
  const [, tone] = STATES[state];
  fill(cell, [tone, reason], () => [el("div", { class: `why ${tone || "quiet"}` }, reason)]);
}

function drawRow(row, one) {
  const { name, from, to, state, rates, counts, lagRecords, committedAt, limitPerSecond } = one;
  row.setAttribute("aria-selected", String(name === shown));
  const way = `${from} → ${to.join(", ")}`;
  const [words, tone] = STATES[state];
  const [turn] = turnOf(one);
  const figures = [
    perSecond(rates.inPerSecond),
    perSecond(rates.outPerSecond),
    number(counts.read),
    number(counts.written),
    number(counts.rejected),
    number(counts.skipped),
    number(lagRecords),
    age(committedAt),
    limitPerSecond === null ? "none" : `${number(limitPerSecond)} /s`,
  ];
  const cells = [
    [
      "way",
      [name, way],
      () => [el("button", { type: "button", class: "name" }, name), el("div", { class: "quiet" }, way)],
    ],
    ["", [words], () => [el("span", { class: `pill ${tone}` }, words)]],
    ...figures.map((text, i) => [i === 4 && counts.rejected > 0 ? "right warn" : "right", [text], () => [text]]),
    ["", [name, turn, turning.has(name)], () => [
      el("button", { type: "button", class: "turn", "aria-label": `${turn} ${name}`, ...busy(name) }, turn),
    ]],
  ];
  cells.forEach(([style, key, make], c) => {
    const cell = row.cells[c] ?? row.insertCell();
    if (cell.className !== style) cell.className = style;
    fill(cell, key, make);
  });
}

/** Changes what is in an element only when it is something else: the focus, and what is selected, stay. */
function fill(element, key, make) {
  const text = JSON.stringify(key);
  if (element.dataset.key === text) return;
  element.dataset.key = text;
  element.replaceChildren(...make());
}

const busy = (name) => turning.has(name) ? { disabled: "" } : {};
const perSecond = (rate) => `${number(rate >= 10 ? Math.round(rate) : Math.round(rate * 10) / 10)} /s`;
const age = (iso) => iso === null ? "–" : `${span(Math.max(0, (Date.now() - Date.parse(iso)) / 1000))} ago`;

/** What can be done to it: the word on its button, and the API's. */
function turnOf({ state }) {
  return state === "stopped" || state === "failed" ? ["Start", "start"] : ["Stop", "stop"];
}

// One in full

function drawDetail() {
  const one = connectors.find(({ name }) => name === shown);
  byId("detail").hidden = !one;
  if (!one) return;
  const { name, kind, state, reason, from, to, topic, counts, lagRecords, committedAt, lastError, details } = one;
  byId("detail-title").textContent = `${kind === "source" ? "Source" : "Delivery"} ${name}`;
  const [words, tone] = STATES[state];
  byId("detail-state").textContent = words;
  byId("detail-state").className = `pill ${tone}`;
  byId("detail-reason").textContent = reason ?? "";
  byId("detail-reason").className = `why ${tone || "quiet"}`;
  const [turn] = turnOf(one);
  byId("detail-turn").textContent = turn;
  byId("detail-turn").disabled = turning.has(name);
  // One that failed may be about to try again by itself.
  byId("detail-stop").hidden = state !== "failed";
  byId("detail-stop").disabled = turning.has(name);
  const facts = [
    ["Reads", from, true],
    [kind === "source" ? "Writes" : "Hands over to", to.join(", "), true],
    ["Topic", topic],
    ["Lag", lagRecords === null ? "not known" : `${number(lagRecords)} records`],
    ["Last commit", committedAt === null ? "none yet" : `${clock(committedAt)}, ${age(committedAt)}`],
    ["Where all it read went", sum(counts), true],
    ...(lastError ? [["Last error", `${clock(lastError.at)}: ${lastError.message}`, true]] : []),
    ...Object.entries(details).filter(([, value]) => value !== null).map((
      [fact, value],
    ) => [inWords(fact), shownFact(fact, value)]),
  ];
  fill(
    byId("facts"),
    facts,
    () =>
      facts.map(([fact, value, wide]) =>
        el("div", wide ? { class: "wide" } : {}, el("dt", {}, fact), el("dd", {}, value))
      ),
  );
  if (document.activeElement !== byId("limit")) byId("limit").value = one.limitPerSecond ?? "";
}

function sum({ read, written, rejected, skipped }) {
  const adds = written + rejected + skipped;
  const words = `${number(read)} read = ${number(written)} written + ${number(rejected)} rejected + ${
    number(skipped)
  } skipped`;
  return adds === read ? words : `${words}, which does not add up`;
}

/** walBehindBytes: wal behind. */
function inWords(fact) {
  const words = fact.replace(/Bytes$/, "").replaceAll(/(?<=[a-z])[A-Z]/g, (letter) => ` ${letter.toLowerCase()}`);
  return words.charAt(0).toUpperCase() + words.slice(1);
}

function shownFact(fact, value) {
  if (typeof value === "boolean") return value ? "yes" : "no";
  if (typeof value === "number") return fact.endsWith("Bytes") ? bytes(value) : number(value);
  return value;
}

// What it rejected

/** Read again only when there are more of them. */
async function loadRejected() {
  const one = connectors.find(({ name }) => name === shown);
  if (!one) return;
  const of = `${one.name} ${one.counts.rejected}`;
  if (of === rejectedOf) return;
  rejectedOf = of;
  if (one.counts.rejected === 0) return drawRejected(one, []);
  try {
    const told = await ask(`${pathOf(one.name)}/rejected?limit=${REJECTED_SHOWN}`);
    if (told && shown === one.name) drawRejected(one, told.rejected);
  } catch (error) {
    rejectedOf = "";
    throw error;
  }
}

function drawRejected({ kind, topic, counts }, list) {
  const kept = kind === "source" ? "the topic of what was rejected" : `${topic}.dead`;
  byId("rejected-note").textContent = counts.rejected === 0
    ? "None."
    : list.length === 0
    ? `${number(counts.rejected)} since the first start, none of them among the newest of ${kept}.`
    : `${number(counts.rejected)} since the first start. Open a value to see all of it.`;
  const table = byId("rejected");
  drawTable(table, {
    caption: "Rejected records",
    head: [["time", false], ["where", false], ["why", false], ["value", false], ["size", true]],
    rows: list.map(({ timestamp, where, reason, value }) => [clock(timestamp), where, reason, "", bytes(value.bytes)]),
  });
  list.forEach(({ value }, r) => {
    const { cells } = table.tBodies[0].rows[r];
    for (const c of [1, 2, 3]) cells[c].className = "text";
    const whole = wholeValue(value);
    const line = whole.replaceAll(/\s+/g, " ").slice(0, LINE_MAX);
    cells[3].replaceChildren(
      el("details", {}, el("summary", {}, el("code", {}, line || "empty")), el("pre", { tabindex: "0" }, whole)),
    );
  });
}

/** As JSON with a line for each field where it is JSON, as it is where it is other text, else as hexadecimal digits. */
function wholeValue({ text, hex, bytes: size, truncated }) {
  if (text === null) return `${hex.replace(/(..)/g, "$1 ").trim()}${truncated ? ` ... of ${number(size)} bytes` : ""}`;
  if (truncated) return `${text}\n... of ${number(size)} bytes`;
  try {
    return JSON.stringify(JSON.parse(text), null, 2);
  } catch {
    return text;
  }
}

// Asking

async function turn(name, verb) {
  const one = connectors.find((connector) => connector.name === name);
  if (!one || turning.has(name)) return;
  turning.add(name);
  draw();
  try {
    await send("POST", `${pathOf(name)}/${verb ?? turnOf(one)[1]}`, {});
  } finally {
    turning.delete(name);
    draw();
  }
  await load();
}

/** @throws Refused for what is no number above 0 */
async function setLimit(perSecond) {
  if (perSecond !== null && !(perSecond > 0)) {
    throw new Refused("How many records a second? Give a number above 0, or take No limit.");
  }
  await send("PUT", `${pathOf(shown)}/limit`, { perSecond });
  await load();
}

for (const id of ["sources", "deliveries"]) {
  byId(id).addEventListener("click", ({ target }) => {
    const button = target.closest("button");
    const name = target.closest("tbody")?.dataset.name;
    if (!button || !name) return;
    if (button.className === "turn") return doing("asked", () => turn(name));
    shown = name;
    history.replaceState(null, "", `#${encodeURIComponent(name)}`);
    draw();
    byId("detail-title").focus();
    doing("reading", loadRejected);
  });
}
byId("detail-turn").addEventListener("click", () => doing("asked", () => turn(shown)));
byId("detail-stop").addEventListener("click", () => doing("asked", () => turn(shown, "stop")));
byId("limit-form").addEventListener("submit", (event) => {
  event.preventDefault();
  const text = byId("limit").value.trim();
  doing("asked", () => setLimit(text === "" ? null : Number(text)));
});
byId("no-limit").addEventListener("click", () => {
  byId("limit").value = "";
  doing("asked", () => setLimit(null));
});

showSession();
await doing("reading", load);
setInterval(() => {
  if (!document.hidden) doing("reading", load);
}, REFRESH_MS);
