import assert from "node:assert/strict";
import { keyOf, newDataPath } from "../../../pipeline/sinks/lake/delta/data_path.ts";
import { fileStats, STATS_COLUMNS_MAX } from "../../../pipeline/sinks/lake/delta/file_stats.ts";
import { deltaField as field, deltaSchema } from "../../../pipeline/sinks/lake/delta/schema.ts";
import type { DataFile, DeltaSchema, DeltaType } from "../../../pipeline/sinks/lake/delta/table.ts";
import type { Lake } from "../../../pipeline/sinks/lake/lake.ts";
import { readFilesSql, writeFiles } from "../../../pipeline/sinks/lake/parquet_files.ts";
import { rowsSql, SCHEMA, temporaryLake, write } from "./delta/lake_fixture.ts";

/** Reads files as a table of this schema. */
async function read(lake: Lake, files: readonly DataFile[], schema: DeltaSchema, options: {
  readonly sql?: string;
  readonly partitionColumns?: readonly string[];
  readonly isExplained?: boolean;
} = {}): Promise<unknown[][]> {
  const { sql = "FROM t", partitionColumns = [], isExplained = false } = options;
  using local = await lake.store.local(files.map((file) => keyOf("t", file)));
  const sources = files.map(({ partitionValues }, i) => ({ path: local.paths[i], partitionValues }));
  return await lake.database.use(async (connection) =>
    (await connection.runAndReadAll(
      `${isExplained ? "EXPLAIN " : ""}WITH t AS (${readFilesSql(sources, schema, partitionColumns)}) ${sql}`,
    ))
      .getRowsJson()
  );
}

/** The statistics of a file with one column `x` that has these values. */
async function statsOf(type: DeltaType, ...values: string[]) {
  await using made = await temporaryLake();
  const query = `SELECT * FROM (VALUES ${values.map((value) => `(${value})`).join(", ")}) v(x)`;
  const [file] = await write(made.lake, query, { schema: deltaSchema([field("x", type)]), partitionColumns: [] });
  const { minValues, maxValues, nullCount, numRecords } = file.stats!;
  assert.equal(numRecords, values.length);
  return { min: minValues.x, max: maxValues.x, nulls: nullCount.x };
}

Deno.test("a file's statistics bound every column, those in structs too", async () => {
  await using made = await temporaryLake();
  const schema = deltaSchema([
    field("n", "long"),
    field("with space", "string"),
    field("s", deltaSchema([field("a", "integer"), field("b.c", deltaSchema([field('d"', "date")]))])),
    field("l", { type: "array", elementType: "long", containsNull: true }),
    field("none", "string"),
  ]);
  const query = `SELECT i AS n, 'ü' || i AS "with space", {'a': 10 - i, 'b.c': {'d"': DATE '2026-01-01' + i::INT}} AS s,
    [i] AS l, NULL AS none FROM range(3) r(i)`;
  const [file] = await write(made.lake, query, { schema, partitionColumns: [] });
  assert.deepEqual(file.stats, {
    numRecords: 3,
    minValues: { n: 0, "with space": "ü0", s: { a: 8, "b.c": { 'd"': "2026-01-01" } } },
    maxValues: { n: 2, "with space": "ü2", s: { a: 10, "b.c": { 'd"': "2026-01-03" } } },
    nullCount: { n: 0, "with space": 0, s: { a: 0, "b.c": { 'd"': 0 } }, none: 3 },
  });
});

Deno.test("bounds of times are whole milliseconds, never too narrow", async () => {
  const first = "TIMESTAMPTZ '2026-11-21 00:00:00.123456Z'";
  const last = "TIMESTAMPTZ '2026-11-21 00:00:01.123001Z'";
  assert.deepEqual(await statsOf("timestamp", first, last, "NULL"), {
    min: "2026-11-21T00:00:00.123Z",
    max: "2026-11-21T00:00:01.124Z",
    nulls: 1,
  });
  const whole = "TIMESTAMPTZ '1969-12-31 23:59:59.5Z'";
  assert.deepEqual(await statsOf("timestamp", whole), {
    min: "1969-12-31T23:59:59.500Z",
    max: "1969-12-31T23:59:59.500Z",
    nulls: 0,
  });
  const before = await statsOf("timestamp", "TIMESTAMPTZ '1969-12-31 23:59:59.999999Z'");
  assert.deepEqual([before.min, before.max], ["1969-12-31T23:59:59.999Z", "1970-01-01T00:00:00.000Z"]);
});

