import assert from "node:assert/strict";
import { count, max, min, pipeline, sum, topic, tumbling } from "../../pipeline/definition.ts";
import { type ExportFormat, exportPostgres, exportTable } from "../../pipeline/export/export_file.ts";
import { planOf } from "../../pipeline/plan/compile.ts";
import { type ResultColumn, resultColumns } from "../../pipeline/plan/plan.ts";
import { postgresClient } from "../../pipeline/postgres_client.ts";
import type { LakeDatabase } from "../../pipeline/sinks/lake/database.ts";
import { createPostgresSink } from "../../pipeline/sinks/postgres.ts";
import type { ResultRows, ResultValue } from "../../pipeline/sinks/sink.ts";
import { literal } from "../../pipeline/sql_text.ts";
import { startPostgres } from "../sinks/postgres_server.ts";
import { testLake } from "../sinks/lake/results/lake_subject.ts";

const plan = await planOf(
  pipeline({
    name: "exported",
    from: topic("t", {
      schema: {
        type: "record",
        name: "Event",
        fields: [
          { name: "k", type: ["null", "string"] },
          { name: "day", type: { type: "int", logicalType: "date" } },
          { name: "amount", type: { type: "bytes", logicalType: "decimal", precision: 30, scale: 4 } },
          { name: "x", type: ["null", "double"] },
          { name: "at", type: { type: "long", logicalType: "timestamp-micros" } },
          { name: "time", type: { type: "long", logicalType: "time-micros" } },
        ],
      },
      eventTime: "at",
    }),
    groupBy: ["k", "day"],
    window: tumbling("1 minute"),
    select: { n: count(), total: sum("amount"), x: max("x"), first_at: min("at"), earliest: min("time") },
    to: [{ kind: "postgres", table: "exported" }],
  }),
  new Map(),
);
const columns = resultColumns(plan);

const HOUR = 3_600_000;
const START = Date.UTC(2026, 4, 1);
const KEYS = ["plain", "", null, 'with "quotes", commas', "line\nbreak\r\n", "tab\t\\N", "NULL", "åäö 🎉", " spaces "];

/** A row of each key, one in the hour; those with an odd number are not final. */
const rows: ResultRows = (() => {
  const all = KEYS.map((key, i): ResultValue[] => [
    key,
    20_000 + i,
    START + i * HOUR,
    START + i * HOUR + 60_000,
    i,
    i === 0 ? "-99999999999999999999999999999999.9999" : `${i}.0500`,
    i === 2 ? null : i === 3 ? Infinity : 0.1 * i,
    (START + i * HOUR) * 1000 + 7,
    86_399_999_999 - i,
    1_000_000_000_000 * i + 3,
    i !== 7,
  ]);
  return { columns, length: all.length, values: columns.map((_, c) => all.map((row) => row[c])) };
})();

/** The file's rows as text, in the order of the file. */
async function read(database: LakeDatabase, path: string, format: ExportFormat, columns: readonly ResultColumn[]) {
  const source = format === "csv"
    ? `read_csv(${
      literal(path)
    }, header = true, all_varchar = true, nullstr = '', allow_quoted_nulls = false, quote = '"', escape = '"')`
    : `read_parquet(${literal(path)})`;
  return await database.use(async (connection) => {
    const instant = (name: string) => format === "csv" ? name : `strftime(${name}, '%Y-%m-%dT%H:%M:%S.%fZ')`;
    const shown = columns.map(({ name, type }) =>
      type.type.startsWith("timestamp") ? instant(name) : `CAST(${name} AS VARCHAR)`
    );
    return (await connection.runAndReadAll(`SELECT ${shown.join(", ")} FROM ${source}`)).getRows();
  });
}

const iso = (us: number) =>
  `${new Date(us / 1000).toISOString().slice(0, 19)}.${String(us % 1_000_000).padStart(6, "0")}Z`;
const expected = KEYS.flatMap((key, i) =>
  i === 7 ? [] : [[
    key,
    new Date((20_000 + i) * 86_400_000).toISOString().slice(0, 10),
    iso((START + i * HOUR) * 1000),
    iso((START + i * HOUR + 60_000) * 1000),
    String(i),
    i === 0 ? "-99999999999999999999999999999999.9999" : `${i}.0500`,
    i === 2 ? null : i === 3 ? "inf" : Number.isInteger(0.1 * i) ? (0.1 * i).toFixed(1) : String(0.1 * i),
    iso((START + i * HOUR) * 1000 + 7),
    `23:59:59.${999_999 - i}`,
    String(1_000_000_000_000 * i + 3),
    "true",
  ]]
);

