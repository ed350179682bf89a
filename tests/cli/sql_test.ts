import assert from "node:assert/strict";
import { createApp } from "../../api/app.ts";
import { fakeDeps } from "../api/fake_deps.ts";
import { askedLake } from "../api/sql/small_lake.ts";
import { Child, commandLine } from "../e2e/harness.ts";

/** The API over a small lake. */
async function served() {
  const lake = await askedLake();
  const app = createApp(fakeDeps({ sql: lake.service }).deps);
  const server = Deno.serve({ hostname: "127.0.0.1", port: 0, onListen: () => {} }, app.fetch);
  const env = { TAILRACE_API: `http://127.0.0.1:${server.addr.port}`, NO_COLOR: "1" };
  return {
    ask: async (...args: string[]) => {
      await using child = new Child(commandLine(["sql", ...args]), { env });
      return await child.exited();
    },
    async [Symbol.asyncDispose]() {
      await server.shutdown();
      await lake[Symbol.asyncDispose]();
    },
  };
}

Deno.test("a question is printed as a table, and how far the answer is complete beside it", async () => {
  await using api = await served();
  const { code, stdout, stderr } = await api.ask(
    "select account_id, sum(amount) as total, [1, 2] as l, null as x from lake.transactions where account_id < $a group by 1",
    "--parameters",
    '{"a": "A-01"}',
  );
  assert.equal(code, 0, stderr);
  assert.equal(stdout, "ACCOUNT_ID    TOTAL  L      X\nA-00        6125.00  [1,2]\n");
  assert.match(stderr, /^1 row, \d+ ms$/m);
  assert.match(stderr, /^complete: transactions up to 0:500 1:500, windows final up to 2026-11-21T00:10:00.000Z$/m);
});

Deno.test("other formats go to standard output as they are sent", async () => {
  await using api = await served();
  const { code, stdout, stderr } = await api.ask("from ledger", "--format", "csv");
  assert.deepEqual([code, stdout], [0, "pipeline,partition,consumed\r\naccount_minute,0,1000\r\n"]);
  assert.match(stderr, /^complete: transactions/m);
});

Deno.test("a mistake is pointed at", async () => {
  await using api = await served();
  const { code, stdout, stderr } = await api.ask("select pipeline,\n  'ü', consumd\nfrom ledger");
  assert.deepEqual([code, stdout], [2, ""]);
  const [line, mark, words] = stderr.split("\n");
  assert.deepEqual([line, mark], ["line 2:   'ü', consumd", "               ^"]);
  assert.match(words, /^Referenced column "consumd" not found in FROM clause! Candidate bindings: "consumed"/);
});

Deno.test("what can be asked is listed", async () => {
  await using api = await served();
  const { stdout } = await api.ask("--tables");
  assert.match(stdout, /^lake\.transactions {2}Payments\.\n {4}account_id VARCHAR\n/);
});
