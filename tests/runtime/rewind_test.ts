import assert from "node:assert/strict";
import fc from "fast-check";
import { ConfigError } from "../../pipeline/errors.ts";
import { rewind, type RewindDeps, type RewindTarget } from "../../pipeline/runtime/rewind.ts";
import { REVISIONS_PER_GENERATION } from "../../pipeline/sinks/sink.ts";
import { type Event, eventPlan } from "./logs.ts";
import { objects, RunnerBench } from "./runner_bench.ts";

const plan = await eventPlan({ allowedLateness: "500ms", emit: { every: "100ms" } });

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
async function runThrough(bench: RunnerBench): Promise<void> {
  const { runner, stop } = bench.start();
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

Deno.test("however often a pipeline is rewound, and to wherever: the same results, the same ledger", async () => {
  const target = fc.oneof<fc.Arbitrary<RewindTarget>[]>(
    fc.constant({ kind: "earliest" }),
    fc.record({ kind: fc.constant("time"), timeMs: fc.nat({ max: 9_000 }) }),
    fc.record({ kind: fc.constant("offset"), partition: fc.nat({ max: 1 }), offset: fc.nat({ max: 8 }) }),
  );
  const entry = fc.record({
    partition: fc.nat({ max: 1 }),
    at: fc.nat({ max: 8_000 }),
    passMs: fc.constantFrom(0, 100, 700),
  });
  await fc.assert(
    fc.asyncProperty(
      fc.array(entry, { minLength: 1, maxLength: 25 }),
      fc.array(target, { maxLength: 3 }),
      async (entries, targets) => {
        const bench = new RunnerBench(plan, [[], []]);
        const { stop } = bench.start();
        for (const { partition, at, passMs } of entries) {
          bench.append(partition, event("k", at));
          await bench.clock.pass(passMs);
        }
        assert.equal(await stop(), null);
        await runThrough(bench);
        const plain = () => bench.finals().map((row) => row.replace(/ revision=.*/, ""));
        const [finals, buckets] = [plain(), bench.checkpoint!.partitions.map((partition) => partition.buckets)];
        for (const target of targets) {
          const told = await rewind(plan, target, depsOf(bench)).catch((error) => {
            assert.ok(error instanceof ConfigError, String(error.stack));
            return null;
          });
          await runThrough(bench);
          const generation = told?.generation ?? bench.checkpoint!.generation;
          assert.equal(bench.checkpoint!.generation, generation);
        }
        assert.deepEqual(plain(), finals);
        assert.deepEqual(bench.checkpoint!.partitions.map((partition) => partition.buckets), buckets);
      },
    ),
    { numRuns: 100 },
  );
});
