import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { Partitioners } from "kafkajs";
import { FREE_PORTS, runToEnd, Tailrace, temporaryFolder } from "./harness.ts";
import { kafkaAt, readTopic } from "./topic_reader.ts";

const MINUTE = 60_000;
/** The start of a minute an hour ago. */
const T0 = Math.floor(Date.now() / MINUTE) * MINUTE - 60 * MINUTE;
const iso = (ms: number) => new Date(ms).toISOString();

function payment(eventTimeMs: number, fields: Record<string, unknown> = {}) {
  return {
    transaction_id: crypto.randomUUID(),
    account_id: "acc-letters",
    merchant: "corner shop",
    category: "groceries",
    status: "approved",
    amount: "10.00",
    currency: "EUR",
    country: null,
    event_time: iso(eventTimeMs),
    ...fields,
  };
}

interface ListedLetter {
  readonly kind: string;
  readonly pipeline: string;
  readonly partition: number;
  readonly offset: number;
  readonly source: { readonly partition: number; readonly offset: number };
  readonly redriven: boolean;
}

Deno.test("late records and dead letters come back, and count once", async (t) => {
  await using folder = temporaryFolder();
  const args = [
    ...["dev", "--data", `${folder.path}/data`, ...FREE_PORTS, "--rate", "0"],
    ...["--pipelines", "account_minute,category_declines", "--partitions", "2"],
  ];
  await using tailrace = await Tailrace.start(args);
  const letters = async (...args: string[]) => {
    const { code, stdout, stderr } = await runToEnd(["letters", ...args, "--api", tailrace.url]);
    assert.equal(code, 0, stdout + stderr);
    return { stdout, stderr };
  };
  const listed = async (...args: string[]) =>
    (await letters("list", "--json", ...args)).stdout.split("\n").filter(Boolean).map((line) =>
      JSON.parse(line) as ListedLetter
    );
  const placeOf = ({ kind, partition, offset }: ListedLetter) => `${kind}/transactions/${partition}/${offset}`;
  const write = async (value: unknown) => {
    const response = await fetch(`${tailrace.url}/v1/topics/transactions/records`, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify({ records: [{ key: "acc-letters", value }] }),
    });
    assert.equal(response.status, 201, await response.clone().text());
    return (await response.json()).records[0] as { partition: number; offset: number };
  };
  const rowOf = async (windowMs: number) => {
    const path = `/v1/pipelines/account_minute/results?key=acc-letters&from=${windowMs}&to=${windowMs + 1}`;
    const { rows } = await (await fetch(tailrace.url + path)).json();
    return rows[0] as { n: number; total: string; revision: number; final: boolean } | undefined;
  };
  const buckets = async (pipeline = "account_minute") => (await tailrace.status(pipeline)).buckets;

  await tailrace.until("it takes records", async () => {
    const response = await fetch(`${tailrace.url}/readyz`);
    await response.body?.cancel();
    return response.ok;
  });
  const first = await write(payment(T0 + 1_000));
  await write(payment(T0 + 10 * MINUTE));
  const before = await tailrace.until("the window is final", async () => {
    const row = await rowOf(T0);
    return row?.final === true && row;
  });
  assert.deepEqual([before.n, before.total], [1, "10.00"]);
  await write(payment(T0 + 2_000, { amount: "0.50" }));
  const late = await tailrace.until("the late record is a letter", async () => (await listed("--kind", "late"))[0]);

  await t.step("the late record is shown with its window and its value", async () => {
    const { stdout } = await letters("show", placeOf(late), "--json");
    const shown = JSON.parse(stdout);
    assert.equal(shown.pipeline, "account_minute");
    assert.deepEqual(shown.window, { start: iso(T0), end: iso(T0 + MINUTE) });
    assert.equal(shown.decoded.amount, "0.50");
    assert.equal(shown.keyBytes.text, "acc-letters");
    assert.match(shown.cause, /window/);
  });

  await t.step("without --yes redriving tells what it would do, and does nothing", async () => {
    const { stdout } = await letters("redrive", "--kind", "late");
    assert.match(stdout, new RegExp(`would count in the window from ${iso(T0)}`));
    assert.match(stdout, /1 would be redriven, 0 skipped, 0 refused/);
    assert.equal((await readTopic(tailrace.brokers, "transactions.redriven")).length, 0);
  });

  await t.step("redriven, it reopens its window, which comes out as a new revision", async () => {
    assert.match((await letters("redrive", placeOf(late), "--yes")).stdout, /1 redriven, 0 skipped, 0 refused/);
    const after = await tailrace.until("the window counts it", async () => {
      const row = await rowOf(T0);
      return row?.n === 2 && row;
    });
    assert.deepEqual([after.total, after.final], ["10.50", true]);
    assert.ok(after.revision > before.revision, `${before.revision} to ${after.revision}`);
    assert.deepEqual((await listed("--kind", "late")).map(({ redriven }) => redriven), [true]);
    await tailrace.until("the other pipeline, which had counted it, takes it for a duplicate", async () => {
      const { consumed, filtered, duplicate } = await buckets("category_declines");
      return consumed === 4 && filtered === 3 && duplicate === 1;
    });
  });

  await t.step("redriven again it is skipped; forced, it is a duplicate and changes nothing", async () => {
    assert.match((await letters("redrive", placeOf(late), "--yes")).stdout, /0 redriven, 1 skipped/);
    const { duplicate } = await buckets();
    assert.match((await letters("redrive", placeOf(late), "--yes", "--force")).stdout, /1 redriven/);
    await tailrace.until("it is counted as a duplicate", async () => (await buckets()).duplicate === duplicate + 1);
    assert.equal((await rowOf(T0))?.n, 2);
  });

  await t.step("a dead letter is mended by hand and counts", async () => {
    const producer = kafkaAt(tailrace.brokers).producer({ createPartitioner: Partitioners.DefaultPartitioner });
    await producer.connect();
    try {
      const value = Buffer.from("not Avro");
      await producer.send({
        topic: "transactions",
        messages: [{ key: "acc-letters", value, partition: first.partition }],
      });
    } finally {
      await producer.disconnect();
    }
    const dead = await tailrace.until("it is a dead letter", async () => {
      const found = await listed("--kind", "dead");
      return found.length === 2 && found.find(({ pipeline }) => pipeline === "account_minute");
    });
    assert.equal(dead.source.partition, first.partition);
    const refused = await runToEnd(["letters", "redrive", placeOf(dead), "--yes", "--api", tailrace.url]);
    assert.equal(refused.code, 1);
    assert.match(refused.stdout, /refused: it would be a dead letter again: the value does not start with a schema id/);
    const edited = `${folder.path}/edited.json`;
    await Deno.writeTextFile(edited, JSON.stringify(payment(T0 + 3_000, { amount: "5.00" })));
    const { stdout } = await letters("redrive", placeOf(dead), "--edit", edited, "--encode-with", "newest", "--yes");
    assert.match(stdout, /1 redriven/);
    await tailrace.until("the window counts it", async () => {
      const row = await rowOf(T0);
      return row?.n === 3 && row.total === "15.50" && row.final;
    });
    const { consumed, aggregated, filtered, late, dead: deadCount, duplicate } = await buckets();
    assert.equal(consumed, aggregated + filtered + late + deadCount + duplicate);
  });

  await t.step("a table for people, an exit code for a letter that is not there", async () => {
    const { stdout } = await letters("list");
    assert.match(stdout, /^LETTER +RECORD'S TIME +PIPELINE/);
    assert.equal(stdout.trim().split("\n").length, 4, "a head, a late record, and a dead letter of each pipeline");
    const absent = await runToEnd(["letters", "show", "late/transactions/0/999", "--api", tailrace.url]);
    assert.equal(absent.code, 2);
    assert.match(absent.stderr, /There is no such letter/);
  });
});
