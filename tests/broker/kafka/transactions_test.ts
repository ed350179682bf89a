import assert from "node:assert/strict";
import {
  type BatchOptions,
  brokerIn,
  committedIn,
  RawClient,
  recordBatch,
  temporaryFolder,
  valuesIn,
} from "./support.ts";
import { committedOffset, TransactionClient } from "./transaction_client.ts";

const invalidProducerEpoch = 47;
const invalidTxnState = 48;
const invalidProducerIdMapping = 49;
const producerFenced = 90;

async function values(client: RawClient, topic: string, options: { committed: boolean }): Promise<string[]> {
  const { records, aborted, error } = await client.fetch(topic, 0, options);
  assert.equal(error, 0);
  const found = options.committed ? committedIn(records, aborted) : valuesIn(records);
  return found.map(({ value }) => value);
}

Deno.test("an open transaction hides itself and what follows from readers of committed records, until it ends", async () => {
  using folder = temporaryFolder();
  await using broker = await brokerIn(folder.path);
  using client = await RawClient.open(broker);
  using a = await TransactionClient.open(broker, "a");
  await client.createTopic("t");
  assert.equal(await a.initialize(), 0);
  await client.produce("t", recordBatch(["before"]));
  assert.deepEqual(await a.addPartitions("t", [0]), [0]);
  assert.equal(await a.produce("t", 0, ["one", "two"]), 0);
  await client.produce("t", recordBatch(["after"]));

  const open = await client.fetch("t", 0, { committed: true });
  assert.deepEqual([open.stable, open.end], [1, 4]);
  assert.deepEqual(valuesIn(open.records).map(({ value }) => value), ["before"]);
  assert.deepEqual(await values(client, "t", { committed: false }), ["before", "one", "two", "after"]);

  /** ListOffsets (version 2) of the end. */
  const endOf = async (isolation: number) => {
    const answer = await a.client.request(2, 2, (w) => {
      w.int32(-1).int8(isolation).arrayLength(1).string("t").arrayLength(1).int32(0).int64(-1);
    });
    answer.skip(8);
    answer.string();
    answer.skip(4 + 4 + 2 + 8);
    return answer.int64();
  };
  assert.deepEqual([await endOf(1), await endOf(0)], [1, 4]);

  const waiting = client.fetch("t", 1, { committed: true, waitMs: 10_000 });
  assert.equal(await a.end(true), 0);
  assert.equal(await endOf(1), 5);
  assert.deepEqual(valuesIn((await waiting).records).map(({ value }) => value), ["one", "two", "after"]);
  assert.deepEqual(await values(client, "t", { committed: true }), ["before", "one", "two", "after"]);
  const done = await client.fetch("t", 0, { committed: true });
  assert.deepEqual([done.stable, done.end, done.aborted], [5, 5, []]);
});

Deno.test("aborted records are named to readers of committed records, also between those of others and after a restart", async () => {
  using folder = temporaryFolder();
  const expected = ["b1", "b2", "a2"];
  for (const restart of [false, true]) {
    await using broker = await brokerIn(folder.path);
    using client = await RawClient.open(broker);
    if (!restart) {
      using a = await TransactionClient.open(broker, "a");
      using b = await TransactionClient.open(broker, "b");
      await client.createTopic("t");
      for (const producer of [a, b]) {
        assert.equal(await producer.initialize(), 0);
        assert.deepEqual(await producer.addPartitions("t", [0]), [0]);
      }
      await a.produce("t", 0, ["a0"]);
      await b.produce("t", 0, ["b1"]);
      await a.produce("t", 0, ["a1"]);
      assert.equal(await a.end(false), 0);
      await b.produce("t", 0, ["b2"]);
      assert.deepEqual(await a.addPartitions("t", [0]), [0]);
      await a.produce("t", 0, ["a2"]);
      assert.equal(await a.end(true), 0);
      assert.equal(await b.end(true), 0);
    }
    assert.deepEqual(await values(client, "t", { committed: true }), expected);
    const { aborted, stable, end } = await client.fetch("t", 0, { committed: true });
    assert.deepEqual([aborted.map(({ first }) => first), stable, end], [[0], 8, 8]);
    // From behind the marker on there is nothing to leave out.
    assert.deepEqual((await client.fetch("t", 4, { committed: true })).aborted, []);
    assert.equal((await client.fetch("t", 2, { committed: true })).aborted.length, 1);
    assert.deepEqual((await client.fetch("t", 0)).aborted, []);
  }
});

