import assert from "node:assert/strict";
import { ConfigError } from "../../../pipeline/errors.ts";
import { CHECKPOINT_EVERY, REMOVED_KEPT_MS } from "../../../pipeline/sinks/lake/delta/delta_table.ts";
import { keyOf } from "../../../pipeline/sinks/lake/delta/data_path.ts";
import { checkpointKey } from "../../../pipeline/sinks/lake/delta/log_checkpoint.ts";
import { deltaField, deltaSchema } from "../../../pipeline/sinks/lake/delta/schema.ts";
import type { DataFile, DeltaTable, Snapshot } from "../../../pipeline/sinks/lake/delta/table.ts";
import type { Lake } from "../../../pipeline/sinks/lake/lake.ts";
import { LOG_KEPT_MS } from "../../../pipeline/sinks/lake/maintenance/clean_log.ts";
import { binsOf, compact } from "../../../pipeline/sinks/lake/maintenance/compact.ts";
import { createMaintenance } from "../../../pipeline/sinks/lake/maintenance/maintenance.ts";
import { ORPHAN_AGE_MIN_MS, vacuum } from "../../../pipeline/sinks/lake/maintenance/vacuum.ts";
import { ask, idsOf, PARTITIONED, range, rowsSql, temporaryLake, write } from "./delta/lake_fixture.ts";

const HOUR_MS = 3_600_000;
const DAY_MS = 24 * HOUR_MS;

async function append(lake: Lake, table: DeltaTable, from: number, to: number, day?: string): Promise<Snapshot> {
  const add = await write(lake, rowsSql(from, to, day));
  return (await table.commit({ operation: "WRITE", add }, { base: await table.snapshot() })).snapshot;
}

function dataFile(name: string, bytes: number, day = "2026-11-21"): DataFile {
  return { path: name, partitionValues: { day }, bytes, modifiedMs: 0, stats: null };
}

/** Keys of a table's data files in the store. */
async function keysOf(lake: Lake): Promise<string[]> {
  const all = await Array.fromAsync(lake.store.list("t/"));
  return all.map(({ key }) => key).filter((key) => !key.startsWith("t/_delta_log/"));
}

Deno.test("small files of a partition are packed to the target, large ones and others' partitions left alone", () => {
  const files = [
    ...range(0, 10).map((i) => dataFile(`a${i}`, 30)),
    dataFile("large", 64),
    ...range(0, 3).map((i) => dataFile(`b${i}`, 10, "2026-11-22")),
    dataFile("single", 1, "2026-11-23"),
  ];
  const bins = binsOf({ files }, { smallBytes: 64, targetBytes: 100 });
  assert.deepEqual(bins.map((bin) => bin.map(({ path }) => path)), [
    ["a0", "a1", "a2", "a3"],
    ["a4", "a5", "a6", "a7"],
    // What is left over is at least half of the target, so it is a file of its own.
    ["a8", "a9"],
    ["b0", "b1", "b2"],
  ]);
  const [, second] = binsOf({ files: files.slice(0, 9) }, { smallBytes: 64, targetBytes: 100 });
  assert.equal(second.length, 5);
  const many = range(0, 2_500).map((i) => dataFile(`m${i}`, 1));
  const sizes = binsOf({ files: many }, { smallBytes: 64, targetBytes: 1e9 }).map((bin) => bin.length);
  assert.deepEqual(sizes, [1_000, 1_000, 500]);
});

