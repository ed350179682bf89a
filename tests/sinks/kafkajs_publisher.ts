import kafkajs, { type Producer } from "kafkajs";
import { UnavailableError } from "../../pipeline/errors.ts";
import type { OutgoingRecord, Publisher } from "../../pipeline/log/publisher.ts";

const { CompressionTypes, Kafka, KafkaJSError, logLevel, Partitioners } = kafkajs;

/** A client that does not say on the console that brokers are away. */
export function quietKafka(brokers: readonly string[], retries = 5): kafkajs.Kafka {
  return new Kafka({
    brokers: [...brokers],
    clientId: "sink-test",
    logLevel: logLevel.NOTHING,
    connectionTimeout: 1_000,
    requestTimeout: 5_000,
    retry: { retries, initialRetryTime: 50 },
  });
}

/** Publishes through kafkajs: a client that is not ours, as a check on what sinks hand over. */
export class KafkajsPublisher implements Publisher, AsyncDisposable {
  readonly #kafka: kafkajs.Kafka;
  #producer: Producer | null = null;

  constructor(brokers: readonly string[]) {
    this.#kafka = quietKafka(brokers, 0);
  }

  async partitionCount(topic: string): Promise<number> {
    const admin = this.#kafka.admin();
    try {
      await admin.connect();
      const { topics } = await admin.fetchTopicMetadata({ topics: [topic] });
      return topics[0].partitions.length;
    } catch (error) {
      throw sorted(error);
    } finally {
      await admin.disconnect();
    }
  }

  async publish(
    topic: string,
    partition: number,
    records: readonly OutgoingRecord[],
    { signal }: { readonly signal: AbortSignal },
  ): Promise<void> {
    signal.throwIfAborted();
    try {
      if (!this.#producer) {
        const producer = this.#kafka.producer({ createPartitioner: Partitioners.DefaultPartitioner });
        await producer.connect();
        this.#producer = producer;
      }
      await this.#producer.send({
        topic,
        acks: -1,
        compression: CompressionTypes.None,
        messages: records.map(({ key, value, headers, timestampMs }) => ({
          partition,
          key: key && Buffer.from(key),
          value: value && Buffer.from(value),
          timestamp: String(timestampMs),
          headers: headerObject(headers),
        })),
      });
    } catch (error) {
      await this[Symbol.asyncDispose]();
      throw sorted(error);
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const producer = this.#producer;
    this.#producer = null;
    await producer?.disconnect();
  }
}

/** kafkajs takes headers by name, several values of one name as a list. */
function headerObject(headers: OutgoingRecord["headers"]): Record<string, Buffer[]> {
  const object: Record<string, Buffer[]> = {};
  for (const [name, value] of headers) (object[name] ??= []).push(Buffer.from(value ?? new Uint8Array(0)));
  return object;
}

/** With no retries of its own kafkajs wraps what it would have retried. */
function sorted(error: unknown): unknown {
  for (let cause = error; cause instanceof KafkaJSError; cause = (cause as Error).cause) {
    if (cause.retriable) return new UnavailableError(cause.message);
  }
  return error;
}
