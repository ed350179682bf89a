import assert from "node:assert/strict";
import { createApp } from "../../api/app.ts";
import { createMetrics } from "../../api/metrics.ts";
import { UnavailableError } from "../../pipeline/errors.ts";
import type { Maintenance } from "../../pipeline/sinks/lake/maintenance/maintenance.ts";
import { until } from "../e2e/harness.ts";
import { fakeDeps, pipelineStatus } from "./fake_deps.ts";
import { guarded } from "./guarded_app.ts";
import { type LakeWorld, lakeWorld } from "./lake_world.ts";

/** The API over a lake. */
async function served(options: Parameters<typeof lakeWorld>[0] = {}) {
  const world = await lakeWorld(options);
  const app = createApp(fakeDeps({ lake: world.desk }).deps);
  const get = async (path: string) => await (await app.request(path)).json();
  const post = async (path: string, body?: unknown) => {
    const json = body === undefined
      ? {}
      : { body: JSON.stringify(body), headers: { "content-type": "application/json" } };
    const response = await app.request(path, { method: "POST", ...json });
    return { status: response.status, body: await response.json() };
  };
  return { world, app, get, post, [Symbol.asyncDispose]: () => world[Symbol.asyncDispose]() };
}

/** The job of this kind, once it has ended. */
async function ended(get: (path: string) => Promise<{ jobs: { kind: string; state: string }[] }>, kind: string) {
  return await until("the job ended", async () => {
    const { jobs } = await get("/v1/lake/transactions");
    const job = jobs.find((one) => one.kind === kind);
    return job && job.state !== "waiting" && job.state !== "running" ? job : false;
  }) as Record<string, unknown>;
}

