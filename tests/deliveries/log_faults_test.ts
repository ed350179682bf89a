/** What becomes of a delivery when its topic, or the Kafka that has it, is not what it was. */
import assert from "node:assert/strict";
import { Kafka, logLevel } from "kafkajs";
import { ConfigError, UnavailableError } from "../../pipeline/errors.ts";
import "../../pipeline/log/kafkajs_timers.ts";
import { jsonFiles } from "../../pipeline/mod.ts";
import { createDiskStore } from "../../pipeline/sinks/lake/disk_store.ts";
import { brokerIn, temporaryFolder } from "../broker/kafka/support.ts";
import { readFiles } from "../sinks/files/read_files.ts";
import { eventually, item, processOver, TOPIC, world } from "./world.ts";

const never = new AbortController().signal;
const options = { to: [jsonFiles("items")], batchRows: 50, batchEvery: "20ms" } as const;

const upTo = (count: number, from = 0) => Array.from({ length: count }, (_, i) => from + i);

async function idsIn(dataDir: string): Promise<number[]> {
  const { lines } = await readFiles(createDiskStore({ folder: `${dataDir}/files/items` }));
  return lines.map(({ id }) => id as number).sort((a, b) => a - b);
}

async function asAdmin<T>(
  brokers: readonly string[],
  work: (admin: ReturnType<Kafka["admin"]>) => Promise<T>,
): Promise<T> {
  const admin = new Kafka({ brokers: [...brokers], logLevel: logLevel.NOTHING }).admin();
  await admin.connect();
  try {
    return await work(admin);
  } finally {
    await admin.disconnect();
  }
}

/** As retention does it. */
async function deleteBefore(brokers: readonly string[], offset: number): Promise<void> {
  await asAdmin(brokers, async (admin) => {
    // The client does not look up the topic by itself.
    await admin.fetchTopicOffsets(TOPIC);
    await admin.deleteTopicRecords({ topic: TOPIC, partitions: [{ partition: 0, offset: `${offset}` }] });
  });
}

