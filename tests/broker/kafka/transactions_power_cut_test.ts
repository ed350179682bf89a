import assert from "node:assert/strict";
import { Disk } from "./disk.ts";
import { batchesIn, brokerIn, committedIn, RawClient, temporaryFolder, type TestBroker } from "./support.ts";
import { committedOffset, TransactionClient } from "./transaction_client.ts";

/** A producer with an open transaction of one record in each of two partitions, and an offset. */
async function openTransaction(broker: TestBroker, acks: number): Promise<TransactionClient> {
  const producer = await TransactionClient.open(broker, "a");
  await producer.client.createTopic("t");
  assert.equal(await producer.initialize(), 0);
  assert.deepEqual(await producer.addPartitions("t", [0, 1]), [0, 0]);
  for (const partition of [0, 1]) assert.equal(await producer.produce("t", partition, ["x"], acks), 0);
  assert.equal(await producer.addOffsets("g"), 0);
  assert.equal(await producer.commitOffset("g", "t", 3, 5), 0);
  return producer;
}

/** For each of the two partitions its batches and the committed values; fails when anything is open. */
async function readBoth(broker: TestBroker): Promise<{ batches: string[]; committed: string[] }[]> {
  using client = await RawClient.open(broker);
  const both = [];
  for (const partition of [0, 1]) {
    const { records, aborted, stable, end } = await client.fetch("t", 0, { partition, committed: true });
    assert.equal(stable, end);
    both.push({
      batches: batchesIn(records).map(({ marker }) => marker ?? "records"),
      committed: committedIn(records, aborted).map(({ value }) => value),
    });
  }
  return both;
}

async function until(holds: () => boolean): Promise<void> {
  for (const end = performance.now() + 60_000; !holds();) {
    assert.ok(performance.now() < end, "it did not happen within 60 s");
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

for (const commit of [true, false]) {
  const decision = commit ? "commit" : "abort";
  Deno.test(`a power cut after the decision to ${decision} and before its markers are on disk: the start writes each once`, async () => {
    using folder = temporaryFolder();
    const disk = new Disk();
    await using broker = await brokerIn(folder.path, { openFile: disk.openFile });
    using _ = disk;
    using producer = await openTransaction(broker, -1);
    disk.stall();
    const ended = producer.end(commit);
    await until(() => Deno.readTextFileSync(`${folder.path}/transactions.log`).includes("prepare"));
    // Written, but not where a power cut leaves it.
    await new Promise((resolve) => setTimeout(resolve, 30));
    using copy = temporaryFolder();
    disk.afterPowerCut(folder.path, copy.path);
    for (let start = 0; start < 2; start++) {
      await using after = await brokerIn(copy.path);
      using client = await RawClient.open(after);
      const place = { topic: "t", partition: 3, stable: true };
      let offset = -88;
      for (let tries = 0; offset === -88 && tries < 500; tries++) {
        offset = await committedOffset(client, "g", place);
        await new Promise((resolve) => setTimeout(resolve, 10));
      }
      assert.equal(offset, commit ? 5 : -1);
      const expected = { batches: ["records", decision], committed: commit ? ["x"] : [] };
      assert.deepEqual(await readBoth(after), [expected, expected]);
    }
    // A reader of committed records waits for the markers to be on disk, as EndTxn does.
    using reader = await RawClient.open(broker);
    assert.deepEqual((await reader.fetch("t", 1, { committed: true, waitMs: 30 })).records.length, 0);
    disk.goOn();
    assert.equal(await ended, 0);
    assert.deepEqual((await readBoth(broker)).map(({ batches }) => batches), [["records", decision], [
      "records",
      decision,
    ]]);
  });
}

Deno.test("nothing is decided before the records are on disk, also those a producer did not wait for", async () => {
  using folder = temporaryFolder();
  const disk = new Disk();
  await using broker = await brokerIn(folder.path, { openFile: disk.openFile });
  using _ = disk;
  disk.stall();
  using producer = await openTransaction(broker, 1);
  const ended = producer.end(true);
  await new Promise((resolve) => setTimeout(resolve, 100));
  assert.ok(!Deno.readTextFileSync(`${folder.path}/transactions.log`).includes("prepare"));
  using copy = temporaryFolder();
  disk.afterPowerCut(folder.path, copy.path);
  {
    await using after = await brokerIn(copy.path);
    using taker = await TransactionClient.open(after, "a");
    assert.equal(await taker.initialize(), 0);
    assert.deepEqual((await readBoth(after)).map(({ committed }) => committed), [[], []]);
  }
  disk.goOn();
  assert.equal(await ended, 0);
  assert.deepEqual((await readBoth(broker)).map(({ committed }) => committed), [["x"], ["x"]]);
});
