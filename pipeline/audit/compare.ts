/**
 * Rows as they must be against rows as they are.
 *
 * @module
 */
import { type ResultRows, type ResultValue, REVISIONS_PER_GENERATION } from "../sinks/sink.ts";
import { type ExpectedRows, indexOf } from "./expected_rows.ts";
import { isSame } from "./result_values.ts";

export type DifferenceKind = "wrong" | "missing" | "extra";

/** A row that is not as it must be. */
export interface Difference {
  readonly kind: DifferenceKind;
  readonly windowStartMs: number;
  /** The group key's values, in the plan's order. */
  readonly key: readonly ResultValue[];
  /** Names of the columns that differ; all of them unless it is wrong. */
  readonly columns: readonly string[];
  /** By result column; null for an extra row. */
  readonly expected: readonly ResultValue[] | null;
  /** The same; null for a missing row. */
  readonly actual: readonly ResultValue[] | null;
  /** Index into the rows compared; -1 where it is not there. */
  readonly at: { readonly expected: number; readonly actual: number };
}

export interface CompareOptions {
  /** The newest there is: rows of earlier computations that came to the same are right, too. */
  readonly generation: number;
}

/**
 * What differs, in the order of the expected rows, extra ones last. Rows are told apart by their keys and `window_start`.
 *
 * A row of an earlier generation counts as the same when its number of records is. In a window of which nothing is expected, rows
 * of an earlier generation are left alone: a rewind left them, and what they were computed from is not read any more.
 */
export function compareRows(expected: ExpectedRows, actual: ResultRows, { generation }: CompareOptions): Difference[] {
  const { columns } = expected.rows;
  const revision = indexOf(columns, "revision");
  const start = indexOf(columns, "window_start");
  const keys = columns.flatMap(({ role }, c) => role === "key" ? [c] : []);
  const places = new Map(
    Array.from({ length: actual.length }, (_, row) => [identity(actual, [...keys, start], row), row]),
  );
  const windows = new Set(expected.rows.values[start]);
  const found: Difference[] = [];
  for (let row = 0; row < expected.rows.length; row++) {
    const id = identity(expected.rows, [...keys, start], row);
    const there = places.get(id) ?? -1;
    places.delete(id);
    const told = { key: keys.map((c) => expected.rows.values[c][row]), at: { expected: row, actual: there } };
    const windowStartMs = Number(expected.rows.values[start][row]);
    const values = valuesOf(expected.rows, row);
    if (there < 0) {
      found.push({ kind: "missing", windowStartMs, ...told, columns: names(columns), expected: values, actual: null });
      continue;
    }
    const differing = columns.filter((_, c) => {
      const [must, is] = [values[c], actual.values[c][there]];
      if (c === revision) return !isSameRevision(Number(must), Number(is), generation);
      return !isSame(must, is, expected.slack?.(row, c) ?? 0);
    });
    if (differing.length === 0) continue;
    const is = valuesOf(actual, there);
    found.push({ kind: "wrong", windowStartMs, ...told, columns: names(differing), expected: values, actual: is });
  }
  for (const row of places.values()) {
    const windowStartMs = Number(actual.values[start][row]);
    const isOlder = Math.floor(Number(actual.values[revision][row]) / REVISIONS_PER_GENERATION) < generation;
    if (isOlder && !windows.has(windowStartMs)) continue;
    found.push({
      kind: "extra",
      windowStartMs,
      key: keys.map((c) => actual.values[c][row]),
      columns: names(columns),
      expected: null,
      actual: valuesOf(actual, row),
      at: { expected: -1, actual: row },
    });
  }
  return found;
}

function isSameRevision(must: number, is: number, generation: number): boolean {
  const of = Math.floor(is / REVISIONS_PER_GENERATION);
  return of >= 0 && of <= generation && is % REVISIONS_PER_GENERATION === must % REVISIONS_PER_GENERATION;
}

/** A row's key and window as text. */
export function identity(rows: ResultRows, columns: readonly number[], row: number): string {
  let text = "";
  for (const c of columns) {
    const value = rows.values[c][row];
    // Text has its length before it, so that no two rows come to the same.
    text += typeof value === "string" ? `${value.length}:${value}` : value === null ? "-," : `${value},`;
  }
  return text;
}

function valuesOf(rows: ResultRows, row: number): ResultValue[] {
  return rows.values.map((column) => column[row]);
}

function names(columns: ResultRows["columns"]): string[] {
  return columns.map(({ name }) => name);
}
