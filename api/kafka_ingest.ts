import { avroType, type AvroValues } from "../pipeline/codec/avro_values.ts";
import type { Clock } from "../pipeline/clock.ts";
import { ConfigError, MalformedRecordError, UnavailableError } from "../pipeline/errors.ts";
import type { Cluster } from "../pipeline/log/cluster.ts";
import { BatchTooLargeError } from "../pipeline/log/kafka_errors.ts";
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
  const known = new Map<string, Known>();
  const schemaOf = async (topic: string): Promise<Known> => {
    const held = known.get(topic);
    if (held && clock.monotonic() - held.atMs < SCHEMA_AGE_MS_MAX) return held;
    const found = { ...await readSchema(registry, topic), atMs: clock.monotonic() };
    if (known.size >= TOPICS_MAX) known.delete(known.keys().next().value!);
    known.set(topic, found);
    return found;
  };
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

type Found =
  | { readonly kind: "none" }
  | { readonly kind: "unusable"; readonly problem: string }
  | { readonly kind: "schema"; readonly latest: LatestSchema; readonly values: AvroValues };

type Known = Found & { readonly atMs: number };

/** The newest value schema of a topic, and what reads and writes it. @throws UnavailableError when the registry is away */
async function readSchema(registry: RegistryClient, topic: string): Promise<Found> {
  try {
    const latest = await registry.latest(`${topic}-value`);
    return latest ? { kind: "schema", latest, values: avroType(latest.schema) } : { kind: "none" };
  } catch (error) {
    if (!(error instanceof MalformedRecordError || error instanceof ConfigError)) throw error;
    return { kind: "unusable", problem: error.message };
  }
}