Deno.test("a compaction changes no row, makes few files, and says so in one commit for each", async () => {
  await using made = await temporaryLake();
  const { lake } = made;
  const table = await lake.ensureTable("t", PARTITIONED);
  for (const i of range(0, 8)) await append(lake, table, i * 10, i * 10 + 10, `2026-11-2${i % 2}`);
  const before = await table.snapshot();
  const report = await compact(table, { ...lake });
  const after = await table.snapshot();
  assert.deepEqual([report.filesRemoved, report.filesAdded, report.binsGivenUp], [8, 2, 0]);
  assert.equal(report.bytesAdded, after.files.reduce((sum, { bytes }) => sum + bytes, 0));
  assert.deepEqual(after.files.map(({ partitionValues }) => partitionValues.day).sort(), ["2026-11-20", "2026-11-21"]);
  assert.deepEqual(await idsOf(lake, after), range(0, 80));
  assert.deepEqual(await idsOf(lake, before), range(0, 80));
  const [last] = await table.history({ limit: 1 });
  assert.deepEqual([last.operation, last.filesAdded, last.filesRemoved, last.rowsAdded], ["OPTIMIZE", 1, 4, 40]);
  const text = new TextDecoder().decode((await lake.store.get(`t/_delta_log/${"10".padStart(20, "0")}.json`))!);
  assert.equal(text.match(/"dataChange":false/g)?.length, 5);
  assert.equal(text.includes('"dataChange":true'), false);
  assert.deepEqual(await compact(table, { ...lake }), {
    filesRemoved: 0,
    filesAdded: 0,
    bytesRemoved: 0,
    bytesAdded: 0,
    binsGivenUp: 0,
  });
});

Deno.test("an archive's rows are in the order of partition and offset in a compacted file", async () => {
  await using made = await temporaryLake();
  const { lake } = made;
  const schema = deltaSchema([deltaField("kafka_partition", "integer"), deltaField("kafka_offset", "long")]);
  const table = await lake.ensureTable("t", { schema, partitionColumns: [] });
  for (const i of range(0, 4)) {
    const query = `SELECT (i % 3)::INT AS kafka_partition, i AS kafka_offset
      FROM range(${i * 100_000}, ${i * 100_000 + 100_000}) r(i) ORDER BY hash(i)`;
    const add = await write(lake, query, { schema, partitionColumns: [] });
    await table.commit({ operation: "WRITE", add }, { base: await table.snapshot() });
  }
  await compact(table, { ...lake });
  const snapshot = await table.snapshot();
  assert.equal(snapshot.files.length, 1);
  const wrong = await ask(
    lake,
    snapshot,
    `SELECT count(*)::INT FROM (SELECT *, lag(kafka_partition) OVER () AS p, lag(kafka_offset) OVER () AS o FROM t)
      WHERE p IS NOT NULL AND (kafka_partition, kafka_offset) < (p, o)`,
  );
  assert.deepEqual(wrong, [[0]]);
  assert.deepEqual(await ask(lake, snapshot, "SELECT count(DISTINCT kafka_offset)::INT FROM t"), [[400_000]]);
});

Deno.test("a compaction gives way to a merge of the same files, and leaves no file of its own", async () => {
  await using made = await temporaryLake();
  const { lake } = made;
  const table = await lake.ensureTable("t", PARTITIONED);
  for (const i of range(0, 3)) await append(lake, table, i, i + 1);
  const other = (await made.reopen().table("t"))!;
  // A merge comes between the compaction's look and its commit.
  const merging: DeltaTable = {
    ...table,
    name: table.name,
    snapshot: (options) => table.snapshot(options),
    commit: async (change, options) => {
      const base = await other.snapshot();
      const add = await write(lake, rowsSql(100, 101));
      await other.commit({ operation: "MERGE", add, remove: base.files.slice(1, 2) }, { base });
      return await table.commit(change, options);
    },
  };
  const report = await compact(merging, { ...lake });
  assert.deepEqual([report.filesAdded, report.binsGivenUp], [0, 1]);
  const after = await table.snapshot();
  assert.deepEqual(await idsOf(lake, after), [0, 2, 100]);
  // The three files, and the merge's: nothing else.
  assert.equal((await keysOf(lake)).length, 4);
});

Deno.test("appends beside a compaction are kept", async () => {
  await using made = await temporaryLake();
  const { lake } = made;
  const table = await lake.ensureTable("t", PARTITIONED);
  for (const i of range(0, 20)) await append(lake, table, i, i + 1);
  const other = made.reopen();
  const appending = (async () => {
    const same = (await other.table("t"))!;
    for (const i of range(20, 40)) await append(other, same, i, i + 1);
  })();
  for (let i = 0; i < 3; i++) await compact(table, { ...lake });
  await appending;
  assert.deepEqual(await idsOf(lake, await table.snapshot()), range(0, 40));
});