const signal = new AbortController().signal;

Deno.test("an export from PostgreSQL has every final row, every digit and every sign, in order, as Parquet and as CSV", async () => {
  await using server = await startPostgres();
  await using lake = await testLake();
  const { database } = lake.lake;
  const sql = postgresClient(server.url, { max: 2 });
  try {
    {
      await using sink = await createPostgresSink({
        url: server.url,
        table: "exported",
        columns,
        pipeline: "exported",
      });
      await sink.resume(null, { signal });
      await sink.write(rows, { epoch: 1, signal });
    }
    for (const format of ["parquet", "csv"] as const) {
      const path = `${lake.folder}/all.${format}`;
      const made = await exportPostgres(plan, { sql, table: "exported", format, path, database, signal });
      assert.equal(made.rows, 8);
      assert.equal(made.bytes, (await Deno.stat(path)).size);
      assert.deepEqual(await read(database, path, format, columns), expected, format);
      const some = `${lake.folder}/some.${format}`;
      const range = { fromMs: START + HOUR, toMs: START + 3 * HOUR };
      assert.equal(
        (await exportPostgres(plan, { sql, table: "exported", format, path: some, database, signal, ...range })).rows,
        2,
      );
      assert.deepEqual(await read(database, some, format, columns), expected.slice(1, 3), format);
      const none = `${lake.folder}/none.${format}`;
      const later = { fromMs: START + 100 * HOUR };
      assert.equal(
        (await exportPostgres(plan, { sql, table: "exported", format, path: none, database, signal, ...later })).rows,
        0,
      );
      assert.deepEqual(await read(database, none, format, columns), [], format);
    }
    assert.deepEqual(
      [...Deno.readDirSync(lake.folder)].map(({ name }) => name).filter((name) => name.endsWith(".rows")),
      [],
    );
  } finally {
    await sql.end();
  }
});

Deno.test("an export from PostgreSQL that breaks off leaves no file, and says so", async () => {
  await using server = await startPostgres();
  await using lake = await testLake();
  const sql = postgresClient(server.url, { backoff: () => 0, connect_timeout: 2 });
  try {
    const path = `${lake.folder}/none.csv`;
    const asked = { sql, table: "exported", format: "csv", path, database: lake.lake.database } as const;
    await assert.rejects(exportPostgres(plan, { ...asked, signal }), /exported/);
    const ended = new AbortController();
    ended.abort(new Error("nobody waits"));
    await assert.rejects(exportPostgres(plan, { ...asked, signal: ended.signal }));
    await server.stop();
    await assert.rejects(exportPostgres(plan, { ...asked, signal }), { name: "UnavailableError" });
    assert.deepEqual(
      [...Deno.readDirSync(lake.folder)].map(({ name }) => name).filter((name) => name.startsWith("none")),
      [],
    );
  } finally {
    await sql.end({ timeout: 1 });
  }
});

Deno.test("an export from the lake has the rows of one version, by their windows, and its files add up", async () => {
  await using lake = await testLake();
  const { database } = lake.lake;
  const sink = lake.sink(columns);
  await sink.resume(null, { signal });
  await sink.write(rows, { epoch: 1, signal });
  await sink.flush();
  const snapshot = await (await lake.lake.table("results"))!.snapshot();
  for (const format of ["parquet", "csv"] as const) {
    const path = `${lake.folder}/all.${format}`;
    assert.equal((await exportTable(snapshot, { lake: lake.lake, format, path, database, signal })).rows, 8);
    // The lake keeps times of day as microseconds.
    const micros = expected.map((row) =>
      row.map((value, c) =>
        columns[c].name === "earliest"
          ? String(Date.parse(`1970-01-01T${value!.slice(0, 12)}Z`) * 1000 + Number(value!.slice(12)))
          : value
      )
    );
    assert.deepEqual(await read(database, path, format, columns), micros, format);
    const some = `${lake.folder}/some.${format}`;
    const range = { fromMs: START + HOUR, toMs: START + 3 * HOUR };
    assert.equal(
      (await exportTable(snapshot, { lake: lake.lake, format, path: some, database, signal, ...range })).rows,
      2,
    );
    const none = `${lake.folder}/none.${format}`;
    const later = { fromMs: START + 100 * HOUR };
    assert.equal(
      (await exportTable(snapshot, { lake: lake.lake, format, path: none, database, signal, ...later })).rows,
      0,
    );
    assert.deepEqual(await read(database, none, format, columns), [], format);
  }
});
