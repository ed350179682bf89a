import { UnavailableError } from "../../pipeline/errors.ts";
import type { OutgoingRecord, Publisher } from "../../pipeline/log/publisher.ts";

/** Topics in memory that can go away, at once or after some more records. */
export class MemoryPublisher implements Publisher {
  readonly #partitions: number;
  readonly #topics = new Map<string, OutgoingRecord[][]>();
  /** Records still taken before the brokers go away. */
  remaining = Infinity;
  /** Records in the largest batch seen. */
  largestBatch = 0;

  constructor(partitions = 4) {
    this.#partitions = partitions;
  }

  topic(name: string): OutgoingRecord[][] {
    let topic = this.#topics.get(name);
    if (!topic) this.#topics.set(name, topic = Array.from({ length: this.#partitions }, () => []));
    return topic;
  }

  partitionCount(): Promise<number> {
    return this.remaining > 0 ? Promise.resolve(this.#partitions) : Promise.reject(new UnavailableError("away"));
  }

  async publish(
    topic: string,
    partition: number,
    records: readonly OutgoingRecord[],
    { signal }: { readonly signal: AbortSignal },
  ): Promise<void> {
    await Promise.resolve();
    signal.throwIfAborted();
    this.largestBatch = Math.max(this.largestBatch, records.length);
    const taken = records.slice(0, Math.max(0, this.remaining));
    this.remaining -= taken.length;
    this.topic(topic)[partition].push(...taken);
    if (taken.length < records.length) throw new UnavailableError("away");
  }
}