Deno.test("what is not in a transaction is refused: partitions not added, ended, of another producer, or without its mark", async () => {
  using folder = temporaryFolder();
  await using broker = await brokerIn(folder.path);
  using a = await TransactionClient.open(broker, "a");
  await a.client.createTopic("t");
  assert.equal(await a.initialize(), 0);
  assert.equal(await a.produce("t", 0, ["x"]), invalidTxnState);
  assert.equal(await a.end(true), invalidTxnState);
  assert.deepEqual(await a.addPartitions("t", [0, 99]), [55, 3]);
  assert.deepEqual(await a.addPartitions("no such topic", []), []);
  assert.deepEqual(await a.addPartitions("t", [0]), [0]);
  assert.equal(await a.produce("t", 1, ["x"]), invalidTxnState);
  const { producerId, epoch: producerEpoch } = a;
  const send = async (options: BatchOptions, transactionalId: string | null) => {
    const batch = recordBatch(["x"], { baseSequence: 0, ...options });
    return (await a.client.produce("t", batch, -1, { transactionalId })).error;
  };
  assert.equal(await send({ producerId, producerEpoch }, "a"), invalidTxnState, "without the transactional bit");
  assert.equal(await send({ producerId, producerEpoch, transactional: true }, "b"), invalidProducerIdMapping);
  assert.equal(await send({ producerId, producerEpoch, transactional: true }, null), invalidProducerIdMapping);
  assert.equal(await send({ producerId: producerId + 1, producerEpoch, transactional: true }, "a"), 49);
  assert.equal(await send({ transactional: true }, "a"), 87, "without a producer id");
  assert.equal(await a.produce("t", 0, ["x"]), 0);
  assert.equal(await a.end(true), 0);
  assert.equal(await a.produce("t", 0, ["y"]), invalidTxnState);
  assert.deepEqual(await values(a.client, "t", { committed: false }), ["x"]);
});

Deno.test("who takes an id over fences who had it, in every request, and who asks with the epoch it has gets the next", async () => {
  using folder = temporaryFolder();
  await using broker = await brokerIn(folder.path);
  using old = await TransactionClient.open(broker, "a");
  using young = await TransactionClient.open(broker, "a");
  await old.client.createTopic("t");
  assert.equal(await old.initialize(), 0);
  const first = old.epoch;
  assert.equal(await old.initialize({ expected: true }), 0);
  assert.equal(old.epoch, first + 1);
  old.epoch = first;
  assert.equal(await old.initialize({ expected: true }), 0, "the answer was lost: the same again");
  assert.equal(old.epoch, first + 1);
  assert.deepEqual(await old.addPartitions("t", [0]), [0]);
  assert.equal(await old.produce("t", 0, ["lost"]), 0);

  assert.equal(await young.initialize(), 0);
  assert.equal(young.producerId, old.producerId);
  assert.ok(young.epoch > old.epoch);
  assert.deepEqual(await old.addPartitions("t", [0]), [producerFenced]);
  assert.equal(await old.addOffsets("g"), producerFenced);
  assert.equal(await old.commitOffset("g", "t", 0, 1), invalidProducerEpoch);
  assert.equal(await old.produce("t", 0, ["late"]), invalidProducerEpoch);
  assert.equal(await old.end(true), producerFenced);
  assert.equal(await old.end(true, 1), invalidProducerEpoch, "an older client does not know the newer code");
  assert.equal(await old.initialize({ expected: true }), producerFenced);
  assert.equal(await old.initialize({ expected: true, version: 3 }), invalidProducerEpoch);
  assert.deepEqual(await young.addPartitions("t", [0]), [0]);
  assert.equal(await young.produce("t", 0, ["kept"]), 0);
  assert.equal(await young.end(true), 0);
  assert.deepEqual(await values(young.client, "t", { committed: true }), ["kept"]);
});

