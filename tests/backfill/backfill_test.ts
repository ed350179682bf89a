import assert from "node:assert/strict";
import fc from "fast-check";
import { backfill, type BackfillWriteDeps, previewBackfill } from "../../pipeline/backfill/backfill.ts";
import { JudgedArchive } from "../../pipeline/backfill/judged_archive.ts";
import { ConfigError } from "../../pipeline/errors.ts";
import { REDRIVE_OFFSET, REDRIVE_PIPELINE } from "../../pipeline/runtime/redrive_headers.ts";
import { REVISIONS_PER_GENERATION } from "../../pipeline/sinks/sink.ts";
import { type Event, eventPlan } from "../runtime/logs.ts";
import { Crash, RunnerBench } from "../runtime/runner_bench.ts";
import { type ArchivedRecord, newDatabase, tableArchive } from "./table_archive.ts";

/** A record of a log; `source` is the offset of the original of one that was brought back. */
interface Entry extends Event {
  readonly source?: number;
  readonly pipeline?: string;
}

const COLUMNS = [
  ["k", "string", "VARCHAR"],
  ["v", "long", "BIGINT"],
  ["at", "timestamp", "TIMESTAMP WITH TIME ZONE"],
] as const;

const database = newDatabase();

const plan = await eventPlan({ allowedLateness: "500ms", idleAfter: "600000ms", where: "v > 0" });
const RUNS = Number(Deno.env.get("BACKFILL_RUNS") ?? 12);
/** Later than any record, so that every window closes without an idle decision. */
const CLOSING_MS = 60_000;

function benchOf(logs: readonly (readonly Entry[])[]): RunnerBench {
  const bench = new RunnerBench(plan, logs.map(() => []));
  logs.forEach((entries, partition) => {
    for (const { source, pipeline, ...event } of entries) {
      if (source === undefined) bench.append(partition, event);
      else bench.redrive(partition, event, { source, pipeline });
    }
  });
  return bench;
}

/** The archive of the logs' first `positions` records. */
async function archiveOf(logs: readonly (readonly Entry[])[], positions: readonly number[]) {
  const records = logs.flatMap((entries, partition) =>
    entries.slice(0, positions[partition]).map((
      { k, v, at, source, pipeline = plan.name },
      offset,
    ): ArchivedRecord => ({
      partition,
      offset,
      timestampMs: Date.UTC(2026, 0, 1),
      fields: [`'${k}'`, String(v), at === null ? "NULL" : `make_timestamptz(${at * 1000})`],
      ...source === undefined
        ? {}
        : { headers: [["mine", "x"], [REDRIVE_OFFSET, String(source)], [REDRIVE_PIPELINE, pipeline]] as const },
    }))
  );
  const options = { database, topic: "t", columns: COLUMNS, positions: new Map(positions.entries()) };
  return await tableArchive(records, options);
}

async function depsOf(
  bench: RunnerBench,
  { logs, positions, ...more }: {
    readonly logs: readonly (readonly Entry[])[];
    readonly positions: readonly number[];
  } & Partial<BackfillWriteDeps>,
): Promise<BackfillWriteDeps> {
  const { checkpoints, history, cluster, sink } = bench.deps();
  const archive = await archiveOf(logs, positions);
  return {
    cluster: cluster(),
    checkpoints,
    history,
    sink,
    database,
    archive: () => Promise.resolve(archive),
    nowMs: bench.clock.now(),
    signal: new AbortController().signal,
    raiseGeneration: (above) => Promise.resolve(above + 1),
    ...more,
  };
}

async function runThrough(bench: RunnerBench): Promise<void> {
  const { runner, stop, result } = bench.start();
  const isBehind = ({ position, end }: { position: number; end: number }) => end < 0 || position < end;
  let isOver = false;
  result.then(() => isOver = true);
  do await bench.clock.pass(500); while (!isOver && runner.status().partitions.some(isBehind));
  await bench.clock.pass(2_000);
  assert.equal(await stop(), null);
}

