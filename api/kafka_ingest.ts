import type { Clock } from "../pipeline/clock.ts";
import { ConfigError, UnavailableError } from "../pipeline/errors.ts";
import type { Cluster } from "../pipeline/log/cluster.ts";
import { BatchTooLargeError } from "../pipeline/log/kafka_errors.ts";
import type { LogPublisher } from "../pipeline/log/log_publisher.ts";
import type { OutgoingRecord } from "../pipeline/log/publisher.ts";
import type { RegistryClient } from "../pipeline/log/registry_client.ts";
import { partitionOf } from "../pipeline/log/murmur2.ts";
import { createTopicSchemas } from "../pipeline/ingest/topic_schemas.ts";
import type { Ingest, IngestedRecord } from "./deps.ts";

const WRITE_TIMEOUT_MS = 10_000;

export interface KafkaIngestOptions {
  readonly cluster: Cluster;
  readonly publisher: LogPublisher;
  readonly registry: RegistryClient;
  readonly clock: Clock;
}

/** Writes JSON records as Avro with the newest schema of `<topic>-value`, to the partition Kafka's own clients would choose. */
export function createKafkaIngest({ cluster, publisher, registry, clock }: KafkaIngestOptions): Ingest {
  const schemaOf = createTopicSchemas(registry, clock);
  let turn = 0;
  return {
    async write(topic, records) {
      const leaders = (await cluster.leaders(topic))?.leaders;
      const found = await schemaOf(topic);
      if (!leaders || found.kind === "none") return { kind: "unknown topic" };
      if (found.kind === "unusable") return { kind: "unusable schema", problem: found.problem };
      const { latest, values } = found;
      const faults = records.flatMap(({ value }, index) =>
        values.validate(value).map(({ path, problem }) => ({ index, problem: path ? `${path}: ${problem}` : problem }))
      );
      if (faults.length > 0) return { kind: "refused", faults };
      const byPartition = new Map<number, number[]>();
      const outgoing = records.map(({ key, value }, index): OutgoingRecord => {
        const bytes = key === undefined || key === null ? null : new TextEncoder().encode(key);
        const partition = bytes ? partitionOf(bytes, leaders.length) : turn++ % leaders.length;
        const list = byPartition.get(partition);
        if (list) list.push(index);
        else byPartition.set(partition, [index]);
        return { key: bytes, value: values.encodeFramed(latest.id, value), headers: [], timestampMs: clock.now() };
      });
      const written: IngestedRecord[] = [];
      const signal = AbortSignal.timeout(WRITE_TIMEOUT_MS);
      try {
        await Promise.all([...byPartition].map(async ([partition, indexes]) => {
          const batch = indexes.map((index) => outgoing[index]);
          const first = await publisher.publish(topic, partition, batch, { signal });
          indexes.forEach((index, i) => written[index] = { partition, offset: first + i });
        }));
      } catch (error) {
        if (error instanceof BatchTooLargeError) return { kind: "too large", problem: error.message };
        // What the broker's settings forbid is no fault of the request, and no bug here.
        if (error instanceof ConfigError) throw new UnavailableError(error.message, { cause: error });
        if (!signal.aborted) throw error;
        throw new UnavailableError(
          `Kafka did not acknowledge within ${WRITE_TIMEOUT_MS / 1000} s; some records may be written`,
        );
      }
      return { kind: "written", records: written };
    },
  };
}
