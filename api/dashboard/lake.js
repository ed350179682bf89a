// The lake: a question in SQL with its answer, the tables, and one of them in full.
import { drawTable, el } from "./elements.js";
import { bytes, clock, number } from "./format.js";
import { askForKey, showSession } from "./session.js";

/** Rows shown here; the API gives all of them. */
const ROWS_MAX = 500;
/** The server ends a question before this. */
const ANSWER_MS = 120_000;
const REFRESH_MS = 5_000;
/** The same while a table is worked on. */
const REFRESH_WORK_MS = 500;
const VERSIONS_SHOWN = 20;

const byId = (id) => document.getElementById(id);

let tables = [];
/** The name of the table shown in full. */
let shown = null;
/** Ends the question under way. */
let asking = null;

class Refused extends Error {}

/** @throws Refused with what the API says, in words */
async function ask(path, options = {}) {
  let response;
  try {
    response = await fetch(path, { cache: "no-store", signal: AbortSignal.timeout(30_000), ...options });
  } catch (error) {
    throw new Refused(error.name === "AbortError" ? "Cancelled." : "The server does not answer. Try again.");
  }
  if (response.status === 401) return askForKey();
  const body = await response.json().catch(() => ({ title: "The answer broke off" }));
  if (response.ok && !body.title) return body;
  const faults = (body.errors ?? []).filter(({ problem }) => problem !== body.detail)
    .map(({ where, problem }) => `${where.replace(/^\w+\./, "")} ${problem}`);
  throw new Refused([body.title, body.detail, ...faults].filter(Boolean).join(". "));
}

function post(path, body, options = {}) {
  const headers = { "content-type": "application/json", accept: "application/json" };
  return ask(path, { method: "POST", headers, body: JSON.stringify(body), ...options });
}

function say(id, text) {
  byId(id).hidden = text === null;
  byId(id).textContent = text ?? "";
}

// Questions

/** What an answer's cell shows: text as it is, nothing of a value that is none. */
function text(value) {
  if (value === null) return "null";
  return typeof value === "object" ? JSON.stringify(value) : String(value);
}

const counted = (count, what) => `${number(count)} ${what}${count === 1 ? "" : "s"}`;

const isNumber = (type) => /^(TINYINT|SMALLINT|INTEGER|BIGINT|HUGEINT|U\w+INT|FLOAT|DOUBLE|DECIMAL)/.test(type);

async function question() {
  asking?.abort();
  const mine = asking = new AbortController();
  say("fault", null);
  byId("answer-note").textContent = "Asking.";
  byId("complete").replaceChildren();
  byId("run").disabled = true;
  byId("cancel").hidden = false;
  const began = performance.now();
  try {
    const signal = AbortSignal.any([mine.signal, AbortSignal.timeout(ANSWER_MS)]);
    const answer = await post("/v1/sql", { sql: byId("sql").value, limit: ROWS_MAX }, { signal });
    if (answer) drawAnswer(answer, (performance.now() - began) / 1000);
  } catch (error) {
    if (!(error instanceof Refused)) throw error;
    byId("answer").hidden = true;
    byId("answer-note").textContent = "";
    say("fault", error.message);
  } finally {
    byId("run").disabled = false;
    byId("cancel").hidden = true;
    if (asking === mine) asking = null;
  }
}

function drawAnswer({ columns, rows, truncated, completeness, notes }, seconds) {
  const table = byId("answer");
  drawTable(table, {
    caption: "Answer",
    head: columns.map(({ name, type }) => [name, isNumber(type)]),
    rows: rows.map((row) => columns.map(({ name }) => text(row[name]))),
    empty: "No rows.",
  });
  rows.forEach((row, r) =>
    columns.forEach(({ name }, c) => {
      const cell = table.tBodies[0].rows[r].cells[c];
      cell.title = cell.textContent;
      cell.classList.toggle("null", row[name] === null);
    })
  );
  const took = `in ${number(Number(seconds.toFixed(2)))} s`;
  byId("answer-note").textContent = truncated
    ? `The first ${counted(rows.length, "row")}, ${took}; the API gives all of them.`
    : `${counted(rows.length, "row")}, ${took}.`;
  byId("complete").replaceChildren(
    ...completeness.map((one) => el("li", {}, complete(one))),
    ...(notes ?? []).map((note) => el("li", {}, note)),
  );
}

function complete({ topic, offsets, watermark }) {
  const partitions = Object.entries(offsets);
  const to = partitions.slice(0, 12).map(([partition, offset]) => `${partition}: ${number(offset)}`).join(", ");
  const more = partitions.length > 12 ? ` and ${partitions.length - 12} more` : "";
  const windows = watermark === null ? "" : `, and for windows that end by ${clock(watermark)}`;
  return `Complete for ${topic} up to offset ${to || "–"}${more}${windows}.`;
}

/** What can be asked, as questions to begin with. */
function drawExamples(pipelines) {
  const archives = tables.filter(({ flow }) => flow?.kind === "archive").map(({ flow }) => flow.from);
  const stored = tables.filter(({ flow }) => flow?.kind === "results").map(({ flow }) => flow.from);
  const quoted = (name) => /^[a-z_][a-z0-9_]*$/.test(name) ? name : `"${name.replaceAll('"', '""')}"`;
  const relations = [
    ...tables.filter(({ version }) => version !== null).map(({ name }) => `lake.${quoted(name)}`),
    ...archives.map((topic) => `topics.${quoted(topic)}`),
    ...pipelines.map((name) => `live.${quoted(name)}`),
    ...stored.map((name) => `results.${quoted(name)}`),
    "ledger",
    "dead_letters",
  ];
  const select = byId("examples");
  const before = [...select.options].slice(1).map(({ value }) => value);
  if (before.join() === relations.join()) return;
  select.replaceChildren(select.options[0], ...relations.map((name) => el("option", { value: name }, name)));
  if (byId("sql").value === "") byId("sql").value = `SELECT * FROM ${relations[0]} LIMIT 20`;
}

