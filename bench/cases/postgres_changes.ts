import { systemClock } from "../../pipeline/clock.ts";
import { KafkaAdmin } from "../../pipeline/log/admin.ts";
import { Cluster } from "../../pipeline/log/cluster.ts";
import { createCommittedLog } from "../../pipeline/log/committed_log.ts";
import { createRegistryClient } from "../../pipeline/log/registry_client.ts";
import { createTransactionalPublisher } from "../../pipeline/log/transactional_publisher.ts";
import { postgresClient } from "../../pipeline/postgres_client.ts";
import { createSecrets } from "../../pipeline/secrets.ts";
import { postgresChanges } from "../../pipeline/sources/postgres_changes/definition.ts";
import { postgresChangesKind } from "../../pipeline/sources/postgres_changes/kind.ts";
import { positionTopicSpec } from "../../pipeline/sources/positions.ts";
import { runSource } from "../../pipeline/sources/source_task.ts";
import { type Measured, Meter, round } from "../measure.ts";
import { NO_SECURITY, PARTITIONS, type Servers } from "../servers.ts";

const ROWS = 200_000;
/** So many transactions update every row once. */
const TRANSACTIONS = 200;
const SCHEMA = "bench_changes";

/**
 * A table's changes from the server's log to the broker, each batch in a transaction with its position: first its rows as they
 * are there, then an update of each, which wait in the log when the measuring begins.
 */
export async function postgresChangesCase(servers: Servers): Promise<Measured> {
  const { brokers, databaseUrl, registryUrl } = servers;
  const name = `bench_${Date.now()}`;
  const sql = postgresClient(databaseUrl);
  const table = `${SCHEMA}.products`;
  const topic = `bench.${table}`;
  await using cluster = new Cluster(brokers, { clientId: "tailrace-bench", ...NO_SECURITY });
  const admin = new KafkaAdmin(brokers, NO_SECURITY, "tailrace-bench");
  await admin.ensureTopics([positionTopicSpec(name), { topic, partitions: PARTITIONS }]);
  const spec = postgresChanges({ tables: [table] });
  const log = createCommittedLog(cluster, { clock: systemClock });
  const before = await records();

  async function records(): Promise<number> {
    const [first, last] = [await log.offsets(topic, "earliest"), await log.offsets(topic, "latest")];
    let count = 0;
    await log.read(topic, first, { take: () => void count++, signal: new AbortController().signal });
    return last.size === 0 ? 0 : count;
  }

  async function run(): Promise<number> {
    const began = performance.now();
    const stop = new AbortController();
    await runSource({
      name,
      topic: null,
      rejectedTopic: topic,
      clock: systemClock,
      publisher: createTransactionalPublisher(cluster, {
        transactionalId: name,
        clock: systemClock,
        signal: stop.signal,
      }),
      log,
      open: () =>
        postgresChangesKind.open(spec, {
          plan: {
            name,
            from: spec,
            to: { kind: "topics", prefix: "bench" },
            into: null,
            limitPerSecond: null,
            partitions: PARTITIONS,
          },
          secrets: createSecrets({ env: () => undefined, onFound: () => {} }),
          registry: createRegistryClient({ url: registryUrl }),
          schemaId: 0,
          ensureTopics: (topics) => admin.ensureTopics(topics),
          clock: systemClock,
          log: () => {},
          folder: servers.folder,
          databaseUrl,
          own: { brokers, cluster: { clientId: "tailrace-bench", ...NO_SECURITY }, registryUrl },
        }),
      limit: () => Promise.resolve(),
      onWaiting: () => {},
      onState: () => {},
    }, { signal: stop.signal, isBounded: true });
    stop.abort();
    return (performance.now() - began) / 1000;
  }

  try {
    await sql.unsafe(`
      DROP SCHEMA IF EXISTS ${SCHEMA} CASCADE;
      CREATE SCHEMA ${SCHEMA};
      CREATE TABLE ${table} (
        id bigint PRIMARY KEY, name text NOT NULL, category text NOT NULL, price numeric(10, 2) NOT NULL, stock int NOT NULL,
        is_sold boolean NOT NULL, rating double precision, last_updated timestamptz NOT NULL
      );
      INSERT INTO ${table} SELECT i, 'product number ' || i, 'category ' || i % 20, i % 10000 / 100.0, i % 500, i % 3 > 0,
        i % 50 / 10.0, now() FROM generate_series(1, ${ROWS}) i;
      CHECKPOINT`);
    const snapshotSeconds = await run();
    for (let i = 0; i < TRANSACTIONS; i++) {
      await sql.unsafe(`
        UPDATE ${table} SET price = price + 1, stock = stock + 1, last_updated = now() WHERE id % ${TRANSACTIONS} = ${i}`);
    }
    const meter = new Meter();
    const seconds = await run();
    const measured = meter.stop("postgres-changes", ROWS, seconds);
    const written = await records() - before;
    if (written !== 2 * ROWS) throw new Error(`${written} records are in the topic instead of ${2 * ROWS}`);
    return {
      ...measured,
      snapshot_rows_per_s: Math.round(ROWS / snapshotSeconds),
      snapshot_s: round(snapshotSeconds, 2),
    };
  } finally {
    await sql`SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE slot_name = ${`tailrace_${name}`}`
      .catch(() => {});
    await sql.unsafe(`DROP PUBLICATION IF EXISTS tailrace_${name}; DROP SCHEMA IF EXISTS ${SCHEMA} CASCADE`);
    await sql.end();
  }
}
