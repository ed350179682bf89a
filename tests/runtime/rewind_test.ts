import assert from "node:assert/strict";
import fc from "fast-check";
import { ConfigError } from "../../pipeline/errors.ts";
import type { Plan } from "../../pipeline/plan/plan.ts";
import { explain } from "../../pipeline/runtime/explain.ts";
import { rewind, type RewindDeps, type RewindTarget } from "../../pipeline/runtime/rewind.ts";
import { REVISIONS_PER_GENERATION } from "../../pipeline/sinks/sink.ts";
import { encode, type Event, eventPlan, PartitionLog, recordOf, SCHEMA } from "./logs.ts";
import { Crash, objects, RunnerBench } from "./runner_bench.ts";

const plan = await eventPlan({ allowedLateness: "500ms", emit: { every: "100ms" } });
const finals = await eventPlan({ allowedLateness: "500ms" });
const deduped = await eventPlan({ allowedLateness: "500ms", dedupe: { by: "v", within: "2000ms" } });

const event = (k: string, at: number, v = 1): Event => ({ k, v, at });

function depsOf(bench: RunnerBench): RewindDeps {
  const { checkpoints, history, cluster } = bench.deps();
  return {
    cluster: cluster(),
    checkpoints,
    history,
    nowMs: bench.clock.now(),
    raiseGeneration: (above) => Promise.resolve(above + 1),
  };
}

/** Runs until all is read, and stops. */
async function runThrough(bench: RunnerBench, { forMs = 0 } = {}): Promise<void> {
  const { runner, stop } = bench.start();
  await bench.clock.pass(forMs);
  const isBehind = ({ position, end }: { position: number; end: number }) => end < 0 || position < end;
  do await bench.clock.pass(500); while (runner.status().partitions.some(isBehind));
  assert.equal(await stop(), null);
}

Deno.test("a rewind to a time computes whole windows again, as a new revision; earlier ones stay, and nothing grows again", async () => {
  const bench = new RunnerBench(plan, [[]]);
  const { stop } = bench.start();
  for (let at = 100; at < 6_000; at += 300) {
    bench.append(0, event("a", at));
    await bench.clock.pass(450);
  }
  assert.equal(await stop(), null);
  const before = bench.finals();
  const ledger = bench.checkpoint!.partitions[0].buckets;
  const published = bench.published.length;
  const told = await rewind(plan, { kind: "time", timeMs: 3_200 }, depsOf(bench));
  assert.equal(told.fromWindowMs, 3_000);
  assert.ok(told.partitions[0].offsets > 0 && told.partitions[0].from > 0, JSON.stringify(told));
  await runThrough(bench);
  const after = bench.finals();
  const generationOf = (row: string) => Math.floor(Number(/revision=(\d+)/.exec(row)![1]) / REVISIONS_PER_GENERATION);
  assert.deepEqual(after.map(generationOf), after.map((row) => Number(row.split(" ")[1]) >= 3_000 ? 1 : 0));
  const plain = (rows: string[]) => rows.map((row) => row.replace(/ revision=.*/, ""));
  assert.deepEqual(plain(after), plain(before));
  assert.deepEqual(bench.checkpoint!.partitions[0].buckets, ledger, "every record is in its bucket once");
  const again = bench.published.slice(published).flatMap(objects).filter(({ window_end }) =>
    Number(window_end) <= 5_000
  );
  assert.ok(again.length > 0 && again.every(({ final }) => final), "what was final is replaced by what is final");
});

Deno.test("a rewind says what it cannot do: no checkpoint, no such offset, records that retention deleted", async () => {
  const bench = new RunnerBench(plan, [[[event("a", 100)], [event("a", 3_000)], [event("a", 6_000)]]]);
  const refused = async (target: RewindTarget, problem: RegExp) =>
    await assert.rejects(rewind(plan, target, depsOf(bench)), (error) => {
      assert.ok(error instanceof ConfigError);
      assert.match(error.message, problem);
      return true;
    });
  await refused({ kind: "earliest" }, /rewind events: it has no checkpoint yet/);
  await runThrough(bench);
  await refused({ kind: "offset", partition: 0, offset: 4 }, /was read from offset 0 to 3: name one of these/);
  await refused({ kind: "offset", partition: 7, offset: 0 }, /it has no partition 7: there are 1/);
  bench.earliest = 2;
  await refused({ kind: "time", timeMs: 0 }, /does not hold all records of the windows before .* any more/);
});

