import assert from "node:assert/strict";
import { count, pipeline, sum, topic, tumbling } from "../../pipeline/definition.ts";
import { ConfigError } from "../../pipeline/errors.ts";
import { planOf } from "../../pipeline/plan/compile.ts";
import { type AvroSchema, type Plan, resultColumns } from "../../pipeline/plan/plan.ts";
import { compareRows, EXAMPLES_MAX } from "../../pipeline/preview/difference.ts";
import { preview, type PreviewDeps } from "../../pipeline/preview/preview.ts";
import type { ResultRows, ResultValue } from "../../pipeline/sinks/sink.ts";
import { type ArchivedRecord, newDatabase, tableArchive } from "../backfill/table_archive.ts";
import { type Event, eventPlan, SCHEMA } from "../runtime/logs.ts";
import { RunnerBench } from "../runtime/runner_bench.ts";

const database = newDatabase();
const plan = await eventPlan({ allowedLateness: "500ms", idleAfter: "600000ms", where: "v > 0" });
const event = (k: string, at: number, v = 1): Event => ({ k, v, at });

/** The definition with parts of it changed, under the same name unless told. */
async function edited(
  { where = "v > 0", name = "events", select = { n: count(), total: sum("v") }, groupBy = ["k"], window = "1s" }: {
    readonly where?: string;
    readonly name?: string;
    readonly select?: Parameters<typeof pipeline>[0]["select"];
    readonly groupBy?: readonly string[];
    readonly window?: `${number}s`;
  } = {},
): Promise<Plan> {
  const options = { eventTime: "at", allowedLateness: "500ms", idleAfter: "600000ms" } as const;
  return await planOf(
    pipeline({
      name,
      from: topic("t", { schema: SCHEMA as Exclude<AvroSchema, string>, ...options }),
      where,
      groupBy,
      window: tumbling(window),
      select,
      to: [{ kind: "postgres", table: "elsewhere" }],
    }),
    new Map(),
  );
}

/** A pipeline that has read all of a log, which is archived but for its last record. */
async function ran(events: readonly Event[]): Promise<{ bench: RunnerBench; deps: PreviewDeps }> {
  const bench = new RunnerBench(plan, [events.map((one) => [one])]);
  bench.batchesPerFlush = 100;
  const { stop } = bench.start();
  await bench.clock.pass(5_000);
  assert.equal(await stop(), null);
  const { checkpoints, cluster } = bench.deps();
  const records = events.slice(0, -1).map(({ k, v, at }, offset): ArchivedRecord => ({
    partition: 0,
    offset,
    timestampMs: Date.UTC(2026, 0, 1),
    fields: [`'${k}'`, String(v), `make_timestamptz(${at! * 1000})`],
  }));
  const archive = await tableArchive(records, {
    database,
    topic: "t",
    columns: [["k", "string", "VARCHAR"], ["v", "long", "BIGINT"], ["at", "timestamp", "TIMESTAMP WITH TIME ZONE"]],
    positions: new Map([[0, records.length]]),
  });
  const deps: PreviewDeps = {
    cluster: cluster(),
    checkpoints: {
      ...checkpoints,
      load: (name) => name === plan.name ? checkpoints.load(name) : Promise.resolve(null),
    },
    database,
    archive: () => Promise.resolve(archive),
    comparedWith: plan,
    deployed: plan,
    results: (of, { fromMs, toMs }) => {
      const rows = bench.sink.rows().filter((row) =>
        row.at(-1) === true && Number(row[1]) >= fromMs && Number(row[1]) < toMs
      );
      const columns = resultColumns(of);
      return Promise.resolve({
        columns,
        length: rows.length,
        values: columns.map((_, c) => rows.map((row) => row[c])),
      });
    },
    rewindFrom: () => Promise.resolve(3_000),
    nowMs: bench.clock.now(),
    signal: new AbortController().signal,
  };
  return { bench, deps };
}

const EVENTS = [100, 200, 1_100, 1_300, 2_400, 300, 3_500, 4_600, 5_700, 9_000].map((at, i) =>
  event(i % 2 === 0 ? "a" : "b", at, i % 3)
);

Deno.test("a preview of what runs finds the rows that are there, and that it would go on", async () => {
  const { bench, deps } = await ran(EVENTS);
  const before = { rows: bench.published.length, checkpoint: bench.saved };
  const told = await preview(await edited(), { minutes: 1 }, deps);
  assert.deepEqual([told.fromMs, told.toMs], [0, 5_000]);
  assert.ok(told.difference !== null && typeof told.difference !== "string");
  const { same, changed, onlyBefore, onlyAfter } = told.difference;
  assert.deepEqual({ changed, onlyBefore, onlyAfter }, { changed: 0, onlyBefore: 0, onlyAfter: 0 });
  assert.ok(same > 3 && same === told.rows, JSON.stringify(told.difference));
  assert.deepEqual(told.changes, ["emit", "to"]);
  assert.deepEqual(told.state, { kind: "resumes" });
  assert.equal(told.judged.late, 1);
  assert.deepEqual({ rows: bench.published.length, checkpoint: bench.saved }, before, "nothing was written");
});