/** Final rows with the revision's count only. */
function plain(bench: RunnerBench, fromMs = -Infinity): string[] {
  return bench.finals()
    .filter((row) => Number(row.split(" ")[1]) >= fromMs)
    .map((row) => row.replace(/revision=(\d+)/, (_, revision) => `records=${revision % REVISIONS_PER_GENERATION}`));
}

Deno.test("a backfill gives what reading from the beginning gives, whatever part of the log is archived, and needs no earlier offset", async () => {
  const event = fc.record({
    partition: fc.nat({ max: 1 }),
    k: fc.constantFrom("a", "b"),
    // Zero is left out by the plan's condition, and still tells the time.
    v: fc.nat({ max: 3 }),
    at: fc.nat({ max: 900 }),
    isBack: fc.integer({ min: 0, max: 9 }),
    pipeline: fc.constantFrom(plan.name, plan.name, "other"),
  });
  await fc.assert(
    fc.asyncProperty(
      fc.array(event, { minLength: 5, maxLength: 60 }),
      fc.tuple(fc.nat({ max: 100 }), fc.nat({ max: 100 })),
      fc.option(fc.nat({ max: 5 }), { nil: undefined }),
      fc.integer({ min: 1, max: 30 }),
      async (events, cuts, skipped, sliceRecordsMax) => {
        // Time goes on by 150 ms a record, give or take what makes some of them late.
        const logs: Entry[][] = [[], []];
        const positions = [0, 0];
        const letters: { partition: number; offset: number; entry: Entry; isBack: boolean }[] = [];
        const reached = [-Infinity, -Infinity];
        events.forEach(({ partition, k, v, at, isBack, pipeline }, i) => {
          const log = logs[partition];
          const letter = letters.find((letter) => letter.partition === partition && !letter.isBack);
          const isArchived = i < events.length * cuts[0] / 100 - 1;
          if (letter && isBack < 3 && isArchived) {
            letter.isBack = isBack < 2;
            log.push({ ...letter.entry, source: letter.offset, pipeline });
          } else {
            const entry = { k, v, at: 150 * i + (at > 800 ? at - 3_000 : at) };
            const isLate = 1_000 * Math.floor(entry.at / 1_000) + 1_000 <= reached[partition] - plan.allowedLatenessMs;
            if (isLate && v > 0) letters.push({ partition, offset: log.length, entry, isBack: false });
            reached[partition] = Math.max(reached[partition], entry.at);
            log.push(entry);
          }
          if (isArchived) positions[partition] = log.length;
        });
        fc.pre(positions.every((position) => position > 0));
        logs.forEach((log) => log.push({ k: "z", v: 1, at: CLOSING_MS }));
        const reference = benchOf(logs);
        await runThrough(reference);
        const bench = benchOf(logs);
        const fromMs = skipped === undefined ? undefined : 1_000 * skipped;
        const deps = await depsOf(bench, { logs, positions, sliceRecordsMax });
        let told;
        try {
          const preview = await previewBackfill(plan, { fromMs }, deps);
          assert.equal(bench.published.length, 0, "a preview writes nothing");
          told = await backfill(plan, { fromMs }, deps);
          assert.deepEqual({ ...told, generation: null }, preview);
        } catch (error) {
          // Too little is archived for a whole window.
          assert.match((error as Error).message, /no whole window/);
          fc.pre(false);
          return;
        }
        const { judged, partitions } = told;
        assert.equal(judged.records, judged.aggregated + judged.filtered + judged.late + judged.duplicate);
        assert.ok(judged.filtered >= 0, JSON.stringify(judged));
        bench.earliest = partitions.map(({ offset }) => offset);
        await runThrough(bench);
        assert.deepEqual(plain(bench, told.fromMs), plain(reference, told.fromMs));
        assert.deepEqual(plain(bench).length, plain(bench, told.fromMs).length, "earlier windows are left alone");
        for (const { partition, start, position, buckets } of bench.checkpoint!.partitions) {
          assert.equal(start, partitions[partition].offset);
          assert.equal(buckets.consumed, position - start, "the ledger counts from the handover on");
        }
        return;
      },
    ),
    { numRuns: RUNS },
  );
});

