/**
 * What every place that results go to looks like.
 *
 * @module
 */
import type { ResultColumn } from "../plan/plan.ts";

/**
 * A value of a result column: string (string, uuid, enum symbol, and decimal as exact text such as `"12.50"`), number (int,
 * float, double, date in days, times and timestamps in the type's own unit, long up to 2^53), bigint (a long beyond
 * 2^53), boolean, bytes, or null.
 */
export type ResultValue = string | number | bigint | boolean | Uint8Array | null;

/** Rows of one pipeline, column by column: `values[c][r]` is column `columns[c]` of row `r`. At most one row per key and window. */
export interface ResultRows {
  readonly columns: readonly ResultColumn[];
  readonly length: number;
  readonly values: readonly (readonly ResultValue[])[];
}

/** A record that was not aggregated, kept byte for byte with where it came from and why. */
export interface SetAsideRecord {
  readonly topic: string;
  readonly partition: number;
  readonly offset: number;
  readonly timestampMs: number;
  readonly key: Uint8Array | null;
  readonly value: Uint8Array | null;
  readonly headers: readonly (readonly [name: string, value: Uint8Array | null])[];
  readonly why: "late" | "dead";
  /** In words, for people: `window [.., ..) closed at watermark ..`, `string length 900 runs past the value's end`. */
  readonly reason: string;
  /** The writer schema's id where the framing could be read. */
  readonly schemaId: number | null;
}

/** Options of a write: `epoch` numbers the commit, `signal` ends waiting (the write may or may not have happened). */
export interface WriteOptions {
  readonly epoch: number;
  readonly signal: AbortSignal;
}

/** A destination of results. */
export interface Sink extends AsyncDisposable {
  readonly name: string;
  /**
   * Resolves only when every row is durable. A row (same key and window) replaces what is there, unless that is newer: of a
   * higher revision, or of the same and final while the row is not. So a repeat after a crash is harmless.
   *
   * @throws UnavailableError when the other side is away (the caller retries with the same rows)
   * @throws ConflictError when another process owns the destination
   */
  write(rows: ResultRows, options: WriteOptions): Promise<void>;
}

/** Where late records and dead letters go. Resolves when durable; may write a record again after a crash. */
export interface SetAsideSink extends AsyncDisposable {
  write(records: readonly SetAsideRecord[], options: WriteOptions): Promise<void>;
}
