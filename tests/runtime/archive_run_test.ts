import assert from "node:assert/strict";
import { startBroker } from "../../broker/kafka/mod.ts";
import { startRegistry } from "../../broker/registry/mod.ts";
import { type Clock, systemClock } from "../../pipeline/clock.ts";
import { avroType } from "../../pipeline/codec/avro_values.ts";
import { ConflictError, UnavailableError } from "../../pipeline/errors.ts";
import { KafkaAdmin } from "../../pipeline/log/admin.ts";
import { Cluster } from "../../pipeline/log/cluster.ts";
import { LogPublisher } from "../../pipeline/log/log_publisher.ts";
import { Producer } from "../../pipeline/log/producer.ts";
import { createRegistryClient } from "../../pipeline/log/registry_client.ts";
import { ArchiveRun, type ArchiveTask } from "../../pipeline/runtime/archive_run.ts";
import { LakeDatabase } from "../../pipeline/sinks/lake/database.ts";
import { keyOf } from "../../pipeline/sinks/lake/delta/data_path.ts";
import { createDiskStore } from "../../pipeline/sinks/lake/disk_store.ts";
import type { Lake } from "../../pipeline/sinks/lake/lake.ts";
import type { ObjectStore } from "../../pipeline/sinks/lake/object_store.ts";
import { openLake } from "../../pipeline/sinks/lake/open_lake.ts";
import { readFilesSql } from "../../pipeline/sinks/lake/parquet_files.ts";
import { literal } from "../../pipeline/sql_text.ts";

const SCHEMA = {
  type: "record",
  name: "E",
  fields: [{ name: "n", type: "long" }, { name: "at", type: { type: "long", logicalType: "timestamp-millis" } }],
} as const;
const PARTITIONS = 3;
const KAFKA = { ssl: false, sasl: null } as const;

interface Setup extends AsyncDisposable {
  readonly task: ArchiveTask;
  readonly lakeFolder: string;
  /** Writes so many further records, n counting up. */
  produce(count: number): Promise<void>;
}

async function setUp(): Promise<Setup> {
  const parts = new AsyncDisposableStack();
  const folder = await Deno.makeTempDir({ prefix: "tailrace-archive-" });
  parts.defer(() => Deno.remove(folder, { recursive: true }));
  const broker = await startBroker({ host: "127.0.0.1", port: 0, dataDir: `${folder}/broker` });
  parts.defer(() => broker.close());
  const registry = parts.use(await startRegistry({ host: "127.0.0.1", port: 0, dataDir: `${folder}/registry` }));
  const brokers = [`127.0.0.1:${broker.port}`];
  const cluster = parts.use(new Cluster(brokers, { clientId: "test", ...KAFKA }));
  await new KafkaAdmin(brokers, KAFKA, "test").ensureTopics([{ topic: "events", partitions: PARTITIONS }]);
  const id = await createRegistryClient({ url: registry.url }).register("events-value", SCHEMA);
  const { signal } = new AbortController();
  const publisher = new LogPublisher(new Producer(cluster, { clock: systemClock, signal, acks: -1 }));
  const values = avroType(SCHEMA);
  let next = 0;
  return {
    task: {
      topic: "events",
      table: "events",
      schema: SCHEMA,
      flush: { everyMs: 50, rows: 40 },
      eventTime: "at",
      brokers,
      cluster: { clientId: "archive", ...KAFKA },
      registry: { url: registry.url },
    },
    lakeFolder: `${folder}/lake`,
    async produce(count) {
      const records = Array.from({ length: count }, () => ({
        key: null,
        value: values.encodeFramed(id, { n: next++, at: 1_700_000_000_000 + next }),
        headers: [],
        timestampMs: 1_700_000_000_000,
      }));
      const byPartition = Map.groupBy(records.keys(), (i) => i % PARTITIONS);
      for (const [partition, rows] of byPartition) {
        await publisher.publish("events", partition, rows.map((i) => records[i]), { signal });
      }
    },
    [Symbol.asyncDispose]: () => parts.disposeAsync(),
  };
}

function lakeOver(store: ObjectStore): Lake {
  const database = new LakeDatabase({ scratch: `${store.scratch}/duckdb`, memoryBytesMax: 256e6, threads: 1 });
  return openLake({ store, database });
}

/** The values of `n` in the table, and those in a tail behind it. */
async function archivedNumbers(lake: Lake, tail?: string | null): Promise<number[]> {
  const table = await lake.table("events");
  if (!table) return [];
  const { files, schema, partitionColumns } = await table.snapshot();
  using local = await lake.store.local(files.map((file) => keyOf("events", file)));
  const at = files.map(({ partitionValues }, i) => ({ path: local.paths[i], partitionValues }));
  const parts = [
    ...at.length > 0 ? [`SELECT n FROM (${readFilesSql(at, schema, partitionColumns)})`] : [],
    ...tail ? [`SELECT n FROM read_parquet(${literal(tail)})`] : [],
  ];
  if (parts.length === 0) return [];
  const sql = `SELECT n::INTEGER FROM (${parts.join(" UNION ALL ")}) ORDER BY n`;
  return await lake.database.use(async (connection) =>
    (await connection.runAndReadAll(sql)).getRows().map(([n]) => Number(n))
  );
}

const numbers = (count: number) => Array.from({ length: count }, (_, i) => i);

