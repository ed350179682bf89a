import assert from "node:assert/strict";
import { ConfigError, UnavailableError } from "../../pipeline/errors.ts";
import type { Cluster } from "../../pipeline/log/cluster.ts";
import { withRetry } from "../../pipeline/sinks/retry.ts";
import { encode, type Event, eventPlan, recordOf } from "./logs.ts";
import { Crash, objects, RunnerBench } from "./runner_bench.ts";

const plan = await eventPlan();
const early = await eventPlan({ emit: { every: "1000ms" } });

const event = (k: string, at: number, v = 1): Event => ({ k, v, at });

Deno.test("a window closes when every partition's watermark has passed its end, not before", async () => {
  const bench = new RunnerBench(plan, [[[event("a", 100), event("b", 5_000)]], [[event("a", 200, 5)]]]);
  const { runner, stop } = bench.start();
  await bench.clock.pass(1_000);
  assert.deepEqual(bench.finals(), []);
  assert.equal(runner.status().state, "running");
  bench.append(1, event("c", 1_999));
  await bench.clock.pass(500);
  assert.deepEqual(bench.finals(), [], "the watermark stands at 999");
  bench.append(1, event("c", 2_000));
  await bench.clock.pass(500);
  assert.deepEqual(bench.finals(), ["a 0 n=2 total=6 revision=2"]);
  assert.equal(await stop(), null);
  assert.equal(runner.status().state, "stopped");
});

Deno.test("an idle partition follows the others, and a decision is saved before what follows from it is published", async () => {
  const bench = new RunnerBench(plan, [[[event("a", 100)]], [[event("a", 200)]]]);
  const { runner, stop } = bench.start();
  let decided = 0;
  bench.step = (name) => {
    if (name !== "before sink") return;
    decided++;
    const [, idle] = bench.checkpoint!.partitions;
    assert.ok(idle.raisedToMs! >= 1_000, `the checkpoint says ${idle.raisedToMs}`);
  };
  for (let at = 100; at < 12_000; at += 500) {
    bench.append(0, event("a", at));
    await bench.clock.pass(500);
  }
  assert.ok(decided > 0);
  assert.ok(bench.finals()[0].startsWith("a 0 n=4"), bench.finals()[0]);
  const [speaking, idle] = runner.status().partitions;
  assert.deepEqual([speaking.idle, idle.idle], [false, true]);
  assert.ok(bench.saves < 60, `${bench.saves} saves: one for each window, not for each epoch`);
  // What comes after is late by the decision, and is told so.
  bench.append(1, event("a", 300));
  await bench.clock.pass(500);
  assert.deepEqual(bench.aside.map(({ partition, offset, why }) => [partition, offset, why]), [[1, 1, "late"]]);
  await stop();
});

Deno.test("a stream that goes quiet closes its last windows, and welcomes what comes after them", async () => {
  const bench = new RunnerBench(plan, [[[event("a", 100), event("a", 1_500)]], []]);
  const { runner, stop } = bench.start();
  await bench.clock.pass(4_000);
  assert.deepEqual(bench.finals(), []);
  await bench.clock.pass(3_000);
  assert.deepEqual(bench.finals(), ["a 0 n=1 total=1 revision=1", "a 1000 n=1 total=1 revision=1"]);
  assert.equal(runner.status().watermarkMs, 2_000, "the end of the last window, not the wall clock");
  bench.append(0, event("a", 2_100));
  bench.append(1, event("b", 1_999));
  await bench.clock.pass(500);
  assert.deepEqual(runner.status().buckets, {
    consumed: 4,
    aggregated: 3,
    filtered: 0,
    late: 1,
    dead: 0,
    duplicate: 0,
  });
  await stop();
});

for (const [silence, ms] of [["a silence", 20_000], ["a start", 4_500]] as const) {
  Deno.test(`after ${silence} the first partition to speak takes no other with it: what those have for its windows counts`, async () => {
    const bench = new RunnerBench(plan, [[], []]);
    const { runner, stop } = bench.start();
    await bench.clock.pass(ms);
    assert.deepEqual(runner.status().partitions.map(({ idle }) => idle), [ms > 5_000, ms > 5_000]);
    // As a file that is replayed: one partition's batch may come a while before the other's, and hold days.
    bench.append(0, event("a", 100), event("a", 9_500));
    await bench.clock.pass(4_000);
    bench.append(1, event("b", 200), event("b", 9_600));
    await bench.clock.pass(500);
    assert.deepEqual(bench.finals(), ["a 0 n=1 total=1 revision=1", "b 0 n=1 total=1 revision=1"]);
    assert.deepEqual([runner.status().buckets.aggregated, runner.status().buckets.late], [4, 0]);
    await stop();
  });
}

