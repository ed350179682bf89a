import assert from "node:assert/strict";
import { type DuckDBConnection, DuckDBInstance } from "@duckdb/node-api";
import fc from "fast-check";
import { compileFilter } from "../../pipeline/plan/kernel.ts";
import { parseExpression } from "../../pipeline/plan/parse_expression.ts";
import { anyRow, columnsOf, createTable, FIELDS, insertRows, type Row } from "./condition_rows.ts";
import { anyCondition } from "./condition_texts.ts";

// SEED=7 RUNS=5000 deno test -A tests/plan/kernel_duckdb_test.ts looks further; SHOW=1 tells what was tried.
const SEED = Number(Deno.env.get("SEED") ?? 20261120);
const RUNS = Number(Deno.env.get("RUNS") ?? 150);

function lookup(path: string) {
  const field = FIELDS.findIndex((known) => known.path === path);
  return field < 0 ? `no field "${path}"` : { field, type: FIELDS[field].type };
}

/**
 * What DuckDB makes of the condition for each row: true, false, null, or the error it ends in. `ambiguous` where it folds an argument to an
 * untyped NULL and then cannot tell which of its functions of that name is meant.
 */
async function reference(
  connection: DuckDBConnection,
  sql: string,
  rows: readonly Row[],
): Promise<unknown[] | "ambiguous"> {
  try {
    const reader = await connection.runAndReadAll(`SELECT (${sql}) FROM r ORDER BY id`);
    return reader.getRows().map(([value]) => value);
  } catch (error) {
    if (error instanceof Error && error.message.includes("Could not choose a best candidate function")) {
      return "ambiguous";
    }
    if (!isRowError(error)) throw error;
  }
  const values: unknown[] = [];
  for (let r = 0; r < rows.length; r++) {
    try {
      const reader = await connection.runAndReadAll(`SELECT (${sql}) FROM r WHERE id = ${r}`);
      values.push(reader.getRows()[0][0]);
    } catch (error) {
      if (!isRowError(error)) throw error;
      values.push(error);
    }
  }
  return values;
}

function isRowError(error: unknown): boolean {
  return error instanceof Error &&
    /Out of Range|Conversion Error|Overflow|Casting value|Failed to cast/.test(error.message);
}

Deno.test("kernels select the rows that DuckDB selects, for random conditions over random rows", async () => {
  using instance = await closing();
  const { connection } = instance;
  await connection.run("PRAGMA disable_optimizer");
  const seen = { accepted: 0, refused: 0, selected: 0, bad: 0, rows: 0 };
  const refusals = new Map<string, number>();
  await fc.assert(
    fc.asyncProperty(
      fc.array(anyRow, { minLength: 1, maxLength: 12 }),
      fc.array(anyCondition, { minLength: 4, maxLength: 4 }),
      async (rows, conditions) => {
        await connection.run(createTable("r"));
        await connection.run(insertRows("r", rows));
        for (const sql of conditions) {
          const parsed = await parseExpression(sql, lookup);
          if ("problems" in parsed) {
            seen.refused++;
            const [first] = parsed.problems[0].split("\n");
            refusals.set(first, (refusals.get(first) ?? 0) + 1);
            continue;
          }
          const expected = await reference(connection, sql, rows);
          if (expected === "ambiguous") continue;
          seen.accepted++;
          const columns = columnsOf(rows);
          const selection = new Int32Array(rows.length);
          const count = compileFilter(JSON.parse(JSON.stringify(parsed.expression)), FIELDS)(columns, selection);
          const selected = new Set(selection.subarray(0, count));
          const bad = new Map(columns.bad.map(({ row, reason }) => [row - 100, reason]));
          expected.forEach((value, r) => {
            seen.rows++;
            if (value instanceof Error) return;
            assert.equal(bad.get(r), undefined, `row ${r}: DuckDB says ${value}, the kernel has a fault, of ${sql}`);
            assert.equal(selected.has(r), value === true, `row ${r}: DuckDB says ${value} of ${sql}`);
          });
          seen.selected += count;
          seen.bad += bad.size;
        }
      },
    ),
    { seed: SEED, numRuns: RUNS },
  );
  if (Deno.env.get("SHOW")) console.log(seen, [...refusals].sort((a, b) => b[1] - a[1]).slice(0, 30));
  assert.ok(seen.accepted > 2 * seen.refused, `most conditions are accepted: ${JSON.stringify(seen)}`);
  assert.ok(
    seen.selected > seen.rows / 20 && seen.bad > 0,
    `rows are selected, and some are bad: ${JSON.stringify(seen)}`,
  );
});

async function closing() {
  const instance = await DuckDBInstance.create(":memory:", { threads: "1" });
  const connection = await instance.connect();
  return {
    connection,
    [Symbol.dispose]() {
      connection.closeSync();
      instance.closeSync();
    },
  };
}
