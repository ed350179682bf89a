/**
 * Result rows as tests read them.
 *
 * @module
 */
import { timeText } from "../codec/time_text.ts";
import type { FieldType } from "../columns.ts";
import { createKeyReader } from "../operators/group_key.ts";
import { type PaneBatch, Panes } from "../operators/panes.ts";
import { type Plan, resultColumns } from "../plan/plan.ts";
import type { ResultRows, ResultValue } from "../sinks/sink.ts";

/** A row by column: times and dates as ISO 8601 text, decimals as text with every digit, longs beyond 2^53 as bigint. */
export type TestRow = { readonly [column: string]: ResultValue };

/** The rows of a publication. */
export function rowsOf({ columns, values, length }: ResultRows): TestRow[] {
  return Array.from(
    { length },
    (_, row) => Object.fromEntries(columns.map(({ name, type }, c) => [name, plain(type, values[c][row])])),
  );
}

/** What a destination holds after these rows: of each key and window the newest, in the order of keys and windows. */
export function newestRows(plan: Plan, rows: readonly TestRow[]): TestRow[] {
  const newest = new Map<string, TestRow>();
  for (const row of rows) {
    const key = identity(plan, row);
    const there = newest.get(key);
    if (there === undefined || !isNewer(there, row)) newest.set(key, row);
  }
  return inOrder(plan, [...newest.values()]);
}

/** Open panes as the rows they would be now, without `revision` and `final`. */
export function paneRows(plan: Plan, batches: readonly PaneBatch[]): TestRow[] {
  const types = plan.groupBy.map(({ field }) => plan.fields[field].type);
  const readKey = createKeyReader(types);
  const columns = resultColumns(plan).filter(({ role }) => role !== "revision" && role !== "final");
  const rows: TestRow[] = [];
  for (const batch of batches) {
    const panes = new Panes(plan);
    for (let row = 0; row < batch.length; row++) {
      const slot = panes.merge(batch, row);
      const { table } = panes;
      const values = [
        ...readKey(table.keys, table.keyStart(slot), table.keyEnds[slot]),
        batch.windows[row],
        batch.windows[row] + plan.window.sizeMs,
        ...plan.select.map((_, i) => panes.result(i, slot)),
      ];
      rows.push(Object.fromEntries(columns.map(({ name, type }, c) => [name, plain(type, values[c])])));
    }
  }
  return inOrder(plan, rows);
}

function isNewer(there: TestRow, row: TestRow): boolean {
  const [before, after] = [there.revision!, row.revision!];
  return before > after || (before === after && there.final === true && row.final === false);
}

function inOrder(plan: Plan, rows: TestRow[]): TestRow[] {
  const order = (row: TestRow) => `${row.window_start}\0${identity(plan, row)}`;
  return rows.sort((a, b) => order(a) < order(b) ? -1 : 1);
}

/** Null and "null" are two keys; a long may be too long for JSON. */
function identity(plan: Plan, row: TestRow): string {
  return JSON.stringify([...plan.groupBy.map(({ name }) => name), "window_start"].map((name) => {
    const value = row[name];
    return typeof value === "bigint" ? { long: String(value) } : value;
  }));
}

function plain(type: FieldType, value: ResultValue): ResultValue {
  return value === null ? null : timeText(type.type, value as number | bigint) ?? value;
}
