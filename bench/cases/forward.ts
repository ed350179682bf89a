import { systemClock } from "../../pipeline/clock.ts";
import { KafkaAdmin } from "../../pipeline/log/admin.ts";
import { Cluster } from "../../pipeline/log/cluster.ts";
import { createCommittedLog } from "../../pipeline/log/committed_log.ts";
import { createRegistryClient } from "../../pipeline/log/registry_client.ts";
import { createTransactionalPublisher } from "../../pipeline/log/transactional_publisher.ts";
import { kafkaTopics } from "../../pipeline/mod.ts";
import { kafkaTopicsKind } from "../../pipeline/sources/kafka_topics/kind.ts";
import { positionTopicSpec } from "../../pipeline/sources/positions.ts";
import { runSource } from "../../pipeline/sources/source_task.ts";
import { type Measured, Meter } from "../measure.ts";
import { ensureTopic, load, NO_SECURITY, PARTITIONS, type Servers } from "../servers.ts";

const RECORDS = 2_000_000;

/** A full topic into another of the same cluster, each batch in one transaction with its position; counted there afterwards. */
export async function forward(servers: Servers): Promise<Measured> {
  const { brokers, registryUrl } = servers;
  const name = `bench_forward_${Date.now()}`;
  const topic = `bench.from.${Date.now()}`;
  const cluster = { clientId: "tailrace-bench", ...NO_SECURITY };
  await ensureTopic(servers, topic);
  await load(servers, topic, RECORDS);
  await using target = new Cluster(brokers, cluster);
  const admin = new KafkaAdmin(brokers, NO_SECURITY, cluster.clientId);
  await admin.ensureTopics([positionTopicSpec(name), { topic: `${name}.rejected`, partitions: 1 }]);
  const spec = kafkaTopics({ topics: [topic] });
  const stop = new AbortController();
  const plan = {
    name,
    from: spec,
    to: { kind: "topics", prefix: name },
    into: null,
    limitPerSecond: null,
    partitions: PARTITIONS,
  } as const;
  const log = createCommittedLog(target, { clock: systemClock });
  const meter = new Meter();
  await runSource({
    name,
    topic: null,
    rejectedTopic: `${name}.rejected`,
    clock: systemClock,
    publisher: createTransactionalPublisher(target, {
      transactionalId: name,
      clock: systemClock,
      signal: stop.signal,
    }),
    log,
    open: () =>
      kafkaTopicsKind.open(spec, {
        plan,
        secrets: { find: () => null, get: () => "" },
        registry: createRegistryClient({ url: registryUrl }),
        schemaId: 0,
        ensureTopics: (topics) => admin.ensureTopics(topics),
        clock: systemClock,
        log: (_, message) => console.error(message),
        folder: servers.folder,
        databaseUrl: servers.databaseUrl,
        own: { brokers, cluster, registryUrl },
      }),
    limit: () => Promise.resolve(),
    onWaiting: () => {},
    onState: () => {},
  }, { signal: stop.signal, isBounded: true });
  const measured = meter.stop("forward", RECORDS);
  stop.abort();
  let found = 0;
  const copy = `${name}.${topic}`;
  await log.read(copy, await log.offsets(copy, "earliest"), {
    take: () => void found++,
    signal: new AbortController().signal,
  });
  if (found !== RECORDS) throw new Error(`${found} records were forwarded instead of ${RECORDS}`);
  return measured;
}
