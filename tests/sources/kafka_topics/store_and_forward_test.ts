import assert from "node:assert/strict";
import type { BrokerOptions } from "../../../broker/kafka/mod.ts";
import { systemClock } from "../../../pipeline/clock.ts";
import { kafkaTopics } from "../../../pipeline/sources/kafka_topics/definition.ts";
import { KafkaTopicsSource } from "../../../pipeline/sources/kafka_topics/kafka_topics_source.ts";
import { brokerIn, temporaryFolder } from "../../broker/kafka/support.ts";
import { brokerBehindProxy } from "../../log/broker_behind_proxy.ts";
import { bytes, eventually, Forwarding, type ForwardingOptions, record, Side } from "./forwarding.ts";

const KIB = 1024;

/** A small machine with a bounded disk, and a cluster behind a link that can be down. */
async function edge(options: Partial<BrokerOptions>) {
  const parts = new AsyncDisposableStack();
  const folder = parts.use(temporaryFolder());
  const near = parts.use(await brokerIn(folder.path, options));
  const far = parts.use(await brokerBehindProxy());
  const nearSide = parts.use(new Side([near.address]));
  const farSide = parts.use(new Side([far.broker.address]));
  await nearSide.topic("readings", 2);
  const forwarding: ForwardingOptions = {
    from: nearSide.brokers,
    into: [far.proxy.address],
    options: { topics: ["readings"], deleteForwarded: true },
  };
  return {
    near,
    nearSide,
    farSide,
    forwarding,
    cutLink: () => {
      far.proxy.onRequest = () => "cut";
      far.proxy.cut();
    },
    mendLink: () => far.proxy.onRequest = () => "pass",
    [Symbol.asyncDispose]: () => parts.disposeAsync(),
  };
}

/** About 10 KiB. */
const readings = (batch: number, partition: number) =>
  Array.from(
    { length: 10 },
    (_, i) => record(`${partition}.${batch}.${i} ${"x".repeat(KIB)}`, { key: bytes(`sensor ${partition}.${i % 3}`) }),
  );

const names = (values: readonly (readonly (string | null)[])[]) =>
  values.map((partition) => partition.map((value) => value!.split(" ")[0]));

Deno.test("what comes while the link is down is forwarded when it is back, once and in order, and makes room behind it", async () => {
  await using world = await edge({ bufferBytes: 4096 * KIB, segmentBytes: 64 * KIB });
  await using forwarding = Forwarding.start(world.forwarding);
  const expected: string[][] = [[], []];
  const write = async (from: number, to: number) => {
    for (let batch = from; batch < to; batch++) {
      for (const partition of [0, 1]) {
        await world.nearSide.write("readings", partition, readings(batch, partition));
        for (let i = 0; i < 10; i++) expected[partition].push(`${partition}.${batch}.${i}`);
      }
    }
  };
  await write(0, 10);
  await eventually("all is there", () => forwarding.counts.written === 200);
  world.cutLink();
  await write(10, 60);
  await eventually("it waits", () => forwarding.waiting.some((reason) => reason !== null));
  world.mendLink();
  await write(60, 70);
  await eventually("all is there", () => forwarding.counts.written === 1400);
  assert.deepEqual(names(await world.farSide.values("readings")), expected);
  await eventually("what was forwarded is deleted", async () => {
    const [first, second] = await world.nearSide.read("readings");
    return first.length < 300 && second.length < 300;
  });
  assert.equal(forwarding.source?.details?.().lostRecords, 0);
});

