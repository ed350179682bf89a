import assert from "node:assert/strict";
import { createApp } from "../../api/app.ts";
import { createMetrics } from "../../api/metrics.ts";
import type { Auditor, RepairReport } from "../../pipeline/audit/audit.ts";
import { ConflictError, UnavailableError } from "../../pipeline/errors.ts";
import { fakeAuditor, START, STATUS } from "./fake_audit.ts";
import { ACCOUNT_COLUMNS, fakeDeps } from "./fake_deps.ts";
import { guarded } from "./guarded_app.ts";

function app(changes: Partial<Auditor> = {}) {
  const pipelines = ["account_minute", "other"].map((name) => ({ name, columns: ACCOUNT_COLUMNS }));
  const made = createApp(fakeDeps({ pipelines, audit: [fakeAuditor(changes)] }).deps);
  return async (path: string, init?: RequestInit) => {
    const response = await made.request(path, init);
    return { status: response.status, body: await response.json() };
  };
}

Deno.test("the audit of each pipeline is told, with what differs and what is not audited", async () => {
  const { status, body } = await app()("/v1/audit");
  assert.equal(status, 200);
  assert.deepEqual(body, {
    pipelines: [{
      pipeline: "account_minute",
      state: "differs",
      reason: null,
      windows: { audited: 12, agreeing: 11, differing: 1, suspected: 2, notAuditable: STATUS.notAuditable },
      from: "2026-11-20T21:00:00.000Z",
      to: "2026-11-20T21:12:00.000Z",
      oldest: "2026-11-20T20:59:00.000Z",
      rows: 1200,
      lastPassAt: "2026-11-20T21:13:00.000Z",
      differences: [{ kind: "postgres", name: "account_minute", wrong: 1, missing: 2, extra: 0 }],
    }],
  });
});

Deno.test("differing rows are shown as they should be and as they are", async () => {
  const { body } = await app()("/v1/audit/account_minute/differences?limit=1");
  assert.equal(body.differences.length, 1);
  const [{ difference, window, columns, expected, actual, foundAt }] = body.differences;
  assert.deepEqual([difference, window, columns], ["wrong", "2026-11-20T21:00:00.000Z", ["total"]]);
  assert.deepEqual([expected.total, actual.total, foundAt], ["12.50", "99.00", "2026-11-20T21:02:00.000Z"]);
  assert.equal(expected.window_start, "2026-11-20T21:00:00.000Z");
  assert.equal((await app()("/v1/audit/account_minute/differences?limit=0")).status, 400);
  assert.equal((await app()("/v1/audit/account_minute/differences")).body.differences[1].expected, null);
});

Deno.test("a repair tells what it did, and the rewind that the rest needs", async () => {
  const report: RepairReport = { rewritten: 1, inserted: 2, deleted: 3, left: 4, rewindToMs: START };
  const { body } = await app({ repair: () => Promise.resolve(report) })("/v1/audit/account_minute/repair", {
    method: "POST",
  });
  assert.deepEqual(body, {
    pipeline: "account_minute",
    rewritten: 1,
    inserted: 2,
    deleted: 3,
    left: 4,
    rewind: {
      to: "2026-11-20T21:00:00.000Z",
      command: "deno task rewind account_minute --to 2026-11-20T21:00:00.000Z --yes",
    },
  });
});

Deno.test("a repair that cannot be is refused with the reason", async () => {
  const post = { method: "POST" };
  const path = "/v1/audit/account_minute/repair";
  const away = await app({ repair: () => Promise.reject(new UnavailableError("the lake is away")) })(path, post);
  assert.deepEqual([away.status, away.body.detail], [503, "the lake is away"]);
  const lost = await app({ repair: () => Promise.reject(new ConflictError("host:7 runs it")) })(path, post);
  assert.deepEqual([lost.status, lost.body.type, lost.body.detail], [409, "/docs#taken-over", "host:7 runs it"]);
});

Deno.test("what is not audited, or not there, is told apart", async () => {
  const ask = app();
  assert.match((await ask("/v1/audit/other/differences")).body.type, /not-audited/);
  assert.match((await ask("/v1/audit/nobody/differences")).body.type, /unknown-pipeline/);
  const { audit: _, ...deps } = fakeDeps().deps;
  assert.equal((await createApp(deps).request("/v1/audit")).status, 501);
});

Deno.test("viewers see the audit, and only admins repair", async () => {
  const { ask } = await guarded();
  assert.equal((await ask(null, "/v1/audit")).status, 401);
  assert.equal((await ask("viewer", "/v1/audit")).status, 200);
  const repair = (role: "operator" | "admin") => ask(role, "/v1/audit/account_minute/repair", { method: "POST" });
  assert.equal((await repair("operator")).status, 403);
  // Nothing is audited there.
  assert.equal((await repair("admin")).status, 404);
});

Deno.test("the audit's figures are among the metrics", async () => {
  const text = await createMetrics(() => [], { audit: [fakeAuditor()] }).text();
  const lines = text.split("\n").filter((line) => line.startsWith("tailrace_audit"));
  assert.deepEqual(lines.sort(), [
    'tailrace_audit_differences{pipeline="account_minute",place="postgres",kind="extra"} 0',
    'tailrace_audit_differences{pipeline="account_minute",place="postgres",kind="missing"} 2',
    'tailrace_audit_differences{pipeline="account_minute",place="postgres",kind="wrong"} 1',
    `tailrace_audit_last_pass_timestamp_seconds{pipeline="account_minute"} ${STATUS.lastPassMs! / 1000}`,
    'tailrace_audit_windows{pipeline="account_minute",state="agreeing"} 11',
    'tailrace_audit_windows{pipeline="account_minute",state="differing"} 1',
    'tailrace_audit_windows{pipeline="account_minute",state="not_auditable"} 3',
    'tailrace_audit_windows{pipeline="account_minute",state="suspected"} 2',
  ]);
});
