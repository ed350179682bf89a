/**
 * A reader of committed records that runs while the faults happen: kafkajs with a group of its own. When its broker goes away
 * it is thrown away, and a new one goes on where it was.
 *
 * @module
 */
import { sleep } from "../e2e/harness.ts";
import { kafkaAt, type TopicRecord } from "../e2e/topic_reader.ts";

/** A consumer that fetches nothing for so long is stuck. */
const STUCK_MS = 12_000;
const AGAIN_MS = 200;
const DISCONNECT_WITHIN_MS = 3_000;

export class LiveReader implements AsyncDisposable {
  readonly #positions = new Map<number, number>();
  readonly #brokers: string;
  readonly #topic: string;
  readonly #take: (record: TopicRecord) => void;
  readonly #closing = Promise.withResolvers<void>();
  readonly #running: Promise<void>;
  #closed = false;

  constructor(brokers: string, topic: string, take: (record: TopicRecord) => void) {
    this.#brokers = brokers;
    this.#topic = topic;
    this.#take = take;
    this.#running = this.#run();
  }

  hasReached(ends: ReadonlyMap<number, number>): boolean {
    return [...ends].every(([partition, end]) => (this.#positions.get(partition) ?? 0) >= end);
  }

  get positions(): string {
    return [...this.#positions].sort(([a], [b]) => a - b).map(([partition, at]) => `${partition}:${at}`).join(" ");
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#closed = true;
    this.#closing.resolve();
    await this.#running;
  }

  async #run(): Promise<void> {
    while (!this.#closed) {
      await this.#session().catch(() => {});
      if (!this.#closed) await sleep(AGAIN_MS);
    }
  }

  /** Reads until something fails. */
  async #session(): Promise<void> {
    const consumer = kafkaAt(this.#brokers, { requestTimeout: 5_000 }).consumer({
      groupId: `live-${crypto.randomUUID()}`,
      sessionTimeout: 10_000,
      heartbeatInterval: 1_000,
      maxWaitTimeInMs: 250,
      allowAutoTopicCreation: false,
      retry: { retries: 0, restartOnFailure: () => Promise.resolve(false) },
    });
    let heardAt = performance.now();
    const failed = Promise.withResolvers<void>();
    const watch = setInterval(() => performance.now() - heardAt > STUCK_MS && failed.resolve(), 500);
    consumer.on(consumer.events.CRASH, () => failed.resolve());
    consumer.on(consumer.events.FETCH, () => heardAt = performance.now());
    consumer.on(consumer.events.END_BATCH_PROCESS, ({ payload: { partition, lastOffset } }) => {
      const next = Number(lastOffset) + 1;
      if (next > (this.#positions.get(partition) ?? 0)) this.#positions.set(partition, next);
    });
    try {
      await consumer.connect();
      await consumer.subscribe({ topic: this.#topic, fromBeginning: true });
      await consumer.run({
        autoCommit: false,
        // deno-lint-ignore require-await -- kafkajs wants a promise
        eachBatch: async ({ batch: { partition, messages } }) => {
          if (this.#closed) return;
          for (const { offset, timestamp, key, value, headers = {} } of messages) {
            const at = Number(offset);
            if (at < (this.#positions.get(partition) ?? 0)) continue;
            this.#take({ partition, offset: at, timestampMs: Number(timestamp), key, value, headers });
            this.#positions.set(partition, at + 1);
          }
        },
      });
      for (const [partition, offset] of this.#positions) {
        consumer.seek({ topic: this.#topic, partition, offset: String(offset) });
      }
      await Promise.race([failed.promise, this.#closing.promise]);
    } finally {
      clearInterval(watch);
      const late = Promise.withResolvers<void>();
      const timer = setTimeout(late.resolve, DISCONNECT_WITHIN_MS);
      await Promise.race([consumer.disconnect().catch(() => {}), late.promise]);
      clearTimeout(timer);
    }
  }
}
