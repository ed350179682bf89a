/**
 * The statements that read rows. Every row comes as texts: transaction, changed column, key, fields.
 *
 * A row says only the lower 32 bits of its transaction (`xmin`). How far it is above a known number of 64 bits, modulo 2^32, says
 * the rest, as long as the window that is asked for is shorter than that. A row that was last written more than 2^32 transactions
 * ago can seem to be in a window; what is asked of the changed column keeps it out of every look, and the sweep may read it once more.
 *
 * @module
 */
import { identifier } from "../../sql_text.ts";
import type { KeyTexts, Progress, Snapshot, Within } from "./progress.ts";
import { stepsFrom } from "./progress.ts";
import type { Column, Table } from "./table.ts";

export interface Query {
  readonly text: string;
  readonly parameters: readonly string[];
}

/** Where the parts of a row are that every statement gives. */
export const XID = 0;
export const CHANGED = 1;
export const KEY = 2;

const XIDS = "4294967296";

/** Collects parameters; each is sent as text and cast by the statement. */
class Parameters {
  readonly values: string[] = [];

  add(value: string | number): string {
    this.values.push(String(value));
    return `$${this.values.length}::text`;
  }
}

export interface QueryOptions {
  readonly table: Table;
  /** Of a changed column without one; null for the session's. */
  readonly zone: string | null;
}

/**
 * Rows of the transactions from `settled` up to `to` that were not read, in the order of transactions. Only those that a look has to
 * find: changed since the `low` of their transaction.
 */
export function changesQuery(progress: Progress, to: number, { table, zone }: QueryOptions): Query {
  const { settled, ahead } = progress;
  const steps = stepsFrom(progress.steps, settled);
  const p = new Parameters();
  const base = `${p.add(settled)}::int8`;
  const bound = lowOf(table.changed, zone, p);
  const conditions = [
    `v.rel < ${p.add(to - settled)}::int8`,
    // By this one an index is used; the next one is exact.
    `${changedOf(table)} >= ${bound(`${p.add(steps[0][1])}`)}`,
    ...(steps.length > 1 ? [`${changedOf(table)} >= ${lowAt(steps, `${base} + v.rel`, { bound, p })}`] : []),
    // Not `<> ALL`, which compares each row with each number.
    ...(ahead.length > 0 ? [`${base} + v.rel NOT IN (SELECT unnest(${p.add(`{${ahead.join()}}`)}::int8[]))`] : []),
  ];
  return query(table, { base, conditions, order: ["v.rel", ...keyOf(table)], p });
}

/** The rows of one transaction that a look or a sweep was in the middle of, after the last one read. */
export function withinQuery(
  { xid, after }: Within,
  { steps, table, zone, isSweep }: QueryOptions & { readonly steps: Progress["steps"]; readonly isSweep: boolean },
): Query {
  const low = stepsFrom(steps, xid)[0][1];
  const p = new Parameters();
  const base = `${p.add(xid)}::int8`;
  const bound = lowOf(table.changed, zone, p);
  const changed = `${changedOf(table)} >= ${bound(p.add(low))}`;
  const conditions = [
    "v.rel = 0",
    isSweep ? `(${changed}) IS NOT TRUE` : changed,
    `${list(keyOf(table))} > ${keyValues(table.key, after, p)}`,
  ];
  return query(table, { base, conditions, order: keyOf(table), p });
}

/** Rows of settled transactions that no look found: changed before the `low` of their transaction, or without a time. */
export function sweepQuery(progress: Progress, { table, zone }: QueryOptions): Query {
  const { settled, sweep: { from } } = progress;
  const p = new Parameters();
  const base = `${p.add(from)}::int8`;
  const bound = lowOf(table.changed, zone, p);
  const steps = stepsFrom(progress.steps, from);
  const conditions = [
    `v.rel < ${p.add(settled - from)}::int8`,
    `(${changedOf(table)} >= ${lowAt(steps, `${base} + v.rel`, { bound, p })}) IS NOT TRUE`,
  ];
  return query(table, { base, conditions, order: ["v.rel", ...keyOf(table)], p });
}