Deno.test("an outage longer than the disk drops the oldest, says how many of which partition, and forwards all others", async () => {
  await using world = await edge({ bufferBytes: 1024 * KIB, whenFull: "drop" });
  {
    await using before = Forwarding.start(world.forwarding);
    for (const partition of [0, 1]) await world.nearSide.write("readings", partition, readings(0, partition));
    await eventually("the first are there", () => before.counts.written === 20);
  }
  world.cutLink();
  for (let batch = 1; batch <= 150; batch++) {
    await world.nearSide.write("readings", batch % 2, readings(batch, batch % 2));
  }
  const kept = names(await world.nearSide.values("readings"));
  const lost = 1500 + 20 - kept.flat().length;
  assert.ok(lost > 400, `${lost} records were dropped`);
  world.mendLink();
  await using forwarding = Forwarding.start(world.forwarding);
  await eventually("the others are there", () => forwarding.counts.written === 20 + kept.flat().length);
  const there = names(await world.farSide.values("readings"));
  assert.deepEqual(there.map((values) => values.slice(10)), kept);
  // Its own transactions' markers are among the offsets.
  const lines = forwarding.lines.filter((line) => line.startsWith("error: LOST"));
  assert.equal(lines.length, 2);
  assert.match(
    lines[0],
    /LOST: \d+ offsets of readings\/\d \(\d+ to \d+\) were deleted by retention before they could be/,
  );
  const details = forwarding.source!.details!();
  const counts = ["lost readings/0", "lost readings/1"].map((name) => Number(details[name]));
  assert.equal(details.lostRecords, counts[0] + counts[1]);
  assert.ok(
    Number(details.lostRecords) >= lost && Number(details.lostRecords) <= lost * 1.2,
    `${details.lostRecords} of ${lost}`,
  );
  // It is remembered with the position.
  await forwarding.stop();
  await using again = Forwarding.start(world.forwarding);
  await eventually("it runs", () => again.source?.details?.().topics === 1 && again.source.details().partitions === 2);
  assert.equal(again.source!.details!().lostRecords, details.lostRecords);
  assert.deepEqual(again.lines.filter((line) => line.includes("LOST")), []);
});

Deno.test("an outage longer than the disk refuses new records where nothing may be lost, and takes them again behind it", async () => {
  await using world = await edge({ bufferBytes: 1024 * KIB, whenFull: "refuse", segmentBytes: 64 * KIB });
  world.cutLink();
  await using forwarding = Forwarding.start(world.forwarding);
  const isFull = () => world.near.lines.some((line) => /is full: no records are taken/.test(line));
  let batch = 0;
  // The producer is made to wait: what it writes then is not lost, it is not taken yet.
  const writing = (async () => {
    for (; batch < 130; batch++) await world.nearSide.write("readings", 0, readings(batch, 0));
  })();
  await eventually("the buffer is full", isFull);
  assert.ok(batch > 60 && batch < 105, `${batch} batches were taken`);
  world.mendLink();
  await writing;
  await eventually("all is there", () => forwarding.counts.written === 1300, 40_000);
  const [there] = names(await world.farSide.values("readings"));
  assert.deepEqual(
    there,
    Array.from({ length: 130 }, (_, b) => Array.from({ length: 10 }, (_, i) => `0.${b}.${i}`)).flat(),
  );
  assert.equal(forwarding.source?.details?.().lostRecords, 0);
});

Deno.test("a bounded run deletes all that it forwarded, also while it is deleting already", async () => {
  using folder = temporaryFolder();
  await using near = await brokerIn(folder.path, { segmentBytes: 64 * KIB });
  await using side = new Side([near.address]);
  const cluster = { brokers: side.brokers, cluster: { clientId: "test", ssl: false, sasl: null }, registryUrl: "" };
  const values = Array.from({ length: 1000 }, (_, i) => record(`${i} ${"x".repeat(100)}`));
  // How far the deleting behind the first commit is when the second comes.
  for (let turns = 0; turns < 6; turns++) {
    const topic = `readings-${turns}`;
    for (const name of [topic, `copy.${topic}`]) await side.topic(name, 1);
    for (let i = 0; i < 8; i++) await side.write(topic, 0, values);
    await using source = new KafkaTopicsSource({
      spec: kafkaTopics({ topics: [topic], deleteForwarded: true }),
      prefix: "copy.",
      from: cluster,
      into: cluster,
      registries: null,
      ensureTopics: () => Promise.resolve(),
      partitions: null,
      clock: { ...systemClock, sleep: (_ms, signal) => systemClock.sleep(0, signal) },
      log: (_level, message) => assert.fail(message),
    });
    const signal = new AbortController().signal;
    const batches = source.read(null, { signal, clock: systemClock, isBounded: true, onWaiting: () => {} });
    let read = 0;
    for (let next = batches.next();;) {
      const { done, value: batch } = await next;
      if (done) break;
      next = batches.next();
      read += batch.records.length;
      for (let turn = 0; turn < turns; turn++) await systemClock.sleep(0);
      await source.committed(batch.position);
    }
    assert.equal(read, 8000);
    const [left] = await side.read(topic);
    assert.ok(left.length < 1000, `${left.length} records are left behind a commit after ${turns} turns`);
  }
});
