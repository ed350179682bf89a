import assert from "node:assert/strict";
import type { FieldType } from "../../pipeline/columns.ts";
import { compileFilter } from "../../pipeline/plan/kernel.ts";
import { parseExpression } from "../../pipeline/plan/parse_expression.ts";
import { columnsOf, FIELDS, type Row } from "./condition_rows.ts";

function lookup(path: string) {
  const field = FIELDS.findIndex((known) => known.path === path);
  return field < 0 ? `no field "${path}"` : { field, type: FIELDS[field].type };
}

/** A row with some fields set; others null, zero or empty. */
function row(values: Record<string, Row[number]>): Row {
  const zero = (type: FieldType) => type.nullable ? null : type.type === "string" ? "" : type.type === "int" ? 0 : 0n;
  return FIELDS.map(({ path, type }) => path in values ? values[path] : zero(type));
}

async function run(sql: string, rows: readonly Row[]) {
  const parsed = await parseExpression(sql, lookup);
  assert.ok("expression" in parsed, "problems" in parsed ? parsed.problems[0] : "");
  const columns = columnsOf(rows);
  const selection = new Int32Array(rows.length);
  const count = compileFilter(parsed.expression, FIELDS)(columns, selection);
  return { selected: [...selection.subarray(0, count)], bad: columns.bad };
}

Deno.test("only what is true is selected: null and false are not, nor is NOT null", async () => {
  const rows = [row({ i: 1 }), row({ i: null }), row({ i: -1 })];
  assert.deepEqual((await run("i > 0", rows)).selected, [0]);
  assert.deepEqual((await run("NOT (i > 0)", rows)).selected, [2]);
  assert.deepEqual((await run("i > 0 OR i IS NULL", rows)).selected, [0, 1]);
  assert.deepEqual((await run("i NOT IN (5, NULL)", rows)).selected, []);
  assert.deepEqual((await run("(i > 0) IS NULL", rows)).selected, [1]);
});

Deno.test("money compares with a literal exactly, where doubles would not", async () => {
  const rows = [row({ w: 1_234_567_890_123_456_789_0001n }), row({ w: 1_234_567_890_123_456_789_0002n })];
  assert.deepEqual((await run("w = 1234567890123456789.0001", rows)).selected, [0]);
  const sums = [row({ m: 10n }), row({ m: 20n })];
  assert.deepEqual((await run("m + 0.2 = 0.3", sums)).selected, [0]);
});

Deno.test("a row that cannot be computed is bad with the reason, in the order of the records, and others go on", async () => {
  const rows = [row({ i: 1 }), row({ i: 2 ** 31 - 1 }), row({ i: 2 }), row({ i: 2 ** 31 - 1 })];
  const { selected, bad } = await run("i + 1 > 2", rows);
  assert.deepEqual(selected, [2]);
  assert.deepEqual(bad, [
    { row: 101, reason: "where: 2147483648 does not fit an int (32 bits)" },
    { row: 103, reason: "where: 2147483648 does not fit an int (32 bits)" },
  ]);
});

Deno.test("rows that the decoder found bad stay in order with those of the condition", async () => {
  const parsed = await parseExpression("i + 1 > 0", lookup);
  assert.ok("expression" in parsed);
  const columns = columnsOf([row({ i: 2 ** 31 - 1 }), row({ i: 1 })]);
  columns.bad = [{ row: 7, reason: "short" }, { row: 150, reason: "long" }];
  compileFilter(parsed.expression, FIELDS)(columns, new Int32Array(2));
  assert.deepEqual(columns.bad.map((bad) => bad.row), [7, 100, 150]);
});

Deno.test("what goes wrong where it does not matter is no fault", async () => {
  const rows = [row({ i: 2 ** 31 - 1, b: false }), row({ i: 5, b: true })];
  const { selected, bad } = await run("b AND i + 1 > 0", rows);
  assert.deepEqual([selected, bad], [[1], []]);
  assert.deepEqual(await run("TRY_CAST(d AS INTEGER) IS NULL", [row({ d: 1e10 }), row({ d: 1 })]), {
    selected: [0],
    bad: [],
  });
});

Deno.test("overflow, casts out of range and lost digits are faults", async () => {
  const cases: readonly (readonly [sql: string, values: Record<string, Row[number]>, reason: RegExp])[] = [
    ["l * 2 > 0", { l: 2n ** 62n }, /does not fit a long/],
    ["-i > 0", { i: -(2 ** 31) }, /does not fit an int/],
    ["abs(l) > 0", { l: -(2n ** 63n) }, /does not fit a long/],
    ["i // j > 0", { i: -(2 ** 31), j: -1 }, /does not fit an int/],
    ["i % j = 0", { i: -(2 ** 31), j: -1 }, /does not fit an int/],
    ["n * n > 0", { n: 999_999_999_999_999_999n }, /more than 18 digits/],
    ["CAST(d AS BIGINT) > 0", { d: 1e19 }, /does not fit 64 bits/],
    ["CAST(d AS INTEGER) > 0", { d: NaN }, /does not fit 32 bits/],
    ["CAST(d AS FLOAT) > 0", { d: 1e300 }, /does not fit a float/],
    ["CAST(m AS DECIMAL(3,1)) > 0", { m: 9_995n }, /more than 3 digits/],
    ["CAST(d AS DECIMAL(4,2)) > 0", { d: 100 }, /does not fit decimal\(4,2\)/],
  ];
  for (const [sql, values, reason] of cases) {
    const { selected, bad } = await run(sql, [row(values)]);
    assert.deepEqual(selected, [], sql);
    assert.match(bad[0]?.reason ?? "no fault", reason, sql);
  }
});

Deno.test("text that is not UTF-8 is a fault only where it has to be read as text", async () => {
  const field = FIELDS.findIndex(({ path }) => path === "t");
  for (const [sql, faults] of [["t = 'a'", 0], ["lower(t) = 'a'", 1]] as const) {
    const parsed = await parseExpression(sql, lookup);
    assert.ok("expression" in parsed);
    const columns = columnsOf([row({})]);
    columns.columns[field].data = Uint8Array.of(0xff, 0xfe);
    columns.columns[field].ints.set([0, 2]);
    compileFilter(parsed.expression, FIELDS)(columns, new Int32Array(1));
    assert.equal(columns.bad.length, faults, sql);
  }
});

Deno.test("a LIKE pattern that is hard for backtracking costs length times pattern", async () => {
  const text = "a".repeat(20_000);
  const start = performance.now();
  const { selected } = await run(`s LIKE '%${"a%".repeat(200)}b'`, [row({ s: text })]);
  assert.deepEqual(selected, []);
  assert.ok(performance.now() - start < 1_000);
});

Deno.test("fields named in a condition cannot smuggle code into a kernel", async () => {
  const hostile = `'); globalThis.smuggled = true; ('`;
  const sql = `s = '${
    hostile.replaceAll("'", "''")
  }' OR s LIKE '\`\${globalThis.smuggled = 1}%' OR s IN ('*/', '//', '\u2028')`;
  assert.deepEqual((await run(sql, [row({ s: hostile })])).selected, [0]);
  assert.equal("smuggled" in globalThis, false);
});