Deno.test("windows of a live stream do not close before their time though nothing comes", async () => {
  const bench = new RunnerBench(plan, [[]]);
  const now = bench.clock.now();
  bench.append(0, event("a", now + 7_500));
  const { stop } = bench.start();
  await bench.clock.pass(13_900);
  assert.deepEqual(bench.finals(), [], "it ends 8 s on; a second of lateness and 5 s of silence are allowed");
  await bench.clock.pass(600);
  assert.equal(bench.finals().length, 1);
  await stop();
});

Deno.test("a write that neither ends nor fails is told as waiting, with how long", async () => {
  const bench = new RunnerBench(plan, [[[event("a", 100), event("a", 9_000)]]]);
  const answered = Promise.withResolvers<void>();
  bench.sinkGate = () => answered.promise;
  const { runner, stop } = bench.start();
  await bench.clock.pass(2_000);
  assert.equal(runner.status().state, "running");
  await bench.clock.pass(3_000);
  assert.equal(runner.status().state, "waiting");
  assert.match(runner.status().reason!, /results have been on their way to .* for \d+ s without an answer/);
  assert.ok(runner.status().lagSeconds >= 3);
  answered.resolve();
  await bench.clock.pass(500);
  assert.equal(runner.status().state, "running");
  await stop();
});

Deno.test("early updates come every so often, only for what changed, and the final row once", async () => {
  const bench = new RunnerBench(early, [[[event("a", 100)], [event("b", 200)]]]);
  const { stop } = bench.start();
  await bench.clock.pass(4_900);
  const before = bench.published.length;
  assert.deepEqual(
    bench.published.flatMap(objects).map(({ k, n, final }) => [k, n, final]),
    [["a", 1, false], ["b", 1, false]],
  );
  bench.append(0, event("a", 300), event("a", 2_400));
  await bench.clock.pass(1_500);
  const rows = bench.published.slice(before).flatMap(objects).map((
    { k, n, final, revision },
  ) => [k, n, final, revision]);
  assert.deepEqual(rows, [["a", 2, true, 2], ["b", 1, true, 1], ["a", 1, false, 1]]);
  await stop();
});

Deno.test("a pane that goes on changing is published again and again, and rests when it rests", async () => {
  const bench = new RunnerBench(early, [[]]);
  const { stop } = bench.start();
  const counts = () => bench.published.flatMap(objects).map(({ n }) => n);
  for (let n = 1; n <= 3; n++) {
    bench.append(0, event("a", 100));
    await bench.clock.pass(1_500);
    assert.deepEqual(counts(), [1, 2, 3].slice(0, n));
  }
  await bench.clock.pass(2_000);
  assert.deepEqual(counts(), [1, 2, 3]);
  await stop();
});

Deno.test("final only: nothing is published while windows are open, not even at the end", async () => {
  const bench = new RunnerBench(plan, [[[event("a", 100)]]]);
  const { stop } = bench.start();
  await bench.clock.pass(3_000);
  assert.equal(await stop(), null);
  assert.deepEqual(bench.published, []);
  assert.equal(bench.checkpoint!.panes.length, 1, "the window is in the checkpoint");
});

const HISTORY = [
  [[event("a", 100), event("b", 200)], [event("a", 1_100)], [event("b", 3_500)], [event("a", 400), event("a", 4_000)]],
  [[event("b", 900, 7)], [event("a", 2_500)], [event("c", 2_600), event("b", 2_700)], [event("c", 6_000)]],
  [[event("c", 50)], [event("c", 1_050), event("a", 5_000, 9)]],
];

/** Runs until the history is read and its windows closed, starting again after each crash; gives the number of steps. */
async function play(bench: RunnerBench, crashAt: number): Promise<number> {
  let steps = 0;
  bench.step = (name) => {
    if (steps++ === crashAt) throw new Crash(name);
  };
  for (let runs = 0; runs < 2; runs++) {
    const { runner, stop, result } = bench.start();
    let failed: Error | null = null;
    result.then((error) => failed = error);
    for (let i = 0; i < 90 && !failed; i++) await bench.clock.pass(100);
    if (!failed) {
      failed = await stop();
      const { consumed, aggregated, filtered, late, dead } = runner.status().buckets;
      assert.equal(consumed, aggregated + filtered + late + dead);
      assert.equal(consumed, HISTORY.flat(2).length);
      if (!failed) return steps;
    }
    assert.ok(failed instanceof Crash, String(failed));
  }
  throw new Error("it crashed twice");
}

