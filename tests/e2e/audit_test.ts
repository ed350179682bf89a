import assert from "node:assert/strict";
import { postgresClient } from "../../pipeline/postgres_client.ts";
import { FREE_PORTS, runToEnd, Tailrace, temporaryFolder } from "./harness.ts";

interface Audited {
  readonly pipeline: string;
  readonly state: string;
  readonly reason: string | null;
  readonly windows: { readonly agreeing: number; readonly differing: number };
  readonly differences: readonly { readonly kind: string; readonly wrong: number; readonly missing: number }[];
}

Deno.test("a row changed by hand in PostgreSQL is found, shown, and mended", async () => {
  await using folder = temporaryFolder();
  const args = [
    ...["dev", "--data", `${folder.path}/data`, ...FREE_PORTS, "--rate", "300"],
    ...["--pipelines", "account_minute,category_declines", "--partitions", "2"],
  ];
  await using tailrace = await Tailrace.start(args);
  const ask = async <T>(path: string, init?: RequestInit): Promise<T> => {
    const response = await fetch(`${tailrace.url}${path}`, init);
    assert.equal(response.status, 200, `${path}: ${await response.clone().text()}`);
    return await response.json();
  };
  const audits = async () => {
    const { pipelines } = await ask<{ pipelines: Audited[] }>("/v1/audit");
    return new Map(pipelines.map((audited) => [audited.pipeline, audited]));
  };

  // The generator makes up some minutes of the past, so there are closed windows at once.
  await tailrace.until("both pipelines' windows are audited", async () => {
    const all = [...(await audits()).values()];
    assert.ok(all.every(({ state }) => state !== "differs"), JSON.stringify(all));
    return all.length === 2 && all.every(({ state, windows }) => state === "agrees" && windows.agreeing > 0);
  }, 240_000);

  const sql = postgresClient(tailrace.databaseUrl);
  try {
    const [before] = await sql`SELECT account_id, window_start, total::text FROM account_minute WHERE final
      ORDER BY window_start, account_id LIMIT 1`;
    const { account_id, window_start } = before;
    const changed = performance.now();
    await sql`UPDATE account_minute SET total = total + 0.01 WHERE account_id = ${account_id} AND window_start = ${window_start}`;
    const [removed] =
      await sql`DELETE FROM category_declines WHERE ctid = (SELECT ctid FROM category_declines WHERE final
      ORDER BY window_start LIMIT 1) RETURNING category, currency, window_start`;
    await tailrace.until("both are found", async () => {
      const found = await audits();
      return found.get("account_minute")!.state === "differs" && found.get("category_declines")!.state === "differs";
      // Half a minute on a machine that does nothing else.
    }, 120_000);
    console.log(`both were found after ${((performance.now() - changed) / 1000).toFixed(0)} s`);

    const { differences } = await ask<{ differences: Record<string, unknown>[] }>(
      "/v1/audit/account_minute/differences",
    );
    assert.equal(differences.length, 1);
    const [{ difference, columns, expected, actual }] = differences;
    assert.deepEqual([difference, columns], ["wrong", ["total"]]);
    assert.equal((expected as Record<string, unknown>).total, before.total);
    assert.equal((actual as Record<string, unknown>).account_id, account_id);
    assert.deepEqual((await audits()).get("category_declines")!.differences.map(({ missing }) => missing), [1]);
    const metrics = await (await fetch(`${tailrace.url}/metrics`)).text();
    assert.match(metrics, /tailrace_audit_differences\{pipeline="account_minute",place="postgres",kind="wrong"\} 1\n/);

    const shown = await runToEnd(["audit", "account_minute", "--api", tailrace.url]);
    assert.equal(shown.code, 1, shown.stderr);
    assert.match(shown.stdout, /account_minute +differs/);
    assert.match(shown.stdout, /wrong +{"total":/);

    const repaired = await runToEnd(["audit", "repair", "account_minute", "--api", tailrace.url]);
    assert.equal(repaired.code, 0, repaired.stdout + repaired.stderr);
    assert.match(repaired.stdout, /^1 rows rewritten, 0 inserted, 0 deleted; 0 differences are left/);
    const post = { method: "POST" };
    const other = await ask<{ inserted: number; left: number }>("/v1/audit/category_declines/repair", post);
    assert.deepEqual([other.inserted, other.left], [1, 0]);
    const [after] = await sql`SELECT total::text FROM account_minute
      WHERE account_id = ${account_id} AND window_start = ${window_start}`;
    assert.equal(after.total, before.total);
    const [again] = await sql`SELECT count(*)::int AS n FROM category_declines WHERE category = ${removed.category}
      AND currency = ${removed.currency} AND window_start = ${removed.window_start}`;
    assert.equal(again.n, 1);
    for (const { windows } of (await audits()).values()) assert.equal(windows.differing, 0);
  } finally {
    await sql.end();
  }
  const { code } = await tailrace.stop();
  assert.equal(code, 0);
});
