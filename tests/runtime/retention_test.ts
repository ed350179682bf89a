import assert from "node:assert/strict";
import { explain } from "../../pipeline/runtime/explain.ts";
import type { Plan } from "../../pipeline/plan/plan.ts";
import { type Event, eventPlan } from "./logs.ts";
import { RunnerBench } from "./runner_bench.ts";

const plan = await eventPlan({ allowedLateness: "500ms" });
const deduped = await eventPlan({ allowedLateness: "500ms", dedupe: { by: "v", within: "2000ms" } });

const event = (k: string, at: number, v = 1): Event => ({ k, v, at });

/** A bench over logs that were read bit by bit, with a checkpoint after each, and stopped. */
async function readThrough(tested: Plan, partitions: readonly (readonly Event[])[]): Promise<RunnerBench> {
  const bench = new RunnerBench(tested, partitions.map(() => []));
  const { stop } = bench.start();
  for (let i = 0; i < Math.max(...partitions.map(({ length }) => length)); i++) {
    for (const [partition, events] of partitions.entries()) {
      if (i < events.length) bench.append(partition, events[i]);
    }
    await bench.clock.pass(600);
  }
  assert.equal(await stop(), null);
  return bench;
}

/** What one record's explanation is, on the bench's clock. */
async function explained(bench: RunnerBench, record: { partition: number; offset: number }) {
  const asked = explain(bench.plan, record, bench.explainDeps());
  let isTold = false;
  asked.finally(() => isTold = true).catch(() => {});
  for (let i = 0; i < 50 && !isTold; i++) await bench.clock.pass(10);
  return await asked;
}

Deno.test("what dedupe has to learn may be gone from the log: the pipeline starts, and learns what is left", async () => {
  // All of one window may lie between two samples, so the last one before the time to learn may be far back.
  const bench = await readThrough(deduped, [[event("a", 100, 1), event("a", 200, 2), event("a", 9_000, 3)]]);
  bench.earliest = 2;
  bench.append(0, event("a", 9_100, 3), event("a", 9_200, 4), event("a", 20_000, 5));
  const { stop, runner } = bench.start();
  await bench.clock.pass(1_000);
  assert.equal(runner.status().buckets.duplicate, 1);
  assert.equal(await stop(), null);
  assert.deepEqual(bench.finals(), ["a 0 n=2 total=3 revision=2", "a 9000 n=2 total=7 revision=2"]);
});

Deno.test("a window whose first records retention deleted without a sample after them is not computed again", async () => {
  const bench = await readThrough(plan, [[event("a", 100), event("a", 200), event("a", 300)]]);
  bench.earliest = 2;
  const { stop, runner } = bench.start();
  bench.append(0, event("a", 9_000), event("b", 400));
  await bench.clock.pass(1_000);
  assert.deepEqual(bench.finals(), ["a 0 n=3 total=3 revision=3"]);
  bench.redrive(0, event("b", 400), { source: 4 });
  await bench.clock.pass(500);
  assert.equal(runner.status().state, "running");
  assert.deepEqual(bench.finals(), ["a 0 n=3 total=3 revision=3"]);
  assert.equal(runner.status().buckets.late, 2);
  assert.equal(await stop(), null);
});

Deno.test("retention that moves on while a pipeline runs makes what comes back late, and does not end it", async () => {
  const bench = await readThrough(plan, [[
    event("a", 100),
    event("a", 200),
    event("a", 9_000),
    event("b", 300),
  ]]);
  const first = bench.start();
  await bench.clock.pass(500);
  assert.deepEqual(bench.finals(), ["a 0 n=2 total=2 revision=2"]);
  bench.earliest = 1;
  bench.redrive(0, event("b", 300), { source: 3 });
  await bench.clock.pass(500);
  const error = await first.result;
  assert.equal(error!.name, "UnavailableError", String(error));
  assert.match(error!.message, /the log does not hold all of their records any more/);
  const { stop, runner } = bench.start();
  await bench.clock.pass(1_000);
  assert.deepEqual(bench.finals(), ["a 0 n=2 total=2 revision=2"]);
  assert.equal(runner.status().buckets.late, 2);
  assert.equal(await stop(), null);
  assert.equal((await explained(bench, { partition: 0, offset: 4 })).fate, "late");
});