Deno.test("bounds that JSON or readers do not have exactly are left out", async () => {
  assert.deepEqual(await statsOf("double", "1.5", "'nan'::DOUBLE"), { min: undefined, max: undefined, nulls: 0 });
  assert.deepEqual(await statsOf("double", "1.5", "'inf'::DOUBLE"), { min: 1.5, max: undefined, nulls: 0 });
  assert.deepEqual(await statsOf("long", "1", "9223372036854775807"), { min: 1, max: undefined, nulls: 0 });
  assert.deepEqual(await statsOf("long", "-9007199254740991", "9007199254740991"), {
    min: -9007199254740991,
    max: 9007199254740991,
    nulls: 0,
  });
  assert.deepEqual(await statsOf("decimal(38,10)", "0.1", "1234567890123456.1"), {
    min: 0.1,
    max: undefined,
    nulls: 0,
  });
  assert.deepEqual(await statsOf("decimal(18,9)", "0.000000001", "-2.5"), { min: -2.5, max: undefined, nulls: 0 });
  assert.deepEqual(await statsOf("timestamp", "TIMESTAMPTZ 'infinity'", "TIMESTAMPTZ '2026-01-01 00:00:00Z'"), {
    min: "2026-01-01T00:00:00.000Z",
    max: undefined,
    nulls: 0,
  });
  assert.deepEqual(await statsOf("date", "DATE '0044-03-15 (BC)'", "DATE '2026-01-01'"), {
    min: undefined,
    max: "2026-01-01",
    nulls: 0,
  });
  assert.deepEqual(await statsOf("boolean", "true", "false"), { min: undefined, max: undefined, nulls: 0 });
  assert.deepEqual(await statsOf("binary", "'ab'::BLOB", "NULL"), { min: undefined, max: undefined, nulls: 1 });
});

Deno.test("bounds of long texts are prefixes: the upper one ends in a character above all that follow", async () => {
  const long = "x".repeat(40);
  assert.deepEqual(await statsOf("string", `'${long}'`), {
    min: "x".repeat(32),
    max: "x".repeat(32) + "\u{10ffff}",
    nulls: 0,
  });
  const pairs = "🜁".repeat(33);
  assert.deepEqual(await statsOf("string", `'${pairs}'`, "'y'"), {
    min: "y",
    max: "🜁".repeat(32) + "\u{10ffff}",
    nulls: 0,
  });
  const above = "y".repeat(32) + "\u{10ffff}\u{10ffff}z";
  const { max } = await statsOf("string", `'${above}'`);
  assert.equal(max, "y".repeat(32) + "\u{10ffff}\u{10ffff}\u{10ffff}");
  assert.deepEqual(await statsOf("string", `'${"z".repeat(32)}'`), {
    min: "z".repeat(32),
    max: "z".repeat(32),
    nulls: 0,
  });
});

Deno.test("no more columns have statistics than the bound", () => {
  const names = Array.from({ length: STATS_COLUMNS_MAX + 5 }, (_, i) => `c${i}`);
  const figures = new Map(
    names.map((name) => [`"${name}"`, new Map([["min", "1"], ["max", "2"], ["null_count", "0"]])]),
  );
  const { minValues } = fileStats(1, figures, deltaSchema(names.map((name) => field(name, "long"))));
  assert.deepEqual(Object.keys(minValues), names.slice(0, STATS_COLUMNS_MAX));
});

