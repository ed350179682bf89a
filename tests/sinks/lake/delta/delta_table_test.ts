import assert from "node:assert/strict";
import { join } from "node:path";
import { ConfigError, ConflictError, UnavailableError } from "../../../../pipeline/errors.ts";
import { CHECKPOINT_EVERY, COMMIT_WITHIN_MS } from "../../../../pipeline/sinks/lake/delta/delta_table.ts";
import { deltaField, deltaSchema } from "../../../../pipeline/sinks/lake/delta/schema.ts";
import type { DeltaTable } from "../../../../pipeline/sinks/lake/delta/table.ts";
import type { Lake } from "../../../../pipeline/sinks/lake/lake.ts";
import type { ObjectStore } from "../../../../pipeline/sinks/lake/object_store.ts";
import { idsOf, PARTITIONED, range, rowsSql, SCHEMA, temporaryLake, write } from "./lake_fixture.ts";

/** Adds rows `from` to before `to` as one commit. */
async function append(lake: Lake, table: DeltaTable, from: number, to: number) {
  const add = await write(lake, rowsSql(from, to));
  return await table.commit({ operation: "WRITE", add }, { base: await table.snapshot() });
}

/** The actions of a commit, as they are in the log. */
async function logged(lake: Lake, version: number): Promise<Record<string, Record<string, unknown>>[]> {
  const bytes = await lake.store.get(`t/_delta_log/${String(version).padStart(20, "0")}.json`);
  return new TextDecoder().decode(bytes!).trimEnd().split("\n").map((line) => JSON.parse(line));
}

/** A store whose answers to the next putIfAbsent of a commit are told by `answer`. */
function interposed(
  store: ObjectStore,
  answer: (put: () => Promise<boolean>, key: string) => Promise<boolean>,
): ObjectStore {
  return new Proxy(store, {
    get(target, name) {
      if (name === "putIfAbsent") {
        return (key: string, bytes: Uint8Array) => answer(() => target.putIfAbsent(key, bytes), key);
      }
      const value = Reflect.get(target, name);
      return typeof value === "function" ? value.bind(target) : value;
    },
  });
}

Deno.test("a new table is empty, of protocol 1/2, and there for others", async () => {
  await using made = await temporaryLake();
  assert.equal(await made.lake.table("t"), null);
  assert.deepEqual(await made.lake.tables(), []);
  const table = await made.lake.ensureTable("t", PARTITIONED);
  const snapshot = await table.snapshot();
  assert.deepEqual([snapshot.version, snapshot.files, snapshot.applications.size], [0, [], 0]);
  assert.deepEqual([snapshot.schema, snapshot.partitionColumns], [SCHEMA, ["day"]]);
  const [{ commitInfo }, { protocol }, { metaData }] = await logged(made.lake, 0);
  assert.equal(commitInfo.operation, "CREATE TABLE");
  assert.deepEqual(protocol, { minReaderVersion: 1, minWriterVersion: 2 });
  assert.deepEqual(JSON.parse(metaData.schemaString as string), SCHEMA);
  assert.deepEqual(metaData.format, { provider: "parquet", options: {} });
  const other = made.reopen();
  assert.deepEqual((await (await other.table("t"))!.snapshot()).schema, SCHEMA);
  assert.deepEqual(await other.tables(), ["t"]);
});

Deno.test("a table that is there keeps its schema, and many who make it at once make one", async () => {
  await using made = await temporaryLake();
  const lakes = [made.lake, made.reopen(), made.reopen()];
  const other = { schema: deltaSchema([deltaField("x", "string"), deltaField("y", "string")]), partitionColumns: [] };
  const tables = await Promise.all(lakes.map((lake, i) => lake.ensureTable("t", i === 1 ? other : PARTITIONED)));
  const schemas = await Promise.all(tables.map(async (table) => (await table.snapshot()).schema));
  assert.deepEqual(schemas[0], schemas[1]);
  assert.deepEqual(schemas[0], schemas[2]);
});

Deno.test("schemas and names that no table can have are refused", async () => {
  await using made = await temporaryLake();
  const cases: [string, readonly string[], readonly string[]][] = [
    ["t", ["a b"], []],
    ["t", ["a", "A"], []],
    ["t", ["a"], ["b"]],
    ["t", ["a"], ["a"]],
    ["t", [], []],
    ["Not-A-Name", ["a"], []],
    ["../t", ["a"], []],
  ];
  for (const [name, columns, partitionColumns] of cases) {
    const schema = deltaSchema(columns.map((column) => deltaField(column, "long")));
    await assert.rejects(made.lake.ensureTable(name, { schema, partitionColumns }), ConfigError, name + columns);
  }
  const schema = deltaSchema([deltaField("a", "long"), deltaField("at", "timestamp")]);
  await assert.rejects(made.lake.ensureTable("t", { schema, partitionColumns: ["at"] }), /partition column at/);
  assert.equal(await made.lake.table("../t"), null);
});

