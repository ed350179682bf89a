/**
 * Writing records to a topic, as sinks see it: no client, no encoding, only bytes and where they go.
 *
 * @module
 */

/** A record to publish. A null value is a tombstone. */
export interface OutgoingRecord {
  readonly key: Uint8Array | null;
  readonly value: Uint8Array | null;
  /** In order; a name may occur more than once, and a value may be null. */
  readonly headers: readonly (readonly [name: string, value: Uint8Array | null])[];
  /** Milliseconds since the epoch. */
  readonly timestampMs: number;
}

/** Publishes records to partitions named by the caller. */
export interface Publisher {
  /**
   * How many partitions the topic has now.
   *
   * @throws UnavailableError when the brokers are away, or the topic does not exist (yet)
   */
  partitionCount(topic: string): Promise<number>;
  /**
   * Appends records to one partition in order, with acks=all; resolves when they are durable. May append a record twice
   * when an acknowledgement was lost.
   *
   * @throws UnavailableError when the brokers are away; some of the records may have been written
   */
  publish(
    topic: string,
    partition: number,
    records: readonly OutgoingRecord[],
    options: { readonly signal: AbortSignal },
  ): Promise<unknown>;
}