Deno.test("a crash at any point, and a start from the checkpoint, give the same final rows with the same revisions", async () => {
  for (const plan of [await eventPlan(), await eventPlan({ emit: { every: "200ms" } })]) {
    const clean = new RunnerBench(plan, HISTORY);
    const steps = await play(clean, -1);
    const late = (
      bench: RunnerBench,
    ) => [...new Set(bench.aside.map(({ partition, offset }) => `${partition}/${offset}`))];
    assert.deepEqual(late(clean), ["0/4"]);
    assert.equal(clean.finals().length, 12);
    assert.ok(steps > 60);
    // The last epochs all look alike: every point of the first, then some of the rest.
    for (let crashAt = 0; crashAt < steps; crashAt += crashAt < 90 ? 1 : 7) {
      const bench = new RunnerBench(plan, HISTORY);
      await play(bench, crashAt);
      assert.deepEqual(bench.finals(), clean.finals(), `crash at step ${crashAt}`);
      assert.deepEqual(late(bench), late(clean), `crash at step ${crashAt}`);
    }
  }
});

Deno.test("while the sink is away nothing more is flushed or saved, and all goes on when it is back", async () => {
  const bench = new RunnerBench(plan, [[[event("a", 100), event("a", 5_000)]]]);
  let away = true;
  bench.sinkGate = () => away ? Promise.reject(new UnavailableError("Postgres is away")) : Promise.resolve();
  const direct = bench.start({
    sink: withRetry({
      resume: () => bench.sink.resume(),
      position: () => null,
      name: "memory",
      write: async (rows, options) => {
        await bench.sinkGate(options.signal);
        bench.published.push(rows);
        await bench.sink.write(rows, options);
      },
      [Symbol.asyncDispose]: () => Promise.resolve(),
    }, { clock: bench.clock, onWaiting: (reason) => direct.runner.setWaiting("sink", reason) }),
  });
  await bench.clock.pass(2_000);
  const { flushes, saves } = bench;
  assert.deepEqual([direct.runner.status().state, direct.runner.status().reason], ["waiting", "Postgres is away"]);
  await bench.clock.pass(30_000);
  assert.deepEqual([bench.flushes, bench.saves], [flushes, saves]);
  away = false;
  await bench.clock.pass(20_000);
  assert.deepEqual(bench.finals()[0], "a 0 n=1 total=1 revision=1");
  const status = direct.runner.status();
  assert.deepEqual([status.state, status.reason, status.lastError!.message], ["running", null, "Postgres is away"]);
  assert.equal(await direct.stop(), null);
});

Deno.test("a stop while the sink is away ends in time, and the next start writes what was missing", async () => {
  const bench = new RunnerBench(plan, [[[event("a", 100), event("a", 5_000)]]]);
  bench.sinkGate = (signal) =>
    new Promise((_, reject) => signal.addEventListener("abort", () => reject(signal.reason), { once: true }));
  const { stop, runner } = bench.start();
  await bench.clock.pass(1_000);
  assert.equal(await stop(), null);
  assert.equal(runner.status().state, "stopped");
  const [{ consumed, aggregated, inFlight, position }] = runner.ledger();
  assert.deepEqual([consumed, aggregated, inFlight, position], [0, 0, 0, 0], "what was read is read again");
  assert.deepEqual(bench.finals(), []);
  bench.sinkGate = () => Promise.resolve();
  const again = bench.start();
  await bench.clock.pass(1_000);
  assert.deepEqual(bench.finals(), ["a 0 n=1 total=1 revision=1"]);
  await again.stop();
});

Deno.test("a shard that fails ends the epoch under way and the run, with its own error", async () => {
  const bench = new RunnerBench(plan, [[[event("a", 100), event("a", 5_000)]]]);
  bench.sinkGate = (signal) =>
    new Promise((_, reject) => signal.addEventListener("abort", () => reject(signal.reason), { once: true }));
  const { runner, result } = bench.start();
  await bench.clock.pass(1_000);
  bench.events!.onFailed(new Error("a worker thread crashed"));
  await bench.clock.pass(100);
  assert.match((await result)!.message, /a worker thread crashed/);
  assert.deepEqual([runner.status().state, runner.status().reason], ["waiting", "a worker thread crashed"]);
});

