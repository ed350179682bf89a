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
  /** Where the rows are a topic's records, one by one, and not results; there is no window then, and nothing is `final`. */
  readonly origin?: RowsOrigin;
}

/** Rows of a delivery: records of one partition, in order. */
export interface RowsOrigin {
  readonly topic: string;
  /** Kafka's id of it: a topic made anew under the same name has another. Not there where it is not known. */
  readonly topicId?: string;
  readonly partition: number;
  /** The offsets `[from, to)` were read: those of the rows, of dead letters, and of what is no record. */
  readonly from: number;
  readonly to: number;
  /** Of each row, rising. */
  readonly offsets: readonly number[];
  /**
   * Rows that say that there is nothing of their key any more: of records without a value, in a delivery with a key. All columns
   * but those of the key and of the origin are null then, whatever their type says.
   */
  readonly tombstones?: ReadonlySet<number>;
}

/** Some rows can never be written as they are; all others are durable. The rows become dead letters. */
export class RejectedRowsError extends Error {
  override readonly name = "RejectedRowsError";
  readonly rows: readonly { readonly row: number; readonly reason: string }[];

  constructor(rows: RejectedRowsError["rows"]) {
    super(`${rows.length} rows were refused, the first: ${rows[0]?.reason}`);
    this.rows = rows;
  }
}

/**
 * A row's revision is this times the pipeline's generation, and the number of records in it: more than a pane has, so that every
 * row of a later computation is newer than any of an earlier one.
 */
export const REVISIONS_PER_GENERATION = 1e12;

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
  /** The start of the window it would have counted in, milliseconds since the epoch; null where no event time could be read. */
  readonly windowStartMs: number | null;
}

/**
 * What a sink keeps in the checkpoint to find out after a restart what it wrote since: plain JSON, its own. Null for a sink that
 * needs nothing.
 */
export type SinkPosition = { readonly [name: string]: unknown } | null;

/** Options of a write: `epoch` numbers the commit, `signal` ends waiting (the write may or may not have happened). */
export interface WriteOptions {
  readonly epoch: number;
  readonly signal: AbortSignal;
}

/** `resume` and `position` of a sink that needs nothing from a checkpoint. */
export const NO_POSITION = { resume: () => Promise.resolve(), position: () => null } as const;

/** A destination of results. */
export interface Sink extends AsyncDisposable {
  readonly name: string;
  /**
   * Called once per run, before the first write, with what the last checkpoint kept; null when there is none for this sink.
   *
   * @throws UnavailableError when the other side is away (the caller repeats it)
   * @throws ConflictError when another process owns the destination
   */
  resume(position: SinkPosition, options: { readonly signal: AbortSignal }): Promise<void>;
  /** What the next checkpoint keeps. Called between two writes, after `resume`. */
  position(): SinkPosition;
  /**
   * Resolves only when every row is durable. A row (same key and window) replaces what is there, unless that is newer: of a
   * higher revision, or of the same and final while the row is not. So a repeat after a crash is harmless.
   *
   * @throws UnavailableError when the other side is away (the caller retries with the same rows)
   * @throws ConflictError when another process owns the destination
   * @throws RejectedRowsError when some rows of a delivery can never be written, and the others are
   */
  write(rows: ResultRows, options: WriteOptions): Promise<void>;
  /**
   * For deliveries: the offset before which every record of the partition is there for good, found out on the other side; null
   * where that cannot be told, and a repeat is harmless. Called when a partition is taken over, before its first write.
   *
   * @throws ConfigError when what is there is of another topic of that name, as far as that can be told
   */
  delivered?(
    partition: { readonly topic: string; readonly partition: number; readonly topicId?: string },
    options: { readonly signal: AbortSignal },
  ): Promise<number | null>;
}

/** Where late records and dead letters go: each is there once, however often it is written. Resolves when durable. */
export interface SetAsideSink extends AsyncDisposable {
  /** As `Sink.resume`. */
  resume(position: SinkPosition, options: { readonly signal: AbortSignal }): Promise<void>;
  /** As `Sink.position`. */
  position(): SinkPosition;
  write(records: readonly SetAsideRecord[], options: WriteOptions): Promise<void>;
}
