import assert from "node:assert/strict";
import { postgresClient } from "../../pipeline/postgres_client.ts";
import { FREE_PORTS, runToEnd, Tailrace, temporaryFolder } from "./harness.ts";

const MINUTE = 60_000;
/** The start of a minute some hours ago. */
const T0 = Math.floor(Date.now() / MINUTE) * MINUTE - 300 * MINUTE;
const ACCOUNTS = ["acc-a", "acc-b", "acc-c", "acc-d"];
const PROJECT = new URL("../../", import.meta.url).pathname;
const iso = (ms: number) => new Date(ms).toISOString();

function payment(
  account_id: string,
  atMs: number,
  fields: { readonly status?: string; readonly amount?: string } = {},
) {
  return {
    transaction_id: crypto.randomUUID(),
    account_id,
    merchant: "corner shop",
    category: "groceries",
    status: "approved",
    amount: "10.00",
    currency: "EUR",
    country: null,
    event_time: iso(atMs),
    ...fields,
  };
}

/**
 * Payments every second of some minutes, some of them late and some declined, and one of each account `afterwards`, which closes
 * the windows before.
 */
function payments(
  { from, to, afterwards }: { readonly from: number; readonly to: number; readonly afterwards: number },
) {
  const values = [];
  for (let second = 60 * from; second < 60 * to; second++) {
    const lateByMs = second % 97 === 96 ? 3 * MINUTE : 0;
    const status = second % 10 === 9 ? "declined" : "approved";
    const amount = `${1 + second % 50}.05`;
    values.push(payment(ACCOUNTS[second % ACCOUNTS.length], T0 + 1_000 * second - lateByMs, { status, amount }));
  }
  return [...values, ...ACCOUNTS.map((account) => payment(account, T0 + afterwards * MINUTE))];
}

async function write(tailrace: Tailrace, values: readonly { readonly account_id: string }[]): Promise<void> {
  await tailrace.until("it runs", async () => (await tailrace.status("account_minute")).state === "running");
  for (let from = 0; from < values.length; from += 500) {
    const records = values.slice(from, from + 500).map((value) => ({ key: value.account_id, value }));
    const response = await fetch(`${tailrace.url}/v1/topics/transactions/records`, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify({ records }),
    });
    assert.equal(response.status, 201, await response.text());
  }
}

interface Row {
  readonly account_id: string;
  readonly window_start: Date;
  readonly n: string;
  readonly total: string;
  readonly revision: string;
}

async function finals(tailrace: Tailrace): Promise<Row[]> {
  const sql = postgresClient(tailrace.databaseUrl);
  try {
    return await sql<Row[]>`SELECT account_id, window_start, n, total, revision FROM account_minute WHERE final
      ORDER BY window_start, account_id`;
  } finally {
    await sql.end();
  }
}

const shown = (rows: readonly Row[]) =>
  rows.map(({ account_id, window_start, n, total, revision }) =>
    `${account_id} ${window_start.toISOString()} ${n} ${total} ${Number(revision) % 1e12}`
  );
const generationsOf = (
  rows: readonly Row[],
) => [...new Set(rows.map(({ revision }) => Math.floor(Number(revision) / 1e12)))];

