import assert from "node:assert/strict";
import { cell, clock, exact, number, precise, size, span, timeTicks, windowTime } from "../../api/dashboard/format.js";
import { WindowStore } from "../../api/dashboard/windows.js";
import { rowToJson } from "../../api/result_json.ts";
import type { ResultJson } from "../../api/deps.ts";
import { ACCOUNT_COLUMNS, accountRows } from "./fake_deps.ts";

const MINUTE = 60_000;
const START = Date.parse("2026-11-20T21:00:00Z");

function pipeline(select: Record<string, string> = { n: "count()", total: "sum(amount)", largest: "max(amount)" }) {
  const columns = ACCOUNT_COLUMNS.map(({ name, role, type }) => ({ name, role, type: type.type }));
  return { columns, definition: { select } };
}

function rows(window: number, accounts: number, options: { n?: number; final?: boolean } = {}): ResultJson[] {
  const { columns, values, length } = accountRows(START + window * MINUTE, accounts, options);
  return Array.from({ length }, (_, r) => rowToJson(columns, values, r));
}

Deno.test("a window's figure folds its keys as the aggregate does", () => {
  const select = { n: "count()", total: "avg(amount)", largest: "max(amount)" };
  const store = new WindowStore(pipeline(select));
  store.add(rows(0, 3));
  assert.deepEqual(store.charted, ["n", "total", "largest"]);
  assert.deepEqual(store.series("n"), [{ start: START / 1000, figure: 3 + 4 + 5, final: true }]);
  assert.equal(store.series("total")[0].figure, (60.5 + 80.5 + 100.5) / 3);
  assert.equal(store.series("largest")[0].figure, 22);
});

Deno.test("a row is replaced by its later revision and not by an earlier one", () => {
  const store = new WindowStore(pipeline());
  store.add(rows(0, 1, { n: 5 }));
  store.add(rows(0, 1, { n: 3, final: false }));
  assert.deepEqual(store.series("n"), [{ start: START / 1000, figure: 5, final: true }]);
  store.add(rows(0, 1, { n: 8 }));
  assert.equal(store.series("n")[0].figure, 8);
});

Deno.test("the table has the newest window first and in it the largest value, nulls last", () => {
  const store = new WindowStore(pipeline());
  store.add(rows(1, 2));
  store.add(rows(0, 3));
  store.add([{ ...rows(1, 1)[0], account_id: "none", n: null }]);
  const shown = store.newest("n", 4).map((row: ResultJson) => [row.account_id, row.n]);
  assert.deepEqual(shown, [["A-0001", 4], ["A-0000", 3], ["none", null], ["A-0002", 5]]);
});

Deno.test("a window of which not all rows were read is never shown, nor any before it", () => {
  const store = new WindowStore(pipeline());
  store.add([...rows(2, 2), ...rows(1, 1)]);
  store.ignoreUpTo(rows(1, 1)[0].window_start);
  store.add([...rows(1, 3), ...rows(0, 3)]);
  assert.deepEqual(store.series("n").map((point: { start: number }) => point.start), [START / 1000 + 120]);
  assert.equal(store.newest("n", 100).length, 2);
  assert.ok(store.ignores);
});

Deno.test("windows and rows are bounded; an old window keeps its figure when its rows go", () => {
  const store = new WindowStore(pipeline());
  for (let window = 0; window < 130; window++) store.add(rows(window, 1000));
  const series = store.series("n");
  assert.equal(series.length, 120);
  assert.ok(series.every((point: { figure: number; final: boolean }) => point.figure === 3999 && point.final));
  assert.equal(store.newest("n", 1_000_000).length, 30_000);
});

