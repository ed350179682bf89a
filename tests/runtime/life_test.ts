import assert from "node:assert/strict";
import fc from "fast-check";
import { ConfigError } from "../../pipeline/errors.ts";
import type { Plan } from "../../pipeline/plan/plan.ts";
import { explain } from "../../pipeline/runtime/explain.ts";
import { rewind, type RewindTarget } from "../../pipeline/runtime/rewind.ts";
import { REVISIONS_PER_GENERATION } from "../../pipeline/sinks/sink.ts";
import { type Event, eventPlan, PartitionLog } from "./logs.ts";
import { Crash, RunnerBench } from "./runner_bench.ts";

const PARTITIONS = { first: 2, most: 4 };

/** What happens to a pipeline. */
const happening = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.record({
      kind: fc.constant("record"),
      partition: fc.nat({ max: 3 }),
      at: fc.nat({ max: 8_000 }),
      v: fc.nat({ max: 3 }),
    }),
  },
  { weight: 3, arbitrary: fc.record({ kind: fc.constant("redrive"), letter: fc.nat({ max: 20 }) }) },
  { weight: 5, arbitrary: fc.record({ kind: fc.constant("time"), ms: fc.constantFrom(100, 300, 700, 700, 7_000) }) },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant("crash"), step: fc.nat({ max: 60 }) }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant("partition") }) },
  {
    weight: 2,
    arbitrary: fc.record({
      kind: fc.constant("rewind"),
      /** The process ends between the two files that a rewind writes. */
      isCut: fc.boolean(),
      target: fc.oneof<fc.Arbitrary<RewindTarget>[]>(
        fc.constant({ kind: "earliest" }),
        fc.record({ kind: fc.constant("time"), timeMs: fc.nat({ max: 12_000 }) }),
        fc.record({ kind: fc.constant("offset"), partition: fc.nat({ max: 1 }), offset: fc.nat({ max: 8 }) }),
      ),
    }),
  },
);
type Happening = typeof happening extends fc.Arbitrary<infer T> ? T : never;

/** A record of a log, with the offset of the first original where it came back. */
type Kept = Event & { readonly source: number | null };

/** A pipeline, and what was written to its topic. */
class Life {
  readonly bench: RunnerBench;
  readonly logs: Kept[][] = Array.from({ length: PARTITIONS.first }, () => []);
  #running: ReturnType<RunnerBench["start"]>;
  #ended: Error | null | undefined;
  #crashIn = -1;