/** Runs until the signal, again and again as its supervisor would. */
async function keepRunning(run: ArchiveRun, signal: AbortSignal): Promise<void> {
  while (!signal.aborted) {
    await run.run(signal).catch((error) => {
      if (!(error instanceof UnavailableError || error instanceof ConflictError)) throw error;
    });
  }
}

async function until(what: string, isSo: () => Promise<boolean> | boolean): Promise<void> {
  for (const end = performance.now() + 60_000; performance.now() < end;) {
    if (await isSo()) return;
    await systemClock.sleep(10);
  }
  throw new Error(`did not happen: ${what}`);
}

const deps = (lake: Lake) => ({ clock: systemClock, lake, onLost: (problem: string) => assert.fail(problem) });

Deno.test("a topic is in its table and its tail, at every moment, each record once; also when nothing more comes", async () => {
  await using setup = await setUp();
  await using lake = lakeOver(createDiskStore({ folder: setup.lakeFolder }));
  const stop = new AbortController();
  // Its last flush may take a minute, as on a machine that stalls.
  const patient: Clock = {
    ...systemClock,
    sleep: (ms, signal) => systemClock.sleep(stop.signal.aborted ? 30 * ms : ms, signal),
  };
  // No flush comes between a look at the tail and one at the table.
  const task = { ...setup.task, flush: { everyMs: 3_600_000, rows: 1_000_000 } };
  const run = new ArchiveRun(task, { ...deps(lake), clock: patient });
  const running = keepRunning(run, stop.signal);
  await setup.produce(100);
  await until("all rows are staged", () => run.status().rowsWaiting === 100);
  const tail = await run.tail();
  assert.equal([...tail.positions.values()].reduce((a, b) => a + b, 0), 100);
  assert.deepEqual(await archivedNumbers(lake, tail.path), numbers(100));
  assert.equal(Math.max(...tail.maxEventTimeMs.values()), 1_700_000_000_100);
  assert.deepEqual(await archivedNumbers(lake), []);
  stop.abort();
  await running;
  assert.deepEqual(await archivedNumbers(lake), numbers(100), "a stop flushes");
  const stopNext = new AbortController();
  const timed = new ArchiveRun({ ...task, flush: { ...task.flush, everyMs: 300 } }, deps(lake));
  const next = keepRunning(timed, stopNext.signal);
  await setup.produce(50);
  // The time is over, and nothing more comes.
  await until("the table has them", async () => (await archivedNumbers(lake)).length >= 150);
  stopNext.abort();
  await next;
  assert.deepEqual(await archivedNumbers(lake), numbers(150));
});

Deno.test("two archives of one topic add every record once between them", async () => {
  await using setup = await setUp();
  await using one = lakeOver(createDiskStore({ folder: setup.lakeFolder }));
  await using other = lakeOver(createDiskStore({ folder: setup.lakeFolder }));
  const stop = new AbortController();
  const runs = [one, other].map((lake) => new ArchiveRun(setup.task, deps(lake)));
  const running = runs.map((run) => keepRunning(run, stop.signal));
  for (let i = 0; i < 10; i++) {
    await setup.produce(30);
    await systemClock.sleep(30);
  }
  await until("the table has all", async () => (await archivedNumbers(one)).length >= 300);
  stop.abort();
  await Promise.all(running);
  assert.deepEqual(await archivedNumbers(one), numbers(300));
});

/** A store of which calls fail before or after they were done, by chance, until `mend`. */
function failing(store: ObjectStore, seed: number): ObjectStore & { mend(): void } {
  let state = seed;
  let isMended = false;
  const chance = () => (state = (Math.imul(state, 1103515245) + 12345) >>> 0) / 2 ** 32;
  const maybe = <A extends unknown[], R>(call: (...args: A) => Promise<R>) => async (...args: A): Promise<R> => {
    if (!isMended && chance() < 0.1) throw new UnavailableError("the store failed before");
    const result = await call(...args);
    if (!isMended && chance() < 0.1) throw new UnavailableError("the store failed after");
    return result;
  };
  return {
    url: store.url,
    scratch: store.scratch,
    get: maybe((...args) => store.get(...args)),
    putIfAbsent: maybe((...args) => store.putIfAbsent(...args)),
    put: maybe((...args) => store.put(...args)),
    take: maybe((...args) => store.take(...args)),
    local: maybe((...args) => store.local(...args)),
    list: (...args) => store.list(...args),
    remove: maybe((...args) => store.remove(...args)),
    [Symbol.asyncDispose]: () => store[Symbol.asyncDispose](),
    mend: () => isMended = true,
  };
}

for (const seed of [1, 2, 3]) {
  Deno.test(`a store that fails now and then, and runs that end anywhere, lose and double nothing (${seed})`, async () => {
    await using setup = await setUp();
    const store = failing(createDiskStore({ folder: setup.lakeFolder }), seed);
    for (let round = 0; round < 6; round++) {
      await using lake = lakeOver(round === 5 ? (store.mend(), store) : store);
      const run = new ArchiveRun(setup.task, deps(lake));
      const stop = new AbortController();
      const running = keepRunning(run, stop.signal);
      await setup.produce(50);
      if (round < 5) await systemClock.sleep(100 + 37 * round);
      else await until("all are there", async () => (await archivedNumbers(lake)).length >= 300);
      stop.abort();
      await running;
    }
    await using lake = lakeOver(createDiskStore({ folder: setup.lakeFolder }));
    assert.deepEqual(await archivedNumbers(lake), numbers(300));
  });
}
