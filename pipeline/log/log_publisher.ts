import { ByteWriter } from "../codec/byte_writer.ts";
import { RecordBatchWriter } from "./record_batch_writer.ts";
import type { Producer } from "./producer.ts";
import type { OutgoingRecord, Publisher } from "./publisher.ts";

/** Publishes the records of each call as one batch through an idempotent producer. */
export class LogPublisher implements Publisher {
  readonly #producer: Producer;

  constructor(producer: Producer) {
    this.#producer = producer;
  }

  partitionCount(topic: string): Promise<number> {
    return this.#producer.partitionCount(topic);
  }

  /** Resolves with the offset of the first record, -1 for none. */
  async publish(
    topic: string,
    partition: number,
    records: readonly OutgoingRecord[],
    { signal }: { readonly signal: AbortSignal },
  ): Promise<number> {
    if (records.length === 0) return -1;
    signal.throwIfAborted();
    const out = new ByteWriter(64 * 1024);
    const batch = new RecordBatchWriter(out);
    batch.begin();
    for (const record of records) batch.append(record.timestampMs, record);
    const aborted = Promise.withResolvers<never>();
    const onAbort = () => aborted.reject(signal.reason);
    signal.addEventListener("abort", onAbort, { once: true });
    try {
      return await Promise.race([this.#producer.send(topic, partition, batch.finish()), aborted.promise]);
    } finally {
      signal.removeEventListener("abort", onAbort);
    }
  }
}