/** Runs what is there and asserts that it is what the whole log gives. */
async function assertAsFromTheBeginning(logs: readonly (readonly Entry[])[], bench: RunnerBench, fromMs: number) {
  const reference = benchOf(logs);
  await runThrough(reference);
  await runThrough(bench);
  assert.deepEqual(plain(bench, fromMs), plain(reference, fromMs));
}

const entry = (k: string, at: number, v = 1): Entry => ({ k, v, at });
const refusedBy = async (work: Promise<unknown>, problem: RegExp) =>
  await assert.rejects(work, (error) => {
    assert.ok(error instanceof ConfigError, String((error as Error).stack));
    assert.match(error.message, problem);
    return true;
  });

Deno.test("what cannot be built is refused with what to do", async () => {
  const logs = [[100, 1_100, 2_200, 5_000].map((at) => entry("a", at))];
  const bench = benchOf(logs);
  const deps = await depsOf(bench, { logs, positions: [4] });
  await refusedBy(previewBackfill(plan, { fromMs: 9_000 }, deps), /backfill events: there is no whole window to build/);
  await refusedBy(
    previewBackfill(plan, { toMs: 7_000 }, deps),
    /holds all records of the windows before 1970-01-01T00:00:04.000Z only: leave --to out, or name that or an earlier time/,
  );
  bench.earliest = 4;
  await refusedBy(
    previewBackfill(plan, {}, deps),
    /from offset 3 of partition 0 on; but it begins at offset 4: retention/,
  );
  const deduped = await eventPlan({ dedupe: { by: "v", within: "2000ms" } });
  await refusedBy(previewBackfill(deduped, {}, deps), /has dedupe, .*tailrace rewind events/);
  const other = await tableArchive([], {
    database,
    topic: "t",
    columns: COLUMNS.slice(0, 2),
    positions: new Map([[0, 0]]),
  });
  await refusedBy(
    previewBackfill(plan, {}, { ...deps, archive: () => Promise.resolve(other) }),
    /lake\.t: cannot be read by events: it has no column at/,
  );
  const empty = await depsOf(benchOf(logs), { logs, positions: [0] });
  await refusedBy(previewBackfill(plan, {}, empty), /the archive lake\.t holds no record with an event time yet/);
});

Deno.test("an archive that begins later does not reach back to the windows that it lacks records of", async () => {
  const logs = [[100, 1_100, 2_200, 3_300, 4_400, 9_000].map((at) => entry("a", at))];
  const bench = benchOf(logs);
  const records = logs[0].map(({ k, v, at }, offset): ArchivedRecord => ({
    partition: 0,
    offset,
    timestampMs: Date.UTC(2026, 0, 1),
    fields: [`'${k}'`, String(v), `make_timestamptz(${at! * 1000})`],
  }));
  const late = await tableArchive(records.slice(2), {
    database,
    topic: "t",
    columns: COLUMNS,
    positions: new Map([[0, 6]]),
  });
  const deps = await depsOf(bench, { logs, positions: [6], archive: () => Promise.resolve(late) });
  await refusedBy(
    previewBackfill(plan, { fromMs: 0 }, deps),
    /does not reach back to 1970-01-01T00:00:00.000Z: it holds all records of the windows from 1970-01-01T00:00:03.000Z on/,
  );
  const { fromMs, handoverMs, rows } = await previewBackfill(plan, {}, deps);
  assert.deepEqual({ fromMs, handoverMs, rows }, { fromMs: 3_000, handoverMs: 8_000, rows: 2 });
});

