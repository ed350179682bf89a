import { ByteWriter } from "../codec/byte_writer.ts";
import type { HeaderList } from "./record_batch_writer.ts";
import { RecordBatchWriter } from "./record_batch_writer.ts";
import type { Producer } from "./producer.ts";

/** A batch is sent when it has this many bytes; brokers take 1 MiB by default. */
const BATCH_BYTES = 512 * 1024;
/** Batches of all partitions on their way; `ready` waits at this. */
const OUTSTANDING_MAX = 64;

interface OpenBatch {
  readonly out: ByteWriter;
  readonly writer: RecordBatchWriter;
}

/**
 * Gathers records into one open batch per partition and sends the full ones. For sources that write much: values are written in
 * place, buffers are used again.
 *
 *     const out = producer.begin(partition, timestampMs, key);
 *     ... write the value to out ...
 *     producer.end(partition);
 */
export class BatchingProducer {
  readonly #producer: Producer;
  readonly #topic: string;
  readonly #open: OpenBatch[] = [];
  readonly #spare: OpenBatch[] = [];
  readonly #outstanding = new Set<Promise<void>>();
  #failure: Error | null = null;
  /** Records acknowledged so far. */
  acknowledged = 0;

  constructor(producer: Producer, topic: string) {
    this.#producer = producer;
    this.#topic = topic;
  }

  /** Starts a record; the caller writes its value to what is returned. */
  begin(partition: number, timestampMs: number, key: Uint8Array | null): ByteWriter {
    const batch = this.#open[partition] ??= this.#fresh();
    if (batch.writer.count === 0) batch.writer.begin();
    batch.writer.beginRecord(timestampMs, key);
    return batch.out;
  }

  /** Ends the record begun in the partition, and sends the batch when it is full. */
  end(partition: number, headers?: HeaderList): void {
    const { writer } = this.#open[partition];
    writer.endRecord(headers);
    if (writer.size >= BATCH_BYTES) this.#send(partition);
  }

  /** Sends what is open. Does not wait for acknowledgements. */
  flush(): void {
    for (let partition = 0; partition < this.#open.length; partition++) {
      if (this.#open[partition] && this.#open[partition].writer.count > 0) this.#send(partition);
    }
  }

  /** Resolves when there is room for more. @throws UnavailableError when a batch could not be delivered */
  async ready(): Promise<void> {
    while (this.#outstanding.size >= OUTSTANDING_MAX) await Promise.race(this.#outstanding);
    if (this.#failure) throw this.#failure;
  }

  /** Sends what is open and resolves when all is acknowledged. @throws UnavailableError when a batch could not be delivered */
  async drain(): Promise<void> {
    this.flush();
    await Promise.all(this.#outstanding);
    if (this.#failure) throw this.#failure;
  }

  #send(partition: number): void {
    const batch = this.#open[partition];
    this.#open[partition] = this.#fresh();
    const { count } = batch.writer;
    const sent = this.#producer.send(this.#topic, partition, batch.writer.finish()).then(
      () => {
        this.acknowledged += count;
        this.#spare.push(batch);
      },
      (error) => {
        this.#failure ??= error;
      },
    ).finally(() => this.#outstanding.delete(sent));
    this.#outstanding.add(sent);
  }

  #fresh(): OpenBatch {
    const spare = this.#spare.pop();
    if (spare) {
      spare.out.clear();
      spare.writer.reset();
      return spare;
    }
    const out = new ByteWriter(64 * 1024);
    return { out, writer: new RecordBatchWriter(out) };
  }
}
