import { avroType, type AvroValues } from "../pipeline/codec/avro_values.ts";
import type { Clock } from "../pipeline/clock.ts";
import { UnavailableError } from "../pipeline/errors.ts";
import type { Cluster } from "../pipeline/log/cluster.ts";
import type { LogPublisher } from "../pipeline/log/log_publisher.ts";
import type { OutgoingRecord } from "../pipeline/log/publisher.ts";
import type { LatestSchema, RegistryClient } from "../pipeline/log/registry_client.ts";
import { partitionOf } from "../pipeline/log/murmur2.ts";
import type { Ingest, IngestedRecord } from "./deps.ts";

/** How long a topic's newest schema is taken to be the newest. */
const SCHEMA_AGE_MS_MAX = 5_000;
/** Topics whose schema is remembered. */
const TOPICS_MAX = 1_000;
const WRITE_TIMEOUT_MS = 10_000;

export interface KafkaIngestOptions {
  readonly cluster: Cluster;
  readonly publisher: LogPublisher;
  readonly registry: RegistryClient;
  readonly clock: Clock;
}

/** Writes JSON records as Avro with the newest schema of `<topic>-value`, to the partition Kafka's own clients would choose. */
export function createKafkaIngest({ cluster, publisher, registry, clock }: KafkaIngestOptions): Ingest {
  const known = new Map<
    string,
    { readonly latest: LatestSchema | null; readonly values: AvroValues | null; readonly atMs: number }
  >();
  const schemaOf = async (topic: string) => {
    const held = known.get(topic);
    if (held && clock.monotonic() - held.atMs < SCHEMA_AGE_MS_MAX) return held;
    const latest = await registry.latest(`${topic}-value`);
    const found = { latest, values: latest && avroType(latest.schema), atMs: clock.monotonic() };
    if (known.size >= TOPICS_MAX) known.delete(known.keys().next().value!);
    known.set(topic, found);
    return found;
  };
  let turn = 0;
  return {
    async write(topic, records) {
      const leaders = (await cluster.leaders(topic))?.leaders;
      const { latest, values } = await schemaOf(topic);
      if (!leaders || !latest || !values) return { kind: "unknown topic" };
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
      await Promise.all([...byPartition].map(async ([partition, indexes]) => {
        const first = await publisher.publish(topic, partition, indexes.map((index) => outgoing[index]), { signal })
          .catch((error) => {
            if (!signal.aborted) throw error;
            throw new UnavailableError(
              `Kafka did not acknowledge within ${WRITE_TIMEOUT_MS / 1000} s; some records may be written`,
            );
          });
        indexes.forEach((index, i) => written[index] = { partition, offset: first + i });
      }));
      return { kind: "written", records: written };
    },
  };
}