Deno.test("a silent partition does not hold back the handover, and what it says later of earlier windows is late", async () => {
  const short = await eventPlan({ allowedLateness: "500ms", idleAfter: "5000ms", where: "v > 0" });
  const logs = [[100, 1_100, 2_200, 5_000].map((at) => entry("a", at)), [entry("b", 300)]];
  const bench = benchOf(logs);
  const archive = await archiveOf(logs, [4, 1]);
  const deps = { ...await depsOf(bench, { logs, positions: [4, 1] }), archive: () => Promise.resolve(archive) };
  // Both were silent for long, so the one that came furthest says where.
  const nowMs = Date.UTC(2026, 0, 2);
  const told = await backfill(short, {}, { ...deps, nowMs });
  assert.equal(told.handoverMs, 4_000);
  assert.deepEqual(told.partitions.map(({ offset, isRaised }) => [offset, isRaised]), [[3, false], [1, true]]);
  bench.append(1, entry("b", 400), entry("b", CLOSING_MS));
  bench.append(0, entry("a", CLOSING_MS));
  const redefined = new RunnerBench(short, []);
  redefined.logs.push(...bench.logs);
  redefined.saved = bench.saved;
  for (const row of bench.sink.rows()) redefined.sink.put(row);
  await runThrough(redefined);
  assert.deepEqual(redefined.aside.map(({ partition, offset, why }) => [partition, offset, why]), [[1, 1, "late"]]);
  assert.deepEqual(
    plain(redefined),
    ["a 0 n=1", "a 1000 n=1", "a 2000 n=1", "a 5000 n=1", "b 0 n=1"].map((row) => `${row} total=1 records=1`),
  );
});

Deno.test("a partition that the archive has not come to yet is waited for, and a log that lost records is noticed", async () => {
  const logs = [[100, 1_100, 5_000].map((at) => entry("a", at)), [entry("b", 300)]];
  const bench = benchOf(logs);
  const archive = await archiveOf(logs, [3, 0]);
  const unread = { ...archive, positions: new Map([[0, 3]]) };
  const deps = await depsOf(bench, { logs, positions: [3, 0], archive: () => Promise.resolve(unread) });
  await refusedBy(previewBackfill(plan, {}, deps), /has no records of partition 1 of t yet: wait until it has/);
  const lost = await depsOf(benchOf([logs[0].slice(0, 1)]), { logs: [logs[0]], positions: [3] });
  await refusedBy(previewBackfill(plan, {}, lost), /the archive holds partition . up to offset ., but the log ends at/);
});

for (const step of ["before sink", "after sink", "before save", "after save"]) {
  Deno.test(`a backfill that dies ${step} is run again, and nothing is lost or twice`, async () => {
    const logs = [
      [...Array(30).keys()].map((i) => entry(i % 2 === 0 ? "a" : "b", 200 * i, i % 4)).concat(entry("z", CLOSING_MS)),
    ];
    const bench = benchOf(logs);
    // It ran before, so there is a checkpoint to go on from.
    await runThrough(bench);
    const deps = await depsOf(bench, { logs, positions: [25], sliceRecordsMax: 5 });
    let reached = 0;
    bench.step = (name) => {
      if (name === step && ++reached === (step.endsWith("sink") ? 3 : 1)) throw new Crash(name);
    };
    await assert.rejects(backfill(plan, {}, deps), Crash);
    bench.step = () => {};
    const told = await backfill(plan, {}, {
      ...deps,
      raiseGeneration: (above) => Promise.resolve(Math.max(above, 1) + 1),
    });
    assert.deepEqual(bench.samples, [], "what was known of the computation before is gone");
    bench.earliest = told.partitions.map(({ offset }) => offset);
    await assertAsFromTheBeginning(logs, bench, told.fromMs);
    const generations = bench.finals().map((row) =>
      Math.floor(Number(/revision=(\d+)/.exec(row)![1]) / REVISIONS_PER_GENERATION)
    );
    assert.deepEqual([...new Set(generations)], [told.generation]);
  });
}