// Tables

async function load() {
  const [lake, pipelines] = await Promise.all([ask("/v1/lake"), ask("/v1/pipelines").catch(() => null)]);
  if (!lake) return;
  tables = lake.tables;
  byId("url").textContent = lake.url;
  drawTables();
  drawExamples((pipelines?.pipelines ?? []).map(({ name }) => name));
}

function drawTables() {
  byId("tables-note").textContent = tables.length === 0
    ? 'There is none yet: archive: lake() on a topic, or lake("name") in a pipeline\'s `to`, makes one.'
    : "";
  const table = byId("tables");
  drawTable(table, {
    caption: "Tables of the lake",
    head: [
      ["table", false],
      ["what", false],
      ["state", false],
      ["rows", true],
      ["waiting", true],
      ["lag", true],
      ["files", true],
      ["size", true],
      ["version", true],
      ["last commit", false],
    ],
    rows: tables.map(({ name, flow, rows, files, bytes: size, version, committedAt }) => [
      name,
      flow ? `${flow.kind} of ${flow.from}` : "–",
      flow ? flow.state : "–",
      number(rows),
      number(flow?.rowsWaiting),
      number(flow?.lagRecords),
      number(files),
      bytes(size),
      number(version),
      clock(committedAt),
    ]),
  });
  if (tables.length === 0) return;
  tables.forEach(({ name, flow, version }, r) => {
    const row = table.tBodies[0].rows[r];
    row.setAttribute("aria-selected", String(name === shown));
    if (version !== null && !row.cells[0].querySelector("button")) {
      row.cells[0].replaceChildren(el("button", { type: "button", "data-table": name }, name));
    }
    const isWell = flow === null || flow.state === "running";
    row.cells[2].className = isWell ? "" : flow.state === "failed" ? "bad" : "warn";
    row.cells[2].title = flow?.reason ?? "";
  });
}

async function show(name) {
  shown = name;
  const told = await ask(`/v1/lake/${encodeURIComponent(name)}`);
  if (!told || shown !== name) return;
  byId("detail").hidden = false;
  byId("detail-title").textContent = name;
  byId("detail-note").textContent = [
    `Version ${told.version}: ${counted(told.rows, "row")} in ${counted(told.files, "file")}, ${bytes(told.bytes)}.`,
    told.flow?.reason ?? "",
    ...told.jobs.map(job),
  ].filter(Boolean).join(" ");
  byId("compact").disabled = told.jobs.some(({ kind, state }) => kind === "compact" && isUnderWay(state));
  drawTable(byId("columns"), {
    caption: `Columns of ${name}`,
    head: [["column", false], ["type", false]],
    rows: told.columns.map((column) => [column.name, column.partition ? `${column.type}, partition` : column.type]),
  });
  drawTable(byId("history"), {
    caption: `Versions of ${name}`,
    head: [["version", true], ["at", false], ["what", false], ["rows", true], ["files", true]],
    rows: told.history.slice(0, VERSIONS_SHOWN).map((version) => [
      number(version.version),
      clock(version.at),
      version.operation.toLowerCase(),
      number(version.rowsAdded),
      `+${version.filesAdded} −${version.filesRemoved}`,
    ]),
  });
  drawTables();
  if (told.jobs.some(({ state }) => isUnderWay(state))) {
    setTimeout(() => shown === name && doing(() => show(name)), REFRESH_WORK_MS);
  }
}

const isUnderWay = (state) => state === "waiting" || state === "running";

/** A compaction or vacuum in a sentence. */
function job({ kind, state, problem, filesRemoved, filesAdded, endedAt }) {
  const done = kind === "compact" ? "compacted" : "vacuumed";
  if (state === "waiting") return `It waits to be ${done}.`;
  if (state === "running") return `It is being ${done}.`;
  if (state === "failed") return `It was not ${done}: ${problem}.`;
  if (filesRemoved === 0) {
    return `There was nothing to ${kind === "compact" ? "compact" : "remove"} at ${clock(endedAt)}.`;
  }
  return kind === "compact"
    ? `At ${clock(endedAt)} ${counted(filesRemoved, "file")} became ${number(filesAdded)}.`
    : `At ${clock(endedAt)} ${number(filesRemoved)} files that no version needs were removed.`;
}

// Asking

/** Runs what a person asked for, or time did, with what went wrong shown above. */
async function doing(work) {
  try {
    await work();
    say("notice", null);
  } catch (error) {
    if (!(error instanceof Refused)) throw error;
    say("notice", error.message);
  }
}

byId("ask").addEventListener("submit", (event) => {
  event.preventDefault();
  question();
});
byId("sql").addEventListener("keydown", (event) => {
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) byId("ask").requestSubmit();
});
byId("cancel").addEventListener("click", () => asking?.abort());
byId("examples").addEventListener("change", ({ target }) => {
  if (target.value === "") return;
  byId("sql").value = `SELECT * FROM ${target.value} LIMIT 20`;
  byId("sql").focus();
});
byId("tables").addEventListener("click", ({ target }) => {
  const name = target.closest("tr")?.querySelector("button")?.dataset.table;
  if (name) doing(() => show(name)).then(() => byId("detail-title").focus());
});
byId("compact").addEventListener("click", () =>
  doing(async () => {
    await post(`/v1/lake/${encodeURIComponent(shown)}/compact`, {});
    await show(shown);
  }));

showSession();
await doing(load);
setInterval(() => {
  if (!document.hidden) doing(() => Promise.all([load(), shown && show(shown)]));
}, REFRESH_MS);