Deno.test("a compaction that would lose rows commits nothing", async () => {
  await using made = await temporaryLake();
  const { lake } = made;
  const table = await lake.ensureTable("t", PARTITIONED);
  const files = [...await write(lake, rowsSql(0, 5)), ...await write(lake, rowsSql(5, 9))];
  const add = files.map((file) => ({ ...file, stats: { ...file.stats!, numRecords: 5 } }));
  await table.commit({ operation: "WRITE", add }, { base: await table.snapshot() });
  await assert.rejects(compact(table, { ...lake }), /10 rows became 9 in a compaction; nothing was committed/);
  assert.equal((await table.snapshot()).version, 1);
});

Deno.test("a vacuum removes what left the table before the retention, and nothing that a version within it needs", async () => {
  let nowMs = Date.now();
  await using made = await temporaryLake({ now: () => nowMs });
  const { lake } = made;
  const table = await lake.ensureTable("t", PARTITIONED);
  const first = await append(lake, table, 0, 5);
  await table.commit({ operation: "DELETE", remove: first.files }, { base: first });
  nowMs += 2 * HOUR_MS;
  const second = await append(lake, table, 5, 9);
  const third = (await table.commit({ operation: "DELETE", remove: second.files }, { base: second })).snapshot;
  const live = await append(lake, table, 9, 12);
  nowMs += HOUR_MS;
  const options = { ...lake, table: "t", nowMs };
  assert.deepEqual(await vacuum({ ...options, retentionMs: 4 * HOUR_MS }), { filesRemoved: 0, bytesRemoved: 0 });
  const report = await vacuum({ ...options, retentionMs: 2 * HOUR_MS });
  assert.deepEqual(report, { filesRemoved: 1, bytesRemoved: first.files[0].bytes });
  assert.deepEqual(await idsOf(lake, second), range(5, 9));
  assert.deepEqual(await idsOf(lake, live), range(9, 12));
  await assert.rejects(idsOf(lake, first), /is not there/);
  assert.equal(third.files.length, 0);
  await vacuum({ ...options, retentionMs: 0 });
  assert.deepEqual(await keysOf(lake), live.files.map((file) => keyOf("t", file)));
});

Deno.test("files that no commit names are removed when they are old enough, and never while one may be coming", async () => {
  await using made = await temporaryLake();
  const { lake } = made;
  const table = await lake.ensureTable("t", PARTITIONED);
  const { files } = await append(lake, table, 0, 3);
  const [orphan] = await write(lake, rowsSql(3, 6));
  await lake.store.put("t/_change_data/x.parquet", new Uint8Array(3));
  const at = (nowMs: number, retentionMs: number) => vacuum({ ...lake, table: "t", nowMs, retentionMs });
  const madeMs = Date.now();
  assert.equal((await at(madeMs + ORPHAN_AGE_MIN_MS - HOUR_MS, 0)).filesRemoved, 0);
  assert.equal((await at(madeMs + 2 * DAY_MS, 3 * DAY_MS)).filesRemoved, 0);
  // Young enough to be committed still, and then it is no orphan any more.
  await table.commit({ operation: "WRITE", add: [orphan] }, { base: await table.snapshot() });
  assert.equal((await at(madeMs + 9 * DAY_MS, 0)).filesRemoved, 0);
  await write(lake, rowsSql(6, 9));
  assert.equal((await at(madeMs + ORPHAN_AGE_MIN_MS + HOUR_MS, 0)).filesRemoved, 1);
  const kept = [...files, orphan].map((file) => keyOf("t", file));
  assert.deepEqual((await keysOf(lake)).sort(), ["t/_change_data/x.parquet", ...kept].sort());
});

