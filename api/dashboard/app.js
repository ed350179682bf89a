// The dashboard: status once a second over REST, fresh rows over SSE, drawn at most four times a second.
import { createAudit } from "./audit.js";
import { createChart } from "./charts.js";
import { showConnectors } from "./connector_strip.js";
import { drawTable, el } from "./elements.js";
import { askForKey, showSession } from "./session.js";
import { cell, clock, number, numeric, size, span, windowTime } from "./format.js";
import { WindowStore } from "./windows.js";

const POLL_MS = 1000;
const DRAW_MS = 250;
const HISTORY_MAX = 300;
const TABLE_ROWS_MAX = 12;
/** Stored results read when a pipeline is opened: this many pages of 1000. */
const PAGES_MAX = 25;
const STREAM_RETRY_MS = 2000;
const LOAD_RETRY_MS = 3000;

const byId = (id) => document.getElementById(id);

/** Name of a pipeline to its samples: {t, in, out, lag, delay}, each an array with one value per poll. */
const histories = new Map();
let pipelines = [];
let selected = decodeURIComponent(location.hash.slice(1));
let chosenColumn = null;
let store = null;
let stream = null;
let streaming = false;
let lastAnswerAt = null;
let dirty = true;

const ratesChart = createChart(byId("rates"), {
  series: [
    { label: "read from the topic", colour: "--accent", fill: "--accent-soft", unit: "/s" },
    { label: "result rows written", colour: "--second", scale: "right", unit: "/s" },
  ],
  rightUnit: "/s",
});
const lagChart = createChart(byId("lag"), {
  series: [
    { label: "lag, records", colour: "--accent", fill: "--accent-soft" },
    { label: "watermark delay", colour: "--second", scale: "right", unit: " s" },
  ],
  rightUnit: " s",
});
const windowsChart = createChart(byId("windows"), {
  series: [
    { label: "final", colour: "--accent", bars: true },
    { label: "may still change", colour: "--accent-half", bars: true },
  ],
  height: 230,
  barSeconds: () => windowMs() / 1000,
  time: (iso) => windowTime(iso, windowMs()),
});

const audit = createAudit(() => selected);

function current() {
  return pipelines.find((pipeline) => pipeline.name === selected);
}

function windowMs() {
  return current()?.definition.window.sizeMs ?? 0;
}

// Status

async function poll() {
  try {
    const response = await fetch("/v1/pipelines", { signal: AbortSignal.timeout(4000), cache: "no-store" });
    if (response.status === 401) return askForKey();
    const body = await response.json();
    if (!response.ok) {
      notice(
        response.status === 501
          ? `${body.title}. Stored results are still at /v1/pipelines/NAME/results.`
          : body.detail ?? body.title,
      );
    } else {
      lastAnswerAt = Date.now();
      notice(body.pipelines.length === 0 ? "No pipeline is defined yet. Add one to streams/ and restart." : null);
      pipelines = body.pipelines;
      remember();
      chooser();
    }
  } catch {
    const since = lastAnswerAt === null
      ? ""
      : ` The figures below are from ${clock(new Date(lastAnswerAt).toISOString())}.`;
    notice(`The server does not answer. Trying again every second.${since}`);
    connection(false);
  }
  dirty = true;
  setTimeout(poll, POLL_MS);
}

function notice(text) {
  const element = byId("notice");
  element.hidden = text === null;
  if (element.textContent !== (text ?? "")) element.textContent = text ?? "";
  connection(text === null);
}

function connection(answers) {
  const element = byId("connection");
  const [text, tone] = !answers ? ["Reconnecting", "warn"] : streaming ? ["Live", "good"] : ["Connecting", "warn"];
  if (element.textContent !== text) element.textContent = text;
  element.className = `pill ${tone}`;
}

function remember() {
  const now = Date.now() / 1000;
  for (const { name, rates, lagRecords, watermarkDelaySeconds } of pipelines) {
    const history = histories.get(name) ?? { t: [], in: [], out: [], lag: [], delay: [] };
    histories.set(name, history);
    history.t.push(now);
    history.in.push(rates.inPerSecond);
    history.out.push(rates.outPerSecond);
    history.lag.push(lagRecords);
    history.delay.push(watermarkDelaySeconds);
    if (history.t.length > HISTORY_MAX) { for (const values of Object.values(history)) values.shift(); }
  }
}

/** Fills the selector; opens the pipeline when it is there for the first time or the selected one has gone. */
function chooser() {
  const names = pipelines.map((pipeline) => pipeline.name);
  const select = byId("pipeline");
  const shown = [...select.options].map((option) => option.value);
  if (names.join("\n") !== shown.join("\n")) {
    select.replaceChildren(...names.map((name) => el("option", { value: name }, name)));
  }
  if (!names.includes(selected)) selected = names[0] ?? "";
  select.value = selected;
  if (current() && store?.pipeline !== selected) open();
}

// Rows