Deno.test("a table that cannot be read until it is there is found later", async () => {
  await using made = await temporaryLake();
  const other = made.reopen();
  assert.equal(await other.table("t"), null);
  await made.lake.ensureTable("t", PARTITIONED);
  assert.notEqual(await other.table("t"), null);
});

Deno.test("rows are there once they are committed, and snapshots stay as they were", async () => {
  await using made = await temporaryLake();
  const table = await made.lake.ensureTable("t", PARTITIONED);
  const before = await table.snapshot();
  const { kind, snapshot } = await append(made.lake, table, 0, 10);
  assert.equal(kind, "committed");
  assert.equal(snapshot.version, 1);
  assert.deepEqual(await idsOf(made.lake, snapshot), range(0, 10));
  assert.equal(before.files.length, 0);
  const other = (await made.reopen().table("t"))!;
  const seen = await other.snapshot();
  assert.deepEqual(await idsOf(made.lake, seen), range(0, 10));
  await append(made.lake, table, 10, 20);
  assert.equal(seen.files.length, 1);
  assert.deepEqual(await idsOf(made.lake, await other.snapshot()), range(0, 20));
  const [{ commitInfo }, { add }] = await logged(made.lake, 1);
  assert.equal(commitInfo.isBlindAppend, true);
  assert.deepEqual(add.partitionValues, { day: "2026-11-21" });
  assert.equal(JSON.parse(add.stats as string).numRecords, 10);
});

Deno.test("an application's commit is there once, however often it is tried", async () => {
  await using made = await temporaryLake();
  const table = await made.lake.ensureTable("t", PARTITIONED);
  const other = (await made.reopen().table("t"))!;
  const base = await table.snapshot();
  const commit = async (by: DeltaTable, version: number, after?: number | null) =>
    (await by.commit(
      {
        operation: "WRITE",
        add: await write(made.lake, rowsSql(0, 1)),
        applications: [{ appId: "a", version, after }],
      },
      { base },
    )).kind;
  assert.equal(await commit(table, 5, null), "committed");
  assert.equal(await commit(other, 5, null), "superseded");
  assert.equal(await commit(other, 5), "superseded");
  assert.equal(await commit(other, 4), "superseded");
  assert.equal(await commit(other, 9, 4), "superseded");
  assert.equal(await commit(other, 9, 5), "committed");
  assert.equal(await commit(table, 12), "committed");
  const snapshot = await other.snapshot();
  assert.deepEqual([...snapshot.applications], [["a", 12]]);
  assert.equal(snapshot.files.length, 3);
});

Deno.test("one application that is elsewhere supersedes the whole commit", async () => {
  await using made = await temporaryLake();
  const table = await made.lake.ensureTable("t", PARTITIONED);
  const base = await table.snapshot();
  await table.commit({ operation: "WRITE", applications: [{ appId: "a", version: 1 }] }, { base });
  const applications = [{ appId: "b", version: 1, after: null }, { appId: "a", version: 2, after: null }];
  const { kind, snapshot } = await table.commit({ operation: "WRITE", applications }, { base });
  assert.equal(kind, "superseded");
  assert.deepEqual([...snapshot.applications], [["a", 1]]);
});

Deno.test("add and remove are one step, and a file can be removed only once", async () => {
  await using made = await temporaryLake();
  const table = await made.lake.ensureTable("t", PARTITIONED);
  const { snapshot: base } = await append(made.lake, table, 0, 5);
  const other = (await made.reopen().table("t"))!;
  const add = await write(made.lake, rowsSql(3, 8));
  const { snapshot } = await other.commit({ operation: "MERGE", add, remove: base.files }, { base });
  assert.deepEqual(await idsOf(made.lake, snapshot), range(3, 8));
  await assert.rejects(
    table.commit({ operation: "MERGE", add: await write(made.lake, rowsSql(0, 1)), remove: base.files }, { base }),
    (error) => error instanceof ConflictError && error.message.includes(base.files[0].path),
  );
  assert.deepEqual(await idsOf(made.lake, await table.snapshot()), range(3, 8));
  const [, { remove }] = await logged(made.lake, 2);
  assert.equal(remove.path, base.files[0].path);
  assert.equal(remove.deletionTimestamp, snapshot.committedMs);
});

