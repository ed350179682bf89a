/**
 * What every source looks like: something outside that is read on from where it was, into a topic.
 *
 * @module
 */
import type { Clock } from "../clock.ts";
import type { OutgoingRecord } from "../log/publisher.ts";

/**
 * Where a source is: plain JSON, its own, at most `POSITION_BYTES_MAX` as text. Whoever reads on from it meets everything that was
 * not in the batches up to it, and nothing that was, or says itself (`skipped`) what it has met before.
 */
export type SourcePosition = { readonly [name: string]: unknown };

/** Of a position's text, in bytes. */
export const POSITION_BYTES_MAX = 512 * 1024;

/** A record for the source's topic, or another that the source made sure exists. */
export interface SourceRecord extends OutgoingRecord {
  /** Instead of the source's own topic. */
  readonly topic?: string;
  /**
   * Instead of the one that Kafka's own clients choose for the key; records without key and partition go round.
   * `all`: to each, for what readers of every partition have to know, such as that all rows are gone.
   */
  readonly partition?: number | "all";
}

/** Something that came and is no record: kept as it came, in `<topic>.rejected`. */
export interface Rejected {
  readonly raw: Uint8Array;
  /** In words: `price is "abc", not a decimal(10, 2)`. */
  readonly reason: string;
  /** Where it was: `orders.csv:17`, `GET /users page 3 item 12`. */
  readonly where: string;
}

/** What is written in one transaction with the position after it. */
export interface SourceBatch {
  readonly records: readonly SourceRecord[];
  readonly rejected?: readonly Rejected[];
  /** Read, and known to be in the topic already. */
  readonly skipped?: number;
  /** What a record becomes that its topic takes no room for. Without this such a record ends the source, until the topic takes it. */
  readonly tooLarge?: (record: SourceRecord) => Rejected;
  readonly position: SourcePosition;
}

export interface ReadOptions {
  readonly signal: AbortSignal;
  readonly clock: Clock;
  /** Ends (the iteration returns) when all is read that was there at the beginning; otherwise reads on for ever. */
  readonly isBounded: boolean;
  /** Told why it waits for the other side, and null when it goes on. */
  readonly onWaiting: (reason: string | null) => void;
}

/**
 * Something outside that is read. Bounds its own memory: the next batch is asked for when the one before is being written, so at
 * most two are held. A batch is of at most a few thousand records, or a few MiB.
 */
export interface Source extends AsyncDisposable {
  /**
   * Batches from `position` on (null: from the beginning, whatever that is for the source). A batch may have no records, only a
   * position. Outages of the other side are either waited out here (with `onWaiting`) or thrown.
   *
   * @throws UnavailableError when the other side is away: the task starts again from the last position after a pause
   * @throws ConfigError when a person has to change something first
   */
  read(position: SourcePosition | null, options: ReadOptions): AsyncIterable<SourceBatch>;
  /** Told when a batch is committed: nothing up to its position will be asked for again. */
  committed?(position: SourcePosition): void | Promise<void>;
  /** A few facts for people, such as `{ slot: "tailrace_products", walBehindBytes: 1024 }`. */
  details?(): Readonly<Record<string, string | number | boolean | null>>;
}
