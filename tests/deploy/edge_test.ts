import assert from "node:assert/strict";
import { Statements } from "../../api/postgres_statements.ts";
import { createEdgeApp } from "../../deploy/edge/app.ts";
import { type ResultColumn, resultColumns } from "../../pipeline/plan/plan.ts";
import { loadStreams } from "../../pipeline/plan/load.ts";
import { postgresClient } from "../../pipeline/postgres_client.ts";
import { migrate } from "../../pipeline/sinks/migrate.ts";
import { registerPipeline } from "../../pipeline/sinks/pipeline_registry.ts";
import { createPostgresSink } from "../../pipeline/sinks/postgres.ts";
import type { ResultValue } from "../../pipeline/sinks/sink.ts";
import { borrowPostgres } from "../servers/postgres.ts";

Deno.test("an edge runtime serves the results of a database it has never seen, and says that no engine is there", async () => {
  await using server = await borrowPostgres();
  const sql = postgresClient(await server.database());
  try {
    await migrate(sql, "migrations");
    const [{ plan }] = await loadStreams("streams", { only: ["account_minute"] });
    await registerPipeline(sql, plan);
    const columns = resultColumns(plan);
    const row: Record<string, ResultValue> = {
      account_id: "acc-1",
      window_start: Date.UTC(2026, 4, 1),
      window_end: Date.UTC(2026, 4, 1, 0, 1),
      n: 2,
      total: "30.50",
      mean: 15.25,
      largest: "20.00",
      revision: 2,
      final: true,
    };
    const sink = await createPostgresSink({ sql, table: "account_minute", columns });
    const values = columns.map(({ name }: ResultColumn) => [row[name]]);
    await sink.write({ columns, length: 1, values }, { epoch: 1, signal: new AbortController().signal });
    const app = await createEdgeApp(new Statements(() => sql), "test");
    const page = await (await app.request("/v1/pipelines/account_minute/results?key=acc-1&final=true")).json();
    assert.deepEqual(page.rows, [{
      ...row,
      window_start: "2026-05-01T00:00:00.000Z",
      window_end: "2026-05-01T00:01:00.000Z",
    }]);
    assert.equal((await app.request("/readyz")).status, 200);
    const live = await app.request("/v1/live");
    assert.equal(live.status, 501);
    assert.equal(live.headers.get("content-type"), "application/problem+json");
    await live.body?.cancel();
  } finally {
    await sql.end({ timeout: 1 });
  }
});