function open() {
  audit.show();
  store = { pipeline: selected, windows: new WindowStore(current()), loaded: false };
  const columns = store.windows.charted;
  if (!columns.includes(chosenColumn)) chosenColumn = columns[0] ?? null;
  byId("column").replaceChildren(...columns.map((name) => el("option", { value: name }, name)));
  byId("column").value = chosenColumn ?? "";
  connect();
}

/** Listens first and reads what is stored then, so no row falls between the two. */
function connect() {
  stream?.close();
  const mine = store;
  const source = new EventSource(`/v1/pipelines/${encodeURIComponent(mine.pipeline)}/results/stream`);
  stream = source;
  const isMine = () => stream === source;
  source.onopen = () => {
    streaming = true;
    if (!mine.loaded) load(mine);
  };
  source.onmessage = (event) => {
    mine.windows.add(JSON.parse(event.data).rows);
    dirty = true;
  };
  source.addEventListener("reset", () => {
    mine.windows = new WindowStore(current());
    load(mine);
  });
  source.onerror = () => {
    if (!isMine()) return;
    streaming = false;
    // Browsers reconnect by themselves, except when something answered with an error.
    if (source.readyState === EventSource.CLOSED) setTimeout(() => isMine() && connect(), STREAM_RETRY_MS);
  };
}

/** Reads the newest stored rows into the store. */
async function load(into) {
  into.loaded = true;
  try {
    let cursor = null;
    let last = null;
    for (let page = 0; page < PAGES_MAX; page++) {
      const query = new URLSearchParams({ limit: "1000", ...(cursor ? { cursor } : {}) });
      const response = await fetch(`/v1/pipelines/${encodeURIComponent(into.pipeline)}/results?${query}`);
      if (!response.ok) throw new Error(`status ${response.status}`);
      const { rows, next } = await response.json();
      into.windows.add(rows);
      cursor = next;
      if (next === null) break;
      last = rows.at(-1).window_start;
      if (into.windows.full) break;
    }
    // The last page may end in the middle of a window.
    if (cursor !== null) into.windows.ignoreUpTo(last);
  } catch {
    into.loaded = false; // live rows show meanwhile
    setTimeout(() => store === into && !into.loaded && load(into), LOAD_RETRY_MS);
  }
  dirty = true;
}

// Drawing

function draw() {
  if (!dirty || document.hidden) return;
  dirty = false;
  const pipeline = current();
  if (!pipeline) return;
  drawHead(pipeline);
  drawTiles(pipeline);
  const history = histories.get(pipeline.name);
  ratesChart.set([history.t, history.in, history.out]);
  lagChart.set([history.t, history.lag, history.delay]);
  drawWindows(pipeline);
  drawLedger(pipeline.buckets, pipeline.inFlight);
  drawPartitions(pipeline.partitions);
  const { lastError } = pipeline;
  byId("error").textContent = lastError ? `${clock(lastError.at)}\n${lastError.message}` : "None since the start.";
  byId("error").className = lastError ? "error-text" : "quiet";
}

/** What a pipeline that does not run says before its reason, and after it. */
const REASONS = {
  waiting: ["This pipeline is waiting: ", "It goes on by itself once this is solved."],
  failed: ["This pipeline has failed: ", ""],
};

const TONES = { running: "good", starting: "warn", waiting: "warn", failed: "bad", stopped: "" };

function drawHead({ state, reason, topic, definition }) {
  byId("state").textContent = state;
  byId("state").className = `pill ${TONES[state] ?? ""}`;
  const [before, after] = REASONS[state] ?? ["", ""];
  const words = reason === null ? "" : `${before}${reason}${after && `\n${after}`}`;
  if (byId("reason").textContent !== words) byId("reason").textContent = words;
  byId("reason").className = `notice ${TONES[state] ?? ""}`;
  byId("reason").hidden = words === "";
  const { where, groupBy, window, select, sinks } = definition;
  byId("definition").replaceChildren(
    "Topic ",
    el("code", {}, topic),
    ...(where ? [" where ", el("code", {}, where)] : []),
    ...(groupBy.length > 0 ? [" by ", el("code", {}, groupBy.join(", "))] : []),
    ` in ${window.kind} windows of ${size(window.sizeMs)}: `,
    el("code", {}, Object.entries(select).map(([name, what]) => `${name} = ${what}`).join(", ")),
    sinks.length > 0 ? ` to ${sinks.join(", ")}.` : ".",
  );
}

