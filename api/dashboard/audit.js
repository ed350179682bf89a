// The audit of the chosen pipeline: whether the results are what its topic's records give.
import { drawTable, el } from "./elements.js";
import { clock, number, span } from "./format.js";

const POLL_MS = 5000;
const SHOWN_MAX = 10;

const PLACES = { postgres: "PostgreSQL", kafka: "topic", lake: "lake" };
const byId = (id) => document.getElementById(id);

/** Shows the audit of the pipeline that `chosen` names, every few seconds and when `show` is called. */
export function createAudit(chosen) {
  let audited = null;
  let isOver = false;

  async function poll() {
    try {
      const response = await fetch("/v1/audit", { signal: AbortSignal.timeout(4000), cache: "no-store" });
      // Here no engine runs.
      if (response.status === 501) isOver = true;
      else if (response.ok) audited = (await response.json()).pipelines;
    } catch {
      // The page says already that the server does not answer.
    }
    await show();
    if (!isOver) setTimeout(poll, POLL_MS);
  }

  async function show() {
    const name = chosen();
    byId("audit-panel").hidden = audited === null || name === "";
    if (audited === null) return;
    const audit = audited.find(({ pipeline }) => pipeline === name);
    const [state, tone] = headline(audit);
    byId("audit-state").textContent = state;
    byId("audit-state").className = `pill ${tone}`;
    byId("audit-words").textContent = audit ? words(audit) : "Only pipelines whose topic has an archive are audited.";
    await showDifferences(audit);
  }

  async function showDifferences(audit) {
    const differs = audit !== undefined && audit.windows.differing > 0;
    if (differs) {
      const path = `/v1/audit/${encodeURIComponent(audit.pipeline)}/differences?limit=${SHOWN_MAX}`;
      const response = await fetch(path, { signal: AbortSignal.timeout(4000), cache: "no-store" }).catch(() => null);
      if (!response?.ok || audit.pipeline !== chosen()) return;
      const { differences } = await response.json();
      const head = [["Window"], ["Key"], ["Where"], ["What"], ["Should be"], ["Is"]];
      const caption = "Rows that differ, newest windows first";
      drawTable(byId("audit-differences"), { caption, head, rows: differences.map(cells) });
    }
    byId("audit-scroll").hidden = !differs;
    byId("audit-help").hidden = !differs;
    if (differs) {
      // What differs elsewhere has to be computed again.
      const isStored = audit.differences.some(({ kind }) => kind === "postgres");
      const command = isStored ? `audit repair ${audit.pipeline}` : `rewind ${audit.pipeline} --to TIME`;
      byId("audit-help").replaceChildren("To put it right: ", el("code", {}, `deno task ${command}`));
    }
  }

  poll();
  return { show };
}

function headline(audit) {
  if (!audit) return ["not audited", ""];
  const { state, windows } = audit;
  if (state === "differs") {
    return [windows.differing === 1 ? "1 window differs" : `${number(windows.differing)} windows differ`, "bad"];
  }
  if (state === "waiting") return ["waiting", "warn"];
  const all = `all ${number(windows.agreeing)} windows agree`;
  return state === "agrees" ? [all, "good"] : [`${all} so far`, "good"];
}

function words({ reason, windows, from, oldest, rows, lastPassAt, differences }) {
  const since = lastPassAt === null ? "" : `, last ${span((Date.now() - Date.parse(lastPassAt)) / 1000)} ago`;
  const counts = differences.map(({ kind, name, wrong, missing, extra }) =>
    `${PLACES[kind]} ${name}: ${number(wrong)} wrong, ${number(missing)} missing, ${number(extra)} extra rows.`
  );
  const left = from !== null && oldest !== null && from > oldest
    ? [`Back to ${clock(from)}; until ${clock(oldest)} is left.`]
    : [];
  return [
    ...(reason === null ? [] : [`It waits: ${reason}.`]),
    `${number(rows)} rows compared with what DuckDB computes from the archive${since}.`,
    ...counts,
    ...(windows.suspected > 0 ? [`${number(windows.suspected)} windows are looked at a second time.`] : []),
    ...left,
    ...windows.notAuditable.map(({ reason, windows }) => `${number(windows)} windows are not audited: ${reason}.`),
  ].join(" ");
}

function cells({ window, kind, name, difference, columns, expected, actual }) {
  const row = expected ?? actual;
  const key = Object.keys(row).slice(0, Object.keys(row).indexOf("window_start")).map((column) => row[column]);
  const values = (values) =>
    values === null
      ? "–"
      : difference === "wrong"
      ? columns.map((column) => `${column} ${values[column]}`).join(", ")
      : "a row";
  return [clock(window), key.join(", "), `${PLACES[kind]} ${name}`, difference, values(expected), values(actual)];
}