/** Rows of transactions before `settled`, in the cursor's order; `part` chooses those with a time or those without. */
export function snapshotQuery(
  { after, since }: Snapshot,
  { table, zone, settled, part }: QueryOptions & { readonly settled: number; readonly part: "timed" | "untimed" },
): Query {
  const p = new Parameters();
  const base = `${p.add(settled)}::int8`;
  const bound = lowOf(table.changed, zone, p);
  const changed = changedOf(table);
  const conditions = [
    // What began since is left to the looks; all of it is between `settled` and the statement's own snapshot.
    `v.rel >= (SELECT pg_snapshot_xmax(pg_current_snapshot())::text::int8) - ${base}`,
    `${changed} IS ${part === "timed" ? "NOT NULL" : "NULL"}`,
  ];
  if (since !== null) conditions.push(`${changed} >= ${bound(p.add(since))}`);
  const passed = part === "timed" ? [changed, ...keyOf(table)] : keyOf(table);
  if (after !== null && (part === "timed") === (after.changed !== null)) {
    const key = keyValues(
      table.key,
      after.key,
      p,
      part === "timed" ? [cast(table.changed, p.add(after.changed!))] : [],
    );
    conditions.push(`${list(passed)} > ${key}`);
  }
  return query(table, { base, conditions, order: passed, p });
}

function query(
  table: Table,
  { base, conditions, order, p }: {
    readonly base: string;
    readonly conditions: readonly string[];
    readonly order: readonly string[];
    readonly p: Parameters;
  },
): Query {
  const columns = [
    `(${base} + v.rel)::text`,
    `${changedOf(table)}::text`,
    ...keyOf(table).map((column) => `${column}::text`),
    ...table.fields.map(({ sql }) => sql),
  ];
  const text = `SELECT ${columns.map((sql, i) => `${sql} AS c${i}`).join(", ")}
FROM ${table.sql} t
CROSS JOIN LATERAL (SELECT (t.xmin::text::int8 - ${base} % ${XIDS} + ${XIDS}) % ${XIDS} AS rel) v
WHERE ${conditions.join("\n  AND ")}
ORDER BY ${order.join(", ")}`;
  return { text, parameters: p.values };
}

function changedOf({ changed }: Table): string {
  return `t.${identifier(changed.name)}`;
}

function keyOf({ key }: Table): string[] {
  return key.map(({ name }) => `t.${identifier(name)}`);
}

function keyValues(key: readonly Column[], after: KeyTexts, p: Parameters, before: readonly string[] = []): string {
  return list([...before, ...key.map((column, i) => cast(column, p.add(after[i])))]);
}

function cast({ type }: Column, parameter: string): string {
  return `${parameter}::${type}`;
}

function list(parts: readonly string[]): string {
  return `(${parts.join(", ")})`;
}

/** Makes the expression of an ISO 8601 text one of the changed column's type. */
function lowOf({ type }: Column, zone: string | null, p: Parameters): (text: string) => string {
  if (/ with time zone$/.test(type)) return (text) => `${text}::timestamptz`;
  // Added where it is used: a parameter that no expression names has no type.
  let name = zone === null ? "current_setting('TimeZone')" : null;
  const wall = (text: string) => `(${text}::timestamptz AT TIME ZONE ${name ??= p.add(zone!)})`;
  return type === "date" ? (text) => `${wall(text)}::date` : wall;
}

/** The `low` of a transaction: of the last step that begins at or before it, and so the largest of these. */
function lowAt(
  steps: Progress["steps"],
  xid: string,
  { bound, p }: { readonly bound: (text: string) => string; readonly p: Parameters },
): string {
  const from = p.add(`{${steps.map(([from]) => from).join()}}`);
  const low = p.add(`{${steps.map(([, low]) => `"${low}"`).join()}}`);
  return `(SELECT ${bound("max(s.low)")} FROM unnest(${from}::int8[], ${low}::text[]) s(x, low) WHERE s.x <= ${xid})`;
}