Deno.test("rows go to a folder for each partition, and come back with its values whatever is in them", async () => {
  await using made = await temporaryLake();
  const schema = deltaSchema([field("id", "long"), field("day", "date"), field("p", "string")]);
  const partitionColumns = ["day", "p"];
  const values = ["a/b", "50% ü=.", "..", "x'y", "", null];
  const rows = values.map((value, i) => `(${i}, ${value === null ? "NULL" : `'${value.replaceAll("'", "''")}'`})`);
  const query = `SELECT id, p, CASE WHEN id = 0 THEN NULL ELSE DATE '2026-11-21' END AS "day"
    FROM (VALUES ${rows.join(", ")}) v(id, p)`;
  const expected = [
    ["0", null, "a/b"],
    ["1", "2026-11-21", "50% ü=."],
    ["2", "2026-11-21", ".."],
    ["3", "2026-11-21", "x'y"],
    // The log cannot tell an empty text from none.
    ["4", "2026-11-21", null],
    ["5", "2026-11-21", null],
  ];
  for (const fileBytes of [undefined, 1_000_000]) {
    const files = await write(made.lake, query, { schema, partitionColumns, fileBytes });
    for (const { path } of files) assert.match(path, /^day=[^/]+\/p=[^/]+\/part-[0-9a-f-]{36}\.zstd\.parquet$/);
    const found = await read(made.lake, files, schema, { sql: "FROM t ORDER BY id", partitionColumns });
    assert.deepEqual(found, expected);
  }
});

Deno.test("the partition may be told, and then need not be in the query", async () => {
  await using made = await temporaryLake();
  const schema = deltaSchema([field("id", "long"), field("day", "date")]);
  const { writeFiles } = await import("../../../pipeline/sinks/lake/parquet_files.ts");
  const files = await made.lake.database.use((connection) =>
    writeFiles(connection, "SELECT 7 AS id", {
      store: made.lake.store,
      table: "t",
      schema,
      partitionColumns: ["day"],
      partitionValues: { day: "2026-11-21" },
    })
  );
  assert.deepEqual(await read(made.lake, files, schema, { partitionColumns: ["day"] }), [["7", "2026-11-21"]]);
});

Deno.test("a query without rows makes no file, and leaves nothing in the scratch folder", async () => {
  await using made = await temporaryLake();
  assert.deepEqual(await write(made.lake, rowsSql(0, 0)), []);
  await assert.rejects(write(made.lake, `SELECT 'no number' AS id, '' AS note, NULL AS "day"`), /Could not convert/);
  assert.deepEqual(Array.from(Deno.readDirSync(made.lake.store.scratch)), []);
  const schema = deltaSchema([field("id", "long")]);
  assert.deepEqual(await read(made.lake, [], schema, { sql: "SELECT count(*), typeof(max(id)) FROM t" }), [
    ["0", "BIGINT"],
  ]);
});

Deno.test("files are cut at about the bytes asked for, and rows keep the order of the query", async () => {
  await using made = await temporaryLake();
  const query = `SELECT i AS id, md5(i::VARCHAR) AS note FROM range(600000) r(i) ORDER BY id`;
  const schema = deltaSchema([field("id", "long"), field("note", "string")]);
  const files = await write(made.lake, query, { schema, partitionColumns: [], fileBytes: 5_000_000 });
  assert.ok(files.length >= 2, `${files.length} files`);
  const bounds = files.map(({ stats }) => [stats!.minValues.id, stats!.maxValues.id] as [number, number])
    .sort(([a], [b]) => a - b);
  for (const [i, [min]] of bounds.entries()) assert.equal(min, i === 0 ? 0 : bounds[i - 1][1] + 1);
  assert.equal(bounds.at(-1)![1], 599_999);
});

Deno.test("files of different times are read as one schema: lacking columns and fields are null", async () => {
  await using made = await temporaryLake();
  const old = deltaSchema([field("id", "long"), field("s", deltaSchema([field("a", "long")]))]);
  const schema = deltaSchema([
    field("new", "timestamp"),
    field("s", deltaSchema([field("b", "string"), field("a", "long")])),
    field("id", "long"),
  ]);
  const files = [
    ...await write(made.lake, "SELECT 1 AS id, {'a': 5} AS s", { schema: old, partitionColumns: [] }),
    ...await write(
      made.lake,
      "SELECT 2 AS id, {'b': 'x', 'a': 6} AS s, TIMESTAMPTZ '2026-11-21 00:00:00.000001Z' AS new",
      { schema, partitionColumns: [] },
    ),
  ];
  assert.deepEqual(await read(made.lake, files, schema, { sql: "FROM t ORDER BY id" }), [
    [null, { b: null, a: "5" }, "1"],
    ["2026-11-21 00:00:00.000001+00", { b: "x", a: "6" }, "2"],
  ]);
  assert.deepEqual(await read(made.lake, files.slice(0, 1), schema, { sql: "SELECT new, s.b FROM t" }), [[null, null]]);
});

Deno.test("a filter on the partition leaves out the others' files", async () => {
  await using made = await temporaryLake();
  const partitionColumns = ["day"];
  const schema = deltaSchema([field("id", "long"), field("day", "date")]);
  const files = await write(made.lake, `SELECT i AS id, DATE '2026-11-01' + i::INT AS "day" FROM range(5) r(i)`, {
    schema,
    partitionColumns,
  });
  const sql = `SELECT id FROM t WHERE "day" = '2026-11-03'`;
  assert.deepEqual(await read(made.lake, files, schema, { sql, partitionColumns }), [["2"]]);
  const [[, plan]] = await read(made.lake, files, schema, { sql, partitionColumns, isExplained: true });
  assert.equal(String(plan).match(/Function:/g)?.length, 1, String(plan));
});

Deno.test("a path in the log is escaped once more than the folder's name", () => {
  const path = newDataPath(["p"], { p: "a b/ü" });
  assert.match(path, /^p=a%2520b%252F%25C3%25BC\/part-/);
  assert.match(keyOf("t", { path }), /^t\/p=a%20b%2F%C3%BC\/part-/);
  for (const outside of ["../x", "/etc/passwd", "s3://b/x", "a/%2e%2e/x", "%zz"]) {
    assert.throws(() => keyOf("t", { path: outside }), /outside the table's folder/);
  }
});

Deno.test("a signal ends what is being written in its middle, and leaves nothing of it", async () => {
  await using made = await temporaryLake();
  const { store, database } = made.lake;
  const stop = new AbortController();
  const { signal } = stop;
  const reason = new Error("enough");
  const query = "SELECT sum(a.i * b.i)::BIGINT AS id, 'n' AS note, DATE '2026-11-21' AS \"day\" " +
    "FROM range(10000000) a(i), range(10000000) b(i)";
  const writing = database.use((connection) =>
    writeFiles(connection, query, { store, table: "t", schema: SCHEMA, partitionColumns: ["day"], signal })
  );
  setTimeout(() => stop.abort(reason), 100);
  // Run to its end it takes hours.
  await assert.rejects(writing, reason);
  assert.deepEqual(Array.from(Deno.readDirSync(store.scratch)), []);
});
