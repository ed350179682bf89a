import assert from "node:assert/strict";
import { DuckDBInstance } from "@duckdb/node-api";
import { tableFromIPC } from "apache-arrow";
import { join } from "node:path";
import { askedLake } from "./small_lake.ts";

/** An expression, and what JSON has of it. */
const VALUES: readonly [sql: string, json: unknown][] = [
  ["null", null],
  ["true", true],
  ["9007199254740991", 9007199254740991],
  ["9007199254740992", "9007199254740992"],
  ["-9223372036854775808", "-9223372036854775808"],
  ["18446744073709551615::ubigint", "18446744073709551615"],
  ["170141183460469231731687303715884105727::hugeint", "170141183460469231731687303715884105727"],
  ["sum(1)", 1],
  ["0.1::decimal(38, 20)", "0.10000000000000000000"],
  ["-0.05::decimal(4, 2)", "-0.05"],
  ["-123456789012345678901234567890.12345678::decimal(38, 8)", "-123456789012345678901234567890.12345678"],
  ["0.1::double", 0.1],
  ["1e300::double", 1e300],
  ["'NaN'::double", "NaN"],
  ["'-inf'::double", "-Infinity"],
  ["timestamptz '2026-11-21 12:00:00.123456+02'", "2026-11-21T10:00:00.123456Z"],
  ["timestamptz '2026-11-21 12:00:00Z'", "2026-11-21T12:00:00.000Z"],
  ["timestamp '1969-12-31 23:59:59.999999'", "1969-12-31T23:59:59.999999"],
  ["timestamp_ns '2026-11-21 12:00:00.123456789'", "2026-11-21T12:00:00.123456789"],
  ["'infinity'::timestamptz", "infinity"],
  ["date '0001-02-03'", "0001-02-03"],
  ["date '2024-02-29'", "2024-02-29"],
  ["time '01:02:03.5'", "01:02:03.500"],
  ["interval 36 hours", "36:00:00"],
  ["'\\x00\\xFF'::blob", "AP8="],
  ["uuid '00112233-4455-6677-8899-aabbccddeeff'", "00112233-4455-6677-8899-aabbccddeeff"],
  ["'ü\"\\\n\u{1f600}'", 'ü"\\\n\u{1f600}'],
  ["''", ""],
  ["[1, null, 3]", [1, null, 3]],
  ["[1, 2]::int[2]", [1, 2]],
  ["{'a': 1, 'b': {'c': [9007199254740993]}}", { a: 1, b: { c: ["9007199254740993"] } }],
  ["map {1: 'x', 2: null}", [{ key: 1, value: "x" }, { key: 2, value: null }]],
  ["union_value(k := 1.5)", { k: "1.5" }],
  ["'101'::bit", "101"],
  ["'a'::enum ('a', 'b')", "a"],
];

Deno.test("JSON has every value exactly", async () => {
  await using lake = await askedLake();
  const [row] = await lake.rows(`select ${VALUES.map(([sql], i) => `${sql} as v${i}`).join(", ")}`);
  VALUES.forEach(([sql, expected], i) => assert.deepEqual(row[`v${i}`], expected, sql));
});

const NESTED = `select i, case when i % 3 = 0 then null else 't' || i end as t, (i / 4)::decimal(20, 2) as d,
  i::hugeint * 1000000000000000000000 as h, {'h': [i::hugeint]} as deep, [i, null, i * 2] as l,
  {'a': i, 'b': ['x' || i]} as s, map {i: {'k': i * 0.5}} as m, i % 2 = 0 as o, date '2026-01-01' + i::int as day,
  timestamptz '2026-11-21 12:00:00.000001Z' + to_microseconds(i) as at, ('\\x0' || (i % 10))::blob as b, uuid '00112233-4455-6677-8899-aabbccddeeff' as u
  from range(5000) t(i) order by i`;

/** The same question asked of a DuckDB of ours. */
async function expectedRows(sql: string): Promise<string[]> {
  const instance = await DuckDBInstance.create(":memory:", { threads: "1" });
  const connection = await instance.connect();
  await connection.run("SET TimeZone = 'UTC'");
  const rows = (await connection.runAndReadAll(sql)).getRows().map((row) => row.map(String).join("|"));
  connection.closeSync();
  instance.closeSync();
  return rows;
}

