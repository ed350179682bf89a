/**
 * Two computations of the same windows, compared row by row.
 *
 * @module
 */
import type { ResultColumn } from "../plan/plan.ts";
import { showType } from "../plan/sql_types.ts";
import type { ResultRows, ResultValue } from "../sinks/sink.ts";

/** Examples told of each kind of difference. */
export const EXAMPLES_MAX = 5;

/** Sums and means of doubles differ in their last digits with the order in which records are added. */
const DOUBLE_SLACK = 1e-9;

/** A value before and after; `type` is that of the side that has it. */
export interface Compared {
  readonly name: string;
  readonly before: { readonly value: ResultValue; readonly type: ResultColumn["type"] } | null;
  readonly after: { readonly value: ResultValue; readonly type: ResultColumn["type"] } | null;
}

export interface RowExample {
  readonly kind: "changed" | "only before" | "only after";
  readonly windowStartMs: number;
  readonly key: readonly Compared[];
  /** Of a changed row the values that differ; of others all. */
  readonly values: readonly Compared[];
}

export interface RowDifference {
  readonly before: number;
  readonly after: number;
  readonly same: number;
  readonly changed: number;
  readonly onlyBefore: number;
  readonly onlyAfter: number;
  /** By column, how many rows differ in it. */
  readonly columns: Readonly<Record<string, number>>;
  readonly examples: readonly RowExample[];
}

/** How the columns of a result change. Names fold to lower case, as in SQL. */
export interface ColumnDifference {
  readonly added: readonly ResultColumn[];
  readonly removed: readonly ResultColumn[];
  readonly retyped: readonly { readonly name: string; readonly before: string; readonly after: string }[];
}

export function compareColumns(before: readonly ResultColumn[], after: readonly ResultColumn[]): ColumnDifference {
  const named = (columns: readonly ResultColumn[], { name }: ResultColumn) =>
    columns.find((column) => column.name.toLowerCase() === name.toLowerCase());
  return {
    added: after.filter((column) => !named(before, column)),
    removed: before.filter((column) => !named(after, column)),
    retyped: after.flatMap((column) => {
      const former = named(before, column);
      if (!former || shownType(former) === shownType(column)) return [];
      return [{ name: column.name, before: shownType(former), after: shownType(column) }];
    }),
  };
}

/** Why rows of two results cannot be told to belong together; null when they can. */
export function incomparable(
  before: { readonly columns: readonly ResultColumn[]; readonly sizeMs: number },
  after: { readonly columns: readonly ResultColumn[]; readonly sizeMs: number },
): string | null {
  const keys = ({ columns }: { readonly columns: readonly ResultColumn[] }) =>
    columns.filter(({ role }) => role === "key").map(({ name }) => name);
  const [was, is] = [keys(before), keys(after)];
  if (was.toSorted().join() !== is.toSorted().join()) {
    return `they are grouped by ${was.join(", ") || "nothing"} and by ${is.join(", ") || "nothing"}`;
  }
  return before.sizeMs === after.sizeMs ? null : "their windows are not of the same size";
}

/** Compares rows by key and window. Revisions tell which computation it is, and are not compared. */
export function compareRows(before: ResultRows, after: ResultRows): RowDifference {
  const at = (rows: ResultRows, name: string) => rows.columns.findIndex((column) => column.name === name);
  const keys = after.columns.filter(({ role }) => role === "key");
  const start = after.columns.findIndex(({ role }) => role === "window_start");
  const startBefore = before.columns.findIndex(({ role }) => role === "window_start");
  const keysAfter = keys.map(({ name }) => at(after, name));
  const keysBefore = keys.map(({ name }) => at(before, name));
  const values = after.columns.flatMap((column, c) =>
    column.role === "value" ? [{ column, c, was: at(before, column.name) }] : []
  );
  const removed = before.columns.flatMap((column, c) =>
    column.role === "value" && at(after, column.name) < 0 ? [{ column, c }] : []
  );
  const rows = new Map<string, number>();
  for (let row = 0; row < before.length; row++) rows.set(identity(before, [...keysBefore, startBefore], row), row);

  const columns: Record<string, number> = {};
  const examples: RowExample[] = [];
  const counts = { same: 0, changed: 0, onlyAfter: 0 };
  const told = { "changed": 0, "only before": 0, "only after": 0 };
  const example = (kind: RowExample["kind"], make: () => Omit<RowExample, "kind">) => {
    if (told[kind]++ < EXAMPLES_MAX) examples.push({ kind, ...make() });
  };
  const sideOf = (rows: ResultRows, c: number, row: number) =>
    c < 0 ? null : { value: rows.values[c][row], type: rows.columns[c].type };

  for (let row = 0; row < after.length; row++) {
    const id = identity(after, [...keysAfter, start], row);
    const was = rows.get(id);
    rows.delete(id);
    const compared = () => ({
      windowStartMs: after.values[start][row] as number,
      key: keys.map(({ name }, i) => ({ name, before: null, after: sideOf(after, keysAfter[i], row) })),
    });
    if (was === undefined) {
      counts.onlyAfter++;
      example("only after", () => ({
        ...compared(),
        values: values.map(({ column: { name }, c }) => ({ name, before: null, after: sideOf(after, c, row) })),
      }));
      continue;
    }
    // A column that is new, or gone, is told once, and not of each row.
    const differing = values.filter(({ c, was: before_ }) =>
      before_ >= 0 && !isSame(before.values[before_][was], after.values[c][row])
    );
    if (differing.length === 0) {
      counts.same++;
      continue;
    }
    counts.changed++;
    for (const { column } of differing) columns[column.name] = (columns[column.name] ?? 0) + 1;
    example("changed", () => ({
      ...compared(),
      values: differing.map(({ column: { name }, c, was: before_ }) => ({
        name,
        before: sideOf(before, before_, was),
        after: sideOf(after, c, row),
      })),
    }));
  }
  for (const row of rows.values()) {
    example("only before", () => ({
      windowStartMs: before.values[startBefore][row] as number,
      key: keys.map(({ name }, i) => ({ name, before: sideOf(before, keysBefore[i], row), after: null })),
      values: [...values.flatMap(({ column, was }) => was < 0 ? [] : [{ column, c: was }]), ...removed].map((
        { column: { name }, c },
      ) => ({ name, before: sideOf(before, c, row), after: null })),
    }));
  }
  return { before: before.length, after: after.length, ...counts, onlyBefore: rows.size, columns, examples };
}

/** Text has its length before it, so that no two keys come to the same. */
function identity({ values }: ResultRows, columns: readonly number[], row: number): string {
  return columns.map((c) => {
    const value = values[c][row];
    return typeof value === "string" ? `${value.length}:${value}` : String(value);
  }).join("|");
}

function isSame(before: ResultValue, after: ResultValue): boolean {
  if (before === after) return true;
  if (before === null || after === null) return false;
  if (before instanceof Uint8Array && after instanceof Uint8Array) return before.toHex() === after.toHex();
  const [a, b] = [Number(before), Number(after)];
  const isExact = [before, after].every((value) => typeof value === "bigint" || Number.isInteger(value));
  if (isExact || typeof before === "boolean" || typeof after === "boolean") return String(before) === String(after);
  if (typeof before === "number" && typeof after === "number") {
    return Object.is(a, b) || Math.abs(a - b) <= DOUBLE_SLACK * Math.max(Math.abs(a), Math.abs(b));
  }
  // A retyped number: "12.50" before, 12.5 now.
  return typeof before !== typeof after && !Number.isNaN(a) && a === b;
}

function shownType({ type }: ResultColumn): string {
  return showType(type);
}
