/**
 * What one accumulator keeps for every pane, as arrays indexed by the pane's slot.
 *
 * @module
 */
import type { Column } from "../columns.ts";
import type { ResultValue } from "../sinks/sink.ts";

/** The arrays that state is handed over and saved as. */
export type StateArray = Float64Array | Int32Array | Uint8Array | BigInt64Array;

/** Rows to add: row `rows[i]` of the column belongs to slot `slots[i]`, for `i < length`. */
export interface Assignment {
  readonly rows: Int32Array;
  readonly slots: Int32Array;
  readonly length: number;
}

/**
 * One accumulator over all panes of a table. Adding and merging give the same result in whatever order they are done, so that
 * a window is a function of its records alone.
 */
export interface Aggregate {
  /** Makes room for `capacity` slots; new ones are empty. */
  grow(capacity: number): void;
  /** Empties the first `length` slots. */
  clear(length: number): void;
  /** Adds a chunk's values; nulls are passed over. */
  add(column: Column, assignment: Assignment): void;
  /** Adds row `row` of what `state` gave elsewhere to `slot`. */
  merge(slot: number, state: readonly StateArray[], row: number): void;
  /** The state of the first `length` slots, copied. */
  state(length: number): StateArray[];
  /** The value of `slot`: null when no value but null was added. Exact text for decimals. */
  result(slot: number): ResultValue;
}

/** An aggregate from which an average can be taken. */
export interface Sum extends Aggregate {
  /** The sum divided by `count`, as the nearest double; null when no value but null was added. */
  mean(slot: number, count: number): number | null;
}
