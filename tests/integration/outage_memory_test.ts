import assert from "node:assert/strict";
import { killWhenever, memoryBytes } from "../e2e/faults.ts";
import { FREE_PORTS, sleep, Tailrace, temporaryFolder } from "../e2e/harness.ts";

/** What the whole process may hold, broker and generator included. */
const MEMORY_BYTES_MAX = 1024 ** 3;
const AWAY_MS = 12_000;

Deno.test("at full speed, memory stays flat while PostgreSQL is away, and all that was waiting is read afterwards", async () => {
  await using folder = temporaryFolder();
  const data = `${folder.path}/data`;
  await using tailrace = await Tailrace.start(["dev", "--data", data, ...FREE_PORTS, "--rate", "max"]);
  const status = () => tailrace.status("account_minute");
  await tailrace.until("a million is read", async () => (await status()).buckets.consumed > 1_000_000, 60_000);
  const killing = new AbortController();
  const killed = killWhenever(`${data}/postgres/cluster`, killing.signal);
  await tailrace.until("it waits", async () => (await status()).state === "waiting");
  const { pid } = tailrace.child;
  const { buckets: { consumed } } = await status();
  const before = memoryBytes(pid);
  await sleep(AWAY_MS);
  const after = memoryBytes(pid);
  killing.abort();
  assert.ok(await killed > 0);
  const grown = Math.round((after - before) / 2 ** 20);
  assert.ok(
    after < MEMORY_BYTES_MAX && grown < 200,
    `${Math.round(after / 2 ** 20)} MiB, ${grown} MiB more than before`,
  );
  await tailrace.until("it has read more than came while PostgreSQL was away", async () => {
    const now = await status();
    return now.state === "running" && now.buckets.consumed > consumed + 1_000_000;
  }, 60_000);
  assert.ok(memoryBytes(pid) < MEMORY_BYTES_MAX);
});
