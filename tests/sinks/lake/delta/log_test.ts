import assert from "node:assert/strict";
import { ConfigError } from "../../../../pipeline/errors.ts";
import { CHECKPOINT_EVERY, REMOVED_KEPT_MS } from "../../../../pipeline/sinks/lake/delta/delta_table.ts";
import { checkpointKey, lastCheckpointKey } from "../../../../pipeline/sinks/lake/delta/log_checkpoint.ts";
import { loadLog } from "../../../../pipeline/sinks/lake/delta/log_reader.ts";
import { deltaField, deltaSchema, parseSchema, schemaText } from "../../../../pipeline/sinks/lake/delta/schema.ts";
import type { DataFile, DeltaSchema } from "../../../../pipeline/sinks/lake/delta/table.ts";
import type { Lake } from "../../../../pipeline/sinks/lake/lake.ts";
import { type LakeFixture, PARTITIONED, range, temporaryLake } from "./lake_fixture.ts";

function key(version: number): string {
  return `t/_delta_log/${String(version).padStart(20, "0")}.json`;
}

/** A data file that is only in the log. */
function file(name: string, stats: DataFile["stats"] = null): DataFile {
  return { path: `${name}.parquet`, partitionValues: { day: "2026-11-21" }, bytes: 10, modifiedMs: Date.now(), stats };
}

/** A table with `commits` commits after its making, each adding a file of its version's name. */
async function madeTable(lake: Lake, commits: number): Promise<void> {
  const table = await lake.ensureTable("t", PARTITIONED);
  for (const version of range(1, commits + 1)) {
    const applications = [{ appId: "a", version }];
    await table.commit({ operation: "WRITE", add: [file(`f${version}`)], applications }, {
      base: await table.snapshot(),
    });
  }
}

async function pathsOf(lake: Lake): Promise<string[]> {
  return (await (await lake.table("t"))!.snapshot()).files.map(({ path }) => path);
}

function named(from: number, to: number): string[] {
  return range(from, to).map((version) => `f${version}.parquet`);
}

/** Another lake that counts which log objects it asks for. */
function counting(made: LakeFixture): { readonly lake: Lake; readonly asked: string[] } {
  const asked: string[] = [];
  const lake = made.reopen({
    wrap: (store) =>
      new Proxy(store, {
        get(target, name) {
          if (name === "get") {
            return (key: string) => {
              asked.push(key);
              return target.get(key);
            };
          }
          const value = Reflect.get(target, name);
          return typeof value === "function" ? value.bind(target) : value;
        },
      }),
  });
  return { lake, asked };
}

async function isRefused(lake: Lake, where: string, problem: RegExp): Promise<void> {
  await assert.rejects(lake.table("t"), (error) => {
    assert.ok(error instanceof ConfigError, String(error));
    assert.ok(error.message.includes(where), error.message);
    assert.match(error.message, problem);
    return true;
  });
}

Deno.test("a checkpoint says what all commits before it do, and only later ones are read beside it", async () => {
  await using made = await temporaryLake();
  await madeTable(made.lake, 2 * CHECKPOINT_EVERY + 3);
  const { lake, asked } = counting(made);
  assert.deepEqual((await pathsOf(lake)).toSorted(), named(1, 2 * CHECKPOINT_EVERY + 4).toSorted());
  const commits = asked.filter((one) => one.endsWith(".json")).map((one) => Number(one.slice(-25, -5)));
  // The checkpoint's own commit for its time, the three after it, and whether there is one more.
  assert.deepEqual(commits, range(2 * CHECKPOINT_EVERY, 2 * CHECKPOINT_EVERY + 5));
  const snapshot = await (await lake.table("t"))!.snapshot();
  assert.deepEqual([...snapshot.applications], [["a", 2 * CHECKPOINT_EVERY + 3]]);
  const hint = JSON.parse(new TextDecoder().decode((await made.lake.store.get(lastCheckpointKey("t")))!));
  assert.deepEqual([hint.version, hint.numOfAddFiles], [20, 20]);
});

Deno.test("looking again reads only what was committed since", async () => {
  await using made = await temporaryLake();
  await madeTable(made.lake, 3);
  const { lake, asked } = counting(made);
  const table = (await lake.table("t"))!;
  await table.snapshot();
  asked.length = 0;
  const first = await table.snapshot();
  assert.deepEqual(asked, [key(4)]);
  assert.equal(await table.snapshot(), first);
});

