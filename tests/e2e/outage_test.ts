import assert from "node:assert/strict";
import avsc from "avsc";
import { Buffer } from "node:buffer";
import { Partitioners } from "kafkajs";
import { startRegistry } from "../../broker/registry/mod.ts";
import { freePort } from "../servers/free_port.ts";
import { assertTablesAreExact } from "./exactness.ts";
import { killWhenever, memoryBytes } from "./faults.ts";
import { Child, sleep, Tailrace, temporaryFolder, until } from "./harness.ts";
import { kafkaAt } from "./topic_reader.ts";

/** What the whole process may hold while something is away. */
const MEMORY_BYTES_MAX = 1024 ** 3;
const PIPELINES = ["account_minute", "category_declines"];

/** A broker in its own process, which keeps its port and folder when it is started again. */
async function startBrokerAt(folder: string, port: number): Promise<Child> {
  const script = new URL("broker_child.ts", import.meta.url).pathname;
  const child = new Child([Deno.execPath(), "run", "-A", script, `${folder}/broker`, String(port)]);
  await until("the broker listens", () => {
    if (child.hasEnded) throw new Error(`The broker ended: ${child.stderr}`);
    return child.stdout.includes("listening");
  });
  return child;
}

Deno.test("when PostgreSQL, registry or broker go away it waits, says so, recovers by itself, and the result is exact", async (t) => {
  await using folder = temporaryFolder();
  const [brokerPort, registryPort] = [freePort(), freePort()];
  let broker = await startBrokerAt(folder.path, brokerPort);
  const registryAt = { host: "127.0.0.1", port: registryPort, dataDir: `${folder.path}/registry` };
  let registry = await startRegistry(registryAt);
  try {
    const args = [
      "dev",
      ...["--data", `${folder.path}/data`, "--port", "0", "--postgres-port", "0"],
      ...["--brokers", `127.0.0.1:${brokerPort}`, "--registry", registry.url, "--pipelines", PIPELINES.join(",")],
    ];
    {
      await using tailrace = await Tailrace.start([...args, "--rate", "2000"]);
      const status = () => tailrace.status("account_minute");
      const waits = (pattern: RegExp) =>
        tailrace.until(`it waits for ${pattern}`, async () => {
          const { state, reason } = await status();
          return state === "waiting" && pattern.test(reason ?? "") && reason;
        });
      const recovers = async (what: string) => {
        await tailrace.until(`it runs again ${what}`, async () => (await status()).state === "running");
        const { rowsWritten, buckets } = await status();
        await tailrace.until(`it reads and writes again ${what}`, async () => {
          const now = await status();
          return now.rowsWritten > rowsWritten && now.buckets.consumed > buckets.consumed;
        });
        assert.ok(memoryBytes(tailrace.child.pid) < MEMORY_BYTES_MAX);
      };
      await tailrace.until("results are written", async () => (await status()).rowsWritten > 10_000);

      await t.step("PostgreSQL is killed", async () => {
        // It is started again at once, so one kill may fall between two writes unnoticed.
        const cluster = `${folder.path}/data/postgres/cluster`;
        const killing = new AbortController();
        const killed = killWhenever(cluster, killing.signal);
        await waits(/postgres|connect|terminat/i);
        await tailrace.until("the lag tells for how long", async () => {
          const { state, lagSeconds } = await status();
          return state === "waiting" && lagSeconds > 1;
        }).finally(() => killing.abort());
        assert.ok(await killed > 0);
        await recovers("after PostgreSQL was killed");
      });

      await t.step("the registry is away when a schema comes that is not known yet", async () => {
        const before = (await status()).buckets;
        const schema = await nextSchema(registry.url);
        await registry.close();
        await sendPayments(`127.0.0.1:${brokerPort}`, schema, 40);
        const reason = await waits(/registry/i);
        assert.ok(reason.includes(String(registryPort)), reason);
        await sleep(500);
        assert.equal((await status()).buckets.dead, before.dead, "not buried");
        registry = await startRegistry(registryAt);
        await recovers("after the registry came back");
        await tailrace.until("the payments of the new schema count", async () => {
          const response = await fetch(`${tailrace.url}/v1/pipelines/account_minute/results?key=acc-new-schema`);
          const { rows } = await response.json();
          return rows.reduce((sum: number, { n }: { n: number }) => sum + n, 0) === 40;
        });
        assert.equal((await status()).buckets.dead, before.dead);
      });

      await t.step("the broker is killed", async () => {
        broker.kill("SIGKILL");
        await broker.exited();
        await waits(new RegExp(`127\\.0\\.0\\.1:${brokerPort}|kafka|broker`, "i"));
        await sleep(1_000);
        await broker[Symbol.asyncDispose]();
        broker = await startBrokerAt(folder.path, brokerPort);
        await recovers("after the broker came back");
      });
      assert.equal((await tailrace.stop()).code, 0);
    }
    await t.step("nothing was lost and nothing doubled", async () => {
      await using tailrace = await Tailrace.start([...args, "--rate", "0"]);
      const { records, dead } = await assertTablesAreExact(tailrace, PIPELINES);
      assert.ok(records > 300_000, `${records} records`);
      assert.equal(dead, 0);
    });
  } finally {
    await registry.close();
    await broker[Symbol.asyncDispose]();
  }
});

/** Registers transactions with one more field, which the engine has not met; returns its id and type. */
async function nextSchema(registryUrl: string): Promise<{ id: number; type: avsc.Type }> {
  const path = new URL("../../schemas/transaction.avsc", import.meta.url);
  const schema = JSON.parse(await Deno.readTextFile(path));
  schema.fields.push({ name: "channel", type: "string", default: "" });
  const response = await fetch(`${registryUrl}/subjects/transactions-value/versions`, {
    method: "POST",
    headers: { "content-type": "application/vnd.schemaregistry.v1+json" },
    body: JSON.stringify({ schema: JSON.stringify(schema) }),
  });
  return { id: (await response.json()).id, type: avsc.Type.forSchema(schema) };
}

async function sendPayments(
  brokers: string,
  { id, type }: { id: number; type: avsc.Type },
  count: number,
): Promise<void> {
  const frame = Buffer.alloc(5);
  frame.writeInt32BE(id, 1);
  const messages = Array.from({ length: count }, (_, i) => ({
    key: "acc-new-schema",
    partition: i % 4,
    value: Buffer.concat([
      frame,
      type.toBuffer({
        transaction_id: crypto.randomUUID(),
        account_id: "acc-new-schema",
        merchant: "corner shop",
        category: "groceries",
        status: "approved",
        amount: Buffer.from([100]),
        currency: "EUR",
        country: null,
        event_time: Date.now(),
        channel: "web",
      }),
    ]),
  }));
  const producer = kafkaAt(brokers).producer({ createPartitioner: Partitioners.DefaultPartitioner });
  await producer.connect();
  try {
    await producer.send({ topic: "transactions", messages });
  } finally {
    await producer.disconnect();
  }
}
