import assert from "node:assert/strict";
import { systemClock } from "../../../pipeline/clock.ts";
import { ConfigError } from "../../../pipeline/errors.ts";
import { KafkaAdmin } from "../../../pipeline/log/admin.ts";
import { Cluster } from "../../../pipeline/log/cluster.ts";
import { createCommittedLog } from "../../../pipeline/log/committed_log.ts";
import { createTransactionalPublisher } from "../../../pipeline/log/transactional_publisher.ts";
import { positionTopicSpec, type SourceState } from "../../../pipeline/sources/positions.ts";
import type { PostgresChangesSpec } from "../../../pipeline/sources/postgres_changes/definition.ts";
import { runSource } from "../../../pipeline/sources/source_task.ts";
import { brokerIn, RawClient, temporaryFolder, type TestBroker } from "../../broker/kafka/support.ts";
import { borrowPostgres, testDatabase } from "./database.ts";
import { Topics } from "./topics.ts";

const CLUSTER = { clientId: "test", ssl: false, sasl: null };
const { signal } = new AbortController();

Deno.test("a row larger than its topic takes stops the source with what to set, or is rejected with its key and place", async () => {
  await using folder = temporaryFolder();
  await using broker = await brokerIn(folder.path);
  await using server = await borrowPostgres();
  await using database = await testDatabase(server);
  const { sql, url, slot } = database;
  await sql.unsafe(`CREATE TABLE t (id int PRIMARY KEY, v text); INSERT INTO t VALUES (1, 'small')`);
  const brokers = [broker.address];
  const admin = new KafkaAdmin(brokers, CLUSTER, "test");
  await admin.ensureTopics([
    { topic: "cdc.public.t", partitions: 2 },
    { topic: "cdc.rejected", partitions: 1, isArchive: true },
    positionTopicSpec("shop"),
  ]);
  await setMaxMessageBytes(broker, "cdc.public.t", 1_000_000);
  await using cluster = new Cluster(brokers, CLUSTER);
  const log = createCommittedLog(cluster, { clock: systemClock });
  const states: SourceState[] = [];
  const run = async (more: Partial<PostgresChangesSpec> = {}) => {
    using stop = { controller: new AbortController(), [Symbol.dispose]: () => stop.controller.abort() };
    await runSource({
      name: "shop",
      topic: null,
      rejectedTopic: "cdc.rejected",
      clock: systemClock,
      publisher: createTransactionalPublisher(cluster, {
        transactionalId: "tailrace.source.shop",
        clock: systemClock,
        signal: stop.controller.signal,
      }),
      log,
      open: () => Promise.resolve(new Topics(url, { tables: ["t"], slot, ...more }, { registry }).open()),
      limit: () => Promise.resolve(),
      onWaiting: () => {},
      onState: (state) => void states.push(state),
    }, { signal, isBounded: true });
  };
  const all = async (topic: string) => {
    const records: { key: string | null; bytes: number; text: string; where: string }[] = [];
    const header = (headers: readonly (readonly [string, Uint8Array | null])[]) =>
      text.decode(headers.find(([name]) => name === "tailrace.where")?.[1] ?? new Uint8Array());
    await log.read(topic, await log.offsets(topic, "earliest"), {
      take: ({ key, value, headers }) =>
        void records.push({
          key: key && text.decode(key),
          bytes: value!.length,
          text: text.decode(value!.subarray(0, 1_000)),
          where: header(headers),
        }),
      signal,
    });
    return records;
  };
  const { registry } = new Topics(url, { tables: ["t"], slot });
  await run();
  await sql.begin(async (sql) => {
    await sql`INSERT INTO t VALUES (2, 'before')`;
    await sql`INSERT INTO t VALUES (3, repeat('x', 3000000)), (4, repeat('y', 1500000)), (5, repeat('z', 500000))`;
    await sql`INSERT INTO t VALUES (6, 'after')`;
  });
  for (let tries = 0; tries < 2; tries++) {
    await assert.rejects(run(), (error: Error) => {
      assert.ok(error instanceof ConfigError);
      assert.match(error.message, /topic cdc\.public\.t: .*max\.message\.bytes.* key \{"id":3\} is of 30000\d\d bytes/);
      assert.match(error.message, /--add-config max\.message\.bytes=30\d+/);
      return true;
    });
  }
  const came = (await all("cdc.public.t")).map(({ key }) => key);
  assert.ok(came.every((key) => key === '{"id":1}' || key === '{"id":2}'), `nothing behind it came: ${came}`);
  await run({ tooLarge: "reject" });
  assert.deepEqual((await all("cdc.public.t")).map(({ key }) => key).sort(), [1, 2, 5, 6].map((id) => `{"id":${id}}`));
  const rejected = await all("cdc.rejected");
  assert.deepEqual(rejected.map(({ text }) => JSON.parse(text)).map(({ key, op, table }) => [key, op, table]), [
    ['{"id":3}', "c", "public.t"],
    ['{"id":4}', "c", "public.t"],
  ]);
  assert.match(rejected[0].where, /^public\.t \{"id":3\}, lsn [0-9A-F]+\/[0-9A-F]+, change 2 of its transaction$/);
  assert.deepEqual(states.at(-1)!.counts, { read: 6, written: 4, rejected: 2, skipped: 0 });
  // Where the topic takes them, they come.
  await setMaxMessageBytes(broker, "cdc.public.t", 2_000_000);
  await sql`INSERT INTO t VALUES (7, repeat('x', 1500000))`;
  await run();
  assert.deepEqual((await all("cdc.public.t")).filter(({ bytes }) => bytes > 1_400_000).map(({ key }) => key), [
    '{"id":7}',
  ]);
});

const text = new TextDecoder();

/** What `kafka-configs.sh --alter --add-config` asks for (IncrementalAlterConfigs, version 0). */
async function setMaxMessageBytes(broker: TestBroker, topic: string, bytes: number): Promise<void> {
  using client = await RawClient.open(broker);
  const [topics, set] = [2, 0];
  const answer = await client.request(44, 0, (w) => {
    w.arrayLength(1).int8(topics).string(topic);
    w.arrayLength(1).string("max.message.bytes").int8(set).string(String(bytes));
    w.boolean(false);
  });
  assert.deepEqual([answer.int32(), answer.int32(), answer.int16()], [0, 1, 0]);
}