Deno.test("letters that come back after the handover count where the log can say so, and never twice", async () => {
  // 200 and 2,300 are late; 200 comes back before the handover, and both after it.
  const logs: Entry[][] = [
    [100, 1_200, 2_500, 200, 3_900, 5_200, 2_300].map((at) => entry("a", at)).concat([{
      ...entry("a", 200),
      source: 3,
    }]),
  ];
  const bench = benchOf(logs);
  const deps = await depsOf(bench, { logs, positions: [8] });
  const told = await backfill(plan, {}, deps);
  assert.deepEqual([told.handoverMs, told.judged.late, told.judged.aggregated], [4_000, 2, 5]);
  for (const [source, at] of [[3, 200], [6, 2_300]]) bench.redrive(0, entry("a", at), { source });
  bench.append(0, entry("z", CLOSING_MS));
  await runThrough(bench);
  assert.deepEqual(plain(bench).map((row) => row.replace(/ total.*/, "")), [
    "a 0 n=2",
    "a 1000 n=1",
    "a 2000 n=1",
    "a 3000 n=1",
    "a 5000 n=1",
  ]);
  // The second copy of 200 is a duplicate. 2,300 cannot be computed again from this log: it stays a letter, and says why.
  const { buckets } = bench.checkpoint!.partitions[0];
  assert.equal(buckets.duplicate, 1);
  assert.match(bench.aside.at(-1)!.reason, /the log does not hold all of its records any more/);
});

Deno.test("a record's defaults, tombstones, faults and times that cannot be are judged as the pipeline does", async () => {
  const stamp = Date.UTC(2026, 0, 1);
  const at = (ms: number) => `make_timestamptz(${ms * 1000})`;
  const records: ArchivedRecord[] = [
    { partition: 0, offset: 0, timestampMs: stamp, fields: ["'a'", "1", at(100)] },
    { partition: 0, offset: 1, timestampMs: stamp },
    { partition: 0, offset: 2, timestampMs: stamp, fault: "schema id 9 is not in the registry" },
    { partition: 0, offset: 3, timestampMs: stamp, fields: ["'a'", "1", "NULL"] },
    // From a wrong clock: believed, it would make all that follows late.
    { partition: 0, offset: 4, timestampMs: 1_000, fields: ["'a'", "1", at(90_000_000_000)] },
    { partition: 0, offset: 5, timestampMs: stamp, fields: ["'a'", "1", at(200)] },
    { partition: 0, offset: 6, timestampMs: stamp, fields: ["'a'", "0", at(300)] },
    { partition: 0, offset: 7, timestampMs: stamp, fields: ["'a'", "1", at(9_000)] },
    // The archive lacks a field that nobody asks for, and the key.
    { partition: 0, offset: 8, timestampMs: stamp, fields: ["'a'", "1", at(9_100)], fault: "note is not UTF-8 text" },
    { partition: 0, offset: 9, timestampMs: stamp, fields: ["NULL", "1", at(9_200)], fault: "k is not UTF-8 text" },
  ];
  const archive = await tableArchive(records, {
    database,
    topic: "t",
    columns: COLUMNS,
    positions: new Map([[0, 10]]),
  });
  using judged = await JudgedArchive.judge(plan, archive, { database, signal: new AbortController().signal });
  assert.deepEqual(await judged.judgement({ fromMs: 0, toMs: 1_000 }), {
    rows: 1,
    records: 3,
    aggregated: 2,
    filtered: 1,
    late: 0,
    duplicate: 0,
  });
  assert.equal((await judged.judgement({ fromMs: 9_000, toMs: 10_000 })).aggregated, 2);
  assert.equal(await judged.unplaced(), 5);
});