Deno.test("a topic made anew is refused with what to do; a rewind to its beginning goes on with it, and counts what comes", async () => {
  const bench = new RunnerBench(plan, [[[event("a", 100), event("b", 300)], [event("a", 3_000)]]]);
  bench.topicId = "first";
  await runThrough(bench);
  bench.topicId = "second";
  bench.logs[0].clear();
  for (let at = 0; at < 9_000; at += 1_000) bench.append(0, event("c", at));
  const { result } = bench.start();
  await bench.clock.pass(500);
  assert.match(
    (await result)!.message,
    /deleted and created anew \(id first then, second now\).*rewind events --earliest/,
  );
  assert.equal((await rewind(plan, { kind: "earliest" }, depsOf(bench))).isNewTopic, true);
  await runThrough(bench);
  assert.equal(bench.checkpoint!.partitions[0].position, 9);
  assert.equal(bench.finals().filter((row) => row.startsWith("c")).length, 7);
});

/**
 * Rewound to 1,000, with window 0 as it was. Partition 0 is read in a moment, partition 1 takes eight batches to get past window 0:
 *
 *     partition 0    100 | 1,500  5,000  200 (late)  250 (late) | 200, back
 *     partition 1    100 | 300 | 400 | 500 | 600 | 700 | 800 | 900 | 5,000
 */
async function rewoundBehind(tested: Plan): Promise<RunnerBench> {
  const bench = new RunnerBench(tested, [[[event("a", 100)]], [[event("a", 100)]]]);
  const { stop } = bench.start();
  await bench.clock.pass(600);
  bench.append(0, ...[1_500, 5_000, 200, 250].map((at) => event("a", at)));
  for (const at of [300, 400, 500, 600, 700, 800, 900, 5_000]) bench.append(1, event("a", at));
  await bench.clock.pass(2_000);
  bench.redrive(0, event("a", 200), { source: 3 });
  await bench.clock.pass(600);
  assert.equal(await stop(), null);
  assert.deepEqual(bench.finals()[0], "a 0 n=10 total=10 revision=10");
  await rewind(tested, { kind: "time", timeMs: 1_000 }, depsOf(bench));
  bench.published.length = 0;
  return bench;
}

const ofWindow0 = (bench: RunnerBench) =>
  bench.published.flatMap(objects).filter(({ window_start }) => window_start === 0).map(({ n, final }) => [n, final]);

Deno.test("records that came back before a rewind for windows that keep their results publish nothing when they are read again", async () => {
  const bench = await rewoundBehind(plan);
  await runThrough(bench);
  assert.deepEqual(ofWindow0(bench), []);
  assert.deepEqual(bench.finals()[0], "a 0 n=10 total=10 revision=10");
});

for (const [what, tested] of [["early rows", plan], ["final rows", finals]] as const) {
  Deno.test(`a record that comes back for a window of before a rewind waits for all partitions, and counts with all others (${what})`, async () => {
    const bench = await rewoundBehind(tested);
    bench.redrive(0, event("a", 250), { source: 4 });
    await runThrough(bench);
    assert.deepEqual(ofWindow0(bench), [[11, true]]);
    assert.match(bench.finals()[0], /^a 0 n=11 total=11 revision=10000000000\d\d$/);
  });
}

