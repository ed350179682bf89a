/**
 * Writing to topics so that a reader of committed records sees each thing once, as sinks see it.
 *
 * @module
 */
import type { OutgoingRecord } from "./publisher.ts";

/** Records for one partition, in order. */
export interface OutgoingPart {
  readonly topic: string;
  readonly partition: number;
  readonly records: readonly OutgoingRecord[];
}

/**
 * The one writer under a transactional id (KIP-98). Whoever claims the id later fences whoever held it: of an owner that was
 * frozen or cut off, nothing appears any more.
 */
export interface TransactionalPublisher {
  /**
   * How many partitions the topic has now.
   *
   * @throws UnavailableError when the brokers are away, or the topic does not exist (yet)
   */
  partitionCount(topic: string): Promise<number>;
  /**
   * Makes sure that this writer holds the id and that nothing of it is pending: an open transaction is aborted, a decided one
   * finished. The first call takes the id over; each further one fails when somebody else took it meanwhile. Costs nothing
   * when the last commit went through.
   *
   * @throws ConflictError when another process holds the id now
   * @throws UnavailableError when the brokers are away
   */
  claim(options: { readonly signal: AbortSignal }): Promise<void>;
  /**
   * Writes all parts in one transaction, with acks=all; resolves when it is committed, with the offset after the last record
   * of each part. Parts of the same partition are written in their order. Calls take turns.
   *
   * @throws ConflictError when another process holds the id now: nothing of this was written
   * @throws UnavailableError when it is not known whether it was committed: `claim` decides it, then read what is there
   */
  commit(parts: readonly OutgoingPart[], options: { readonly signal: AbortSignal }): Promise<readonly number[]>;
}

export interface CommittedRecord {
  readonly partition: number;
  readonly offset: number;
  readonly timestampMs: number;
  readonly key: Uint8Array | null;
  readonly value: Uint8Array | null;
  readonly headers: readonly (readonly [name: string, value: Uint8Array | null])[];
}

/** Next offset by partition. */
export type Offsets = ReadonlyMap<number, number>;

/** Reads what is committed in topics: nothing of aborted transactions, nothing undecided. */
export interface CommittedLog {
  /**
   * The first offsets that are there, and the offsets after the last committed record.
   *
   * @throws UnavailableError when the brokers are away, or the topic does not exist (yet)
   */
  offsets(topic: string, position: "earliest" | "latest"): Promise<Offsets>;
  /**
   * Calls `take` for every committed record from `from` up to the end at the time of the call, in order within each partition,
   * and resolves with where it stopped. What lies before the first offset that is there is gone, and is not missed; a batch that
   * cannot be read is passed over. `take` returns false to end the reading of that record's partition.
   *
   * With `isWhole` the end is that of all that was written, committed or not: transactions of others that are open there, and
   * hide what was committed after them, are waited for.
   *
   * @throws UnavailableError when the brokers are away, or such a transaction stays open
   */
  read(
    topic: string,
    from: Offsets,
    options: {
      readonly take: (record: CommittedRecord) => boolean | void;
      readonly signal: AbortSignal;
      readonly isWhole?: boolean;
    },
  ): Promise<Offsets>;
}
