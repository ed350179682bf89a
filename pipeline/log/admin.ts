import { type Admin, Kafka, logLevel, type SASLOptions } from "kafkajs";
import "./kafkajs_timers.ts";
import { ConfigError, UnavailableError } from "../errors.ts";
import type { ClusterOptions } from "./open_connection.ts";

/** Tries of a request before it counts as unavailable; the caller waits and tries again by its own rules. */
const RETRIES = 2;

/** Up to the largest request that brokers take by default: a record grows by its headers when it is set aside. */
const ARCHIVE = [{ name: "retention.ms", value: "-1" }, { name: "max.message.bytes", value: "100000000" }];

/** Apache Kafka 4 takes no smaller ones. */
const SEGMENT_BYTES_MIN = 1024 * 1024;

const COMPACTED = [{ name: "cleanup.policy", value: "compact" }];

function keepsNewest(bytes: number): { name: string; value: string }[] {
  return [
    { name: "retention.ms", value: "-1" },
    { name: "retention.bytes", value: String(bytes) },
    // Whole segments are deleted.
    { name: "segment.bytes", value: String(Math.max(SEGMENT_BYTES_MIN, bytes >> 3)) },
  ];
}

/** A topic to make; where a number is not given the broker's default holds. */
export interface TopicSpec {
  readonly topic: string;
  readonly partitions?: number;
  /** Keeps what records say of others: until somebody deletes it, however old its timestamps are, and however large it is. */
  readonly isArchive?: boolean;
  /** Keeps the newest record of each key for good. */
  readonly isCompacted?: boolean;
  /** Keeps at least its newest records of so many bytes, however old. */
  readonly keepsBytes?: number;
}

/** Control plane: topics, through kafkajs. One call, one connection. */
export class KafkaAdmin {
  readonly #kafka: Kafka;

  constructor(brokers: readonly string[], kafka: Pick<ClusterOptions, "ssl" | "sasl">, clientId: string) {
    const sasl = kafka.sasl && { ...kafka.sasl, mechanism: kafka.sasl.mechanism.toLowerCase() };
    this.#kafka = new Kafka({
      clientId,
      brokers: [...brokers],
      ssl: kafka.ssl,
      sasl: (sasl ?? undefined) as SASLOptions | undefined,
      logLevel: logLevel.NOTHING,
      connectionTimeout: 5_000,
      requestTimeout: 10_000,
      retry: { retries: RETRIES, initialRetryTime: 100 },
    });
  }

  /** Makes the topics that are not there yet; the others are left as they are. @throws UnavailableError when no broker answers */
  async ensureTopics(topics: readonly TopicSpec[]): Promise<void> {
    await this.#with(async (admin) => {
      const existing = new Set(await admin.listTopics());
      const missing = topics.filter(({ topic }) => !existing.has(topic));
      if (missing.length === 0) return;
      await admin.createTopics({
        waitForLeaders: true,
        topics: missing.map(({ topic, partitions, isArchive, isCompacted, keepsBytes }) => ({
          topic,
          numPartitions: partitions ?? -1,
          replicationFactor: -1,
          configEntries: isArchive
            ? ARCHIVE
            : isCompacted
            ? COMPACTED
            : keepsBytes !== undefined
            ? keepsNewest(keepsBytes)
            : [],
        })),
      });
    });
  }

  /** The names of all topics. @throws UnavailableError when no broker answers */
  async topics(): Promise<string[]> {
    return await this.#with((admin) => admin.listTopics());
  }

  async #with<T>(work: (admin: Admin) => Promise<T>): Promise<T> {
    const admin = this.#kafka.admin();
    try {
      await admin.connect();
      return await work(admin);
    } catch (error) {
      const { name, message } = error as Error;
      // What the package does when a connection ends while it asks what there is: it takes no answer for one.
      const isCut = error instanceof TypeError && /\btopicMetadata\b/.test(message);
      if (isCut) throw new UnavailableError("Kafka: the connection ended", { cause: error });
      if (!name.startsWith("KafkaJS")) throw error;
      if (/sasl|authenticat/i.test(message)) throw new ConfigError({ where: "KAFKA_SASL_USERNAME", problem: message });
      throw new UnavailableError(`Kafka: ${message}`, { cause: error });
    } finally {
      await admin.disconnect().catch(() => {});
    }
  }
}