Deno.test("a shard that is full while an epoch is being written is flushed right after it", async () => {
  const bench = new RunnerBench(plan, [[[event("a", 100), event("a", 5_000)]]]);
  bench.sinkGate = () => {
    bench.sinkGate = () => Promise.resolve();
    bench.events!.onFull();
    return Promise.resolve();
  };
  const { stop } = bench.start();
  await bench.clock.pass(200);
  assert.deepEqual([bench.published.length, bench.flushes], [1, 3]);
  await stop();
});

Deno.test("brokers that do not say how many partitions there are hold back neither results nor a stop", async () => {
  const bench = new RunnerBench(plan, [[[event("a", 100)]]]);
  let asked = 0;
  const silent = () => {
    const closed = Promise.withResolvers<never>();
    closed.promise.catch(() => {});
    return {
      leaders: () => ++asked === 1 ? Promise.resolve({ topic: "t", leaders: [1] }) : closed.promise,
      offsets: () => Promise.resolve(new Map([[0, 0]])),
      close: () => Promise.resolve(closed.reject(new UnavailableError("closed"))),
    } as unknown as Cluster;
  };
  const { stop } = bench.start({ cluster: silent });
  await bench.clock.pass(31_000);
  assert.equal(asked, 2);
  bench.append(0, event("b", 60_000), event("b", 70_000));
  await bench.clock.pass(1_000);
  assert.deepEqual(bench.finals(), ["a 0 n=1 total=1 revision=1", "b 60000 n=1 total=1 revision=1"]);
  assert.equal(await stop(), null);
  const ended = new AbortController();
  const starting = bench.runner({ cluster: silent }).run(ended.signal);
  await bench.clock.settle();
  ended.abort(new Error("stop"));
  await starting;
  await bench.runner({ cluster: silent }).run(ended.signal);
});

Deno.test("a checkpoint of another definition is refused with what to do", async () => {
  const bench = new RunnerBench(plan, [[[event("a", 100)]]]);
  const first = bench.start();
  await bench.clock.pass(1_000);
  await first.stop();
  const other = new RunnerBench(await eventPlan({ where: "v > 1" }), [[]]);
  other.saved = bench.saved;
  const { result, runner } = other.start();
  const error = await result;
  assert.ok(error instanceof ConfigError);
  assert.equal(runner.status().state, "failed", "no retry mends it");
  assert.match(error.message, /streams: events: the definition changed .* tailrace rewind events --earliest/);
});

Deno.test("a topic made anew while it is read ends the run; the next one says what to do", async () => {
  const bench = new RunnerBench(plan, [[[event("a", 100)]]]);
  bench.topicId = "first";
  const first = bench.start();
  await bench.clock.pass(1_000);
  bench.topicId = "second";
  bench.append(0, event("b", 200));
  await bench.clock.pass(31_000);
  assert.match((await first.result)!.message, /Topic t was deleted and created anew; starting again/);
  const { result } = bench.start();
  assert.match(
    (await result)!.message,
    /deleted and created anew \(id first then, second now\).*rewind events --earliest/,
  );
});

Deno.test("a partition added later is read from its start; its records for windows that closed without it are late", async () => {
  const bench = new RunnerBench(plan, [[[event("a", 100), event("a", 9_500)]]]);
  const { runner: first, result } = bench.start();
  await bench.clock.pass(2_000);
  assert.deepEqual(bench.finals(), ["a 0 n=1 total=1 revision=1"]);
  bench.logs.push(new (bench.logs[0].constructor as new () => typeof bench.logs[0])());
  bench.append(1, event("a", 150), event("a", 9_600));
  await bench.clock.pass(31_000);
  assert.match((await result)!.message, /grew to 2 partitions; starting again/);
  assert.equal(first.status().state, "waiting");
  const { runner, stop } = bench.start();
  await bench.clock.pass(8_000);
  assert.deepEqual(bench.finals(), ["a 0 n=1 total=1 revision=1", "a 9000 n=1 total=1 revision=1"]);
  assert.deepEqual(runner.status().buckets, {
    consumed: 4,
    aggregated: 2,
    filtered: 0,
    late: 2,
    dead: 0,
    duplicate: 0,
  });
  await stop();
});