Deno.test("a retention beyond what checkpoints remember looks the removals up in the commits", async () => {
  let nowMs = Date.now() - REMOVED_KEPT_MS - 3 * DAY_MS;
  await using made = await temporaryLake({ now: () => nowMs });
  const { lake } = made;
  const table = await lake.ensureTable("t", PARTITIONED);
  const first = await append(lake, table, 0, 5);
  await table.commit({ operation: "DELETE", remove: first.files }, { base: first });
  nowMs = Date.now();
  for (const i of range(3, CHECKPOINT_EVERY + 1)) await append(lake, table, i * 10, i * 10 + 1);
  // As old as a file that was removed ten days ago is.
  const path = new URL(`${lake.store.url}/${keyOf("t", first.files[0])}`).pathname;
  const old = new Date(nowMs - 40 * DAY_MS);
  await Deno.utime(decodeURIComponent(path), old, old);
  const options = { ...lake, table: "t", nowMs };
  assert.equal((await vacuum({ ...options, retentionMs: REMOVED_KEPT_MS + 5 * DAY_MS })).filesRemoved, 0);
  assert.deepEqual(await idsOf(lake, first), range(0, 5));
  assert.equal((await vacuum({ ...options, retentionMs: REMOVED_KEPT_MS + DAY_MS })).filesRemoved, 1);
  for (const retentionMs of [LOG_KEPT_MS + 1, -1, NaN]) {
    await assert.rejects(vacuum({ ...options, retentionMs }), ConfigError);
  }
});

Deno.test("the log's beginning goes when it is old and a checkpoint has it; later versions stay readable", async () => {
  await using made = await temporaryLake();
  const { lake } = made;
  const table = await lake.ensureTable("t", PARTITIONED);
  for (const i of range(0, 3 * CHECKPOINT_EVERY + 2)) {
    await table.commit({ operation: "WRITE", add: [{ ...dataFile(`f${i}`, 1), modifiedMs: Date.now() }] }, {
      base: await table.snapshot(),
    });
  }
  const maintenance = (nowMs: number) => createMaintenance({ lake, now: () => nowMs });
  // All is young but what is up to the second checkpoint.
  const old = new Date(Date.now() - LOG_KEPT_MS - DAY_MS);
  for await (const { key } of lake.store.list("t/_delta_log/")) {
    const version = Number(key.slice(13, 33));
    if (version <= 2 * CHECKPOINT_EVERY + 5) await Deno.utime(new URL(`${lake.store.url}/${key}`), old, old);
  }
  const report = await maintenance(Date.now()).vacuum("t", {});
  assert.deepEqual(report, { filesRemoved: 0, bytesRemoved: 0, commitsRemoved: 20, checkpointsRemoved: 1 });
  const names = (await Array.fromAsync(lake.store.list("t/_delta_log/"))).map(({ key }) => key);
  assert.equal(names[0], checkpointKey("t", 2 * CHECKPOINT_EVERY));
  const fresh = (await made.reopen().table("t"))!;
  assert.equal((await fresh.snapshot()).files.length, 3 * CHECKPOINT_EVERY + 2);
  assert.equal((await fresh.at({ version: 20 }))?.files.length, 20);
  assert.equal((await fresh.at({ version: 27 }))?.files.length, 27);
  for (const version of [19, 10, 0]) assert.equal(await fresh.at({ version }), null);
  assert.equal(await fresh.at({ timeMs: Date.now() - DAY_MS }), null);
  assert.equal((await fresh.at({ timeMs: Date.now() }))?.version, 3 * CHECKPOINT_EVERY + 2);
  assert.equal((await fresh.history()).length, CHECKPOINT_EVERY + 3);
  assert.deepEqual(await maintenance(Date.now()).vacuum("t", {}), {
    filesRemoved: 0,
    bytesRemoved: 0,
    commitsRemoved: 0,
    checkpointsRemoved: 0,
  });
});

Deno.test("maintenance of a table that is not there says so", async () => {
  await using made = await temporaryLake();
  const maintenance = createMaintenance({ lake: made.lake });
  await assert.rejects(maintenance.compact("nothing", {}), /there is no table nothing/);
  await assert.rejects(maintenance.vacuum("nothing", {}), /there is no table nothing/);
});
