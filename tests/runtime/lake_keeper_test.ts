import assert from "node:assert/strict";
import { ConfigError, ConflictError, UnavailableError } from "../../pipeline/errors.ts";
import { createLakeKeeper, isScattered, type LakeKeeperOptions } from "../../pipeline/runtime/lake_keeper.ts";
import { LakeDatabase } from "../../pipeline/sinks/lake/database.ts";
import { deltaField, deltaSchema } from "../../pipeline/sinks/lake/delta/schema.ts";
import type { DataFile, DeltaTable } from "../../pipeline/sinks/lake/delta/table.ts";
import { createDiskStore } from "../../pipeline/sinks/lake/disk_store.ts";
import { createMaintenance, type Maintenance } from "../../pipeline/sinks/lake/maintenance/maintenance.ts";
import { openLake } from "../../pipeline/sinks/lake/open_lake.ts";
import { writeFiles } from "../../pipeline/sinks/lake/parquet_files.ts";
import { VirtualClock } from "../../pipeline/testing/virtual_clock.ts";
import { until } from "../e2e/harness.ts";

const MINUTE = 60_000;
const DAY = 86_400_000;
const NOTHING = { filesRemoved: 0, filesAdded: 0, bytesRemoved: 0, bytesAdded: 0, binsGivenUp: 0 };
const schema = deltaSchema([deltaField("n", "long"), deltaField("day", "date")]);

/** A lake with small tables, and a keeper over it that notes what it says. */
async function kept(changes: Partial<LakeKeeperOptions> = {}) {
  const folder = await Deno.makeTempDir({ prefix: "tailrace_keeper_" });
  const database = new LakeDatabase({ scratch: `${folder}/scratch`, memoryBytesMax: 256 * 1024 ** 2, threads: 1 });
  const lake = openLake({ store: createDiskStore({ folder: `${folder}/lake` }), database });
  const clock = new VirtualClock(Date.now());
  const lines: string[] = [];
  const ended = new AbortController();
  const keeper = createLakeKeeper({
    lake,
    maintenance: createMaintenance({ lake }),
    clock,
    log: (level, message) => lines.push(`${level}: ${message}`),
    signal: ended.signal,
    smallFilesMax: 3,
    ...changes,
  });
  const table = (name: string) => lake.ensureTable(name, { schema, partitionColumns: ["day"] });
  const write = async (into: DeltaTable, day = "2026-11-20") => {
    const query = `SELECT range AS n, DATE '${day}' AS day FROM range(10)`;
    const to = { store: lake.store, table: into.name, schema, partitionColumns: ["day"] };
    const add = await database.use((connection) => writeFiles(connection, query, to));
    await into.commit({ operation: "WRITE", add }, { base: await into.snapshot() });
  };
  return {
    keeper,
    clock,
    lines,
    ended,
    table,
    write,
    lake,
    async [Symbol.asyncDispose]() {
      ended.abort();
      await lake[Symbol.asyncDispose]();
      await Deno.remove(folder, { recursive: true });
    },
  };
}

Deno.test("a partition with many small files is compacted by itself; others are left alone", async () => {
  await using made = await kept();
  const [many, few] = [await made.table("many"), await made.table("few")];
  for (let i = 0; i < 3; i++) await made.write(many);
  await made.write(few, "2026-11-20");
  await made.write(few, "2026-11-20");
  await made.write(few, "2026-11-21");
  const running = made.keeper.run(made.ended.signal);
  await made.clock.pass(MINUTE);
  await until("the table was compacted", () => made.keeper.totals().compactions === 1);
  const { files, version } = await many.snapshot();
  assert.deepEqual([files.length, files[0].stats?.numRecords], [1, 30]);
  assert.equal((await few.snapshot()).files.length, 3);
  assert.match(made.lines.join("\n"), /^info: lake: many compacted: 3 files became 1$/);
  const [job] = made.keeper.jobs("many");
  assert.deepEqual([job.kind, job.state, job.isAutomatic, job.report?.filesRemoved], ["compact", "done", true, 3]);
  // There is nothing left to do.
  await until("it sleeps", () => made.clock.sleeping > 0);
  await made.clock.pass(MINUTE);
  assert.equal((await many.snapshot()).version, version);
  made.ended.abort();
  await running;
});

Deno.test("few small files are compacted once nothing was written to their partition for an hour", () => {
  const nowMs = Date.parse("2026-11-20T12:00:00Z");
  const file = (minutesAgo: number, day = "a", bytes = 10): DataFile => ({
    path: crypto.randomUUID(),
    partitionValues: { day },
    bytes,
    modifiedMs: nowMs - minutesAgo * MINUTE,
    stats: null,
  });
  const is = (...files: DataFile[]) =>
    isScattered({ files, partitionColumns: ["day"] }, { nowMs, smallFilesMax: 4, smallFileBytes: 100 });
  assert.equal(is(file(90), file(61)), true);
  assert.equal(is(file(90), file(59)), false);
  assert.equal(is(file(90, "a"), file(90, "b")), false);
  assert.equal(is(file(90), file(90, "a", 100)), false, "a large one is no reason");
  assert.equal(is(file(0), file(0), file(0)), false);
  assert.equal(is(file(0), file(0), file(0), file(0)), true);
});

