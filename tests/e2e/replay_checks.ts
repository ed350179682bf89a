/**
 * The flights of a Parquet file through `replay` and the pipeline in streams/flights.ts, against DuckDB's own aggregation of the file.
 *
 * @module
 */
import { DuckDBInstance } from "@duckdb/node-api";
import assert from "node:assert/strict";
import { postgresClient } from "../../pipeline/postgres_client.ts";
import { assertTableHolds, planOf, readToEnd } from "./exactness.ts";
import { runToEnd, type Tailrace } from "./harness.ts";

/** Three million flights of 2001, from a development dependency. */
export const FLIGHTS = new URL("../../node_modules/vega-datasets/data/flights-3m.parquet", import.meta.url).pathname;

/** Plays the file into topic flights; returns how many rows it has and how long that took. */
export async function replayFlights(tailrace: Tailrace, file: string): Promise<{ rows: number; seconds: number }> {
  const began = performance.now();
  const addresses = ["--brokers", tailrace.brokers, "--registry", tailrace.registryUrl];
  const { code, stdout, stderr } = await runToEnd(["replay", file, "--topic", "flights", ...addresses], {
    withinMs: 300_000,
  });
  assert.equal(code, 0, stderr);
  const [, rows, total] = stdout.match(/^([\d,]+) of ([\d,]+) rows of .* in topic flights, [\d,]+ a second$/m) ?? [];
  assert.equal(rows, total, stdout);
  return { rows: Number(rows.replaceAll(",", "")), seconds: (performance.now() - began) / 1000 };
}

/** Asserts that table flights_daily is the aggregation of the file, row by row. */
export async function assertFlightsAreExact(tailrace: Tailrace, file: string): Promise<void> {
  const plan = await planOf("flights");
  await readToEnd(tailrace, plan);
  await assertTableHolds(tailrace, plan, await aggregated(file));
  const { buckets } = await tailrace.status("flights");
  assert.deepEqual([buckets.late, buckets.dead, buckets.filtered], [0, 0, 0]);
}

/** Asserts that its windows close by themselves once the topic has been quiet, and stay exact. */
export async function assertFlightsBecomeFinal(tailrace: Tailrace, file: string): Promise<void> {
  const plan = await planOf("flights");
  const sql = postgresClient(tailrace.databaseUrl);
  try {
    await tailrace.until("all windows are final", async () => {
      const [{ open }] = await sql`SELECT count(*)::int AS open FROM flights_daily WHERE NOT final`;
      return open === 0;
    }, plan.idleAfterMs + 60_000);
  } finally {
    await sql.end();
  }
  await assertFlightsAreExact(tailrace, file);
}

/** In SQL of its own, not the plan's. */
async function aggregated(file: string): Promise<Map<string, string>> {
  const rows = await query(`
    SELECT origin || ' ' || epoch_ms(date_trunc('day', date)),
      epoch_ms(date_trunc('day', date) + INTERVAL 1 DAY)::VARCHAR, count(*)::VARCHAR, sum(delay)::DOUBLE / count(*), max(delay)::VARCHAR, sum(distance)::VARCHAR
    FROM read_parquet('${file}') GROUP BY origin, date_trunc('day', date)`);
  return new Map(rows.map(([key, ...values]) => [String(key), values.map(String).join(" ")]));
}

/** The rows of a query in a DuckDB of its own. */
async function query(sql: string): Promise<unknown[][]> {
  const instance = await DuckDBInstance.create(":memory:");
  const connection = await instance.connect();
  try {
    return (await connection.runAndReadAll(sql)).getRows();
  } finally {
    connection.closeSync();
    instance.closeSync();
  }
}