Deno.test("a preview tells rows and columns that change, and that the saved state does not fit", async () => {
  const { deps } = await ran(EVENTS);
  const told = await preview(
    await edited({ where: "v > 1", select: { n: count(), most: sum("v") } }),
    { minutes: 1 },
    deps,
  );
  assert.ok(told.difference !== null && typeof told.difference !== "string");
  assert.ok(told.difference.onlyBefore > 0, "rows of records that are left out now");
  assert.deepEqual(told.columns?.added.map(({ name }) => name), ["most"]);
  assert.deepEqual(told.columns?.removed.map(({ name }) => name), ["total"]);
  assert.deepEqual(told.changes, ["where", "select", "emit", "to"]);
  assert.deepEqual(told.state, { kind: "recomputes", rewindFromMs: 3_000, rewindProblem: null, backfillFromMs: 0 });
  const refusing = { ...deps, rewindFrom: () => Promise.reject(new ConfigError({ where: "x", problem: "too far" })) };
  const { state } = await preview(await edited({ where: "v > 1" }), { minutes: 1 }, refusing);
  assert.equal(state.kind === "recomputes" && state.rewindProblem, "too far");
});

Deno.test("rows of other keys or windows are not compared, and a new pipeline begins anew", async () => {
  const { deps } = await ran(EVENTS);
  assert.equal(
    (await preview(await edited({ groupBy: [] }), { minutes: 1 }, deps)).difference,
    "they are grouped by k and by nothing",
  );
  assert.equal(
    (await preview(await edited({ window: "2s" }), { minutes: 1 }, deps)).difference,
    "their windows are not of the same size",
  );
  const fresh = { ...deps, comparedWith: null, deployed: null };
  const told = await preview(await edited({ name: "other" }), { minutes: 1 }, fresh);
  assert.deepEqual([told.difference, told.columns, told.state], [null, null, { kind: "new" }]);
  const stored = { ...deps, results: () => Promise.resolve(null) };
  assert.match(
    String((await preview(await edited(), { minutes: 1 }, stored)).difference),
    /keeps its results in no table/,
  );
});

Deno.test("fewer minutes read less, and give the same rows of the windows they have", async () => {
  const events = Array.from({ length: 400 }, (_, i) => event(i % 2 === 0 ? "a" : "b", 1_000 * i, i % 3));
  const { deps } = await ran([...events, event("z", 900_000)]);
  const archive = await deps.archive({ id: null, partitions: [0] });
  const bounded = { ...archive, bounds: () => ({ leastMs: 0, mostMs: 399_000 }) };
  const all = await preview(await edited(), { minutes: 60 }, deps);
  const some = await preview(await edited(), { minutes: 1 }, { ...deps, archive: () => Promise.resolve(bounded) });
  assert.equal(some.toMs, all.toMs);
  assert.equal(some.toMs - some.fromMs, 60_000);
  assert.ok(some.difference !== null && typeof some.difference !== "string");
  assert.deepEqual([some.difference.changed, some.difference.onlyAfter, some.difference.onlyBefore], [0, 0, 0]);
  assert.ok(some.rows < all.rows && some.judged.records < all.judged.records);
});

const columns = resultColumns(plan);
const rowsOf = (
  ...rows: readonly (readonly [k: string | null, start: number, n: number, total: string | null])[]
): ResultRows => ({
  columns,
  length: rows.length,
  values: columns.map((_, c) =>
    rows.map(([k, start, n, total]): ResultValue => [k, start, start + 1_000, n, total, n, true][c])
  ),
});

Deno.test("a difference names what changed, with some examples of each kind; keys may be null, and look like one another", () => {
  const before = rowsOf(["a", 0, 1, "1"], [null, 0, 1, "1"], ["null", 0, 2, "2"], ["gone", 0, 9, null]);
  const after = rowsOf(["a", 0, 1, "1"], [null, 0, 3, "1"], ["null", 0, 2, null], ["new", 0, 7, "7"]);
  const { examples, ...told } = compareRows(before, after);
  assert.deepEqual(told, {
    before: 4,
    after: 4,
    same: 1,
    changed: 2,
    onlyBefore: 1,
    onlyAfter: 1,
    columns: { n: 1, total: 1 },
  });
  assert.deepEqual(
    examples.map(({ kind, key, values }) => [
      kind,
      (key[0].after ?? key[0].before)!.value,
      values.map(({ name, before, after }) => `${name} ${before?.value} ${after?.value}`),
    ]),
    [
      ["changed", null, ["n 1 3"]],
      ["changed", "null", ["total 2 null"]],
      ["only after", "new", ["n undefined 7", "total undefined 7"]],
      ["only before", "gone", ["n 9 undefined", "total null undefined"]],
    ],
  );
  const many = rowsOf(...Array.from({ length: 20 }, (_, i) => [`k${i}`, 0, 1, "1"] as const));
  const none = rowsOf();
  assert.equal(compareRows(none, many).examples.length, EXAMPLES_MAX);
  assert.deepEqual(compareRows(many, many), { ...compareRows(many, many), same: 20, changed: 0, examples: [] });
});

Deno.test("doubles that differ in their last digits are the same, and those that do not are not", () => {
  const doubles = columns.map((column) =>
    column.name === "n" ? { ...column, type: { type: "double", nullable: false } as const } : column
  );
  const of = (n: number): ResultRows => ({ ...rowsOf(["a", 0, n, "1"]), columns: doubles });
  assert.equal(compareRows(of(0.1 + 0.2), of(0.3)).same, 1);
  assert.equal(compareRows(of(0.3), of(0.3001)).changed, 1);
  assert.equal(compareRows(of(NaN), of(NaN)).same, 1);
  assert.equal(compareRows(of(1e15 + 1), of(1e15)).changed, 1, "whole numbers are exact");
});
