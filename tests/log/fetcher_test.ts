import assert from "node:assert/strict";
import { systemClock } from "../../pipeline/clock.ts";
import { Cluster } from "../../pipeline/log/cluster.ts";
import { type FetchedPart, Fetcher, type FetcherOptions, OffsetOutOfRangeError } from "../../pipeline/log/fetcher.ts";
import { Producer } from "../../pipeline/log/producer.ts";
import { CorruptBatchError } from "../../pipeline/log/record_batch.ts";
import { RawClient } from "../broker/kafka/support.ts";
import { batchOf, plain, scanAll, type ScannedRecord } from "./batches.ts";
import { type BehindProxy, brokerBehindProxy, fetchAll, makeTopic } from "./broker_behind_proxy.ts";
import { hurriedClock, randomFrom, seed } from "./proxy.ts";

const text = (bytes: Uint8Array | null) => bytes && new TextDecoder().decode(bytes);

async function produce(setup: BehindProxy, batches: readonly (readonly string[])[]): Promise<void> {
  using client = await RawClient.open(setup.broker);
  for (const values of batches) {
    const { error } = await client.produce("t", batchOf(plain(...values)));
    assert.equal(error, 0);
  }
}

function fetcher(
  setup: BehindProxy,
  options: Partial<FetcherOptions> & Pick<FetcherOptions, "take" | "signal">,
): Fetcher {
  return new Fetcher(setup.cluster(), {
    topic: "t",
    clock: systemClock,
    partitionBytes: 1 << 16,
    fetchBytes: 1 << 18,
    partitions: [0],
    positionOf: () => 0,
    onWaiting: () => {},
    ...options,
  });
}

Deno.test(`a fetcher whose connection is cut at random reads every record once, in order (TAILRACE_SEED=${seed})`, async () => {
  await using setup = await brokerBehindProxy({ defaultPartitions: 1 });
  await makeTopic(setup.broker, "t");
  const sent = Array.from(
    { length: 200 },
    (_, i) => Array.from({ length: 50 }, (_, j) => `${i}/${j} ${"y".repeat(100)}`),
  );
  await produce(setup, sent);
  const random = randomFrom(seed);
  let answers = 0;
  let cuts = 0;
  setup.proxy.onAnswer = () => {
    const drawn = random();
    // Some seeds would cut none of the few.
    if (drawn > 0.05 && ++answers !== 5) return "pass";
    cuts++;
    return drawn < 0.02 ? "half" : "cut";
  };
  const all = await fetchAll(setup.cluster(), {
    topic: "t",
    partitions: [0],
    done: (all) => all.get(0)!.length >= 10_000,
  });
  assert.ok(cuts > 0);
  assert.deepEqual(all.get(0)!.map(({ offset }) => offset), Array.from({ length: 10_000 }, (_, i) => i));
  assert.deepEqual(all.get(0)!.map(({ value }) => text(value)), sent.flat());
});

Deno.test("what is taken but not kept is fetched again from where the taker stands", async () => {
  await using setup = await brokerBehindProxy({ defaultPartitions: 1 });
  await makeTopic(setup.broker, "t");
  await produce(setup, [["a", "b"], ["c"]]);
  const stop = new AbortController();
  const taken: number[] = [];
  const reasons: (string | null)[] = [];
  const run = fetcher(setup, {
    signal: stop.signal,
    positionOf: () => taken.length === 0 ? 0 : 2,
    onWaiting: (reason) => reasons.push(reason),
    take: ({ fromOffset }) => {
      taken.push(fromOffset);
      if (taken.length === 1) return Promise.reject(new CorruptBatchError("damaged on its way"));
      stop.abort();
      return Promise.resolve();
    },
  }).run();
  await run;
  assert.deepEqual(taken, [0, 2]);
  assert.deepEqual(reasons, [null, "damaged on its way", null]);
});

Deno.test("a taker that does not keep up stops the fetching: one answer is taken, one waits", async () => {
  await using setup = await brokerBehindProxy({ defaultPartitions: 1 });
  await makeTopic(setup.broker, "t");
  await produce(setup, Array.from({ length: 40 }, () => ["z".repeat(60_000)]));
  const stop = new AbortController();
  const first = Promise.withResolvers<void>();
  const release = Promise.withResolvers<void>();
  let requests = 0;
  let position = 0;
  const run = fetcher(setup, {
    signal: stop.signal,
    positionOf: () => position,
    take: async ({ frame, start, end, fromOffset }) => {
      first.resolve();
      await release.promise;
      position = scanAll(frame.slice(start, end), { fromOffset }).nextOffset;
      if (position === 40) stop.abort();
    },
  }).run();
  await first.promise;
  setup.proxy.onRequest = () => {
    requests++;
    return "pass";
  };
  await new Promise((resolve) => setTimeout(resolve, 300));
  assert.ok(requests <= 1, `${requests} requests while the first answer was not taken`);
  release.resolve();
  await run;
  assert.equal(position, 40);
});