Deno.test("a table that cannot be read is told of once, and the others are looked after; an outage is waited for", async () => {
  await using made = await kept();
  const many = await made.table("many");
  for (let i = 0; i < 3; i++) await made.write(many);
  let isAway = true;
  const lake: LakeKeeperOptions["lake"] = {
    tables: () => isAway ? Promise.reject(new UnavailableError("the store is away")) : Promise.resolve(["bad", "many"]),
    table: (name) => {
      if (name === "many") return Promise.resolve(many);
      return Promise.reject(new ConfigError({ where: name, problem: "its log is damaged" }));
    },
  };
  const lines: string[] = [];
  const log = (level: string, message: string) => lines.push(`${level}: ${message}`);
  const { clock, ended } = made;
  const maintenance = createMaintenance({ lake: made.lake });
  const keeper = createLakeKeeper({ lake, maintenance, clock, log, signal: ended.signal, smallFilesMax: 3 });
  const running = keeper.run(ended.signal);
  await clock.pass(MINUTE);
  isAway = false;
  await clock.pass(MINUTE + 500);
  await until("the other one was compacted", () => keeper.totals().compactions === 1);
  await until("it sleeps", () => clock.sleeping > 0);
  await clock.pass(3 * MINUTE);
  ended.abort();
  await running;
  assert.deepEqual(lines, [
    "warn: the lake's keeper failed and starts again in 0.5 s: the store is away",
    "warn: lake: bad cannot be looked after: bad: its log is damaged",
    "info: lake: many compacted: 3 files became 1",
  ]);
});

/** Maintenance that does what a test says. */
function told(work: Partial<Maintenance>): Maintenance {
  return {
    compact: () => Promise.resolve(NOTHING),
    vacuum: () => Promise.resolve({ filesRemoved: 0, bytesRemoved: 0, commitsRemoved: 0, checkpointsRemoved: 0 }),
    ...work,
  };
}

Deno.test("all tables are vacuumed ten minutes after the start, and then once a day", async () => {
  const vacuumed: string[] = [];
  const maintenance = told({
    vacuum: (table, { retentionMs }) => {
      vacuumed.push(`${table} ${retentionMs}`);
      return Promise.resolve({ filesRemoved: 2, bytesRemoved: 5, commitsRemoved: 0, checkpointsRemoved: 0 });
    },
  });
  const lake = {
    tables: () => Promise.resolve(["a", "b"]),
    table: (name: string) =>
      Promise.resolve({ name, snapshot: () => Promise.resolve({ files: [], partitionColumns: [] }) }),
  } as unknown as LakeKeeperOptions["lake"];
  await using made = await kept({ maintenance, lake });
  const running = made.keeper.run(made.ended.signal);
  await made.clock.pass(9 * MINUTE);
  assert.deepEqual(vacuumed, []);
  await made.clock.pass(2 * MINUTE);
  assert.deepEqual(vacuumed, ["a undefined", "b undefined"]);
  await made.clock.pass(DAY - 5 * MINUTE);
  assert.equal(vacuumed.length, 2);
  await made.clock.pass(5 * MINUTE);
  assert.equal(vacuumed.length, 4);
  assert.deepEqual([made.keeper.totals().vacuums, made.keeper.totals().filesVacuumed], [4, 8]);
  made.ended.abort();
  await running;
});

Deno.test("one table is worked on at a time, and whoever asks twice gets the same job", async () => {
  const begun: string[] = [];
  const gates = new Map<string, PromiseWithResolvers<typeof NOTHING>>();
  const maintenance = told({
    compact: (table) => {
      begun.push(table);
      gates.set(table, Promise.withResolvers());
      return gates.get(table)!.promise;
    },
  });
  await using made = await kept({ maintenance });
  const { keeper, clock } = made;
  assert.equal(keeper.compact("a").state, "waiting");
  keeper.compact("b");
  await clock.settle();
  assert.deepEqual([keeper.compact("a").state, keeper.compact("b").state], ["running", "waiting"]);
  assert.deepEqual(begun, ["a"]);
  gates.get("a")!.reject(new ConflictError("others were faster"));
  await clock.settle();
  assert.deepEqual(begun, ["a", "b"]);
  const [job] = keeper.jobs("a");
  assert.deepEqual([job.state, job.problem], ["failed", "others were faster"]);
  gates.get("b")!.resolve(NOTHING);
  await clock.settle();
  assert.equal(keeper.jobs("b")[0].state, "done");
  assert.equal(keeper.compact("a").state, "waiting", "it can be asked for again");
  await clock.settle();
  gates.get("a")!.resolve(NOTHING);
  await clock.settle();
  assert.equal(keeper.totals().failures, 1);
});

Deno.test("a short retention has to be meant", async () => {
  const used: number[] = [];
  const maintenance = told({
    vacuum: (_, { retentionMs }) => {
      used.push(retentionMs!);
      return Promise.resolve({ filesRemoved: 0, bytesRemoved: 0, commitsRemoved: 0, checkpointsRemoved: 0 });
    },
  });
  await using made = await kept({ maintenance });
  assert.throws(() => made.keeper.vacuum("a", { retentionMs: DAY - 1 }), ConfigError);
  made.keeper.vacuum("a", { retentionMs: DAY });
  await made.clock.settle();
  made.keeper.vacuum("a", { retentionMs: 0, isShortMeant: true });
  await made.clock.settle();
  assert.deepEqual(used, [DAY, 0]);
});

Deno.test("a stop ends what is under way and what waits, and is no failure", async () => {
  const maintenance = told({
    compact: (_, { signal }) =>
      new Promise((_, reject) => signal!.addEventListener("abort", () => reject(signal!.reason))),
  });
  await using made = await kept({ maintenance });
  made.keeper.compact("a");
  made.keeper.compact("b");
  await made.clock.settle();
  made.ended.abort(new Error("stop"));
  await made.clock.settle();
  assert.deepEqual(["a", "b"].map((table) => made.keeper.jobs(table)[0].state), ["failed", "failed"]);
  assert.deepEqual([made.keeper.totals().failures, made.lines], [0, []]);
});