Deno.test("appends go on top of whatever others committed, but for other types of columns", async () => {
  await using made = await temporaryLake();
  const table = await made.lake.ensureTable("t", PARTITIONED);
  const base = await table.snapshot();
  const added = deltaSchema([...SCHEMA.fields, deltaField("more", "string")]);
  const { snapshot } = await table.commit({ operation: "ADD COLUMNS", schema: added }, { base });
  const one = { operation: "WRITE", add: await write(made.lake, rowsSql(0, 3)) };
  assert.equal((await table.commit(one, { base })).kind, "committed");
  await assert.rejects(table.commit({ operation: "ADD COLUMNS", schema: SCHEMA }, { base }), ConflictError);

  const widened = deltaSchema(added.fields.map((field) => field.name === "id" ? deltaField("id", "double") : field));
  const change = { operation: "CHANGE COLUMN", schema: widened };
  await assert.rejects(table.commit(change, { base: snapshot }), /has the columns' types from before/);
  const now = await table.snapshot();
  const add = await write(made.lake, "SELECT *, 'x' AS more FROM (" + rowsSql(0, 3) + ")", { schema: widened });
  await table.commit({ ...change, add, remove: now.files }, { base: now });
  const late = { operation: "WRITE", add: await write(made.lake, rowsSql(0, 3)) };
  await assert.rejects(table.commit(late, { base }), /changed columns' types/);
});

Deno.test("a file that waited too long for its commit is refused: a vacuum may have taken it", async () => {
  let nowMs = Date.now();
  await using made = await temporaryLake({ now: () => nowMs });
  const table = await made.lake.ensureTable("t", PARTITIONED);
  const add = await write(made.lake, rowsSql(0, 1));
  nowMs += COMMIT_WITHIN_MS + 60_000;
  await assert.rejects(table.commit({ operation: "WRITE", add }, { base: await table.snapshot() }), /write it anew/);
});

Deno.test("a commit whose answer was lost is found to be there", async () => {
  await using made = await temporaryLake();
  const table = await made.lake.ensureTable("t", PARTITIONED);
  let losses = 0;
  const losing = made.reopen({
    wrap: (store) =>
      interposed(store, async (put) => {
        await put();
        losses++;
        throw new UnavailableError("the answer is lost");
      }),
  });
  const add = await write(made.lake, rowsSql(0, 4));
  const { kind, snapshot } = await (await losing.table("t"))!.commit({ operation: "WRITE", add }, {
    base: await table.snapshot(),
  });
  assert.deepEqual([kind, snapshot.version, losses], ["committed", 1, 1]);
  // A store that repeated the put finds its own object there.
  const repeating = made.reopen({
    wrap: (store) =>
      interposed(store, async (put) => {
        await put();
        return await put();
      }),
  });
  const more = await write(made.lake, rowsSql(4, 6));
  const again = await (await repeating.table("t"))!.commit({ operation: "WRITE", add: more }, { base: snapshot });
  assert.equal(again.snapshot.version, 2);
  assert.deepEqual(await idsOf(made.lake, await table.snapshot()), range(0, 6));
});

Deno.test("a commit that did not reach the store is told, and can be tried again", async () => {
  await using made = await temporaryLake();
  const table = await made.lake.ensureTable("t", PARTITIONED);
  let isAway = true;
  const flaky = made.reopen({
    wrap: (store) =>
      interposed(store, (put) => {
        if (isAway) throw new UnavailableError("away");
        return put();
      }),
  });
  const change = {
    operation: "WRITE",
    add: await write(made.lake, rowsSql(0, 2)),
    applications: [{ appId: "a", version: 1 }],
  };
  const base = await table.snapshot();
  const same = (await flaky.table("t"))!;
  await assert.rejects(same.commit(change, { base }), UnavailableError);
  assert.equal((await table.snapshot()).version, 0);
  isAway = false;
  assert.equal((await same.commit(change, { base })).kind, "committed");
  assert.equal((await same.commit(change, { base })).kind, "superseded");
});

Deno.test("a lost answer about a version that another got means the next version", async () => {
  await using made = await temporaryLake();
  const table = await made.lake.ensureTable("t", PARTITIONED);
  const base = await table.snapshot();
  let isFirst = true;
  const unlucky = made.reopen({
    wrap: (store) =>
      interposed(store, async (put) => {
        if (!isFirst) return await put();
        isFirst = false;
        await append(made.lake, table, 0, 1);
        await put();
        throw new UnavailableError("the answer is lost");
      }),
  });
  const add = await write(made.lake, rowsSql(1, 2));
  const { snapshot } = await (await unlucky.table("t"))!.commit({ operation: "WRITE", add }, { base });
  assert.equal(snapshot.version, 2);
  assert.deepEqual(await idsOf(made.lake, snapshot), [0, 1]);
});

Deno.test("processes that commit at once all have their commits, each version once and without a gap", async () => {
  await using made = await temporaryLake();
  const table = await made.lake.ensureTable("t", PARTITIONED);
  const [writers, commits] = [3, 12];
  const script = join(import.meta.dirname!, "commit_process.ts");
  const children = range(0, writers).map((writer) =>
    new Deno.Command(Deno.execPath(), {
      args: ["run", "-A", "--no-lock", script, made.folder, String(writer), String(commits)],
      stdout: "piped",
      stderr: "inherit",
    }).spawn()
  );
  const said: number[][] = [];
  for (const child of children) {
    const { success, stdout } = await child.output();
    assert.ok(success);
    said.push(JSON.parse(new TextDecoder().decode(stdout)));
  }
  const total = writers * commits;
  assert.deepEqual(said.flat().sort((a, b) => a - b), range(1, total + 1));
  for (const fresh of [table, (await made.reopen().table("t"))!]) {
    const snapshot = await fresh.snapshot();
    assert.equal(snapshot.version, total);
    const ids = range(0, writers).flatMap((writer) => range(writer * 1_000, writer * 1_000 + commits));
    assert.deepEqual(await idsOf(made.lake, snapshot), ids);
    assert.equal(snapshot.applications.size, writers);
  }
  const history = await table.history();
  assert.deepEqual(history.map(({ version }) => version), range(0, total + 1).toReversed());
  // Checkpoints are where they should be, whoever wrote them.
  for (let version = CHECKPOINT_EVERY; version <= total; version += CHECKPOINT_EVERY) {
    const key = `t/_delta_log/${String(version).padStart(20, "0")}.checkpoint.parquet`;
    assert.equal((await Array.fromAsync(made.lake.store.list(key))).length, 1, key);
  }
});

Deno.test("the history says what was done, newest first", async () => {
  await using made = await temporaryLake();
  const table = await made.lake.ensureTable("t", PARTITIONED);
  const { snapshot: base } = await append(made.lake, table, 0, 5);
  const add = await write(made.lake, rowsSql(0, 6));
  await table.commit({ operation: "MERGE", parameters: { why: "a test" }, add, remove: base.files }, { base });
  const history = await table.history({ limit: 2 });
  const said = history.map((one) => [one.version, one.operation, one.filesAdded, one.filesRemoved, one.rowsAdded]);
  assert.deepEqual(said, [[2, "MERGE", 1, 1, 6], [1, "WRITE", 1, 0, 5]]);
  assert.deepEqual(history[0].parameters, { why: "a test" });
  assert.equal((await table.history()).length, 3);
});

Deno.test("the snapshots of earlier versions and times come back", async () => {
  let nowMs = 1_000_000;
  await using made = await temporaryLake({ now: () => nowMs });
  const table = await made.lake.ensureTable("t", PARTITIONED);
  const times = [nowMs];
  for (let version = 1; version <= 23; version++) {
    nowMs += 1_000;
    // A clock that goes back does not make times go back.
    if (version === 7) nowMs -= 5_000;
    times.push((await append(made.lake, table, version, version + 1)).snapshot.committedMs);
  }
  for (const version of [0, 1, 9, 10, 11, 20, 23]) {
    const snapshot = (await table.at({ version }))!;
    assert.equal(snapshot.version, version);
    assert.equal(snapshot.committedMs, times[version]);
    assert.deepEqual(await idsOf(made.lake, snapshot), range(1, version + 1));
    assert.equal((await table.at({ timeMs: times[version] }))?.version, version);
    assert.equal((await table.at({ timeMs: times[version] - 1 }))?.version, version === 0 ? undefined : version - 1);
  }
  assert.equal((await table.at({ timeMs: nowMs + 1e9 }))?.version, 23);
  for (const version of [24, -1, 1.5, NaN]) assert.equal(await table.at({ version }), null);
});
