import assert from "node:assert/strict";
import { startRegistry } from "../../broker/registry/mod.ts";
import { systemClock } from "../../pipeline/clock.ts";
import { createRegistryClient } from "../../pipeline/log/registry_client.ts";
import { LocalShardHost, type SourceOptions } from "../../pipeline/runtime/local_shard_host.ts";
import type { ShardFlush } from "../../pipeline/runtime/shard.ts";
import type { PartitionStart } from "../../pipeline/runtime/shard_task.ts";
import type { ShardEvents, ShardHandle, ShardHost } from "../../pipeline/runtime/shard_host.ts";
import { ThreadShardHost } from "../../pipeline/runtime/thread_shard_host.ts";
import { RawClient, temporaryFolder } from "../broker/kafka/support.ts";
import { type BehindProxy, brokerBehindProxy, makeTopic } from "../log/broker_behind_proxy.ts";
import { encode, eventPlan, recordOf, SCHEMA, sealed } from "./logs.ts";

const HOSTS: Record<string, (source: SourceOptions) => ShardHost & Partial<AsyncDisposable>> = {
  "in this thread": (source) => new LocalShardHost(source, systemClock),
  "in a worker": (source) => new ThreadShardHost(source),
};

const plan = await eventPlan();
const start: PartitionStart = { partition: 0, position: 0, maxEventTimeMs: -Infinity, raisedToMs: -Infinity };

interface Setup extends AsyncDisposable {
  readonly behind: BehindProxy;
  readonly source: SourceOptions;
  produce(values: readonly (Uint8Array | null)[], compressed?: boolean): Promise<void>;
}

async function setUp(): Promise<Setup> {
  const parts = new AsyncDisposableStack();
  const behind = parts.use(await brokerBehindProxy({ defaultPartitions: 1 }));
  await makeTopic(behind.broker, "t");
  const folder = parts.use(temporaryFolder());
  const registry = parts.use(await startRegistry({ host: "127.0.0.1", port: 0, dataDir: folder.path }));
  assert.equal(await createRegistryClient({ url: registry.url }).register("t-value", SCHEMA), 1);
  return {
    behind,
    source: {
      brokers: [behind.proxy.address],
      cluster: { clientId: "test", ssl: false, sasl: null },
      registry: { url: registry.url },
    },
    produce: async (values, compressed = false) => {
      using client = await RawClient.open(behind.broker);
      const { error } = await client.produce("t", sealed(values.map((value) => recordOf(value, 1)), 0, compressed));
      assert.equal(error, 0);
    },
    [Symbol.asyncDispose]: () => parts.disposeAsync(),
  };
}

const quiet: ShardEvents = {
  onFull: () => {},
  onWaiting: () => {},
  onFailed: (error) => assert.fail(error),
};

/** Flushes until the position is reached. */
async function upTo(handle: ShardHandle, position: number): Promise<ShardFlush[]> {
  const flushes: ShardFlush[] = [];
  for (let tries = 0; tries < 500; tries++) {
    flushes.push(await handle.flush({ raises: new Map(), paused: [] }));
    if (flushes.at(-1)!.partitions[0].position >= position) return flushes;
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
  throw new Error(`position ${position} was not reached`);
}

for (const [where, make] of Object.entries(HOSTS)) {
  Deno.test(`a shard ${where} reads a topic, hands over panes and what was set aside of compressed batches`, async () => {
    await using setup = await setUp();
    const host = make(setup.source);
    const handle = await host.open({ plan, partitions: [start] }, quiet);
    const event = (k: string) => encode({ k, v: 2, at: 100 });
    const bad = Uint8Array.of(9, 9, 9);
    await setup.produce([event("a"), event("b"), bad, event("a"), bad, null], true);
    await setup.produce([event("a"), bad]);
    const flushes = await upTo(handle, 8);
    const counts = flushes.flatMap(({ panes }) => [...panes.counts]);
    assert.equal(counts.reduce((a, b) => a + b, 0), 4);
    const aside = flushes.flatMap(({ setAside }) => setAside);
    assert.deepEqual(aside.map(({ offset, value }) => [offset, [...value!]]), [[2, [9, 9, 9]], [4, [9, 9, 9]], [7, [
      9,
      9,
      9,
    ]]]);
    await handle.close();
    await host[Symbol.asyncDispose]?.();
  });

  Deno.test(`a shard ${where} says why it waits, goes on when the broker is back, and is closed while it waits`, async () => {
    await using setup = await setUp();
    const host = make(setup.source);
    const reasons: (string | null)[] = [];
    const handle = await host.open({ plan, partitions: [start] }, {
      ...quiet,
      onWaiting: (reason) => reasons.push(reason),
    });
    await setup.produce([encode({ k: "a", v: 1, at: 1 })]);
    await upTo(handle, 1);
    setup.behind.proxy.onRequest = () => "cut";
    setup.behind.proxy.cut();
    while (typeof reasons.at(-1) !== "string") await new Promise((resolve) => setTimeout(resolve, 10));
    assert.match(reasons.at(-1)!, /broker|connection/i);
    setup.behind.proxy.onRequest = () => "pass";
    await setup.produce([encode({ k: "a", v: 1, at: 2 })]);
    await upTo(handle, 2);
    assert.equal(reasons.at(-1), null);
    setup.behind.proxy.onRequest = () => "cut";
    setup.behind.proxy.cut();
    const began = performance.now();
    await handle.close();
    assert.ok(performance.now() - began < 20_000);
    await host[Symbol.asyncDispose]?.();
  });

  Deno.test(`a shard ${where} whose position is gone from the log fails with what to do`, async () => {
    await using setup = await setUp();
    const host = make(setup.source);
    const failed = Promise.withResolvers<Error>();
    const handle = await host.open({ plan, partitions: [{ ...start, position: 50 }] }, {
      ...quiet,
      onFailed: failed.resolve,
    });
    const error = await failed.promise;
    assert.equal(error.name, "OffsetOutOfRangeError");
    assert.match(error.message, /tailrace rewind PIPELINE --earliest/);
    await handle.close();
    await host[Symbol.asyncDispose]?.();
  });
}

Deno.test("a worker that is ended fails its shards, and the next one opened gets a new worker", async () => {
  await using setup = await setUp();
  const host = new ThreadShardHost(setup.source);
  const failed = Promise.withResolvers<Error>();
  const handle = await host.open({ plan, partitions: [start] }, { ...quiet, onFailed: failed.resolve });
  await host[Symbol.asyncDispose]();
  assert.match((await failed.promise).message, /The worker was ended/);
  await handle.close();
  const again = await host.open({ plan, partitions: [start] }, quiet);
  await setup.produce([encode({ k: "a", v: 1, at: 1 })]);
  await upTo(again, 1);
  await again.close();
  await host[Symbol.asyncDispose]();
});