Deno.test("partitions with more than an answer holds take turns", async () => {
  await using setup = await brokerBehindProxy({ defaultPartitions: 3 });
  await makeTopic(setup.broker, "t");
  const stop = new AbortController();
  const producer = new Producer(setup.cluster(), { clock: systemClock, signal: stop.signal, acks: -1 });
  for (const partition of [0, 1, 2]) {
    for (let i = 0; i < 8; i++) await producer.send("t", partition, batchOf(plain("z".repeat(60_000))));
  }
  const positions = [0, 0, 0];
  const fed: number[] = [];
  await fetcher(setup, {
    signal: stop.signal,
    fetchBytes: 1 << 16,
    partitions: [0, 1, 2],
    positionOf: (partition) => positions[partition],
    take: ({ partition, frame, start, end, fromOffset }) => {
      positions[partition] = scanAll(frame.slice(start, end), { fromOffset }).nextOffset;
      if (end > start) fed.push(partition);
      if (positions.every((position) => position === 8)) stop.abort();
      return Promise.resolve();
    },
  }).run();
  assert.deepEqual(fed.slice(0, 6).sort(), [0, 0, 1, 1, 2, 2]);
});

Deno.test("a partition that no broker leads is waited for while the others are read", async () => {
  await using setup = await brokerBehindProxy({ defaultPartitions: 2 });
  await makeTopic(setup.broker, "t");
  const stop = new AbortController();
  const producer = new Producer(setup.cluster(), { clock: systemClock, signal: stop.signal, acks: -1 });
  for (const partition of [0, 1]) await producer.send("t", partition, batchOf(plain("a")));
  let looks = 0;
  await using cluster = new class extends Cluster {
    override async leaders(topic: string) {
      const found = await super.leaders(topic);
      return found && { ...found, leaders: ++looks === 1 ? [-1, -1] : looks === 2 ? [1, -1] : found.leaders };
    }
  }([setup.proxy.address], { clientId: "test", ssl: false, sasl: null });
  const events: (string | number | null)[] = [];
  const positions = [0, 0];
  await new Fetcher(cluster, {
    topic: "t",
    clock: hurriedClock,
    signal: stop.signal,
    partitionBytes: 1 << 16,
    fetchBytes: 1 << 18,
    partitions: [0, 1],
    positionOf: (partition) => positions[partition],
    onWaiting: (reason) => events.push(reason),
    take: ({ partition, start, end }) => {
      if (end > start) events.push(partition);
      if (end > start) positions[partition] = 1;
      if (positions.every((position) => position === 1)) stop.abort();
      return Promise.resolve();
    },
  }).run();
  assert.deepEqual(events, ["No broker leads t/0,1 at the moment", "No broker leads t/1 at the moment", 0, null, 1]);
});

Deno.test("paused partitions are left out until they are taken in again", async () => {
  await using setup = await brokerBehindProxy({ defaultPartitions: 2 });
  await makeTopic(setup.broker, "t");
  await produce(setup, [["a"]]);
  const stop = new AbortController();
  const seen: number[] = [];
  const positions = [0, 0];
  const take = (part: FetchedPart): Promise<void> => {
    seen.push(part.partition);
    if (part.end > part.start) {
      positions[part.partition] = 1;
      stop.abort();
    }
    return Promise.resolve();
  };
  const fetching = fetcher(setup, { signal: stop.signal, partitions: [0, 1], positionOf: (p) => positions[p], take });
  fetching.pause([0]);
  const run = fetching.run();
  await new Promise((resolve) => setTimeout(resolve, 150));
  fetching.pause([0, 1]);
  await new Promise((resolve) => setTimeout(resolve, 600));
  assert.ok(!seen.includes(0), "partition 0 has a record and was not asked for");
  fetching.pause([]);
  await run;
  assert.ok(seen.includes(0));
});

Deno.test("a position outside of the log ends the fetching with what to do about it", async () => {
  await using setup = await brokerBehindProxy({ defaultPartitions: 1 });
  await makeTopic(setup.broker, "t");
  await produce(setup, [["a"]]);
  const { signal } = new AbortController();
  await assert.rejects(
    fetcher(setup, { signal, positionOf: () => 99, take: () => Promise.resolve() }).run(),
    (error) => {
      assert.ok(error instanceof OffsetOutOfRangeError);
      assert.match(error.message, /from offset 99: the log holds 0 to 1\./);
      return true;
    },
  );
});

Deno.test("a topic that is not there yet is waited for", async () => {
  await using setup = await brokerBehindProxy({ defaultPartitions: 1 });
  const stop = new AbortController();
  const reasons: (string | null)[] = [];
  const records: ScannedRecord[] = [];
  const run = fetcher(setup, {
    signal: stop.signal,
    onWaiting: (reason) => reasons.push(reason),
    take: ({ frame, start, end }) => {
      records.push(...scanAll(frame.slice(start, end)).records);
      if (records.length > 0) stop.abort();
      return Promise.resolve();
    },
  }).run();
  while (reasons.length === 0) await new Promise((resolve) => setTimeout(resolve, 10));
  assert.match(reasons[0]!, /Topic t does not exist \(yet\)/);
  await makeTopic(setup.broker, "t");
  await produce(setup, [["a"]]);
  await run;
  assert.equal(reasons.at(-1), null);
  assert.equal(records.length, 1);
});