Deno.test("numbers, spans and times read as people write them", () => {
  assert.deepEqual([number(1234567), number(1.234), number(250.4), number(null)], ["1,234,567", "1.23", "250", "–"]);
  assert.deepEqual([precise(613.61686), precise(12345)], ["613.62", "12,345"]);
  assert.deepEqual(
    [0, 0.44, 12, 119, 120, 7260, 200_000, null].map(span),
    ["0.0 s", "0.4 s", "12 s", "119 s", "2 min 0 s", "2 h 1 min", "2 d 7 h", "–"],
  );
  assert.deepEqual([60_000, 90_000, 86_400_000, 1500].map(size), ["1 minute", "90 seconds", "1 day", "1500 ms"]);
  const now = new Date("2026-11-20T22:00:00Z");
  assert.equal(clock("2026-11-20T21:04:05.123Z", now), "21:04:05");
  assert.equal(clock("2026-11-19T21:04:05.123Z", now), "2026-11-19 21:04:05");
});

Deno.test("decimals and large longs get separators and keep every digit; other text is left alone", () => {
  const cases: [string, string][] = [
    ["1234567.50", "1,234,567.50"],
    ["-1234.5", "-1,234.5"],
    ["-123.4567", "-123.4567"],
    ["999", "999"],
    ["0.00012345", "0.00012345"],
    ["9223372036854775807", "9,223,372,036,854,775,807"],
    ["123456789012345678901234567890.123456789", "123,456,789,012,345,678,901,234,567,890.123456789"],
    ["NaN", "NaN"],
    ["1e21", "1e21"],
    ["", ""],
  ];
  for (const [text, shown] of cases) assert.equal(exact(text), shown);
});

Deno.test("a cell shows figures with separators, but a key of digits as it is", () => {
  const options = { sizeMs: MINUTE, now: new Date("2026-11-20T22:00:00Z") };
  const value = (type: string, value: unknown) => cell({ role: "value", type }, value, options);
  assert.equal(value("decimal(38, 2)", "1234567.50"), "1,234,567.50");
  assert.equal(value("long", 12345), "12,345");
  assert.equal(value("long", "9223372036854775807"), "9,223,372,036,854,775,807");
  assert.equal(value("double", 1613.61686), "1,613.62");
  assert.equal(value("double", "NaN"), "NaN");
  assert.equal(value("string", "1234567"), "1234567");
  assert.equal(value("decimal(38, 2)", null), "–");
  assert.equal(cell({ role: "key", type: "long" }, 12345, options), "12345");
  assert.equal(cell({ role: "final", type: "boolean" }, false, options), "open");
  assert.equal(cell({ role: "window_start", type: "timestamp-millis" }, "2026-11-20T21:04:00Z", options), "21:04:00");
});

Deno.test("a window of whole days shows its day alone, another its day when that is not today", () => {
  const now = new Date("2026-11-20T22:00:00Z");
  const day = 86_400_000;
  assert.equal(windowTime("2001-01-10T00:00:00.000Z", day, now), "2001-01-10");
  assert.equal(windowTime("2026-11-20T00:00:00.000Z", day, now), "2026-11-20");
  assert.equal(windowTime("2001-01-10T05:00:00.000Z", day, now), "2001-01-10 05:00:00"); // a hopping window
  assert.equal(windowTime("2001-01-10T00:00:00.000Z", MINUTE, now), "2001-01-10 00:00:00");
  assert.equal(windowTime("2026-11-20T21:04:00.000Z", MINUTE, now), "21:04:00");
});

Deno.test("a time axis names the day under the first tick and where it changes, unless all is today", () => {
  const now = new Date("2026-11-20T22:00:00Z");
  const at = (iso: string) => Date.parse(iso) / 1000;
  const ticks = ["2026-11-20T21:00:00Z", "2026-11-20T21:05:00Z"].map(at);
  assert.deepEqual(timeTicks(ticks, 300, now), ["21:00", "21:05"]);
  assert.deepEqual(timeTicks(ticks, 15, now), ["21:00:00", "21:05:00"]);
  assert.deepEqual(timeTicks(ticks, 86_400, now), ["2026-11-20", "2026-11-20"]);
  assert.deepEqual(
    timeTicks(["2026-11-19T23:30:00Z", "2026-11-19T23:45:00Z", "2026-11-20T00:00:00Z"].map(at), 900, now),
    ["23:30\n2026-11-19", "23:45", "00:00\n2026-11-20"],
  );
});