function drawTiles(p) {
  const age = p.checkpointAt === null ? null : (Date.now() - Date.parse(p.checkpointAt)) / 1000;
  const tiles = [
    ["Records in", `${number(p.rates.inPerSecond)} /s`, `${number(p.buckets.consumed)} read`],
    ["Rows out", `${number(p.rates.outPerSecond)} /s`, `${number(p.rowsWritten)} written`],
    [
      "Lag",
      `${number(p.lagRecords)}`,
      p.lagRecords === 0 ? "reads what is new" : `records, ${span(p.lagSeconds)} behind`,
    ],
    [
      "Watermark delay",
      span(p.watermarkDelaySeconds),
      p.watermark ? `watermark ${clock(p.watermark)}` : "no record read yet",
    ],
    ["Open windows", number(p.openWindows), `${number(p.openPanes)} results held`],
    [
      "Checkpoint",
      age === null ? "–" : `${span(age)} ago`,
      age === null ? "none saved yet" : `number ${number(p.epoch)}`,
    ],
  ];
  const texts = JSON.stringify(tiles);
  if (byId("tiles").dataset.texts === texts) return;
  byId("tiles").dataset.texts = texts;
  byId("tiles").replaceChildren(
    ...tiles.map(([name, value, more]) =>
      el("div", {}, el("dt", {}, name), el("dd", { class: "value" }, value), el("dd", { class: "quiet" }, more))
    ),
  );
}

function drawWindows(pipeline) {
  const { windows } = store;
  const points = chosenColumn === null ? [] : windows.series(chosenColumn);
  windowsChart.set([
    points.map((point) => point.start),
    points.map((point) => point.final ? point.figure : null),
    points.map((point) => point.final ? null : point.figure),
  ]);
  byId("windows").classList.toggle("empty", points.length === 0);
  const rows = windows.newest(chosenColumn, TABLE_ROWS_MAX);
  byId("windows-note").textContent = windows.empty && windows.ignores
    ? "The newest window has more rows than this page reads. The next one will show."
    : windows.empty
    ? `No window has closed yet. The first one closes ${
      size(pipeline.definition.window.sizeMs)
    } of event time after it began, plus the allowed lateness.`
    : [
      chosenColumn && windows.words(chosenColumn)
        ? `Each bar is ${chosenColumn} of one window, ${windows.words(chosenColumn)}.`
        : "",
      rows.length > 0
        ? `Below, the ${rows.length === 1 ? "newest row" : `newest ${rows.length} rows`}${
          chosenColumn ? `, largest ${chosenColumn} first` : ""
        }.`
        : "",
    ].join(" ");

  const { sizeMs } = pipeline.definition.window;
  const columns = pipeline.columns.filter((column) => column.role !== "window_end");
  drawTable(byId("rows"), {
    caption: "Rows of the newest windows",
    head: columns.map((column) => [column.role === "window_start" ? "window" : column.name, numeric(column)]),
    rows: rows.map((row) => columns.map((column) => cell(column, row[column.name], { sizeMs }))),
  });
}

const LEDGER = [
  ["aggregated", "Aggregated", "in a window's result"],
  ["filtered", "Filtered out", "where said no"],
  ["late", "Late", "window had closed; kept in the .late topic"],
  ["dead", "Dead letters", "did not decode; kept in the .dead topic"],
  ["duplicate", "Duplicates", "counted before"],
];

function drawLedger(buckets, inFlight) {
  const bar = el("div", { class: "bar", "aria-hidden": "true" });
  for (const [name] of LEDGER) {
    if (buckets[name] === 0) continue;
    const part = el("i", { class: name });
    part.style.flexGrow = String(buckets[name]);
    bar.append(part);
  }
  const list = el("ul", { class: "ledger" });
  for (const [name, title, more] of LEDGER) {
    const words = el("span", {}, `${title} `, el("small", {}, more));
    list.append(el("li", {}, el("i", { class: name }), el("b", {}, number(buckets[name])), words));
  }
  const sum = LEDGER.reduce((total, [name]) => total + buckets[name], 0);
  const adds = sum === buckets.consumed
    ? `${number(buckets.consumed)} records read, every one accounted for; ${number(inFlight)} since the last commit.`
    : `${number(buckets.consumed)} records read, but ${number(sum)} accounted for.`;
  byId("ledger").replaceChildren(
    el("p", { class: sum === buckets.consumed ? "quiet" : "error-text" }, adds),
    bar,
    list,
  );
}

function drawPartitions(partitions) {
  drawTable(byId("partitions"), {
    caption: "Partitions of the topic",
    head: [["partition", true], ["position", true], ["end", true], ["lag", true], ["behind", true], [
      "watermark",
      false,
    ], ["", false]],
    rows: partitions.map((p) => [
      String(p.partition),
      number(p.position),
      number(p.end),
      number(p.lagRecords),
      p.lagRecords === 0 ? "–" : span(p.lagSeconds),
      clock(p.watermark),
      p.idle ? "idle" : "",
    ]),
    empty: "No partition is assigned yet.",
  });
}

// Choosing

byId("pipeline").addEventListener("change", (event) => {
  selected = event.target.value;
  history.replaceState(null, "", `#${encodeURIComponent(selected)}`);
  open();
  dirty = true;
  draw();
});
byId("column").addEventListener("change", (event) => {
  chosenColumn = event.target.value;
  dirty = true;
  draw();
});
document.addEventListener("visibilitychange", () => {
  dirty = true;
  draw();
});

setInterval(draw, DRAW_MS);
showSession();
showConnectors(byId("connectors"));
poll();