Deno.test("tables are listed with their size and what waits for them, also before their first commit", async () => {
  await using api = await served();
  const { world } = api;
  await world.write();
  await world.write();
  world.archive = { ...world.archive, state: "waiting", reason: "the lake is away" };
  const { url, tables } = await api.get("/v1/lake");
  assert.match(url, /^file:\/\/\//);
  const [results, archive] = tables;
  assert.deepEqual(results, {
    name: "account_minute",
    version: null,
    files: null,
    bytes: null,
    rows: null,
    committedAt: null,
    flow: {
      kind: "results",
      from: "account_minute",
      state: "running",
      reason: null,
      rowsWaiting: 7,
      rowsCommitted: 0,
      lastCommit: null,
      lagRecords: null,
    },
  });
  assert.deepEqual([archive.name, archive.version, archive.files, archive.rows], ["transactions", 2, 2, 20]);
  assert.ok(archive.bytes > 100 && Date.parse(archive.committedAt) > Date.now() - 60_000);
  assert.deepEqual(archive.flow, {
    kind: "archive",
    from: "transactions",
    state: "waiting",
    reason: "the lake is away",
    rowsWaiting: 12,
    rowsCommitted: 30,
    lastCommit: "2026-11-20T21:00:00.000Z",
    lagRecords: 4,
  });
});

Deno.test("a table shows its columns and versions", async () => {
  await using api = await served();
  await api.world.write();
  const table = await api.get("/v1/lake/transactions");
  assert.deepEqual(table.columns.slice(0, 2), [
    { name: "kafka_offset", type: "long", partition: false },
    { name: "amount", type: "decimal(12,2)", partition: false },
  ]);
  assert.equal(table.columns[2].type, "struct<country: string>");
  assert.deepEqual(table.columns[3], { name: "ingest_date", type: "date", partition: true });
  const versions = table.history.map((version: Record<string, unknown>) => [
    version.version,
    version.operation,
    version.filesAdded,
    version.rowsAdded,
  ]);
  assert.deepEqual(versions[0], [1, "WRITE", 1, 10]);
  assert.deepEqual([versions.length, versions[1][1]], [2, "CREATE TABLE"]);
  assert.deepEqual(table.jobs, []);
});

Deno.test("a table is compacted when asked, and says what came of it; so is a vacuum", async () => {
  await using api = await served();
  for (let i = 0; i < 3; i++) await api.world.write();
  const asked = await api.post("/v1/lake/transactions/compact");
  assert.deepEqual([asked.status, asked.body.state, asked.body.filesRemoved], [202, "waiting", null]);
  const compacted = await ended(api.get, "compact");
  assert.deepEqual([compacted.state, compacted.filesRemoved, compacted.filesAdded], ["done", 3, 1]);
  const table = await api.get("/v1/lake/transactions");
  assert.deepEqual([table.files, table.rows, table.history[0].operation], [1, 30, "OPTIMIZE"]);
  // Nothing is older than the retention.
  assert.equal((await api.post("/v1/lake/transactions/vacuum", {})).status, 202);
  assert.equal((await ended(api.get, "vacuum")).filesRemoved, 0);
  await api.post("/v1/lake/transactions/vacuum", { retentionHours: 0, force: true });
  assert.equal((await ended(api.get, "vacuum")).filesRemoved, 3);
});

Deno.test("what cannot be done is refused with the reason", async () => {
  const broken: Maintenance = {
    compact: () => Promise.reject(new Error("the disk is full")),
    vacuum: () => Promise.reject(new Error("no")),
  };
  await using api = await served({ maintenance: broken });
  const unknown = await api.get("/v1/lake/nope");
  assert.deepEqual([unknown.type, unknown.status], ["/docs#unknown-table", 404]);
  assert.equal(unknown.detail, 'there is no table "nope"; there are: transactions');
  assert.equal((await api.post("/v1/lake/account_minute/compact")).status, 404, "it has no version yet");
  const short = await api.post("/v1/lake/transactions/vacuum", { retentionHours: 23 });
  assert.equal(short.status, 400);
  assert.match(short.body.errors[0].problem, /^less than 24 hours .* `force` does it nevertheless$/);
  assert.equal((await api.post("/v1/lake/transactions/vacuum", { retentionHours: 800 })).status, 400);
  assert.equal((await api.post("/v1/lake/transactions/vacuum", { hours: 30 })).status, 400);
  await api.post("/v1/lake/transactions/compact");
  const job = await ended(api.get, "compact");
  assert.deepEqual([job.state, job.problem], ["failed", "the disk is full"]);
  const none = createApp(fakeDeps().deps);
  assert.equal((await none.request("/v1/lake")).status, 404);
});

Deno.test("a lake that is away, or does not answer, is a 503", async () => {
  const away = { tables: () => Promise.reject(new UnavailableError("the bucket does not answer")) };
  await using api = await served({ wrap: (lake) => ({ ...lake, store: lake.store, ...away }) });
  const answer = await api.get("/v1/lake");
  assert.deepEqual([answer.status, answer.detail], [503, "the bucket does not answer"]);
});

Deno.test("viewers look, and only admins compact and vacuum", async () => {
  const keys = await guarded();
  const statuses = async (role: "viewer" | "operator" | "admin") =>
    await Promise.all([
      keys.ask(role, "/v1/lake"),
      keys.ask(role, "/v1/lake/transactions"),
      keys.ask(role, "/v1/lake/transactions/compact", { method: "POST" }),
      keys.ask(role, "/v1/lake/transactions/vacuum", {
        method: "POST",
        body: "{}",
        headers: { "content-type": "application/json" },
      }),
    ].map(async (asked) => (await asked).status));
  // 404: there is no lake behind this application.
  assert.deepEqual(await statuses("viewer"), [404, 404, 403, 403]);
  assert.deepEqual(await statuses("operator"), [404, 404, 403, 403]);
  assert.deepEqual(await statuses("admin"), [404, 404, 404, 404]);
});

async function scraped(world: LakeWorld): Promise<Map<string, number>> {
  const metrics = createMetrics(() => [pipelineStatus()], {
    lake: world.desk,
    now: () => Date.parse("2026-11-20T21:00:09Z"),
  });
  const lines = (await metrics.text()).split("\n").filter((line) => line.startsWith("tailrace_lake"));
  return new Map(
    lines.map((line) => [line.slice(0, line.lastIndexOf(" ")), Number(line.slice(line.lastIndexOf(" ")))]),
  );
}

Deno.test("the lake's figures are there for Prometheus, those of this process also while the store is away", async () => {
  await using world = await lakeWorld();
  await world.write();
  const figures = await scraped(world);
  const expected = {
    'tailrace_lake_files{table="transactions"}': 1,
    'tailrace_lake_rows{table="transactions"}': 10,
    'tailrace_lake_up{table="transactions"}': 1,
    'tailrace_lake_up{table="account_minute"}': 1,
    'tailrace_lake_waiting_rows{table="transactions"}': 12,
    'tailrace_lake_waiting_rows{table="account_minute"}': 7,
    'tailrace_lake_lag_records{table="transactions"}': 4,
    'tailrace_lake_commit_age_seconds{table="transactions"}': 9,
    'tailrace_lake_rows_committed_total{table="transactions"}': 30,
    tailrace_lake_compactions_total: 0,
  };
  for (const [name, value] of Object.entries(expected)) assert.equal(figures.get(name), value, name);
  assert.equal(figures.has('tailrace_lake_files{table="account_minute"}'), false, "there is no file yet");

  await using away = await lakeWorld({
    wrap: (lake) => ({
      store: lake.store,
      table: () => Promise.reject(),
      tables: () => Promise.reject(new Error("away")),
    }),
  });
  const left = await scraped(away);
  assert.equal(left.get('tailrace_lake_waiting_rows{table="transactions"}'), 12);
  assert.equal(left.has('tailrace_lake_files{table="transactions"}'), false);
});