Deno.test("a record that waits so for its window is not lost by a stop and another rewind", async () => {
  const bench = await rewoundBehind(plan);
  bench.redrive(0, event("a", 250), { source: 4 });
  const { stop } = bench.start();
  await bench.clock.pass(400);
  assert.equal(await stop(), null);
  assert.deepEqual(ofWindow0(bench), []);
  assert.ok(bench.checkpoint!.panes.some(({ windows }) => windows[0] === 0));
  const { fromWindowMs } = await rewind(plan, { kind: "time", timeMs: 1_000 }, depsOf(bench));
  assert.equal(fromWindowMs, 0);
  await runThrough(bench);
  assert.deepEqual(ofWindow0(bench), [[11, true]]);
});

Deno.test("a rewind never leaves out windows that have no final result yet, named ever so late, or twice without a run", async () => {
  const filtered = await eventPlan({ allowedLateness: "500ms", where: "v > 0" });
  // The record at 5,000 tells the time and leaves no window open.
  const bench = new RunnerBench(filtered, [[[event("a", 100)], [event("a", 5_000, 0)]]]);
  await runThrough(bench);
  assert.equal((await rewind(filtered, { kind: "time", timeMs: 90_000 }, depsOf(bench))).fromWindowMs, 4_000);
  bench.append(0, event("a", 4_600));
  await runThrough(bench, { forMs: 10_000 });
  assert.deepEqual(bench.finals().map((row) => row.slice(0, 10)), ["a 0 n=1 to", "a 4000 n=1"]);
  bench.append(0, event("a", 7_100));
  await runThrough(bench);
  await rewind(filtered, { kind: "earliest" }, depsOf(bench));
  assert.equal((await rewind(filtered, { kind: "time", timeMs: 90_000 }, depsOf(bench))).fromWindowMs, null);
  await runThrough(bench, { forMs: 10_000 });
  assert.deepEqual(bench.finals().map((row) => row.slice(0, 10)), ["a 0 n=1 to", "a 4000 n=1", "a 7000 n=1"]);
});

Deno.test("a pipeline with very many open panes is rewound", async () => {
  const keys = 200_000;
  const batch = (first: number) => Array.from({ length: 5_000 }, (_, i) => event(`k${first + i}`, 100));
  const bench = new RunnerBench(finals, [Array.from({ length: keys / 5_000 }, (_, i) => batch(5_000 * i))]);
  await runThrough(bench);
  assert.equal(bench.checkpoint!.panes[0].length, keys);
  assert.equal((await rewind(finals, { kind: "time", timeMs: 9_000 }, depsOf(bench))).fromWindowMs, -1_000);
});

Deno.test("a rewind to an offset goes back to the windows that have records there, in whatever order they came", async () => {
  const bench = new RunnerBench(finals, [[]]);
  const { stop } = bench.start();
  for (const at of [100, 1_200, 900, 5_000]) {
    bench.append(0, event("a", at));
    await bench.clock.pass(600);
  }
  assert.equal(await stop(), null);
  const { fromWindowMs } = await rewind(finals, { kind: "offset", partition: 0, offset: 2 }, depsOf(bench));
  assert.equal(fromWindowMs, 0, "900 came after 1,200");
});

Deno.test("an idle decision that was never saved is not made again", async () => {
  const bench = new RunnerBench(finals, [[[event("a", 100)]]]);
  const { result } = bench.start();
  await bench.clock.pass(1_000);
  bench.step = (name) => {
    if (name === "after history") throw new Crash(name);
  };
  await bench.clock.pass(7_000);
  assert.ok(await result instanceof Crash);
  bench.step = () => {};
  assert.equal(bench.samples.at(-1)!.raisedToMs, 1_000);
  await rewind(finals, { kind: "earliest" }, depsOf(bench));
  assert.deepEqual(bench.checkpoint!.partitions[0].ahead, []);
});

