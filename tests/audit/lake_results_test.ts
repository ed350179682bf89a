import assert from "node:assert/strict";
import { join } from "node:path";
import { LakeResults } from "../../pipeline/audit/lake_results.ts";
import type { ResultColumn } from "../../pipeline/plan/plan.ts";
import { keyOf } from "../../pipeline/sinks/lake/delta/data_path.ts";
import { RESULTS_PARTITION_COLUMN, resultsSchema } from "../../pipeline/sinks/lake/results/results_schema.ts";
import { temporaryLake, write } from "../sinks/lake/delta/lake_fixture.ts";

const COLUMNS: readonly ResultColumn[] = [
  { name: "shop", role: "key", type: { type: "string", nullable: true } },
  { name: "window_start", role: "window_start", type: { type: "timestamp-millis", nullable: false } },
];
const START_MS = Date.UTC(2026, 10, 21, 12);
const RANGE = { fromMs: START_MS, toMs: START_MS + 60_000 };

Deno.test("a file of results that is damaged in its middle is a failure, and no rows that are missing", async () => {
  await using made = await temporaryLake();
  const { lake } = made;
  const partitioned = { schema: resultsSchema(COLUMNS), partitionColumns: [RESULTS_PARTITION_COLUMN] };
  const table = await lake.ensureTable("t", partitioned);
  const files = [];
  // More than DuckDB computes ahead of what is asked for.
  for (const part of [0, 1]) {
    const sql = `SELECT 'shop ' || ${part} || ' ' || i || repeat(' of some street', 4) AS shop,
      make_timestamptz(${START_MS}::BIGINT * 1000) AS window_start, DATE '2026-11-21' AS window_date
      FROM range(150000) r(i)`;
    files.push(...await write(lake, sql, partitioned));
  }
  await table.commit({ operation: "WRITE", add: files }, { base: await table.snapshot() });
  const results = new LakeResults(lake, { table: "t", columns: COLUMNS });
  const options = { rowsMax: 400_000, signal: new AbortController().signal };
  const read = () => lake.database.use((connection) => results.rows(connection, RANGE, options));
  assert.equal((await read())?.rows.length, 300_000);

  const path = join(made.folder, keyOf("t", files[1]));
  const bytes = await Deno.readFile(path);
  await Deno.writeFile(path, bytes.fill(0xff, Math.floor(0.3 * bytes.length), Math.floor(0.6 * bytes.length)));
  await assert.rejects(read());
});
