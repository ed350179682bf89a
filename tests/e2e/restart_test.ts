import assert from "node:assert/strict";
import { assertResultsTopicAgrees, assertTablesAreExact } from "./exactness.ts";
import { readPostmaster } from "../../broker/postgres_postmaster.ts";
import { freePort } from "../servers/free_port.ts";
import { descendantsOf, FREE_PORTS, isRunning, sleep, STOP_WITHIN_MS, Tailrace, temporaryFolder } from "./harness.ts";

const PIPELINES = ["account_minute", "category_declines"];
/** All streams at once are more than these tests need to see. */
const ONLY = ["--pipelines", PIPELINES.join(",")];

Deno.test("Ctrl-C under load ends all processes, and a restart loses and doubles nothing", async () => {
  await using folder = temporaryFolder();
  const args = ["dev", "--data", `${folder.path}/data`, ...FREE_PORTS];
  let seen = 0;
  {
    await using tailrace = await Tailrace.start([...args, "--rate", "1000"]);
    await tailrace.until("records are being aggregated", async () => {
      return (await tailrace.status("account_minute")).buckets.aggregated > 50_000;
    });
    const children = descendantsOf(tailrace.child.pid);
    assert.ok(children.length > 0, "PostgreSQL is a child process");
    seen = (await tailrace.status("account_minute")).buckets.consumed;
    const { code, tookMs, stderr } = await tailrace.stop();
    assert.equal(code, 0, stderr);
    assert.ok(tookMs < STOP_WITHIN_MS, `it took ${Math.round(tookMs)} ms`);
    assert.deepEqual(children.filter(isRunning), []);
  }
  {
    await using tailrace = await Tailrace.start([...args, ...ONLY, "--rate", "3000"]);
    await sleep(2_000);
    seen = Math.max(seen, (await tailrace.status("account_minute")).buckets.consumed);
    assert.equal((await tailrace.stop()).code, 0);
  }
  await using tailrace = await Tailrace.start([...args, ...ONLY, "--rate", "0"]);
  await assertBothTablesAreExact(tailrace, seen);
});

Deno.test("after kill -9 under load, twice in a row, a restart loses and doubles nothing", async () => {
  await using folder = temporaryFolder();
  const args = ["dev", "--data", `${folder.path}/data`, ...FREE_PORTS, ...ONLY, "--checkpoint-every", "1"];
  let seen = 0;
  for (const run of [1, 2]) {
    await using tailrace = await Tailrace.start([...args, "--rate", "1500"]);
    await tailrace.until("a checkpoint is saved, and more is read", async () => {
      const { checkpointAtMs, rowsWritten, rates, buckets } = await tailrace.status("account_minute");
      seen = Math.max(seen, buckets.consumed);
      return checkpointAtMs !== null && rowsWritten > 0 && rates.inPerSecond > 0;
    });
    await sleep(1_300 * run);
    await tailrace.kill();
  }
  await using tailrace = await Tailrace.start([...args, "--rate", "0"]);
  await assertBothTablesAreExact(tailrace, seen);
});

Deno.test("a start right after kill -9 gets the ports that it had, while its PostgreSQL is still ending", async () => {
  await using folder = temporaryFolder();
  const parts = ["port", "broker-port", "registry-port", "postgres-port"];
  const ports = parts.flatMap((port) => [`--${port}`, String(freePort())]);
  const args = ["dev", "--data", `${folder.path}/data`, ...ports, ...ONLY, "--rate", "100"];
  const { pid } = await (async () => {
    await using tailrace = await Tailrace.start(args);
    const server = (await readPostmaster(`${folder.path}/data/postgres/cluster`))!;
    // It ends when it goes on, not before.
    Deno.kill(server.pid, "SIGSTOP");
    await tailrace.kill();
    return server;
  })();
  const goesOn = sleep(1_000).then(() => Deno.kill(pid, "SIGCONT"));
  try {
    await using tailrace = await Tailrace.start(args);
    assert.ok(!isRunning(pid));
    assert.equal((await tailrace.stop()).code, 0);
  } finally {
    await goesOn;
  }
});

/** `seen` is what had been read before the process ended. */
async function assertBothTablesAreExact(tailrace: Tailrace, seen: number): Promise<void> {
  const { records, late, dead } = await assertTablesAreExact(tailrace, PIPELINES);
  assert.ok(seen > 0 && records >= seen, `${records} records, ${seen} had been read`);
  assert.deepEqual([late, dead], [0, 0]);
  await assertResultsTopicAgrees(tailrace);
}