Deno.test("after a while without a look the log is loaded anew, since commits may have been removed", async () => {
  let nowMs = Date.now();
  await using made = await temporaryLake({ now: () => nowMs });
  await made.lake.ensureTable("t", PARTITIONED);
  const sleeping = (await made.reopen().table("t"))!;
  await sleeping.snapshot();
  await madeTable(made.lake, CHECKPOINT_EVERY + 2);
  await made.lake.store.remove(range(0, CHECKPOINT_EVERY).map(key));
  nowMs += 2 * 3_600_000;
  assert.equal((await sleeping.snapshot()).version, CHECKPOINT_EVERY + 2);
});

Deno.test("everything survives a checkpoint: statistics to the last digit, nulls, removed files, odd names", async () => {
  await using made = await temporaryLake();
  const table = await made.lake.ensureTable("t", PARTITIONED);
  const base = await table.snapshot();
  const odd: DataFile = {
    ...file("day=__HIVE_DEFAULT_PARTITION__/a%20b%2525"),
    partitionValues: { day: null },
    stats: { numRecords: 3, minValues: { note: 'q"\\\u{10ffff}' }, maxValues: { id: 1.5e-7 }, nullCount: {} },
  };
  const { snapshot } = await table.commit({ operation: "WRITE", add: [odd, file("gone")] }, { base });
  await table.commit({ operation: "DELETE", remove: [snapshot.files[1]] }, { base: snapshot });
  // As another writer puts it: numbers beyond what a double holds, tags, and kinds that are not ours.
  const add = {
    path: "other.parquet",
    partitionValues: { day: "2026-01-01" },
    size: 7,
    modificationTime: 5,
    dataChange: true,
    stats: '{"numRecords":9007199254740993,"minValues":{"id":9007199254740993}}',
    tags: { ZCUBE: "x" },
  };
  const lines = [{ commitInfo: { timestamp: Date.now() } }, { add }, { cdc: { path: "c" } }, { unheardOf: {} }];
  await made.lake.store.putIfAbsent(
    key(3),
    new TextEncoder().encode(lines.map((one) => JSON.stringify(one)).join("\n")),
  );
  for (const version of range(4, CHECKPOINT_EVERY + 1)) {
    const current = await table.snapshot();
    await table.commit({ operation: "WRITE", applications: [{ appId: "a'b", version }] }, { base: current });
  }
  const before = (await loadLog({ ...made.lake, table: "t" }, CHECKPOINT_EVERY - 1))!;
  await made.lake.store.remove(range(0, CHECKPOINT_EVERY).map(key));
  const after = (await loadLog({ ...made.lake, table: "t" }))!;
  assert.equal(after.version, CHECKPOINT_EVERY);
  assert.deepEqual(after.files, before.files);
  assert.equal(after.files.get("other.parquet")!.statsText, add.stats);
  assert.deepEqual(after.metaData!.schemaString, before.metaData!.schemaString);
  assert.deepEqual([...after.removed.keys()], ["gone.parquet"]);
  assert.equal(after.applications.get("a'b")!.version, CHECKPOINT_EVERY);
});

Deno.test("removed files are forgotten once nobody may want them", async () => {
  let nowMs = Date.now();
  await using made = await temporaryLake({ now: () => nowMs });
  await madeTable(made.lake, 2);
  const table = (await made.lake.table("t"))!;
  const base = await table.snapshot();
  await table.commit({ operation: "DELETE", remove: [base.files[0]] }, { base });
  nowMs += REMOVED_KEPT_MS;
  for (const version of range(4, CHECKPOINT_EVERY + 1)) {
    if (version === 6) nowMs += 60_000;
    const current = await table.snapshot();
    const remove = version === 5 ? [current.files[0]] : [];
    await table.commit({ operation: "WRITE", remove }, { base: current });
  }
  const state = (await loadLog({ ...made.lake, table: "t" }))!;
  assert.deepEqual([...state.removed.keys()], ["f2.parquet"]);
});

Deno.test("the hint may be missing, torn, or name a checkpoint that is gone", async () => {
  await using made = await temporaryLake();
  await madeTable(made.lake, CHECKPOINT_EVERY + 1);
  const all = named(1, CHECKPOINT_EVERY + 2).toSorted();
  const hints = ["", "{", "[]", '{"version":"x"}', '{"version":999}', '{"version":15}', null];
  for (const hint of hints) {
    if (hint === null) await made.lake.store.remove([lastCheckpointKey("t")]);
    else await made.lake.store.put(lastCheckpointKey("t"), new TextEncoder().encode(hint));
    assert.deepEqual((await pathsOf(made.reopen())).toSorted(), all, String(hint));
  }
  await made.lake.store.remove([checkpointKey("t", CHECKPOINT_EVERY)]);
  await made.lake.store.put(lastCheckpointKey("t"), new TextEncoder().encode(`{"version":${CHECKPOINT_EVERY}}`));
  assert.deepEqual((await pathsOf(made.reopen())).toSorted(), all);
});

