import assert from "node:assert/strict";
import { Disk } from "./disk.ts";
import { brokerIn, RawClient, recordBatch, temporaryFolder, valuesIn } from "./support.ts";

Deno.test("records are shown when they are on disk, whatever their producer waits for", async () => {
  using folder = temporaryFolder();
  const disk = new Disk();
  await using broker = await brokerIn(folder.path, { openFile: disk.openFile, flushMs: 10 });
  using _ = disk;
  using writer = await RawClient.open(broker);
  using reader = await RawClient.open(broker);
  await writer.createTopic("t");
  assert.equal((await writer.produce("t", recordBatch(["on disk"]))).error, 0);
  disk.stall();
  assert.deepEqual(await writer.produce("t", recordBatch(["not yet"]), 1), { error: 0, offset: 1 });
  for (const offset of [0, 1, 2]) {
    const { records, end, error } = await reader.fetch("t", offset, { waitMs: 60, bytesMin: 1000 });
    assert.deepEqual([error, end], [0, 1], `from ${offset}`);
    assert.deepEqual(valuesIn(records).map(({ value }) => value), offset === 0 ? ["on disk"] : []);
  }
  const waiting = reader.fetch("t", 1, { waitMs: 10_000 });
  const acknowledged = writer.produce("t", recordBatch(["nor this"]));
  disk.goOn();
  assert.ok(valuesIn((await waiting).records).length > 0);
  assert.equal((await acknowledged).error, 0);
  assert.equal(valuesIn((await reader.fetch("t", 0)).records).length, 3);
});

Deno.test("the end that is listed holds what was produced before with acks=1, and it can be read up to there at once", async () => {
  using folder = temporaryFolder();
  await using broker = await brokerIn(folder.path, { flushMs: 60_000 });
  using client = await RawClient.open(broker);
  await client.createTopic("t");
  for (let count = 1; count <= 5; count++) {
    await client.produce("t", recordBatch(["x"]), 1);
    const answer = await client.request(2, 1, (w) => {
      w.int32(-1).arrayLength(1).string("t").arrayLength(1).int32(0).int64(-1);
    });
    answer.skip(4);
    answer.string();
    answer.skip(4 + 4 + 2 + 8);
    assert.equal(answer.int64(), count);
    assert.equal(valuesIn((await client.fetch("t", count - 1)).records).length, 1);
  }
});

Deno.test("after a power cut everything is there that anyone has read", async () => {
  using folder = temporaryFolder();
  const disk = new Disk();
  const seen = new Map<number, string>();
  let produced = 0;
  await using broker = await brokerIn(folder.path, { openFile: disk.openFile, segmentBytes: 5000, flushMs: 10 });
  using client = await RawClient.open(broker);
  await client.createTopic("t");
  let running = true;
  using _ = { [Symbol.dispose]: () => running = false };
  const load = [0, 1].map(async (acks) => {
    using writer = await RawClient.open(broker);
    for (; running; produced++) {
      const records = recordBatch([`${produced} ${"x".repeat(produced % 300)}`]);
      if (acks === 1) await writer.produce("t", records, 1);
      else {
        await writer.send(0, 7, (w) => {
          w.string(null).int16(0).int32(1000).arrayLength(1).string("t").arrayLength(1).int32(0).byteField(records);
        });
        await new Promise((resolve) => setTimeout(resolve, 1));
      }
    }
  });
  for (let cut = 0; cut < 8; cut++) {
    const until = performance.now() + 30;
    while (performance.now() < until) {
      const from = seen.size;
      const { records } = await client.fetch("t", from, { waitMs: 20 });
      for (const { offset, value } of valuesIn(records)) seen.set(offset, value);
    }
    using copy = temporaryFolder();
    disk.afterPowerCut(folder.path, copy.path);
    // Nothing of the process that was cut off is left but the files.
    await using after = await brokerIn(copy.path);
    using reader = await RawClient.open(after);
    const there = new Map<number, string>();
    for (let offset = 0; offset < seen.size;) {
      const found = valuesIn((await reader.fetch("t", offset)).records);
      assert.ok(found.length > 0, `${seen.size} records were read before the power cut, ${offset} are there after it`);
      for (const { offset, value } of found) there.set(offset, value);
      offset = found.at(-1)!.offset + 1;
    }
    for (const [offset, value] of seen) assert.equal(there.get(offset), value);
  }
  running = false;
  await Promise.all(load);
  assert.ok(seen.size > 100, `only ${seen.size} were read`);
});
