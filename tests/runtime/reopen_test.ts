import assert from "node:assert/strict";
import fc from "fast-check";
import { explain } from "../../pipeline/runtime/explain.ts";
import { REVISIONS_PER_GENERATION } from "../../pipeline/sinks/sink.ts";
import { type Event, eventPlan } from "./logs.ts";
import { Crash, objects, RunnerBench } from "./runner_bench.ts";

const plan = await eventPlan({ allowedLateness: "500ms" });
const early = await eventPlan({ allowedLateness: "500ms", emit: { every: "100ms" } });
const deduped = await eventPlan({ allowedLateness: "500ms", dedupe: { by: "v", within: "2000ms" } });

const event = (k: string, at: number, v = 1): Event => ({ k, v, at });

Deno.test("a late record that comes back reopens its window: it is computed again, and a second time changes nothing", async () => {
  const bench = new RunnerBench(plan, [[[event("a", 100), event("b", 150)], [event("a", 5_000)], [
    event("a", 200, 10),
  ]]]);
  const { stop, runner } = bench.start();
  await bench.clock.pass(1_000);
  assert.deepEqual(bench.finals(), ["a 0 n=1 total=1 revision=1", "b 0 n=1 total=1 revision=1"]);
  assert.deepEqual(bench.aside.map(({ offset, windowStartMs }) => [offset, windowStartMs]), [[3, 0]]);
  const published = bench.published.length;
  bench.redrive(0, event("a", 200, 10), { source: 3 });
  await bench.clock.pass(500);
  assert.deepEqual(bench.finals(), ["a 0 n=2 total=11 revision=2", "b 0 n=1 total=1 revision=1"]);
  const rows = bench.published.slice(published).flatMap(objects);
  assert.deepEqual(rows.map(({ k }) => k), ["a"], "only the key that changed is published");
  bench.redrive(0, event("a", 200, 10), { source: 3 });
  bench.redrive(0, event("a", 200, 10), { source: 3, pipeline: "another" });
  await bench.clock.pass(500);
  assert.deepEqual(bench.finals(), ["a 0 n=2 total=11 revision=2", "b 0 n=1 total=1 revision=1"]);
  assert.deepEqual(runner.status().buckets, {
    consumed: 7,
    aggregated: 4,
    filtered: 0,
    late: 1,
    dead: 0,
    duplicate: 2,
  });
  assert.equal(await stop(), null);
});

Deno.test("headers that name no earlier offset are not ours: such records count as what they are", async () => {
  const bench = new RunnerBench(plan, [[[event("a", 100)]]]);
  const { stop, runner } = bench.start();
  // As a program leaves them that copies records with their headers.
  for (const source of [900, 900, 900]) bench.redrive(0, event("a", 200), { source });
  bench.append(0, event("a", 5_000));
  await bench.clock.pass(1_000);
  assert.equal(runner.status().buckets.duplicate, 0);
  assert.deepEqual(bench.finals(), ["a 0 n=4 total=4 revision=4"]);
  assert.equal(await stop(), null);
});

Deno.test("a window is reopened again after a restart, with what came back before it", async () => {
  const bench = new RunnerBench(plan, [[[event("a", 100)], [event("a", 5_000)], [event("a", 200), event("a", 300)]]]);
  {
    const { stop } = bench.start();
    await bench.clock.pass(1_000);
    bench.redrive(0, event("a", 200), { source: 2 });
    assert.equal(await stop(), null);
  }
  assert.deepEqual(bench.finals(), ["a 0 n=2 total=2 revision=2"]);
  const { stop } = bench.start();
  await bench.clock.pass(500);
  bench.redrive(0, event("a", 300), { source: 3 });
  bench.redrive(0, event("a", 200), { source: 2 });
  await bench.clock.pass(500);
  assert.deepEqual(bench.finals(), ["a 0 n=3 total=3 revision=3"]);
  assert.equal(await stop(), null);
});

