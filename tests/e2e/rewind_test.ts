import assert from "node:assert/strict";
import { assertResultsTopicAgrees, assertTablesAreExact } from "./exactness.ts";
import { headerText, readTopic } from "./topic_reader.ts";
import { FREE_PORTS, runToEnd, Tailrace, temporaryFolder } from "./harness.ts";

const PIPELINE = "account_minute";

async function tailraceCommand(tailrace: Tailrace, ...args: string[]) {
  return await runToEnd([...args, "--api", tailrace.url]);
}

Deno.test("a rewind, and a start without the checkpoint, compute the same rows again as new revisions; stops and starts by hand", async () => {
  await using folder = temporaryFolder();
  const args = [
    ...["dev", "--data", `${folder.path}/data`, ...FREE_PORTS, "--checkpoint-every", "1"],
    ...["--pipelines", PIPELINE],
  ];
  {
    await using tailrace = await Tailrace.start([...args, "--rate", "400"]);
    await tailrace.until(
      "records are being aggregated",
      async () => (await tailrace.status(PIPELINE)).buckets.aggregated > 24_000,
    );
    assert.equal((await tailrace.stop()).code, 0);
  }
  {
    await using tailrace = await Tailrace.start([...args, "--rate", "0"]);
    await assertTablesAreExact(tailrace, [PIPELINE]);
    const preview = await tailraceCommand(tailrace, "rewind", PIPELINE, "--earliest");
    assert.match(preview.stdout, /All windows would be computed again, as generation 1\. Nothing was done/);
    const done = await tailraceCommand(tailrace, "rewind", PIPELINE, "--earliest", "--yes");
    assert.match(done.stdout, /All windows are being computed again, as generation 1\./);
    const { records } = await assertTablesAreExact(tailrace, [PIPELINE]);
    await assertGeneration(tailrace, 1);
    await assertResultsTopicAgrees(tailrace);
    const explained = await tailraceCommand(tailrace, "explain", "transactions", "0", "5", "--json");
    const [{ fate, row }] = JSON.parse(explained.stdout).explanations;
    assert.ok(fate === "filtered" || Math.floor(row.revision / 1e12) === 1, explained.stdout);
    const ledger = JSON.parse((await tailraceCommand(tailrace, "ledger", PIPELINE, "--json")).stdout).pipelines[0];
    assert.equal(ledger.consumed, records, "every record is counted once, however often it was read");

    assert.match((await tailraceCommand(tailrace, "pipelines", "stop", PIPELINE)).stdout, /account_minute rests/);
    assert.equal((await tailrace.status(PIPELINE)).state, "stopped");
    assert.match((await tailraceCommand(tailrace, "pipelines")).stdout, /account_minute +transactions +stopped/);
    const started = await tailraceCommand(tailrace, "pipelines", "start", PIPELINE);
    assert.match(started.stdout, /starts from its last commit/);
    await tailrace.until("it runs again", async () => (await tailrace.status(PIPELINE)).state === "running");
    assert.equal((await tailrace.stop()).code, 0);
  }
  {
    // Killed before the rewound pipeline has saved anything but its beginning.
    await using tailrace = await Tailrace.start([...args, "--rate", "0", "--checkpoint-every", "60"]);
    const { rowsWritten } = await tailrace.status(PIPELINE);
    await tailraceCommand(tailrace, "rewind", PIPELINE, "--earliest", "--yes");
    await tailrace.until("rows come again", async () => (await tailrace.status(PIPELINE)).rowsWritten > rowsWritten);
    await tailrace.kill();
  }
  {
    await using tailrace = await Tailrace.start([...args, "--rate", "0"]);
    await assertTablesAreExact(tailrace, [PIPELINE]);
    await assertGeneration(tailrace, 2);
    await assertNoneTwice(tailrace);
    assert.equal((await tailrace.stop()).code, 0);
  }
  await Deno.remove(`${folder.path}/data/checkpoints`, { recursive: true });
  await using tailrace = await Tailrace.start([...args, "--rate", "0"]);
  await assertTablesAreExact(tailrace, [PIPELINE]);
  await assertGeneration(tailrace, 3);
  // The same while the process goes on.
  await tailraceCommand(tailrace, "pipelines", "stop", PIPELINE);
  await Deno.remove(`${folder.path}/data/checkpoints`, { recursive: true });
  await tailraceCommand(tailrace, "pipelines", "start", PIPELINE);
  await assertTablesAreExact(tailrace, [PIPELINE]);
  await assertGeneration(tailrace, 4);
  await assertResultsTopicAgrees(tailrace);
  await assertNoneTwice(tailrace);
});

/** Of the results topic, read committed, every version of a row is there once. */
async function assertNoneTwice(tailrace: Tailrace): Promise<void> {
  const records = await readTopic(tailrace.brokers, "account-minute");
  const versions = records.map((record) =>
    [record.key, ...["window_start", "revision", "final"].map((name) => headerText(record, name))].join(" ")
  );
  assert.equal(new Set(versions).size, versions.length);
}

/** Every row of the table comes to be of this computation: it may still be under way, and its rows replace equal ones. */
async function assertGeneration(tailrace: Tailrace, generation: number): Promise<void> {
  let found: number[] = [];
  await tailrace.until(`all rows are of generation ${generation}`, async () => {
    const response = await fetch(`${tailrace.url}/v1/pipelines/${PIPELINE}/results?limit=1000&final=true`);
    const { rows } = await response.json() as { rows: { revision: number }[] };
    found = [...new Set(rows.map(({ revision }) => Math.floor(revision / 1e12)))];
    return found.length === 1 && found[0] >= generation;
  });
  assert.deepEqual(found, [generation]);
}
