import { startBrokerWorker } from "../broker/kafka/mod.ts";
import { startPostgres } from "../broker/postgres.ts";
import { startRegistry } from "../broker/registry/mod.ts";
import { systemClock } from "../pipeline/clock.ts";
import { KafkaAdmin } from "../pipeline/log/admin.ts";
import { BatchingProducer } from "../pipeline/log/batching_producer.ts";
import { Cluster } from "../pipeline/log/cluster.ts";
import { Producer } from "../pipeline/log/producer.ts";
import { createRegistryClient } from "../pipeline/log/registry_client.ts";
import type { AvroSchema } from "../pipeline/plan/plan.ts";
import { postgresClient } from "../pipeline/postgres_client.ts";
import { SCHEMA, Workload } from "./workload.ts";

export const PARTITIONS = 4;
/** Records written before the event loop gets a turn, which takes about a millisecond. */
const BURST = 20_000;
export const NO_SECURITY = { ssl: false, sasl: null } as const;

/** What the cases run against: temporary servers of their own, unless brokers or a database were named. */
export interface Servers extends AsyncDisposable {
  readonly brokers: readonly string[];
  /** Whether the broker is the embedded one, whose memory and time count as this process's. */
  readonly isEmbedded: boolean;
  readonly registryUrl: string;
  readonly schemaId: number;
  readonly databaseUrl: string;
  readonly folder: string;
}

/** Starts PostgreSQL, the registry and, unless `brokers` are named, the embedded broker in a temporary folder. */
export async function startServers(
  brokers: readonly string[],
  options: { readonly databaseUrl?: string } = {},
): Promise<Servers> {
  await using starting = new AsyncDisposableStack();
  const folder = await Deno.makeTempDir({ prefix: "tailrace-bench-" });
  // PostgreSQL may run as another user, who has to get in.
  await Deno.chmod(folder, 0o755);
  starting.defer(() => Deno.remove(folder, { recursive: true }));
  const at = { host: "127.0.0.1", port: 0 };
  const registry = starting.use(await startRegistry({ ...at, dataDir: `${folder}/registry` }));
  const databaseUrl = options.databaseUrl ??
    starting.use(await startPostgres({ ...at, dataDir: `${folder}/postgres` })).url;
  let given = brokers;
  if (brokers.length === 0) {
    const broker = starting.use(await startBrokerWorker({ ...at, dataDir: `${folder}/broker` }));
    given = [`${broker.host}:${broker.port}`];
  }
  const schemaId = await createRegistryClient({ url: registry.url }).register("bench.tx-value", SCHEMA as AvroSchema);
  const parts = starting.move();
  return {
    brokers: given,
    isEmbedded: brokers.length === 0,
    registryUrl: registry.url,
    schemaId,
    databaseUrl,
    folder,
    [Symbol.asyncDispose]: () => parts.disposeAsync(),
  };
}

/** Makes a topic of four partitions if it is not there; says whether it was. */
export async function ensureTopic({ brokers }: Servers, topic: string): Promise<void> {
  await new KafkaAdmin(brokers, NO_SECURITY, "tailrace-bench").ensureTopics([{ topic, partitions: PARTITIONS }]);
}

/** Produces the race's first `count` transactions to a topic, at full speed. */
export async function load({ brokers, schemaId }: Servers, topic: string, count: number): Promise<void> {
  await using cluster = new Cluster(brokers, { clientId: "tailrace-bench", ...NO_SECURITY });
  const stop = new AbortController();
  const producer = new Producer(cluster, { clock: systemClock, signal: stop.signal, acks: -1 });
  const batches = new BatchingProducer(producer, topic);
  const workload = new Workload(schemaId);
  const partitionOfAccount = workload.partitions(await producer.partitionCount(topic));
  for (let i = 0; i < count; i++) {
    workload.next();
    const partition = partitionOfAccount[workload.account];
    workload.write(batches.begin(partition, workload.eventTimeMs, workload.keys[workload.account]));
    batches.end(partition);
    if (i % BURST === 0) {
      await batches.ready();
      await new Promise((resolve) => setTimeout(resolve, 0));
    }
  }
  await batches.drain();
}

/** Drops a pipeline's table. */
export async function dropTable({ databaseUrl }: Servers, table: string): Promise<void> {
  const sql = postgresClient(databaseUrl);
  try {
    await sql`DROP VIEW IF EXISTS bi.${sql(table)}`.catch(() => {});
    await sql`DROP TABLE IF EXISTS ${sql(table)} CASCADE`;
    await sql`CHECKPOINT`;
  } finally {
    await sql.end();
  }
}