Deno.test("a window is not opened again when the log has lost some of its records: the record stays late, and says why", async () => {
  const bench = new RunnerBench(plan, [[[event("a", 100)], [event("a", 900), event("a", 5_000)], [event("a", 200)]]]);
  {
    const { stop } = bench.start();
    await bench.clock.pass(1_000);
    assert.equal(await stop(), null);
  }
  bench.earliest = 1;
  const { stop } = bench.start();
  await bench.clock.pass(500);
  bench.redrive(0, event("a", 200), { source: 3 });
  await bench.clock.pass(500);
  assert.deepEqual(bench.finals(), ["a 0 n=2 total=2 revision=2"]);
  assert.match(
    bench.aside.at(-1)!.reason,
    /cannot be computed again, because the log does not hold all of its records/,
  );
  assert.equal(await stop(), null);
});

Deno.test("thousands of records that come back at once for hundreds of windows are read in one go, and written in one", async () => {
  const windows = 300;
  const times = Array.from({ length: windows }, (_, window) => 1_000 * window + 100);
  const bench = new RunnerBench(plan, [[times.map((at) => event("a", at)), [event("a", 1_000_000)]]]);
  const { stop, runner } = bench.start();
  await bench.clock.pass(500);
  const late = times.flatMap((at) => Array.from({ length: 8 }, (_, i) => event(i < 4 ? "a" : "b", at + i)));
  bench.append(0, ...late);
  await bench.clock.pass(500);
  assert.equal(bench.aside.length, late.length);
  // Far apart, each in a batch of its own.
  bench.batchesPerFlush = Infinity;
  for (const [i, back] of late.entries()) bench.redrive(0, back, { source: windows + 1 + i });
  const counts = { open: 0, "before sink": 0 };
  bench.step = (name) => {
    if (name in counts) counts[name as keyof typeof counts]++;
  };
  const before = bench.finals().length;
  await bench.clock.pass(500);
  assert.equal(runner.status().buckets.aggregated, windows + 1 + late.length);
  assert.equal(bench.finals().length, before + windows);
  assert.deepEqual(bench.finals().slice(0, 2), ["a 0 n=5 total=5 revision=5", "a 1000 n=5 total=5 revision=5"]);
  // Windows 0 to 299 are one stretch of the log, what came back another.
  assert.deepEqual(counts, { open: 2, "before sink": 1 });
  assert.equal(await stop(), null);
});

Deno.test("windows far apart are read in one go while little lies between them, and by themselves where much does", async () => {
  const hour = 3_600_000;
  const bench = new RunnerBench(plan, [[]]);
  bench.batchesPerFlush = Infinity;
  const { stop, runner } = bench.start();
  // The fourth hour is a busy one.
  const told = [0, 1, 2, 3, 3.01, 3.02, 4].map((n) => n * hour + 100);
  for (const at of told) {
    bench.append(0, ...Array.from({ length: at === told[4] ? 110_000 : 10 }, () => event("a", at)));
    await bench.clock.pass(600);
  }
  const hours = [0, 1, 2, 4].map((n) => n * hour + 100);
  bench.append(0, event("a", 6 * hour), ...hours.map((at) => event("b", at)));
  await bench.clock.pass(600);
  assert.equal(bench.aside.length, hours.length);
  const [first] = bench.aside;
  for (const [i, at] of hours.entries()) bench.redrive(0, event("b", at), { source: first.offset + i });
  let opened = 0;
  bench.step = (name) => {
    if (name === "open") opened++;
  };
  await bench.clock.pass(600);
  const back = bench.finals().filter((row) => row.startsWith("b"));
  assert.deepEqual(
    back.map((row) => row.replace(/ total.*/, "")).sort(),
    hours.map((at) => `b ${at - 100} n=1`).sort(),
  );
  assert.equal(runner.status().state, "running");
  // Hours 0 to 2 and what came back to them; then hour 4 and what came back to it.
  assert.equal(opened, 4);
  assert.equal(await stop(), null);
});