Deno.test("a holder with an open transaction that asks again has it aborted and goes on", async () => {
  using folder = temporaryFolder();
  await using broker = await brokerIn(folder.path);
  using a = await TransactionClient.open(broker, "a");
  await a.client.createTopic("t");
  assert.equal(await a.initialize(), 0);
  for (const value of ["one", "two", "three"]) {
    assert.deepEqual(await a.addPartitions("t", [0]), [0]);
    assert.equal(await a.produce("t", 0, [value]), 0);
    if (value === "two") assert.equal(await a.end(true), 0);
    assert.equal(await a.initialize({ expected: true }), 0);
  }
  const { stable, end } = await a.client.fetch("t", 0);
  assert.deepEqual([stable, end], [6, 6]);
  assert.deepEqual(await values(a.client, "t", { committed: true }), ["two"]);
});

Deno.test("a transaction that is left alone is aborted after its time-out, and its producer may come back", async () => {
  using folder = temporaryFolder();
  await using broker = await brokerIn(folder.path);
  using a = await TransactionClient.open(broker, "a");
  await a.client.createTopic("t");
  assert.equal(await a.initialize({ timeoutMs: 3_000 }), 0);
  assert.deepEqual(await a.addPartitions("t", [0]), [0]);
  assert.equal(await a.produce("t", 0, ["left alone"]), 0);
  let stable = 0;
  for (const end = performance.now() + 60_000; stable < 2 && performance.now() < end;) {
    ({ stable } = await a.client.fetch("t", 0, { committed: true, waitMs: 500 }));
  }
  assert.equal(stable, 2);
  assert.deepEqual(await values(a.client, "t", { committed: true }), []);
  assert.ok(broker.lines.some((line) => line.includes("Aborted the transaction of a")), broker.lines.join("\n"));
  assert.equal(await a.end(true), producerFenced);
  assert.equal(await a.initialize({ expected: true }), 0);
  assert.deepEqual(await a.addPartitions("t", [0]), [0]);
  assert.equal(await a.produce("t", 0, ["again"]), 0);
  assert.equal(await a.end(true), 0);
  assert.deepEqual(await values(a.client, "t", { committed: true }), ["again"]);
});

Deno.test("offsets in a transaction are unstable until it ends, and a repeated EndTxn is answered as the first", async () => {
  using folder = temporaryFolder();
  await using broker = await brokerIn(folder.path);
  using a = await TransactionClient.open(broker, "a");
  using client = await RawClient.open(broker);
  await client.createTopic("t");
  const place = { topic: "t", partition: 2 };
  assert.equal(await a.initialize(), 0);
  assert.equal(await a.commitOffset("g", "t", 2, 7), invalidTxnState);
  assert.equal(await a.addOffsets("g"), 0);
  assert.equal(await a.commitOffset("g", "t", 2, 6), 0);
  assert.equal(await a.commitOffset("g", "t", 2, 7), 0);
  assert.equal(await committedOffset(client, "g", place), -1);
  assert.equal(await committedOffset(client, "g", { ...place, stable: true }), -88);
  assert.equal(await a.end(true), 0);
  assert.equal(await a.end(true), 0);
  assert.equal(await a.end(false), invalidTxnState);
  assert.equal(await committedOffset(client, "g", { ...place, stable: true }), 7);
  assert.equal(await a.addOffsets("g"), 0);
  assert.equal(await a.commitOffset("g", "t", 2, 1), 0);
  assert.equal(await a.end(false), 0);
  assert.equal(await committedOffset(client, "g", { ...place, stable: true }), 7);
});

