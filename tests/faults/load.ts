/**
 * The producer of the runs: kafkajs, which shares no code with the pipeline's own. It sends each record once, whatever becomes
 * of it; what was not acknowledged is in the topic or not, and the topic tells.
 *
 * @module
 */
import { Buffer } from "node:buffer";
import { CompressionTypes, Partitioners, type Producer } from "kafkajs";
import { sleep } from "../e2e/harness.ts";
import { kafkaAt } from "../e2e/topic_reader.ts";
import type { Acknowledged } from "./acknowledged.ts";
import type { MadeRecord, Recipe } from "./records.ts";

/** Time between two sends. */
const BEAT_MS = 40;
const AFTER_FAILURE_MS = 60;
const ANSWER_WITHIN_MS = 5_000;

export interface LoadOptions {
  readonly brokers: string;
  readonly topic: string;
  readonly recipe: Recipe;
  readonly acknowledged: Acknowledged;
  /** Records a second. */
  readonly rate: number;
}

export class Load implements AsyncDisposable {
  readonly #options: LoadOptions;
  readonly acknowledged: Acknowledged;
  rate: number;
  recipe: Recipe;
  /** The number of the next record. */
  next = 0;
  /** Sends without an acknowledgement. */
  unknown = 0;
  /** What each partition holds at least, by what was acknowledged. */
  readonly ends = new Map<number, number>();
  #producer: Producer | null = null;
  #paused = true;
  #closed = false;
  #busy: Promise<unknown> = Promise.resolve();
  #loop: Promise<void>;

  constructor(options: LoadOptions) {
    this.#options = options;
    this.acknowledged = options.acknowledged;
    this.rate = options.rate;
    this.recipe = options.recipe;
    this.#loop = this.#run();
  }

  resume(): void {
    this.#paused = false;
  }

  /** Resolves when nothing is on its way any more. */
  async pause(): Promise<void> {
    this.#paused = true;
    await this.#busy;
  }

  /** Sends the next `count` records at once, beside the load or while it is paused; false when some were not acknowledged. */
  async send(count: number, options: { readonly gzip?: boolean } = {}): Promise<boolean> {
    const records = Array.from({ length: count }, () => this.recipe(this.next++));
    const sent = this.#busy.then(() => this.#send(records, options));
    this.#busy = sent;
    return await sent;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#closed = true;
    await this.#loop;
    await this.#busy;
    await this.#drop();
  }

  async #run(): Promise<void> {
    let owed = 0;
    let last = performance.now();
    while (!this.#closed) {
      await sleep(BEAT_MS);
      const now = performance.now();
      owed = Math.min(owed + (this.rate * (now - last)) / 1000, this.rate);
      last = now;
      if (this.#paused) owed = 0;
      const count = Math.floor(owed);
      if (count === 0) continue;
      owed -= count;
      if (!await this.send(count)) await sleep(AFTER_FAILURE_MS);
    }
  }

  async #send(records: readonly MadeRecord[], { gzip = false }): Promise<boolean> {
    const { brokers, topic } = this.#options;
    try {
      if (!this.#producer) {
        const producer = kafkaAt(brokers, { requestTimeout: 10_000 }).producer({
          createPartitioner: Partitioners.DefaultPartitioner,
          allowAutoTopicCreation: false,
          retry: { retries: 0 },
        });
        this.#producer = producer;
        await producer.connect();
      }
      const answers = await this.#producer.send({
        topic,
        acks: -1,
        timeout: ANSWER_WITHIN_MS,
        compression: gzip ? CompressionTypes.GZIP : CompressionTypes.None,
        messages: records.map(({ n, partition, key, value }) => ({
          partition,
          key: Buffer.from(key.buffer, key.byteOffset, key.byteLength),
          value: value && Buffer.from(value.buffer, value.byteOffset, value.byteLength),
          headers: { n: String(n) },
        })),
      });
      const parts = Map.groupBy(records, ({ partition }) => partition);
      for (const { partition, errorCode, baseOffset } of answers) {
        const part = parts.get(partition)!;
        if (errorCode !== 0) {
          this.unknown += part.length;
          continue;
        }
        await this.acknowledged.note(topic, Number(baseOffset), part);
        this.ends.set(partition, Math.max(this.ends.get(partition) ?? 0, Number(baseOffset) + part.length));
      }
      return true;
    } catch {
      this.unknown += records.length;
      await this.#drop();
      return false;
    }
  }

  async #drop(): Promise<void> {
    const producer = this.#producer;
    this.#producer = null;
    await producer?.disconnect().catch(() => {});
  }
}