Deno.test("a partition that is new after a rewind adds nothing to windows that keep their results: its records are late there", async () => {
  const bench = new RunnerBench(finals, [[]]);
  const { stop } = bench.start();
  for (const at of [100, 1_200, 5_000]) {
    bench.append(0, event("a", at));
    await bench.clock.pass(600);
  }
  assert.equal(await stop(), null);
  await rewind(finals, { kind: "time", timeMs: 1_000 }, depsOf(bench));
  bench.logs.push(new PartitionLog());
  bench.append(1, event("a", 200), event("a", 1_300), event("a", 6_000));
  await runThrough(bench, { forMs: 1_000 });
  assert.deepEqual(bench.finals().map((row) => row.replace(/ total.*/, "")), ["a 0 n=1", "a 1000 n=2"]);
  assert.deepEqual(bench.aside.map(({ partition, offset }) => [partition, offset]), [[1, 0]]);
});

Deno.test("a sink has its place in the checkpoint before it writes the first row after a rewind", async () => {
  const bench = new RunnerBench(finals, [[[event("a", 100)], [event("a", 5_000)]]]);
  const { sink } = bench.deps();
  const placed = { ...sink, position: () => ({ "memory": { at: bench.published.length } }) };
  const run = async () => {
    const { stop } = bench.start({ sink: placed });
    await bench.clock.pass(1_000);
    assert.equal(await stop(), null);
  };
  await run();
  await rewind(finals, { kind: "earliest" }, depsOf(bench));
  let writes = 0;
  bench.step = (name) => {
    if (name !== "before sink") return;
    writes++;
    assert.deepEqual(bench.checkpoint!.sinks.results, { memory: { at: 1 } });
  };
  await run();
  assert.equal(writes, 1);
});

Deno.test("records that were deleted before they were read end a pipeline; a rewind to the earliest begins anew with what is there", async () => {
  const bench = new RunnerBench(finals, [[[event("a", 100)], [event("a", 5_000)]]]);
  await runThrough(bench);
  for (const at of [6_000, 7_000, 8_000, 9_000]) bench.append(0, event("a", at));
  bench.earliest = 4;
  const { result } = bench.start();
  await bench.clock.pass(500);
  assert.equal((await result)!.name, "OffsetOutOfRangeError");
  await assert.rejects(
    rewind(finals, { kind: "time", timeMs: 5_000 }, depsOf(bench)),
    /rewind events: records of t were deleted before they were read.*--earliest/,
  );
  const told = await rewind(finals, { kind: "earliest" }, depsOf(bench));
  assert.deepEqual(told.partitions, [{ partition: 0, from: 4, to: 4, offsets: 0 }]);
  await runThrough(bench, { forMs: 10_000 });
  assert.deepEqual(bench.finals().map((row) => row.slice(0, 6)), ["a 0 n=", "a 8000", "a 9000"]);
});

Deno.test("windows that are open and lack records are told apart from a target that is too early", async () => {
  const bench = new RunnerBench(finals, [[]]);
  const { stop } = bench.start();
  for (const at of [100, 1_200, 1_300]) {
    bench.append(0, event("a", at));
    await bench.clock.pass(600);
  }
  assert.equal(await stop(), null);
  bench.earliest = 2;
  const refused = async (timeMs: number, problem: RegExp) =>
    await assert.rejects(rewind(finals, { kind: "time", timeMs }, depsOf(bench)), problem);
  await refused(0, /before 1970-01-01T00:00:02.000Z any more: rewind to that or later/);
  await refused(
    2_000,
    /and those from .*00:00:00.000Z on have no final result yet: start it, and rewind it when they have/,
  );
});

/** A value that names schema 9, which the registry does not know yet. */
function unregistered(value: Event): Uint8Array {
  const bytes = encode(value);
  bytes[4] = 9;
  return bytes;
}

