import assert from "node:assert/strict";
import { type Event, eventPlan } from "./logs.ts";
import { objects, RunnerBench } from "./runner_bench.ts";

const plan = await eventPlan({ emit: { every: "1000ms" } });
const event = (k: string, at: number, v = 1): Event => ({ k, v, at });

Deno.test("a bounded run reads what was there at its start, publishes open windows too, and ends by itself", async () => {
  const bench = new RunnerBench(plan, [[[event("a", 100), event("b", 5_000)]], [[event("a", 200, 5)]]]);
  const { runner, result } = bench.start({}, { until: "latest" });
  // Written after it began.
  await bench.clock.settle();
  bench.append(0, event("b", 6_000), event("b", 90_000));
  bench.append(1, event("a", 90_000));
  await bench.clock.pass(2_000);
  assert.equal(await result, null);
  const { state, partitions, buckets, inFlight } = runner.status();
  assert.equal(state, "stopped");
  assert.deepEqual(partitions.map(({ position }) => position), [2, 1]);
  assert.deepEqual([buckets.consumed, buckets.aggregated, inFlight], [3, 3, 0]);
  assert.deepEqual(bench.checkpoint!.partitions.map(({ position }) => position), [2, 1]);
  const rows = bench.published.flatMap(objects);
  assert.ok(rows.some(({ k, final, n }) => k === "b" && final === false && n === 1), "an open window is published");
});

Deno.test("bounded runs one after the other give what one run over everything gives", async () => {
  const events = Array.from({ length: 300 }, (_, i) => event("abc"[i % 3], i * 97 % 7 * 10 + i * 40, i));
  const batches = (from: number, to: number) => [0, 1].map((p) => events.slice(from, to).filter((_, i) => i % 2 === p));
  const whole = new RunnerBench(plan, batches(0, 300).map((list) => [list]));
  await finish(whole, whole.start({}, { until: "latest" }));
  const parts = new RunnerBench(plan, batches(0, 100).map((list) => [list]));
  await finish(parts, parts.start({}, { until: "latest" }));
  for (const [from, to] of [[100, 101], [101, 220], [220, 220], [220, 300]]) {
    batches(from, to).forEach((list, partition) => list.length > 0 && parts.append(partition, ...list));
    await finish(parts, parts.start({}, { until: "latest" }));
  }
  assert.deepEqual(parts.finals().sort(), whole.finals().sort());
  assert.ok(whole.finals().length > 10, `${whole.finals().length} rows`);
});

Deno.test("a run until a time ends before the first record of that time, and where none is at what is there", async () => {
  const bench = new RunnerBench(plan, [[[event("a", 100), event("a", 200), event("a", 300)]], [[event("b", 100)]]]);
  bench.offsetsAt.set(1_767_000_000_000, [2, -1]);
  const { runner, result } = bench.start({}, { until: 1_767_000_000_000 });
  await bench.clock.pass(2_000);
  assert.equal(await result, null);
  assert.deepEqual(runner.status().partitions.map(({ position }) => position), [2, 1]);
});

async function finish(bench: RunnerBench, { result }: { result: Promise<Error | null> }): Promise<void> {
  await bench.clock.pass(3_000);
  assert.equal(await result, null);
}
