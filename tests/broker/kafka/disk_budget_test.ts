import assert from "node:assert/strict";
import { systemClock } from "../../../pipeline/clock.ts";
import { Cluster } from "../../../pipeline/log/cluster.ts";
import { deleteRecordsBefore } from "../../../pipeline/log/delete_records.ts";
import { logSettings } from "../../../broker/kafka/topic_config.ts";
import { resolveOptions } from "../../../broker/kafka/options.ts";
import { brokerIn, RawClient, recordBatch, temporaryFolder, type TestBroker, valuesIn } from "./support.ts";

const MIB = 1024 * 1024;
const KAFKA_STORAGE_ERROR = 56;
const STOP_AFTER = 5_000;

/** About 10 KiB of records that say which they are. */
function batch(name: string): Uint8Array {
  return recordBatch(Array.from({ length: 10 }, (_, i) => `${name}.${i} ${"x".repeat(1000)}`));
}

async function logBytes(folder: string): Promise<number> {
  let bytes = 0;
  for await (const { name, isDirectory } of Deno.readDir(folder)) {
    const path = `${folder}/${name}`;
    if (isDirectory) bytes += await logBytes(path);
    else if (name.endsWith(".log")) bytes += (await Deno.stat(path)).size;
  }
  return bytes;
}

async function create(client: RawClient, topic: string, { partitions = 1, config = {} } = {}): Promise<void> {
  await client.request(19, 2, (w) => {
    w.arrayLength(1).string(topic).int32(partitions).int16(1).arrayLength(0).arrayLength(Object.keys(config).length);
    for (const [name, value] of Object.entries(config)) w.string(name).string(value as string);
    w.int32(1000).boolean(false);
  });
}

/** Writes batches until one is refused, and gives how many were taken. */
async function fill(client: RawClient, topic: string, batches: number): Promise<number> {
  for (let i = 0; i < batches; i++) {
    const { error } = await client.produce(topic, batch(`${i}`), i === batches - 1 ? -1 : 1);
    if (error !== 0) {
      assert.equal(error, KAFKA_STORAGE_ERROR);
      return i;
    }
  }
  return batches;
}

const clusterOf = (broker: TestBroker) => new Cluster([broker.address], { clientId: "test", ssl: false, sasl: null });

Deno.test("a full buffer drops the oldest segments of all topics, says which, and stays within its bound", async () => {
  using folder = temporaryFolder();
  await using broker = await brokerIn(folder.path, { bufferBytes: 4 * MIB });
  using client = await RawClient.open(broker);
  await create(client, "first");
  await create(client, "second");
  assert.equal(await fill(client, "first", 100), 100);
  assert.equal(await fill(client, "second", 1000), 1000);
  assert.ok(await logBytes(folder.path) <= 4 * MIB, `${await logBytes(folder.path)} bytes`);
  // What was written first went first.
  const [first, second] = [await client.fetch("first", 0), await client.fetch("second", 0)];
  assert.deepEqual([first.error, second.error], [1, 1]);
  const { records } = await client.fetch("second", second.start);
  assert.match(valuesIn(records)[0].value, new RegExp(`^${second.start / 10}\\.0 `));
  const dropped = broker.lines.filter((line) => /dropped/.test(line));
  assert.match(dropped[0], /The buffer of 4194304 bytes is full: dropped \d+ bytes of first-0, offsets 0 to \d+$/);
  assert.ok(dropped.length < 200, `${dropped.length} lines`);
  assert.ok(second.end - second.start > 3000, `only ${second.end - second.start} records are left`);
});

Deno.test("topics that keep what they have are not dropped from; when only these are left, new records are refused", async () => {
  using folder = temporaryFolder();
  await using broker = await brokerIn(folder.path, { bufferBytes: MIB });
  using client = await RawClient.open(broker);
  await create(client, "letters", { config: { "retention.ms": "-1" } });
  await create(client, "table", { config: { "cleanup.policy": "compact" } });
  await create(client, "others");
  assert.equal(await fill(client, "others", 80), 80);
  assert.equal(await fill(client, "letters", 60), 60);
  assert.equal(await fill(client, "table", 60) < 60, true);
  assert.equal((await client.fetch("letters", 0)).error, 0);
  assert.equal((await client.fetch("table", 0)).error, 0);
  assert.match(broker.lines.at(-1)!, /no records are taken and no topic in it may lose records/);
});

