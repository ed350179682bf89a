/**
 * How far a table is read: which versions of its rows are in the topic.
 *
 * Each version of a row carries the number of the transaction that wrote it (`xmin`). Numbers are given in order, and transactions
 * end in any. The horizon of a look is the least number still open: everything below it has ended and will not change again.
 *
 *     transactions   … 97  98  99  100 │ 101  102  103  104 …
 *                     all ended        │ open  ✓   open  ✓
 *                             settled ─┘       └── ahead: 102, 104
 *
 * A look reads the rows of every transaction that has ended and was not read before: those from `settled` up to the new horizon, and
 * ahead of it, which are remembered one by one until the horizon passes them. One transaction's rows become visible together, so its
 * number is all there is to remember. Savepoints have numbers of their own, larger than their transaction's and ended with it, for
 * which the same holds.
 *
 * So that a look need not go over the whole table, it asks for rows changed since `low`, which lies before the beginning of every
 * transaction that was open, and the overlap before that. `low` differs with the transaction, hence `steps`: the first number from
 * which on each `low` counts. A row below its `low` is found by the sweep, which looks at all rows of settled transactions.
 *
 * @module
 */

/** Transactions read ahead of the horizon; with more than that, looks wait for the horizon. */
export const AHEAD_MAX = 10_000;
/** Steps remembered; with more, `low` stays where it is and looks go further back than they have to. */
export const STEPS_MAX = 2_000;

/** Values of the key's columns, as text. */
export type KeyTexts = readonly string[];

/** A transaction of which rows up to a key are read, in the key's order. */
export interface Within {
  readonly xid: number;
  readonly after: KeyTexts;
}

/** What the numbers of transactions belong to. */
export interface Origin {
  /** Of the cluster of databases; null where it is not told. */
  readonly system: string | null;
  /** Rises when a standby takes over; null on a standby. */
  readonly timeline: string | null;
  /** Of the table. */
  readonly oid: string;
}

export interface Snapshot {
  readonly kind: "snapshot";
  /** Last row that is read; the changed column is null in the part of rows that have none. */
  readonly after: { readonly changed: string | null; readonly key: KeyTexts } | null;
  /** Only rows changed since; null for all. */
  readonly since: string | null;
}

export interface Sweep {
  /** All settled transactions before this one are swept. */
  readonly from: number;
  readonly within: Within | null;
  /** When the last one was done, milliseconds since the epoch. */
  readonly doneAtMs: number;
}

/** A position: plain JSON. Transaction numbers are of 64 bits, of which no server has used 53 yet. */
export interface Progress {
  readonly origin: Origin;
  /** Null once the rows that were there at the beginning are read. */
  readonly snapshot: Snapshot | null;
  /** Every transaction with a smaller number has ended, and is read. */
  readonly settled: number;
  /** Numbers from `settled` on that are read too, rising. */
  readonly ahead: readonly number[];
  readonly within: Within | null;
  /** Rising in both: from this transaction on, rows changed since `low` (ISO 8601) are looked for. */
  readonly steps: readonly (readonly [from: number, low: string])[];
  readonly sweep: Sweep;
}

/** `steps` without those that no transaction from `from` on needs. */
export function stepsFrom(steps: Progress["steps"], from: number): Progress["steps"] {
  const last = steps.findLastIndex(([first]) => first <= from);
  return last <= 0 ? steps : steps.slice(last);
}

/** With a `low` that counts from a transaction on, where it is later than the last one. */
export function withStep(steps: Progress["steps"], from: number, low: string): Progress["steps"] {
  const last = steps.at(-1)!;
  if (low <= last[1] || from < last[0] || steps.length >= STEPS_MAX) return steps;
  return from === last[0] ? [...steps.slice(0, -1), [from, low]] : [...steps, [from, low]];
}

/** `ahead` with more numbers, without those below the horizon. */
export function aheadFrom(settled: number, ahead: readonly number[], more: Iterable<number> = []): number[] {
  return [...new Set([...ahead, ...more])].filter((xid) => xid >= settled).sort((a, b) => a - b);
}
