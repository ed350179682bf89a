import assert from "node:assert/strict";
import { createApp } from "../../api/app.ts";
import type { Maintenance } from "../../pipeline/sinks/lake/maintenance/maintenance.ts";
import { fakeDeps } from "../api/fake_deps.ts";
import { lakeWorld } from "../api/lake_world.ts";
import { Child, commandLine } from "../e2e/harness.ts";

/** The API over a lake, and the command that asks it. */
async function served(options: { readonly maintenance?: Maintenance } = {}) {
  const parts = new AsyncDisposableStack();
  const world = parts.use(await lakeWorld(options));
  const app = createApp(fakeDeps({ lake: world.desk }).deps);
  const server = Deno.serve({ hostname: "127.0.0.1", port: 0, onListen: () => {} }, app.fetch);
  parts.defer(() => server.shutdown());
  const env = { TAILRACE_API: `http://127.0.0.1:${server.addr.port}`, NO_COLOR: "1" };
  return {
    world,
    async run(...args: string[]) {
      await using child = new Child(commandLine(["lake", ...args]), { env });
      return await child.exited();
    },
    [Symbol.asyncDispose]: () => parts.disposeAsync(),
  };
}

/** Cells of a printed table. */
function cells(line: string): string[] {
  return line.trim().split(/ {2,}/);
}

Deno.test("the tables are listed with what waits for them, and one shows its columns and versions", async () => {
  await using api = await served();
  await api.world.write();
  const [list, table, json] = await Promise.all([api.run(), api.run("transactions"), api.run("--json")]);
  const lines = list.stdout.trim().split("\n");
  assert.match(lines[0], /^file:\/\/\//);
  assert.deepEqual(cells(lines[2]).slice(0, 4), ["TABLE", "WHAT", "VERSION", "FILES"]);
  assert.deepEqual(cells(lines[3]), ["account_minute", "results of account_minute", "7", "running"]);
  assert.deepEqual(cells(lines[4]).toSpliced(4, 1).toSpliced(7, 1), [
    "transactions",
    "archive of transactions",
    "1",
    "1",
    "10",
    "12",
    "4",
    "running",
  ]);
  assert.match(table.stdout, /^transactions: archive of transactions, running\nversion 1: 10 rows in 1 file, /);
  assert.match(table.stdout, /^12 rows waiting for the next flush$/m);
  assert.match(table.stdout, /^merchant +struct<country: string>$/m);
  assert.match(table.stdout, /^ingest_date +date +partition$/m);
  assert.match(table.stdout, /^ +1 +\S+Z +WRITE +\+1 -0 +10$/m);
  assert.equal(JSON.parse(json.stdout).tables.length, 2);
});

Deno.test("a table is compacted and vacuumed, and the command waits until it has ended", async () => {
  await using api = await served();
  for (let i = 0; i < 3; i++) await api.world.write();
  const compacted = await api.run("compact", "transactions");
  assert.match(compacted.stdout, /^transactions: 3 files of [\d.]+ kB became 1 of [\d.]+ (B|kB)$/m);
  assert.equal(compacted.code, 0);
  const vacuumed = await api.run("vacuum", "transactions");
  assert.match(vacuumed.stdout, /^transactions: there was nothing to remove$/m);
  const all = await api.run("vacuum", "transactions", "--retention", "0", "--force");
  assert.match(all.stdout, /^transactions: 3 files of [\d.]+ kB removed$/m);
});

Deno.test("what cannot be done ends with a code and the reason", async () => {
  const broken: Maintenance = {
    compact: () => Promise.reject(new Error("the disk is full")),
    vacuum: () => Promise.reject(new Error("no")),
  };
  await using api = await served({ maintenance: broken });
  const cases: readonly [readonly string[], number, RegExp][] = [
    [["compact", "transactions"], 1, /transactions was not compacted: the disk is full/],
    [["nope"], 2, /there is no table "nope"; there are: transactions/],
    [["squeeze", "transactions"], 2, /takes TABLE, compact TABLE or vacuum TABLE/],
    [["vacuum", "transactions", "--retention", "two"], 2, /--retention: must be a number of hours; "two" is not/],
    [["vacuum", "transactions", "--retention", "5"], 2, /retentionHours: less than 24 hours .* `force` does it/],
    [["transactions", "--force"], 2, /belong to: tailrace lake vacuum TABLE/],
  ];
  await Promise.all(cases.map(async ([args, code, told]) => {
    const ended = await api.run(...args);
    assert.equal(ended.code, code, ended.stderr);
    assert.match(ended.stderr, told);
  }));
});