Deno.test("a dead letter that came back does not count twice when a rewind reads its original with the schema it lacked", async () => {
  const bench = new RunnerBench(finals, [[[event("a", 100)]]]);
  bench.logs[0].append([recordOf(unregistered(event("b", 200)), bench.clock.now())]);
  await runThrough(bench);
  assert.deepEqual(bench.aside.map(({ offset, why }) => [offset, why]), [[1, "dead"]]);
  bench.schemas[9] = SCHEMA;
  bench.redrive(0, event("b", 200), { source: 1 });
  bench.append(0, event("a", 5_000));
  await runThrough(bench);
  const plain = () => bench.finals().map((row) => row.replace(/ revision=.*/, ""));
  assert.deepEqual(plain(), ["a 0 n=1 total=1", "b 0 n=1 total=1"]);
  await rewind(finals, { kind: "earliest" }, depsOf(bench));
  await runThrough(bench);
  assert.deepEqual(plain(), ["a 0 n=1 total=1", "b 0 n=1 total=1"]);
  assert.equal(bench.checkpoint!.partitions[0].buckets.duplicate, 1);
  // The letter is still there, and somebody sends it once more.
  bench.redrive(0, event("b", 200), { source: 1 });
  await runThrough(bench);
  assert.deepEqual(plain(), ["a 0 n=1 total=1", "b 0 n=1 total=1"]);
  const asked = explain(finals, { partition: 0, offset: 4 }, bench.explainDeps());
  await bench.clock.pass(100);
  const { fate, reason } = await asked;
  assert.equal(fate, "duplicate");
  assert.match(reason, /its original counts by itself/);
});

Deno.test("a late record that came back does not count twice when a rewind computes with more lateness allowed, nor do others redriven after it", async () => {
  const before = new RunnerBench(finals, [[[event("a", 100)], [event("a", 2_000)], [event("b", 200), event("c", 300)], [
    event("d", -9_000),
  ]]]);
  await runThrough(before);
  assert.deepEqual(before.aside.map(({ offset }) => offset), [2, 3, 4]);
  before.redrive(0, event("b", 200), { source: 2 });
  await runThrough(before);
  const patient = await eventPlan({ allowedLateness: "3000ms" });
  const bench = before.redefined(patient);
  await rewind(patient, { kind: "earliest" }, depsOf(bench));
  await runThrough(bench);
  bench.redrive(0, event("c", 300), { source: 3 });
  bench.redrive(0, event("d", -9_000), { source: 4 });
  bench.append(0, event("a", 9_000));
  await runThrough(bench);
  const plain = bench.finals().map((row) => row.replace(/ revision=.*/, ""));
  assert.deepEqual(plain, [
    "a 0 n=1 total=1",
    "a 2000 n=1 total=1",
    "b 0 n=1 total=1",
    "c 0 n=1 total=1",
    // It is late in this computation, too, so that it came back counts.
    "d -9000 n=1 total=1",
  ]);
  const { aggregated, duplicate, late } = bench.checkpoint!.partitions[0].buckets;
  assert.deepEqual([aggregated, duplicate, late], [6, 2, 1]);
});

Deno.test("what came back does not count twice either when the checkpoint is lost and all is computed anew", async () => {
  const bench = new RunnerBench(finals, [[[event("a", 100)]]]);
  bench.logs[0].append([recordOf(unregistered(event("b", 200)), bench.clock.now())]);
  await runThrough(bench);
  bench.schemas[9] = SCHEMA;
  bench.redrive(0, event("b", 200), { source: 1 });
  bench.append(0, event("a", 5_000));
  bench.saved = null;
  bench.samples = [];
  const { stop } = bench.start({ generation: 1 });
  await bench.clock.pass(1_000);
  assert.equal(await stop(), null);
  assert.deepEqual(bench.finals().map((row) => row.slice(0, 15)), ["a 0 n=1 total=1", "b 0 n=1 total=1"]);
});

Deno.test("what was set aside is remembered through restarts and further rewinds", async () => {
  const bench = new RunnerBench(finals, [[]]);
  const { stop } = bench.start();
  for (const at of [100, 2_000, 150, 5_000, 2_200, 9_000]) {
    bench.append(0, event("a", at));
    await bench.clock.pass(600);
  }
  assert.equal(await stop(), null);
  assert.deepEqual(bench.aside.map(({ offset }) => offset), [2, 4]);
  await rewind(finals, { kind: "earliest" }, depsOf(bench));
  await runThrough(bench);
  assert.deepEqual(bench.checkpoint!.partitions[0].rewound, { from: 0, to: 6, aside: [[2, 3], [4, 5]], isFull: false });
  await rewind(finals, { kind: "time", timeMs: 5_000 }, depsOf(bench));
  await runThrough(bench);
  assert.deepEqual(bench.checkpoint!.partitions[0].rewound, { from: 0, to: 6, aside: [[2, 3], [4, 5]], isFull: false });
  for (const [source, at] of [[2, 150], [4, 2_200], [0, 100]]) bench.redrive(0, event("a", at), { source });
  await runThrough(bench);
  assert.deepEqual(bench.finals().map((row) => row.replace(/ total.*/, "")), ["a 0 n=2", "a 2000 n=2", "a 5000 n=1"]);
});