Deno.test("a window that takes long to compute again is told as such; a stop does not wait for it, and the next start does it", async () => {
  const batches = Array.from({ length: 2_000 }, (_, i) => [event("a", i % 1_000)]);
  const bench = new RunnerBench(plan, [[...batches, [event("a", 5_000)], [event("a", 200)]]]);
  bench.batchesPerFlush = Infinity;
  const first = bench.start();
  await bench.clock.pass(1_000);
  assert.deepEqual(bench.finals(), ["a 0 n=2000 total=2000 revision=2000"]);
  // A batch each ten milliseconds: 20 s in all.
  bench.batchesPerFlush = 1;
  bench.redrive(0, event("a", 200), { source: 2_001 });
  await bench.clock.pass(1_000);
  assert.equal(first.runner.status().state, "running");
  await bench.clock.pass(4_000);
  const { state, reason } = first.runner.status();
  assert.equal(state, "waiting");
  assert.match(reason!, /1 closed windows are being computed again, as records came back to them; .* \(\d+ s so far\)/);
  const stopped = bench.clock.now();
  assert.equal(await first.stop(), null);
  assert.ok(bench.clock.now() - stopped < 5_000);
  assert.deepEqual(bench.finals(), ["a 0 n=2000 total=2000 revision=2000"]);
  bench.batchesPerFlush = Infinity;
  const { stop, runner } = bench.start();
  await bench.clock.pass(1_000);
  assert.deepEqual(bench.finals(), ["a 0 n=2001 total=2001 revision=2001"]);
  assert.deepEqual([runner.status().state, runner.status().reason], ["running", null]);
  assert.equal(await stop(), null);
});

Deno.test("the history of a pipeline that runs for long is cut, and goes on", async () => {
  const bench = new RunnerBench(plan, [[[event("a", 100)]]]);
  {
    const { stop } = bench.start();
    await bench.clock.pass(1_000);
    assert.equal(await stop(), null);
  }
  bench.samples = [...Array.from({ length: 39_995 }, () => ({ ...bench.samples[0] })), ...bench.samples];
  const { stop } = bench.start();
  for (let at = 1_000; at < 9_000; at += 1_000) {
    bench.append(0, event("a", at));
    await bench.clock.pass(600);
    assert.ok(bench.samples.length <= 40_000, `${bench.samples.length}`);
  }
  assert.ok(bench.samples.length < 20_010, `${bench.samples.length}`);
  bench.append(0, event("a", 6_900));
  bench.redrive(0, event("a", 6_900), { source: 9 });
  await bench.clock.pass(600);
  assert.deepEqual(bench.finals().at(-1), "a 6000 n=2 total=2 revision=2");
  assert.equal(await stop(), null);
});

Deno.test("a partition that is read far within one window gets samples there too", async () => {
  const bench = new RunnerBench(plan, [[]]);
  const { stop } = bench.start({ sampleRecordsMax: 10 });
  for (let i = 0; i < 8; i++) {
    bench.append(0, ...Array.from({ length: 4 }, () => event("a", 100)));
    await bench.clock.pass(500);
  }
  assert.equal(await stop(), null);
  assert.deepEqual(bench.samples.map(({ position }) => position), [0, 4, 16, 28]);
});

Deno.test("a later generation's revisions are above any of an earlier one", async () => {
  const bench = new RunnerBench(plan, [[[event("a", 100), event("a", 5_000)]]]);
  const { stop } = bench.start({ generation: 2 });
  await bench.clock.pass(500);
  assert.deepEqual(bench.finals(), [`a 0 n=1 total=1 revision=${2 * REVISIONS_PER_GENERATION + 1}`]);
  assert.equal(await stop(), null);
});

/** An entry of a log: a record, one that comes back with the offset of an earlier one, or silence. */
const entry = fc.record({
  partition: fc.nat({ max: 1 }),
  at: fc.nat({ max: 8_000 }),
  v: fc.nat({ max: 3 }),
  isBack: fc.boolean(),
  of: fc.nat({ max: 30 }),
  passMs: fc.constantFrom(0, 0, 0, 100, 700),
});