/** As the supervisor does: what a repeat may mend is run again. */
async function supervised(run: () => Promise<void>): Promise<void> {
  for (;;) {
    try {
      return await run();
    } catch (error) {
      if (!(error instanceof UnavailableError)) throw error;
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  }
}

Deno.test("while Kafka is away a delivery waits and says so; it goes on when Kafka is back, and nothing is lost or doubled", async () => {
  using folder = temporaryFolder();
  using files = temporaryFolder();
  let broker = await brokerIn(folder.path);
  const port = broker.running.port;
  try {
    await using at = processOver([broker.address], { dataDir: files.path, partitions: 2 });
    await at.admin.ensureTopics([{ topic: TOPIC, partitions: 2 }]);
    const writer = at.publisher("writer");
    const write = async (ids: readonly number[]) => {
      await writer.claim({ signal: never });
      const byPartition = Map.groupBy(ids, (id) => id % 2);
      const parts = Array.from(
        byPartition,
        ([partition, own]) => ({ topic: TOPIC, partition, records: own.map(item) }),
      );
      await writer.commit(parts, { signal: never });
    };
    await write(upTo(200));
    const delivery = await at.delivery(options);
    const stop = new AbortController();
    const running = supervised(() => delivery.run(stop.signal));
    await eventually(() => delivery.status().counts.written === 200, () => delivery.status());
    await broker.running.close();
    await eventually(() => delivery.status().state === "waiting", () => delivery.status());
    assert.ok(delivery.status().reason, "it says why");
    broker = await brokerIn(folder.path, { port });
    await write(upTo(200, 200));
    await eventually(() => delivery.status().counts.written === 400, () => delivery.status());
    assert.equal(delivery.status().state, "running");
    stop.abort();
    await running;
    assert.deepEqual(await idsIn(files.path), upTo(400));
    assert.deepEqual(delivery.status().counts, { read: 400, written: 400, rejected: 0, skipped: 0 });
  } finally {
    await broker.running.close();
  }
});

Deno.test("a topic that gets more partitions is read in all of them, by the members there are", async () => {
  await using at = await world(2);
  await at.write(upTo(20).map(item));
  const delivery = await at.delivery({ ...options, consumers: 2, topicCheckMs: 50 });
  const stop = new AbortController();
  const running = delivery.run(stop.signal);
  await eventually(() => delivery.status().counts.written === 20, () => delivery.status());
  await asAdmin(at.brokers, (admin) => admin.createPartitions({ topicPartitions: [{ topic: TOPIC, count: 5 }] }));
  const writer = at.publisher("another");
  await writer.claim({ signal: never });
  const parts = upTo(5).map((partition) => ({ topic: TOPIC, partition, records: [item(20 + partition)] }));
  await writer.commit(parts, { signal: never });
  await eventually(() => delivery.status().counts.written === 25, () => delivery.status());
  assert.equal(delivery.status().details.partitions, 5);
  stop.abort();
  await running;
  assert.deepEqual(await idsIn(at.dataDir), upTo(25));
});

for (const when of ["while it runs", "while it rests"]) {
  Deno.test(`a topic deleted and made anew ${when} stops the delivery, though there are more records than before`, async () => {
    await using at = await world(1);
    await at.write(upTo(30).map(item));
    const delivery = await at.delivery({ ...options, topicCheckMs: 50 });
    const stop = new AbortController();
    const first = supervised(() => delivery.run(stop.signal));
    first.catch(() => {});
    await eventually(() => delivery.status().counts.written === 30, () => delivery.status());
    if (when === "while it rests") {
      stop.abort();
      await first;
    }
    await asAdmin(at.brokers, (admin) => admin.deleteTopics({ topics: [TOPIC] }));
    await at.admin.ensureTopics([{ topic: TOPIC, partitions: 1 }]);
    const writer = at.publisher("another");
    await writer.claim({ signal: never });
    await writer.commit([{ topic: TOPIC, partition: 0, records: upTo(100, 1_000).map(item) }], { signal: never });
    const again = when === "while it runs" ? first : supervised(() => delivery.run(never));
    await assert.rejects(again, (error) => {
      assert.ok(error instanceof ConfigError, String(error));
      assert.match(error.message, /was deleted/);
      assert.match(error.message, /new names/);
      return true;
    });
    assert.equal(delivery.status().state, "failed");
    assert.deepEqual(await idsIn(at.dataDir), upTo(30));
  });
}

/** A new segment for each transaction of ten records, so that each can be deleted by itself. */
const SMALL_SEGMENTS = { segmentBytes: 500 };

async function writeTens(at: Awaited<ReturnType<typeof world>>, from: number, to: number): Promise<void> {
  for (let id = from; id < to; id += 10) await at.write(upTo(10, id).map(item));
}

Deno.test("records that the log deleted before they were read are told with their offsets and counted, once; the others are there", async () => {
  await using at = await world(1, SMALL_SEGMENTS);
  await writeTens(at, 0, 30);
  await (await at.delivery(options)).run(never, { isBounded: true });
  await writeTens(at, 30, 90);
  // After ten records comes a marker, which takes an offset too.
  await deleteBefore(at.brokers, 66);
  assert.equal((await at.log.offsets(TOPIC, "earliest")).get(0), 66);
  const second = await at.delivery(options);
  await second.run(never, { isBounded: true });
  const told = () => at.said.filter((line) => line.startsWith("error"));
  assert.deepEqual(told(), ["error items/0: records 33 to 65 were deleted from the log before they were read"]);
  assert.deepEqual(await idsIn(at.dataDir), [...upTo(30), ...upTo(30, 60)]);
  assert.equal(second.status().details.lost, 33);
  assert.deepEqual(second.status().counts, { read: 60, written: 60, rejected: 0, skipped: 0 });
  // Once they are passed it is not told again, and still known.
  const third = await at.delivery(options);
  await writeTens(at, 90, 100);
  await third.run(never, { isBounded: true });
  assert.equal(told().length, 1);
  assert.equal(third.status().details.lost, 33);
});

Deno.test("records that are deleted under a delivery that is slow are told and counted, too", async () => {
  await using at = await world(1, SMALL_SEGMENTS);
  await writeTens(at, 0, 1_000);
  const delivery = await at.delivery({ ...options, batchRows: 10, limit: 50 });
  const stop = new AbortController();
  const running = supervised(() => delivery.run(stop.signal));
  await eventually(() => delivery.status().counts.written >= 10, () => delivery.status());
  await deleteBefore(at.brokers, 1_089);
  delivery.limit(null);
  await eventually(() => delivery.status().lagRecords === 0, () => delivery.status());
  stop.abort();
  await running;
  const ids = await idsIn(at.dataDir);
  assert.equal(new Set(ids).size, ids.length);
  const told = at.said.map((line) => /records (\d+) to (\d+) were deleted/.exec(line)).filter((found) =>
    found !== null
  );
  // What was fetched already is delivered, so where the gap begins is not known; it is whole transactions, each with its marker.
  assert.equal(ids.at(-1), 999);
  const missing = 1_000 - ids.length;
  assert.ok(missing > 0, "some were not fetched");
  assert.equal(told.length, 1);
  const [, first, last] = told[0].map(Number);
  assert.equal(last, 1_088);
  assert.equal(delivery.status().details.lost, last - first + 1);
  assert.equal(upTo(last - first + 1, first).filter((offset) => offset % 11 !== 10).length, missing);
});

Deno.test("a run until a time delivers what has an earlier timestamp, up to the first that has not, and ends", async () => {
  await using at = await world(2);
  const timed = upTo(100).map((id) => ({ ...item(id), timestampMs: 1_700_000_000_000 + 1_000 * id }));
  await at.write(timed);
  const delivery = await at.delivery(options);
  const end = AbortSignal.timeout(120_000);
  await delivery.run(end, { untilMs: 1_700_000_000_000 + 60_000 });
  assert.deepEqual(await idsIn(at.dataDir), upTo(60));
  assert.equal(delivery.status().state, "stopped");
  const later = await at.delivery(options);
  await later.run(end, { untilMs: 1_800_000_000_000 });
  assert.ok(!end.aborted, "both ended by themselves");
  assert.deepEqual(await idsIn(at.dataDir), upTo(100));
});