Deno.test("a buffer that refuses loses nothing, tells it once, and takes records again when others were deleted", async () => {
  using folder = temporaryFolder();
  let written = 0;
  {
    await using broker = await brokerIn(folder.path, { bufferBytes: 2 * MIB, whenFull: "refuse" });
    using client = await RawClient.open(broker);
    await create(client, "t");
    written = await fill(client, "t", STOP_AFTER);
    assert.ok(written > 150 && written < 215, `${written} batches were taken`);
    assert.equal(await fill(client, "t", 3), 0);
    assert.equal(broker.lines.filter((line) => /is full/.test(line)).length, 1);
    // Where sources note how far they are.
    await create(client, "tailrace.source.x");
    assert.equal(await fill(client, "tailrace.source.x", 1), 1);
  }
  // As full after a restart.
  await using broker = await brokerIn(folder.path, { bufferBytes: 2 * MIB, whenFull: "refuse" });
  using client = await RawClient.open(broker);
  assert.equal(await fill(client, "t", 1), 0);
  // What was written is shown once it is known to be on disk.
  for (let tries = 0; tries < 3_000 && (await client.fetch("t", 0)).end < 10 * written; tries++) {
    await systemClock.sleep(20);
  }
  const { end, start } = await client.fetch("t", 0);
  assert.deepEqual([start, end], [0, 10 * written]);
  await using cluster = clusterOf(broker);
  await deleteRecordsBefore(cluster, "t", new Map([[0, end / 2]]));
  const { start: first } = await client.fetch("t", end - 1);
  assert.ok(first <= end / 2 && first > end / 2 - 100, `begins at ${first} of ${end}`);
  assert.ok(await fill(client, "t", STOP_AFTER) > 50);
  assert.match(broker.lines.findLast((line) => /There is room/.test(line)) ?? "", /records are taken/);
});

Deno.test("records that were passed are deleted, also from a partition with one segment; nothing else is", async () => {
  using folder = temporaryFolder();
  await using broker = await brokerIn(folder.path, { segmentBytes: 100_000 });
  using client = await RawClient.open(broker);
  await create(client, "t", { partitions: 2 });
  await create(client, "table", { config: { "cleanup.policy": "compact" } });
  await fill(client, "t", 5);
  await fill(client, "table", 5);
  await using cluster = clusterOf(broker);
  await deleteRecordsBefore(cluster, "t", new Map([[0, 49], [1, 0]]));
  assert.equal((await client.fetch("t", 0)).start, 0);
  // Of a topic that was there before under the name, whose offsets meant other records.
  await deleteRecordsBefore(cluster, "t", new Map([[0, 50]]), { topicId: crypto.randomUUID() });
  assert.equal((await client.fetch("t", 0)).start, 0);
  const { id: topicId } = (await cluster.leaders("t"))!;
  await deleteRecordsBefore(cluster, "t", new Map([[0, 50], [1, 0]]), { topicId });
  assert.equal((await client.fetch("t", 50)).start, 50);
  assert.equal((await client.fetch("t", 50)).end, 50);
  // There already; gone since; another number of partitions.
  await deleteRecordsBefore(cluster, "t", new Map([[0, 20], [7, 3]]));
  await deleteRecordsBefore(cluster, "nothing", new Map([[0, 20]]));
  await fill(client, "t", 1);
  assert.equal(valuesIn((await client.fetch("t", 50)).records)[0].offset, 50);
  await assert.rejects(deleteRecordsBefore(cluster, "table", new Map([[0, 50]])), /Kafka refused/);
});

Deno.test("a buffer's bound takes the place of retention, unless a topic has its own", () => {
  const options = resolveOptions({ host: "h", port: 0, dataDir: "", bufferBytes: 64 * MIB });
  const settings = logSettings({}, options);
  assert.deepEqual([settings.retentionMs, settings.retentionBytes, settings.segmentBytes], [-1, -1, MIB]);
  assert.equal(settings.mayDrop, true);
  assert.equal(logSettings({ "retention.ms": "5" }, options).retentionMs, 5);
  const usual = logSettings({}, resolveOptions({ host: "h", port: 0, dataDir: "" }));
  assert.deepEqual([usual.retentionMs, usual.segmentBytes], [604_800_000, 64 * MIB]);
});