Deno.test("a partition that runs far ahead is left unread when room gets scarce, until the others have come closer", async () => {
  const far = Array.from({ length: 40 }, (_, i) => [event("a", 1_000 * i)]);
  const bench = new RunnerBench(plan, [far, [[event("a", 100)]]]);
  const { runner, stop } = bench.start({ openWindowsMax: 60 });
  await bench.clock.pass(3_500);
  assert.deepEqual(bench.paused, [0]);
  assert.ok(runner.status().openWindows < 25, `${runner.status().openWindows} windows are open`);
  bench.append(1, event("a", 60_000));
  await bench.clock.pass(5_000);
  assert.equal(runner.status().lagRecords, 0);
  await stop();
});

Deno.test("more open panes or windows than fit stop the pipeline with what to change", async () => {
  const events = Array.from({ length: 12 }, (_, i) => event(`k${i}`, 100 * i));
  const bench = new RunnerBench(await eventPlan({ allowedLateness: "60000ms" }), [
    [Array.from({ length: 12 }, (_, i) => event("a", 1_000 * i))],
  ]);
  const windows = bench.start({ openWindowsMax: 10 });
  const first = new RunnerBench(plan, [[events]]);
  const run = first.start({ openPanesMax: 10 });
  await first.clock.pass(1_000);
  assert.match((await run.result)!.message, /12 panes are open, more than the 10 that fit: group by fewer keys/);
  await bench.clock.pass(1_000);
  assert.match((await windows.result)!.message, /12 windows are open, more than the 10 that fit/);
});

Deno.test("the status tells positions, lag, watermark, rates and what is computed", async () => {
  const bench = new RunnerBench(plan, [[[event("a", 100), event("a", 3_000)]], [[event("b", 100), event("b", 3_500)]]]);
  const { runner, stop } = bench.start();
  await bench.clock.pass(1_000);
  bench.logs[1].append([recordOf(null, 5), recordOf(Uint8Array.of(9), bench.clock.now())]);
  await bench.clock.pass(1_000);
  const status = runner.status();
  assert.deepEqual(status.buckets, { consumed: 6, aggregated: 4, filtered: 1, late: 0, dead: 1, duplicate: 0 });
  assert.deepEqual(status.partitions[1], {
    partition: 1,
    position: 4,
    end: 4,
    lagRecords: 0,
    lagSeconds: 0,
    watermarkMs: 2_500,
    idle: false,
  });
  assert.deepEqual(
    [status.watermarkMs, status.watermarkDelaySeconds, status.openWindows, status.openPanes, status.rowsWritten],
    [2_000, (bench.clock.now() - 2_000) / 1000, 1, 2, 2],
  );
  assert.ok(status.rates.inPerSecond > 0 && status.rates.inPerSecond < 6);
  assert.deepEqual(status.definition, {
    where: null,
    groupBy: ["k"],
    window: { kind: "tumbling", sizeMs: 1_000 },
    select: { n: "count(*)", total: "sum(v)" },
    sinks: ["kafka out"],
  });
  assert.deepEqual(bench.noted.at(-1), new Map([[0, 2], [1, 4]]));
  assert.deepEqual(bench.live, bench.published);
  await bench.clock.pass(30_000);
  assert.equal(runner.status().rates.inPerSecond, 0);
  await stop();
});

Deno.test("encoded events are what the tests take them for", () => {
  assert.deepEqual([...encode({ k: "a", v: 1, at: 2 })], [0, 0, 0, 0, 1, 2, 97, 2, 2, 4]);
});

Deno.test("a topic that cannot be read stops its pipeline; started again, it reads on behind what was set aside", async () => {
  const strict = { ...plan, deadLetters: { dead: 3, of: 5 } };
  const bench = new RunnerBench(strict, [[[event("a", 100)]]]);
  bench.logs[0].append([1, 2, 3, 4].map(() => recordOf(new Uint8Array([9, 9]))));
  const { result } = bench.start();
  await bench.clock.pass(1_000);
  const error = await result;
  assert.ok(error instanceof ConfigError);
  assert.match(error.message, /3 of the last 5 records of t could not be read.*does not start with a schema id/);
  bench.append(0, event("a", 5_000));
  const { stop, runner } = bench.start();
  await bench.clock.pass(1_000);
  assert.equal(runner.status().buckets.dead, 4);
  assert.deepEqual(bench.finals(), ["a 0 n=1 total=1 revision=1"]);
  assert.equal(await stop(), null);
});