  constructor(plan: Plan) {
    this.bench = new RunnerBench(plan, this.logs.map(() => []));
    this.bench.step = (name) => {
      if (this.#crashIn >= 0 && this.#crashIn-- === 0) throw new Crash(name);
    };
    this.#running = this.#start();
  }

  async meet(one: Happening): Promise<void> {
    const { bench, logs } = this;
    if ("at" in one) {
      const partition = one.partition % logs.length;
      const record = { k: "k", v: one.v, at: one.at };
      logs[partition].push({ ...record, source: null });
      bench.append(partition, record);
    } else if ("letter" in one) {
      if (bench.aside.length === 0) return;
      const { partition, offset } = bench.aside[one.letter % bench.aside.length];
      const record = logs[partition][offset];
      const source = record.source ?? offset;
      logs[partition].push({ ...record, source });
      bench.redrive(partition, record, { source });
    } else if ("ms" in one) await this.pass(one.ms);
    else if ("step" in one) this.#crashIn = one.step;
    else if ("target" in one) await this.#rewind(one);
    else if (logs.length < PARTITIONS.most) {
      logs.push([]);
      bench.logs.push(new PartitionLog());
    }
  }

  /** Lets time pass; a process that ended is followed by another. */
  async pass(ms: number): Promise<void> {
    await this.bench.clock.pass(ms);
    while (this.#ended !== undefined) {
      assert.ok(this.#ended instanceof Crash || this.#ended?.name === "UnavailableError", String(this.#ended?.stack));
      this.#running = this.#start();
      await this.bench.clock.pass(200);
    }
  }

  /** Lets all be read, and all windows close, in peace. */
  async end(): Promise<void> {
    this.#crashIn = -1;
    // Longer than until new partitions are noticed.
    await this.pass(40_000);
    const isBehind = ({ position, end }: { position: number; end: number }) => end < 0 || position < end;
    while (this.#running.runner.status().partitions.some(isBehind)) await this.pass(1_000);
    await this.pass(10_000);
    assert.equal(await this.#running.stop(), null);
  }

  #start(): ReturnType<RunnerBench["start"]> {
    const running = this.bench.start();
    this.#ended = undefined;
    running.result.then((error) => {
      if (running === this.#running) this.#ended = error;
    });
    return running;
  }

  async #rewind({ target, isCut }: { readonly target: RewindTarget; readonly isCut: boolean }): Promise<void> {
    const { bench } = this;
    this.#crashIn = -1;
    await this.#running.stop();
    const { checkpoints, history, cluster } = bench.deps();
    const cut = { ...history, replace: () => Promise.reject(new Crash("cut")) };
    await rewind(bench.plan, target, {
      cluster: cluster(),
      checkpoints,
      history: isCut ? cut : history,
      nowMs: bench.clock.now(),
      raiseGeneration: (above) => Promise.resolve(above + 1),
    }).catch((error) => assert.ok(error instanceof ConfigError || error instanceof Crash, String(error.stack)));
    this.#running = this.#start();
  }
}

/** What each record's explanation says has to add up to the ledger and to the results. */
async function checkExplained({ bench, logs }: Life): Promise<void> {
  const fates = { aggregated: 0, late: 0, duplicate: 0, dead: 0, filtered: 0 };
  const counts = new Map<number, number>();
  for (const [partition, records] of logs.entries()) {
    for (const [offset, { at }] of records.entries()) {
      const asked = explain(bench.plan, { partition, offset }, bench.explainDeps());
      let isTold = false;
      asked.finally(() => isTold = true).catch(() => {});
      // One after the other on the virtual clock: reading again waits for it.
      for (let i = 0; i < 80 && !isTold; i++) await bench.clock.pass(10);
      const { fate } = await asked;
      assert.ok(fate in fates, `${partition}/${offset}: ${fate}`);
      fates[fate as keyof typeof fates]++;
      const start = 1_000 * Math.floor(at! / 1_000);
      if (fate === "aggregated") counts.set(start, (counts.get(start) ?? 0) + 1);
    }
  }
  const { partitions, panes } = bench.checkpoint!;
  for (const fate of Object.keys(fates) as (keyof typeof fates)[]) {
    assert.equal(partitions.reduce((sum, { buckets }) => sum + buckets[fate], 0), fates[fate], fate);
  }
  const results = new Map<number, number>();
  for (const { windows, counts } of panes) {
    windows.forEach((start, i) => results.set(start, (results.get(start) ?? 0) + counts[i]));
  }
  for (const row of bench.sink.rows().filter((row) => row.at(-1) === true)) {
    results.set(row[1] as number, (row.at(-2) as number) % REVISIONS_PER_GENERATION);
  }
  assert.deepEqual(new Map([...results].sort()), new Map([...counts].sort()));
}

for (
  const [what, plan] of [
    ["final rows", await eventPlan({ allowedLateness: "500ms" })],
    ["early rows", await eventPlan({ allowedLateness: "500ms", emit: { every: "100ms" } })],
    ["dedupe", await eventPlan({ allowedLateness: "500ms", dedupe: { by: "v", within: "2000ms" } })],
  ] as const
) {
  Deno.test(`crashes, rewinds, letters that come back, new partitions: the results are what the records' explanations say (${what})`, async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(happening, { minLength: 5, maxLength: 60 }), async (happenings) => {
        const life = new Life(plan);
        for (const one of happenings) await life.meet(one);
        await life.end();
        await checkExplained(life);
      }),
      { numRuns: 120 },
    );
  });
}