for (const [what, tested] of [["final rows", plan], ["early rows", early], ["dedupe", deduped]] as const) {
  Deno.test(`crashes and records that come back: every record counts once, and explains itself (${what})`, async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(entry, { minLength: 1, maxLength: 30 }),
        fc.array(fc.nat({ max: 200 }), { maxLength: 4 }),
        async (entries, crashes) => {
          const bench = new RunnerBench(tested, [[], []]);
          let steps = 0;
          const plannedCrashes = [...crashes];
          bench.step = () => {
            if (plannedCrashes.length > 0 && ++steps > plannedCrashes[0]) {
              plannedCrashes.shift();
              steps = 0;
              throw new Crash("crash");
            }
          };
          let running = bench.start();
          let ended: Error | null | undefined;
          const watch = () => void running.result.then((error) => ended = error);
          watch();
          const kept: (Event & { source: number | null })[][] = [[], []];
          const pass = async (ms: number) => {
            await bench.clock.pass(ms);
            while (ended !== undefined) {
              assert.ok(ended instanceof Crash, String(ended?.stack));
              ended = undefined;
              running = bench.start();
              watch();
              await bench.clock.pass(100);
            }
          };
          for (const { partition, at, v, isBack, of, passMs } of entries) {
            const log = kept[partition];
            const original = isBack ? log[of] : undefined;
            if (original) {
              const source = original.source ?? of;
              log.push({ ...original, source });
              bench.redrive(partition, original, { source });
            } else {
              log.push({ ...event("k", at, v), source: null });
              bench.append(partition, event("k", at, v));
            }
            if (passMs > 0) await pass(passMs);
          }
          await pass(1_000);
          plannedCrashes.length = 0;
          const isBehind = ({ position, end }: { position: number; end: number }) => end < 0 || position < end;
          do await pass(1_000); while (running.runner.status().partitions.some(isBehind));
          assert.equal(await running.stop(), null);
          await checkAgainstModel(bench, kept);
        },
      ),
      { numRuns: 150 },
    );
  });
}

/** By what was saved of each partition's watermark no record is judged twice: the explanations have to add up to the results. */
async function checkAgainstModel(
  bench: RunnerBench,
  kept: readonly (Event & { source: number | null })[][],
): Promise<void> {
  const counts = new Map<number, number>();
  const sum = { aggregated: 0, late: 0, duplicate: 0, dead: 0, filtered: 0 };
  for (const [partition, records] of kept.entries()) {
    for (const [offset, record] of records.entries()) {
      // One after the other on the virtual clock: reading again waits for it.
      const asked = explain(bench.plan, { partition, offset }, bench.explainDeps());
      let told: Awaited<typeof asked> | null = null;
      asked.then((explanation) => told = explanation);
      for (let i = 0; i < 50 && told === null; i++) await bench.clock.pass(10);
      const { fate, window } = await asked;
      assert.ok(fate in sum, fate);
      sum[fate as keyof typeof sum]++;
      const start = 1000 * Math.floor(record.at! / 1000);
      if (fate !== "duplicate") assert.equal(window?.startMs, start);
      if (fate === "aggregated") counts.set(start, (counts.get(start) ?? 0) + 1);
    }
  }
  const { partitions, panes } = bench.checkpoint!;
  for (const fate of Object.keys(sum) as (keyof typeof sum)[]) {
    assert.equal(partitions.reduce((all, { buckets }) => all + buckets[fate], 0), sum[fate], fate);
  }
  const open = new Map<number, number>();
  for (const { windows, counts } of panes) {
    windows.forEach((start, i) => open.set(start, (open.get(start) ?? 0) + counts[i]));
  }
  const finals = new Map(
    bench.sink.rows().filter((row) => row.at(-1) === true).map((row) => [row[1] as number, row.at(-2) as number]),
  );
  for (const [start, count] of counts) {
    assert.equal(finals.get(start) ?? open.get(start), count, `window ${start}`);
  }
  const published = bench.published.flatMap(objects).filter(({ final }) => final);
  assert.ok(published.every(({ revision, n }) => revision === n));
}