Deno.test("what retention deleted in one partition alone makes its windows gone, for records of every partition", async () => {
  const bench = await readThrough(plan, [
    [event("a", 100), event("a", 2_100), event("a", 9_000), event("c", 2_200), event("c", 7_000)],
    [event("b", 150), event("b", 6_100), event("b", 9_000)],
  ]);
  // Gone: 150 and 6,100 of partition 1. So windows up to 6,000 lack something.
  bench.earliest = [0, 2];
  const { stop, runner } = bench.start();
  await bench.clock.pass(500);
  bench.redrive(0, event("c", 2_200), { source: 3 });
  bench.redrive(0, event("c", 7_000), { source: 4 });
  await bench.clock.pass(1_000);
  assert.equal(runner.status().state, "running");
  assert.equal(await stop(), null);
  assert.deepEqual(bench.finals().filter((row) => row.startsWith("c")), ["c 7000 n=1 total=1 revision=1"]);
  assert.equal((await explained(bench, { partition: 0, offset: 5 })).fate, "late");
  const back = await explained(bench, { partition: 0, offset: 6 });
  assert.deepEqual([back.fate, back.isReopening], ["aggregated", true]);
});

Deno.test("with dedupe a window is computed again only while the records that its own may repeat are there", async () => {
  const bench = await readThrough(deduped, [[
    event("a", 4_500, 7),
    event("a", 5_100, 7),
    event("a", 5_200, 8),
    event("a", 8_000, 9),
    event("a", 5_300, 10),
  ]]);
  assert.deepEqual(bench.finals(), ["a 4000 n=1 total=7 revision=1", "a 5000 n=1 total=8 revision=1"]);
  // The first is gone, which the second repeats.
  bench.earliest = 1;
  const { stop, runner } = bench.start();
  await bench.clock.pass(500);
  bench.redrive(0, event("a", 5_300, 10), { source: 4 });
  await bench.clock.pass(500);
  assert.equal(runner.status().state, "running");
  assert.deepEqual(bench.finals(), ["a 4000 n=1 total=7 revision=1", "a 5000 n=1 total=8 revision=1"]);
  assert.match(bench.aside.at(-1)!.reason, /cannot be computed again/);
  assert.equal(await stop(), null);
});

Deno.test("a record is explained though what came right before it is gone, or it is said that it cannot be", async () => {
  const times = [100, 200, 300, 9_000, 9_100, 9_200, 400];
  const bench = await readThrough(plan, [times.map((at) => event("a", at))]);
  const told = async (offset: number) => await explained(bench, { partition: 0, offset });
  bench.earliest = 2;
  for (const offset of [2, 3]) {
    const { fate, reason } = await told(offset);
    assert.equal(fate, "not read", `${offset}`);
    assert.match(reason, /the log does not hold what came before it any more/);
  }
  for (const offset of [4, 5]) {
    const { fate, window } = await told(offset);
    assert.deepEqual([fate, window?.startMs], ["aggregated", 9_000]);
  }
  assert.equal((await told(6)).fate, "late");
  bench.earliest = 5;
  assert.equal((await told(5)).fate, "not read", "what is gone might have closed its window");
});

Deno.test("a partition that the topic does not have is told as such", async () => {
  const bench = await readThrough(plan, [[event("a", 100)]]);
  const told = await explained(bench, { partition: 3, offset: 0 });
  assert.equal(told.fate, "no record");
  assert.match(told.reason, /has no partition 3/);
});

Deno.test("a record that came back while its window is open counts once, whatever retention deletes meanwhile", async () => {
  const bench = await readThrough(plan, [[event("a", 100), event("a", 200)]]);
  {
    const { stop } = bench.start();
    bench.redrive(0, event("z", 300), { source: 1 });
    await bench.clock.pass(600);
    assert.equal(await stop(), null);
  }
  bench.earliest = 3;
  const { stop, runner } = bench.start();
  await bench.clock.pass(500);
  bench.redrive(0, event("z", 300), { source: 1 });
  bench.append(0, event("a", 9_000));
  await bench.clock.pass(1_000);
  assert.equal(runner.status().buckets.duplicate, 1);
  assert.deepEqual(bench.finals(), ["a 0 n=2 total=2 revision=2", "z 0 n=1 total=1 revision=1"]);
  assert.equal(await stop(), null);
});