Deno.test("Arrow and Parquet hold the same rows as DuckDB, nested and null ones too", async () => {
  await using lake = await askedLake();
  const expected = await expectedRows(NESTED);
  const folder = lake.folder;
  const parquet = join(folder, "answer.parquet");
  await Deno.writeFile(parquet, await lake.bytes(NESTED, "parquet"));
  const found = await expectedRows(`from '${parquet}'`);
  assert.equal(found.length, expected.length);
  found.forEach((row, i) => assert.equal(row, expected[i]));

  const table = tableFromIPC(await lake.bytes(NESTED, "arrow"));
  assert.equal(table.numRows, 5000);
  assert.equal(
    table.schema.fields.map(({ name, type }) => `${name} ${type}`).join(", "),
    "i Int64, t Utf8, d Decimal[20e+2], h Decimal[38e0], deep Struct<{h:List<Decimal[38e0]>}>, l List<Int64>, s Struct<{a:Int64, b:List<Utf8>}>, " +
      "m Map<{key:Int64, value:Struct<{k:Decimal[21e+1]}>}>, o Bool, day Date32<DAY>, at Timestamp<MICROSECOND, UTC>, b Binary, u Utf8",
  );
  const row = table.get(4999)!.toJSON();
  assert.deepEqual([row.i, row.t, row.o, [...row.l]], [4999n, "t4999", false, [4999n, null, 9998n]]);
  assert.deepEqual(table.get(3)!.t, null);
  assert.deepEqual([...row.s.b], ["x4999"]);
  assert.deepEqual([...row.b], [9]);
  const [low, ...high] = new BigInt64Array(table.getChild("h")!.data.at(-1)!.values.slice(-4).buffer);
  assert.equal((high[0] << 64n) + BigInt.asUintN(64, low), 4999n * 10n ** 21n);
  const [at] = table.getChild("at")!.data[0].values;
  assert.equal(at, BigInt(Date.parse("2026-11-21T12:00:00Z")) * 1000n + 1n);
});

Deno.test("CSV quotes what it has to, and tells NULL from the empty text", async () => {
  await using lake = await askedLake();
  const text = new TextDecoder().decode(
    await lake.bytes(
      "select * from (values (1, 'a,b', null), (2, 'say \"x\"\r\n', ''), (3, 'ü', '=1+1')) as t(\"the, first\", b, b)",
      "csv",
    ),
  );
  assert.equal(text, '"the, first",b,b_1\r\n1,"a,b",\r\n2,"say ""x""\r\n",""\r\n3,ü,=1+1\r\n');
});

Deno.test("NDJSON is a row a line, of as many rows as there are", async () => {
  await using lake = await askedLake();
  const lines = new TextDecoder().decode(await lake.bytes("select i from range(30000) t(i)", "ndjson")).split("\n");
  assert.deepEqual([lines.length, lines[0], lines[29_999], lines[30_000]], [30_001, '{"i":0}', '{"i":29999}', ""]);
});

Deno.test("values are bound by their types and never become text of the question", async () => {
  await using lake = await askedLake();
  const [row] = await lake.rows(
    "select $s as s, $i + 1 as i, $d as d, $b as b, $t as t, $y + 1 as y, $n is null as n, typeof($t) as type",
    {
      s: { type: "string", value: "'; drop view ledger; --" },
      i: { type: "integer", value: "9223372036854775806" },
      d: { type: "double", value: "0.5" },
      b: { type: "boolean", value: "true" },
      t: { type: "timestamp", value: "2026-11-21T12:00:00.000001+02:00" },
      y: { type: "date", value: "2024-02-28" },
      n: { type: "integer", value: null },
    },
  );
  assert.deepEqual(row, {
    s: "'; drop view ledger; --",
    i: "9223372036854775807",
    d: 0.5,
    b: true,
    t: "2026-11-21T10:00:00.000001Z",
    y: "2024-02-29",
    n: true,
    type: "TIMESTAMP WITH TIME ZONE",
  });
  const [{ n }] = await lake.rows("select ? + ? as n", {
    1: { type: "integer", value: "1" },
    2: { type: "integer", value: "2" },
  });
  assert.equal(n, 3);
  for (
    const [type, value] of [["integer", "9223372036854775808"], ["date", "2026-02-30"], ["timestamp", "now"], [
      "boolean",
      "1",
    ], ["double", "x"]] as const
  ) {
    await assert.rejects(lake.rows("select $a", { a: { type, value } }), /"a" has to be/);
  }
  await assert.rejects(lake.rows("select $a"), /\$a, which has no value/);
  await assert.rejects(lake.rows("select 1", { a: { type: "string", value: "x" } }), /there is no \$a/);
  assert.deepEqual(
    await lake.rows("select $a as a", {
      a: { type: "string", value: "parquet too" },
    }),
    [{ a: "parquet too" }],
  );
});