Deno.test("ids beyond the limit and time-outs beyond it are refused", async () => {
  using folder = temporaryFolder();
  await using broker = await brokerIn(folder.path, { transactionalIdsMax: 1, transactionTimeoutMaxMs: 1000 });
  using a = await TransactionClient.open(broker, "a");
  using b = await TransactionClient.open(broker, "b");
  assert.equal(await a.initialize({ timeoutMs: 1001 }), 50);
  assert.equal(await a.initialize({ timeoutMs: 0 }), 50);
  assert.equal(await a.initialize({ timeoutMs: 1000 }), 0);
  assert.equal(await b.initialize({ timeoutMs: 1000 }), 44);
  assert.ok(broker.lines.some((line) => line.includes("Refused transactional id b of raw: there are 1 already")));
});

Deno.test("what a lost transactions.log leaves open in a partition is aborted at the start", async () => {
  using folder = temporaryFolder();
  {
    await using broker = await brokerIn(folder.path);
    using a = await TransactionClient.open(broker, "a");
    await a.client.createTopic("t");
    await a.initialize();
    await a.addPartitions("t", [0]);
    await a.produce("t", 0, ["x"]);
  }
  Deno.removeSync(`${folder.path}/transactions.log`);
  await using broker = await brokerIn(folder.path);
  using client = await RawClient.open(broker);
  assert.ok(broker.lines.some((line) => /Aborted a transaction of producer \d+ in t-0/.test(line)));
  assert.deepEqual(await values(client, "t", { committed: true }), []);
  assert.equal((await client.fetch("t", 0, { committed: true })).stable, 2);
});

Deno.test("an open transaction goes on after a restart, and retention forgets aborted ones with their records", async () => {
  using folder = temporaryFolder();
  let saved = { producerId: -1, epoch: -1 };
  {
    await using broker = await brokerIn(folder.path);
    using a = await TransactionClient.open(broker, "a");
    await a.client.createTopic("t");
    await a.initialize();
    await a.addPartitions("t", [0]);
    await a.produce("t", 0, ["x"]);
    saved = { producerId: a.producerId, epoch: a.epoch };
  }
  await using broker = await brokerIn(folder.path, { segmentBytes: 1000, retentionBytes: 2000, retentionCheckMs: 10 });
  using a = await TransactionClient.open(broker, "a");
  Object.assign(a, saved);
  const { stable } = await a.client.fetch("t", 0);
  assert.equal(stable, 0);
  assert.equal(await a.end(true), 0);
  assert.deepEqual(await values(a.client, "t", { committed: true }), ["x"]);
  await a.initialize();
  for (let i = 0; i < 40; i++) {
    await a.addPartitions("t", [0]);
    await a.produce("t", 0, [`aborted ${i}`]);
    await a.end(false);
  }
  await a.addPartitions("t", [0]);
  await a.produce("t", 0, ["open"]);
  for (let i = 0; i < 40; i++) await a.produce("t", 0, [`open ${i}`]);
  const end = (await a.client.fetch("t", 0)).end;
  for (let tries = 0; (await a.client.fetch("t", end)).start < 84 && tries < 200; tries++) {
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
  // The open transaction began before what is left: nothing of it is shown all the same.
  const after = await a.client.fetch("t", end, { committed: true });
  assert.deepEqual([after.start > 83, after.stable, after.error], [true, after.start, 0]);
  assert.deepEqual((await a.client.fetch("t", after.start, { committed: true })).records.length, 0);
  assert.equal(await a.end(true), 0);
  const done = await a.client.fetch("t", after.start, { committed: true });
  assert.deepEqual([done.aborted, done.stable], [[], end + 1]);
});
