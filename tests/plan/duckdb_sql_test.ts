import { DuckDBInstance } from "@duckdb/node-api";
import assert from "node:assert/strict";
import { duckdbSql } from "../../pipeline/plan/duckdb_sql.ts";
import { loadStreams } from "../../pipeline/plan/load.ts";

Deno.test("the mean of decimals is rounded once, where DuckDB's own avg rounds twice", async () => {
  const [{ plan }] = await loadStreams(new URL("../../streams", import.meta.url).pathname, {
    only: ["account_minute"],
  });
  // 149718.66 / 293 lies so near the middle of two doubles that long double puts it there.
  const relation = `(SELECT 'a' AS account_id, 'approved' AS status, TIMESTAMP '2024-01-01' AS event_time,
    CAST(IF(i = 0, 512.50, 510.98) AS DECIMAL(12, 2)) AS amount FROM range(293) AS rows(i))`;
  const instance = await DuckDBInstance.create(":memory:");
  const connection = await instance.connect();
  try {
    const reader = await connection.runAndReadAll(
      `SELECT CAST(total AS VARCHAR), mean, (SELECT avg(amount) FROM ${relation}) FROM (${duckdbSql(plan, relation)})`,
    );
    const [[total, mean, avg]] = reader.getRows();
    assert.equal(total, "149718.66");
    assert.equal(mean, 14971866 / 29300);
    assert.ok(Math.abs(avg as number - 14971866 / 29300) < 1e-12);
  } finally {
    connection.closeSync();
    instance.closeSync();
  }
});