Deno.test("a pipeline's history is built from the archive, also after a kill in the middle, and goes on live; a preview and exports agree", async (t) => {
  await using folder = temporaryFolder();
  const args = [
    ...["dev", "--data", `${folder.path}/data`, ...FREE_PORTS, "--rate", "0", "--checkpoint-every", "1"],
    ...["--pipelines", "account_minute", "--partitions", "2"],
  ];
  let before: Row[] = [];
  {
    await using tailrace = await Tailrace.start(args);
    const backfill = async (...more: string[]) =>
      await runToEnd(["backfill", "account_minute", "--api", tailrace.url, ...more]);
    const settled = async (rows: number) =>
      await tailrace.until("all windows but the open ones are final", async () => {
        const found = await finals(tailrace);
        return found.length >= rows && found;
      });
    await write(tailrace, payments({ from: 0, to: 12, afterwards: 20 }));
    before = await settled(12 * ACCOUNTS.length);

    await t.step("a dry run says what it would do, and does nothing", async () => {
      const { code, stdout, stderr } = await backfill("--dry-run");
      assert.equal(code, 0, stderr);
      assert.match(stdout, /rows of \d+ windows would be written, from lake\.transactions version \d+/);
      assert.match(stdout, /Nothing was done: leave --dry-run out to do it/);
      assert.deepEqual(generationsOf(await finals(tailrace)), [0]);
      const { code: refused, stderr: why } = await backfill("--from", iso(T0 + 600 * MINUTE));
      assert.equal(refused, 2);
      assert.match(why, /there is no whole window to build/);
    });

    await t.step("killed in the middle, it has done no harm", async () => {
      const sql = postgresClient(tailrace.databaseUrl);
      try {
        // What is written waits for the lock.
        const held = Promise.withResolvers<void>();
        const locked = Promise.withResolvers<void>();
        const locking = sql.begin(async (sql) => {
          await sql`LOCK TABLE account_minute IN EXCLUSIVE MODE`;
          locked.resolve();
          await held.promise;
        }).catch(() => {});
        await locked.promise;
        const begun = await fetch(`${tailrace.url}/v1/pipelines/account_minute/backfill`, {
          method: "POST",
          headers: { "content-type": "application/json" },
          body: "{}",
        });
        assert.equal(begun.status, 202, await begun.text());
        await tailrace.until("it writes", async () => {
          const look = await fetch(`${tailrace.url}/v1/pipelines/account_minute/backfill`);
          const job = await look.json();
          assert.equal(job.state, "running", JSON.stringify(job));
          return job.progress?.windows > 0;
        });
        await tailrace.kill();
        held.resolve();
        await locking;
      } finally {
        await sql.end({ timeout: 1 }).catch(() => {});
      }
    });
  }
  await using tailrace = await Tailrace.start(args);
  const command = async (...args: string[]) => await runToEnd([...args, "--api", tailrace.url]);

  await t.step("run again, every window before the handover is the archive's, with the same values", async () => {
    const { code, stdout, stderr } = await command("backfill", "account_minute", "--json");
    assert.equal(code, 0, stderr);
    const { result } = JSON.parse(stdout);
    const { read, aggregated, filtered, late, duplicate } = result.records;
    assert.equal(read, aggregated + filtered + late + duplicate);
    assert.ok(late > 0 && filtered > 0, stdout);
    const handoverMs = Date.parse(result.handover);
    assert.equal(handoverMs, T0 + 19 * MINUTE, stdout);
    const rows = await tailrace.until("the windows from the handover on are final again", async () => {
      const found = await finals(tailrace);
      return found.every(({ revision }) => Number(revision) >= result.generation * 1e12) && found;
    });
    assert.deepEqual(shown(rows), shown(before));
    assert.deepEqual(generationsOf(rows), [result.generation]);
    const ledger = JSON.parse((await command("ledger", "account_minute", "--json")).stdout).pipelines[0];
    for (const { partition, start, position, consumed, inFlight } of ledger.partitions) {
      assert.equal(start, result.partitions[partition].offset, "the ledger counts from the handover on");
      assert.equal(consumed - inFlight, position - start);
    }
  });

  await t.step("what comes after it counts as ever", async () => {
    await write(tailrace, payments({ from: 20, to: 23, afterwards: 30 }));
    const rows = await tailrace.until("the new windows are final", async () => {
      const found = await finals(tailrace);
      return found.length >= 15 * ACCOUNTS.length && found;
    });
    assert.equal(
      rows.filter(({ window_start }) => window_start.getTime() >= T0 + 12 * MINUTE).length,
      3 * ACCOUNTS.length,
    );
    assert.deepEqual(
      shown(rows.filter(({ window_start }) => window_start.getTime() < T0 + 12 * MINUTE)),
      shown(before),
    );
  });

  await t.step("a preview of the same definition finds no difference; of an edited one what differs", async () => {
    const original = await command("preview", `${PROJECT}streams/account_minute.ts`, "--minutes", "30", "--json");
    assert.equal(original.code, 0, original.stderr);
    const same = JSON.parse(original.stdout);
    assert.deepEqual(
      [same.difference.changed, same.difference.onlyAfter, same.difference.onlyBefore],
      [0, 0, 0],
      original.stdout,
    );
    assert.ok(same.difference.same > 0);
    assert.equal(same.state.outlook, "resumes");

    const text = await Deno.readTextFile(`${PROJECT}streams/account_minute.ts`);
    await Deno.mkdir(`${folder.path}/streams`);
    const file = `${folder.path}/streams/edited.ts`;
    await Deno.writeTextFile(
      file,
      text.replace('"../pipeline/mod.ts"', `"${PROJECT}pipeline/mod.ts"`)
        .replace("amount > 0", "amount > 10")
        .replace("largest: max", "biggest: max"),
    );
    const edited = await command("preview", file, "--minutes", "30", "--schemas", `${PROJECT}schemas`);
    assert.equal(edited.code, 0, edited.stderr);
    assert.match(edited.stdout, /Changed: where, select\./);
    assert.match(edited.stdout, /\+ biggest decimal\(12, 2\)/);
    assert.match(edited.stdout, /- largest decimal\(12, 2\)/);
    assert.match(edited.stdout, /Changed columns: n in \d+, total in \d+/);
    assert.match(edited.stdout, /Saved state does not fit \(where, select changed\)/);
    assert.match(edited.stdout, /tailrace backfill account_minute/);
    await tailrace.until("it runs", async () => (await tailrace.status("account_minute")).state === "running");
    const wrong = `${folder.path}/streams/wrong.ts`;
    await Deno.writeTextFile(wrong, (await Deno.readTextFile(file)).replace("status =", "statuses ="));
    const refused = await command("preview", wrong, "--schemas", `${PROJECT}schemas`);
    assert.equal(refused.code, 2);
    assert.match(refused.stderr, /account_minute\.where: .*statuses/);
  });

  await t.step("exports have every final row, and nothing is left beside them", async () => {
    const rows = await finals(tailrace);
    const out = `${folder.path}/out`;
    await Deno.mkdir(out);
    const csv = await command("export", "account_minute", "--out", `${out}/rows.csv`);
    assert.equal(csv.code, 0, csv.stderr);
    assert.match(csv.stdout, new RegExp(`^${rows.length} rows, .*rows\\.csv`));
    assert.equal((await Deno.readTextFile(`${out}/rows.csv`)).trimEnd().split("\n").length, rows.length + 1);
    const some = await command(
      "export",
      "account_minute",
      "--out",
      `${out}/rows.csv`,
      "--from",
      iso(T0),
      "--to",
      iso(T0 + MINUTE),
    );
    assert.equal(some.code, 0, some.stderr);
    assert.match(some.stdout, /^4 rows/);
    const raw = await command("export", "--table", "transactions", "--out", `${out}/raw.parquet`);
    assert.equal(raw.code, 0, raw.stderr);
    assert.match(raw.stdout, /^\d+ rows/);
    const none = await command("export", "nothing", "--out", `${out}/none.csv`);
    assert.notEqual(none.code, 0);
    assert.deepEqual([...Deno.readDirSync(out)].map(({ name }) => name).sort(), ["raw.parquet", "rows.csv"]);
  });
});