Deno.test("a log with a gap is refused, and says which commit is missing", async () => {
  await using made = await temporaryLake();
  await madeTable(made.lake, 5);
  const third = (await made.lake.store.get(key(3)))!;
  await made.lake.store.remove([key(3)]);
  await isRefused(made.reopen(), key(3), /is missing, though the table's log goes on to version 5/);
  await made.lake.store.putIfAbsent(key(3), third);
  await made.lake.store.remove([key(0)]);
  await isRefused(made.reopen(), key(0), /is missing/);
});

Deno.test("a commit that is torn or is none is refused whole, with its place", async () => {
  const faults: [string, RegExp][] = [
    ["", /line 1 is missing: there is nothing in it/],
    ['{"add":{"path":"x"', /line 1 is not JSON/],
    ['{"txn":{"appId":"a","version":9}}\n{"add":{"path":"half.parquet","size":1}}\n{"re', /line 3 is not JSON/],
    ["\u0000\u0000\u0000", /line 1 is not JSON/],
    ['{"add":{"size":3}}', /line 1 adds a file without path and size/],
    ['{"add":{"path":"x","size":1,"deletionVector":{"storageType":"u"}}}', /deletion vector/],
    ['{"remove":{}}', /removes a file without a path/],
    ['{"txn":{"appId":"a"}}', /txn without appId and version/],
    ['{"metaData":{}}', /metaData without a schema/],
    ['{"protocol":{}}', /protocol without versions/],
  ];
  await using made = await temporaryLake();
  await madeTable(made.lake, 2);
  const table = (await made.lake.table("t"))!;
  const base = await table.snapshot();
  for (const [text, problem] of faults) {
    await made.lake.store.put(key(3), new TextEncoder().encode(text));
    await isRefused(made.reopen(), key(3), problem);
    await assert.rejects(table.snapshot(), problem);
    await assert.rejects(table.commit({ operation: "WRITE" }, { base }), problem);
  }
  await made.lake.store.put(key(3), new Uint8Array([0x7b, 0xff, 0xfe]));
  await isRefused(made.reopen(), key(3), /not UTF-8/);
  await made.lake.store.remove([key(3)]);
  assert.deepEqual(await pathsOf(made.lake), named(1, 3));
});

Deno.test("a checkpoint that is damaged far behind its beginning is refused: rows that do not come are not left out", async () => {
  await using made = await temporaryLake();
  const { lake } = made;
  const table = await lake.ensureTable("t", PARTITIONED);
  // More than DuckDB computes ahead of what is asked for.
  const notes = range(0, 20_000).map((i) => `${i} ${"a note that takes room ".repeat(4)}`);
  const add = notes.map((note) =>
    file(note, { numRecords: 1, minValues: { note }, maxValues: { note }, nullCount: {} })
  );
  await table.commit({ operation: "WRITE", add }, { base: await table.snapshot() });
  for (const _ of range(2, CHECKPOINT_EVERY + 1)) {
    await table.commit({ operation: "WRITE" }, { base: await table.snapshot() });
  }
  const whole = (await lake.store.get(checkpointKey("t", CHECKPOINT_EVERY)))!;
  const damaged = whole.slice().fill(0xff, Math.floor(0.3 * whole.length), Math.floor(0.6 * whole.length));
  const part = (number: number) =>
    checkpointKey("t", CHECKPOINT_EVERY).replace(".parquet", `.000000000${number}.0000000002.parquet`);
  await lake.store.remove([checkpointKey("t", CHECKPOINT_EVERY), lastCheckpointKey("t")]);
  await lake.store.put(part(1), whole);
  await lake.store.put(part(2), damaged);
  await isRefused(made.reopen(), part(1), /not a checkpoint that can be read.*remove it and _last_checkpoint/);
});

Deno.test("a torn checkpoint is refused, with what to do", async () => {
  await using made = await temporaryLake();
  await madeTable(made.lake, CHECKPOINT_EVERY);
  const name = checkpointKey("t", CHECKPOINT_EVERY);
  const bytes = (await made.lake.store.get(name))!;
  await made.lake.store.put(name, bytes.subarray(0, bytes.length >> 1));
  await isRefused(made.reopen(), name, /not a checkpoint that can be read.*remove it and _last_checkpoint/);
  await made.lake.store.remove([name, lastCheckpointKey("t")]);
  assert.equal((await pathsOf(made.reopen())).length, CHECKPOINT_EVERY);
});

Deno.test("tables that need more than protocol 1/2 are refused: for reading, or only for writing", async () => {
  await using made = await temporaryLake();
  await madeTable(made.lake, 1);
  const protocol = async (minReaderVersion: number, minWriterVersion: number) =>
    await made.lake.store.put(
      key(2),
      new TextEncoder().encode(JSON.stringify({ protocol: { minReaderVersion, minWriterVersion } })),
    );
  await protocol(3, 7);
  await isRefused(made.reopen(), "t", /needs readers of version 3/);
  await protocol(1, 7);
  const table = (await made.reopen().table("t"))!;
  const base = await table.snapshot();
  assert.equal(base.files.length, 1);
  await assert.rejects(table.commit({ operation: "WRITE" }, { base }), /needs writers of version 7/);
});

Deno.test("what a table's settings forbid is not done", async () => {
  await using made = await temporaryLake();
  await madeTable(made.lake, 1);
  const state = (await loadLog({ ...made.lake, table: "t" }))!;
  const metaData = { ...state.metaData!, configuration: { "delta.appendOnly": "true" } };
  await made.lake.store.putIfAbsent(key(2), new TextEncoder().encode(JSON.stringify({ metaData })));
  const table = (await made.reopen().table("t"))!;
  const base = await table.snapshot();
  await assert.rejects(table.commit({ operation: "DELETE", remove: base.files }, { base }), /delta\.appendOnly/);
  const moved = { operation: "OPTIMIZE", remove: base.files, add: [file("moved")], dataChange: false };
  assert.equal((await table.commit(moved, { base })).kind, "committed");

  const schema: DeltaSchema = deltaSchema([
    { ...deltaField("id", "long"), metadata: { "delta.invariants": "{}" } },
    deltaField("day", "date"),
  ]);
  const strict = { ...state.metaData!, schemaString: schemaText(schema) };
  await made.lake.store.putIfAbsent(key(4), new TextEncoder().encode(JSON.stringify({ metaData: strict })));
  await assert.rejects(table.commit({ operation: "WRITE" }, { base }), /invariants/);
});

Deno.test("a remove finds its file however another writer escaped its path", async () => {
  await using made = await temporaryLake();
  const table = await made.lake.ensureTable("t", PARTITIONED);
  const escaped = { ...file("x"), path: "day=a%3Db/f%201.parquet" };
  await table.commit({ operation: "WRITE", add: [escaped] }, { base: await table.snapshot() });
  const remove = { path: "day=a=b/f%201.parquet", deletionTimestamp: 1, dataChange: true };
  await made.lake.store.putIfAbsent(key(2), new TextEncoder().encode(JSON.stringify({ remove })));
  assert.deepEqual((await table.snapshot()).files, []);
});

Deno.test("schemas of all types come back as they were, and unknown types are refused by name", () => {
  const schema = deltaSchema([
    ...([
      "string",
      "long",
      "integer",
      "short",
      "byte",
      "float",
      "double",
      "boolean",
      "binary",
      "date",
      "timestamp",
    ] as const)
      .map((type) => deltaField(type, type)),
    deltaField("decimal", "decimal(38,18)"),
    { ...deltaField("needed", "long"), nullable: false, metadata: { comment: "x" } },
    deltaField("nested", {
      type: "array",
      containsNull: false,
      elementType: {
        type: "map",
        keyType: "string",
        valueType: deltaSchema([deltaField("x", "date")]),
        valueContainsNull: true,
      },
    }),
  ]);
  assert.deepEqual(parseSchema(schemaText(schema), "t"), schema);
  for (const type of ["timestamp_ntz", "variant", "decimal(1)", { type: "row" }, 7, null]) {
    const text = JSON.stringify({ type: "struct", fields: [{ name: "x", type }] });
    assert.throws(() => parseSchema(text, "lake.t"), /lake\.t: its schema has a type that Tailrace does not read/);
  }
  let deep: unknown = "long";
  for (let i = 0; i < 200; i++) deep = { type: "array", elementType: deep };
  const text = JSON.stringify({ type: "struct", fields: [{ name: "x", type: deep }] });
  assert.throws(() => parseSchema(text, "t"), /nested more than 64 deep/);
});
