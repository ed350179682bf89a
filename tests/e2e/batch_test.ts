import assert from "node:assert/strict";
import { FREE_PORTS, runToEnd, Tailrace, temporaryFolder } from "./harness.ts";
import type { BatchSummary } from "../../cli/batch.ts";

const BATCH = { withinMs: 400_000 };

Deno.test("a bounded run reads what is there, ends by itself with a summary, and a second finds nothing new", async () => {
  await using folder = temporaryFolder();
  const data = ["--data", `${folder.path}/data`, ...FREE_PORTS];
  const written = await produce(data);
  const run = async (...args: string[]): Promise<BatchSummary> => {
    const { code, stdout, stderr } = await runToEnd(["dev", "account_minute", ...args, ...data], BATCH);
    assert.equal(code, 0, stderr);
    return JSON.parse(stdout);
  };
  const first = await run("--until", "latest");
  assert.equal(first.ok, true);
  const [pipeline, ...others] = first.pipelines;
  assert.deepEqual(others, []);
  assert.equal(pipeline.name, "account_minute");
  assert.ok(pipeline.buckets.consumed >= written, `${pipeline.buckets.consumed} of ${written} records`);
  assert.equal(pipeline.buckets.dead, 0);
  const second = await run("--until", "latest", "--then", "compact,audit");
  assert.deepEqual(second.compacted!.map(({ table, ok }) => [table, ok]).sort(), [["account_minute", true], [
    "transactions",
    true,
  ]]);
  const [audited] = second.audited!;
  assert.deepEqual([audited.pipeline, audited.ok, audited.differing], ["account_minute", true, 0]);
  assert.ok(audited.windows > 0);
  assert.deepEqual(second.pipelines[0].buckets, pipeline.buckets);
});

Deno.test("a bounded run over nothing ends, with nothing to compact or audit", async () => {
  await using folder = temporaryFolder();
  const data = ["--data", `${folder.path}/data`, ...FREE_PORTS];
  const { code, stdout, stderr } = await runToEnd(
    ["dev", "account_minute", "--until", "latest", "--then", "compact,audit", ...data],
    BATCH,
  );
  assert.equal(code, 0, stderr);
  const { ok, pipelines, audited } = JSON.parse(stdout) as BatchSummary;
  assert.deepEqual([ok, pipelines[0].buckets.consumed], [true, 0]);
  assert.deepEqual(audited, [
    { pipeline: "account_minute", ok: true, windows: 0, differing: 0, reason: "no window has closed yet" },
  ]);
});

Deno.test("a bounded run says what is wrong with its end, and with names given twice", async () => {
  await using folder = temporaryFolder();
  const told = await runToEnd(["dev", "--data", folder.path, "--until", "soon"]);
  assert.equal(told.code, 2);
  assert.match(told.stderr, /--until: "soon" is not "latest" and no time such as 2026-05-01T12:00:00Z/);
  const twice = await runToEnd(["dev", "flights", "--pipelines", "flights", "--data", folder.path]);
  assert.equal(twice.code, 2);
  assert.match(twice.stderr, /--pipelines: name them here or as flights, not in both places/);
});

/** Lets dev write transactions for a while; how many there were. */
async function produce(data: readonly string[]): Promise<number> {
  await using tailrace = await Tailrace.start(["dev", "account_minute", "--rate", "500", ...data]);
  await tailrace.until(
    "records are read",
    // Of 75,000 of the past: minutes of them have closed.
    async () => (await tailrace.status("account_minute")).buckets.consumed > 60_000,
  );
  const { buckets } = await tailrace.status("account_minute");
  await tailrace.stop();
  return buckets.consumed;
}

Deno.test("where everything runs, what has to be set up first is passed over; where it was named, it is a failure", async () => {
  await using folder = temporaryFolder();
  const data = ["--until", "latest", "--rate", "0", "--data", `${folder.path}/data`, ...FREE_PORTS];
  const everything = await runToEnd(["dev", ...data], BATCH);
  assert.equal(everything.code, 0, everything.stderr);
  const { connectors } = JSON.parse(everything.stdout) as BatchSummary;
  const told = Object.fromEntries(connectors.map(({ name, ok, reason }) => [name, { ok, reason }]));
  assert.equal(told.products.ok, true);
  assert.equal(told.user_profiles.ok, true);
  assert.match(told.user_profiles.reason!, /TAILRACE_SECRET_PROFILE_API_URL/);
  const named = await runToEnd(["dev", "user_profiles", ...data], BATCH);
  assert.equal(named.code, 1);
  assert.equal((JSON.parse(named.stdout) as BatchSummary).connectors[0].ok, false);
});