/** An entry of a log: a record, or one that comes back with the offset of an earlier one; then time passes, perhaps in silence. */
const entry = fc.record({
  partition: fc.nat({ max: 1 }),
  at: fc.nat({ max: 8_000 }),
  v: fc.nat({ max: 3 }),
  isBack: fc.boolean(),
  of: fc.nat({ max: 25 }),
  passMs: fc.constantFrom(0, 0, 100, 700, 700, 7_000),
});
const target = fc.oneof<fc.Arbitrary<RewindTarget>[]>(
  fc.constant({ kind: "earliest" }),
  fc.record({ kind: fc.constant("time"), timeMs: fc.nat({ max: 12_000 }) }),
  fc.record({ kind: fc.constant("offset"), partition: fc.nat({ max: 1 }), offset: fc.nat({ max: 8 }) }),
);
/** A rewind, and how long the pipeline then runs before it is stopped; 0: it is not started at all. */
const move = fc.record({ target, runMs: fc.constantFrom(0, 0, 300, 1_000, 10_000), isCut: fc.boolean() });

for (const [what, tested] of [["early rows", plan], ["final rows", finals], ["dedupe", deduped]] as const) {
  Deno.test(`however often a pipeline is rewound, and to wherever: the same results, the same ledger (${what})`, async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(entry, { minLength: 1, maxLength: 25 }),
        fc.array(move, { maxLength: 4 }),
        async (entries, moves) => {
          const bench = new RunnerBench(tested, [[], []]);
          const { stop } = bench.start();
          const kept: (Event & { source: number | null })[][] = [[], []];
          for (const { partition, at, v, isBack, of, passMs } of entries) {
            const log = kept[partition];
            const first = log[of]?.source ?? of;
            // Only letters come back.
            const isLetter = bench.aside.some((letter) => letter.partition === partition && letter.offset === first);
            const original = isBack && isLetter ? log[of] : undefined;
            const source = original ? first : null;
            log.push({ ...(original ?? event("k", at, v)), source });
            if (source === null) bench.append(partition, event("k", at, v));
            else bench.redrive(partition, original!, { source });
            await bench.clock.pass(passMs);
          }
          assert.equal(await stop(), null);
          // All are silent, so all windows close.
          await runThrough(bench, { forMs: 10_000 });
          const plain = () => bench.finals().map((row) => row.replace(/ revision=.*/, ""));
          const ledger = () => bench.checkpoint!.partitions.map(({ buckets }) => buckets);
          const [rows, buckets] = [plain(), ledger()];
          for (const { target, runMs, isCut } of moves) {
            const deps = depsOf(bench);
            // A process may end between the two files that a rewind writes.
            const replace = () => Promise.reject(new Crash("crash"));
            const history = isCut ? { ...deps.history, replace } : deps.history;
            await rewind(tested, target, { ...deps, history }).catch((error) =>
              assert.ok(error instanceof ConfigError || error instanceof Crash, String(error.stack))
            );
            if (runMs === 0) continue;
            const { stop } = bench.start();
            await bench.clock.pass(runMs);
            assert.equal(await stop(), null);
          }
          await runThrough(bench, { forMs: 10_000 });
          assert.deepEqual(plain(), rows);
          assert.deepEqual(ledger(), buckets);
        },
      ),
      { numRuns: 150 },
    );
  });
}
