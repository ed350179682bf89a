import assert from "node:assert/strict";
import avsc from "avsc";
import { Buffer } from "node:buffer";
import { startPostgres } from "../sinks/postgres_server.ts";
import { FREE_PORTS, isInstalled, shell, Tailrace, temporaryFolder } from "./harness.ts";
import { readTopic } from "./topic_reader.ts";

/** From a statement to the records of it. */
const WITHIN_MS = 180_000;

interface Found {
  readonly key: string;
  /** Null for a tombstone. */
  // Boundary: values of any schema.
  // deno-lint-ignore no-explicit-any
  readonly value: any;
}

/** The topic's records as somebody else's reader has them. */
async function readAvro({ brokers, registryUrl }: Tailrace, topic: string): Promise<Found[]> {
  const types = new Map<number, avsc.Type>();
  const found: Found[] = [];
  for (const { key, value } of await readTopic(brokers, topic).catch(() => [])) {
    const id = value === null ? 0 : new DataView(value.buffer, value.byteOffset).getInt32(1);
    if (value !== null && !types.has(id)) {
      const { schema } = await (await fetch(`${registryUrl}/schemas/ids/${id}`)).json();
      types.set(id, avsc.Type.forSchema(JSON.parse(schema), { wrapUnions: false }));
    }
    found.push({
      key: new TextDecoder().decode(key!),
      value: value === null ? null : types.get(id)!.fromBuffer(Buffer.from(value.subarray(5))),
    });
  }
  return found;
}

async function connector({ url }: Tailrace, name: string) {
  return await (await fetch(`${url}/v1/connectors/${name}`)).json();
}

Deno.test("what psql does to the shop's products is in the topics of both sources within seconds", async (t) => {
  if (!await isInstalled("psql")) return console.log("left out: psql is not installed");
  await using folder = temporaryFolder();
  await using tailrace = await Tailrace.start([
    "dev",
    ...["--pipelines", "products,products_changes", "--rate", "0", "--data", `${folder.path}/data`, ...FREE_PORTS],
  ]);
  const psql = async (statement: string) => {
    const { code, stderr } = await shell(`psql "${tailrace.databaseUrl}" -v ON_ERROR_STOP=1 -qc "${statement}"`);
    assert.equal(code, 0, stderr);
  };
  const changes = (key: string) =>
    readAvro(tailrace, "cdc.shop.products").then((all) => all.filter((one) => one.key === key));
  const rows = async (id: number) => (await readAvro(tailrace, "products")).filter(({ value }) => value.id === id);
  const text = (value: Uint8Array) => Number(BigInt(`0x${value.toHex() || "0"}`)) / 100;

  await t.step("the rows that are there", async () => {
    await tailrace.until("both have all products", async () => {
      const [one, other] = [await readAvro(tailrace, "products"), await readAvro(tailrace, "cdc.shop.products")];
      return one.length >= 100 && other.length >= 100 && other.every(({ value }) => value.op === "r");
    }, WITHIN_MS);
  });

  await t.step("an update: before and after", async () => {
    await psql("ALTER TABLE shop.products REPLICA IDENTITY FULL");
    await psql("UPDATE shop.products SET price = 12.34, last_updated = now() WHERE id = 7");
    const [, { value }] = await tailrace.until("the update", async () => {
      const all = await changes('{"id":7}');
      return all.length === 2 && all;
    }, WITHIN_MS);
    assert.equal(value.op, "u");
    assert.deepEqual([value.before.id, value.after.id, text(value.after.price)], [7, 7, 12.34]);
    assert.notEqual(text(value.before.price), 12.34);
    assert.deepEqual([value.source.schema, value.source.table], ["shop", "products"]);
    await tailrace.until("the row", async () => {
      const all = await rows(7);
      return all.length === 2 && text(all[1].value.price) === 12.34;
    }, WITHIN_MS);
  });

  await t.step("a delete: the row before, and a record without a value", async () => {
    await psql("DELETE FROM shop.products WHERE id = 8");
    const all = await tailrace.until("the delete", async () => {
      const all = await changes('{"id":8}');
      return all.length === 3 && all;
    }, WITHIN_MS);
    assert.deepEqual(all.map(({ value }) => value?.op ?? null), ["r", "d", null]);
    assert.deepEqual([all[1].value.before.id, all[1].value.after], [8, null]);
    assert.equal((await rows(8)).length, 1, "deletes are not seen by the time of change");
  });

  await t.step("an insert", async () => {
    await psql("INSERT INTO shop.products (id, name, category, price) VALUES (9001, 'Lamp', 'home', 5)");
    const [{ value }] = await tailrace.until("the insert", async () => {
      const all = await changes('{"id":9001}');
      return all.length === 1 && all;
    }, WITHIN_MS);
    assert.deepEqual([value.op, value.before, value.after.name], ["c", null, "Lamp"]);
    await tailrace.until("the row", async () => (await rows(9001)).length === 1, WITHIN_MS);
  });

  await t.step("both say how it goes", async () => {
    const running = (name: string) =>
      tailrace.until(`${name} runs`, async () => {
        const one = await connector(tailrace, name);
        return one.state === "running" && one;
      });
    const { counts, details } = await running("products_changes");
    assert.deepEqual([details.phase, details.slot], ["changes", "tailrace_products_changes"]);
    assert.ok(counts.written >= 104);
    await running("products");
  });
  const { code } = await tailrace.stop();
  assert.equal(code, 0);
});

Deno.test("on a PostgreSQL without logical decoding the changes stop, say why, and the rest goes on", async () => {
  await using server = await startPostgres({ settings: ["wal_level=replica"] });
  await using folder = temporaryFolder();
  const data = ["--rate", "0", "--data", `${folder.path}/data`, "--database", server.url, ...FREE_PORTS];
  {
    await using tailrace = await Tailrace.start(["dev", "--pipelines", "products,products_changes", ...data], {
      databaseUrl: server.url,
    });
    const why = /has wal_level = replica: set wal_level = logical/;
    const { state, reason } = await tailrace.until("the changes stop", async () => {
      const one = await connector(tailrace, "products_changes");
      return one.state === "failed" && one;
    }, WITHIN_MS);
    assert.deepEqual([state, why.test(reason)], ["failed", true], reason);
    const { connectors } = await (await fetch(`${tailrace.url}/v1/connectors`)).json();
    assert.match(connectors.find(({ name }: { name: string }) => name === "products_changes").reason, why);
    await tailrace.until(
      "the products come",
      async () => {
        const { counts, state } = await connector(tailrace, "products");
        return counts.written >= 100 && state === "running";
      },
    );
    const said = tailrace.child.stderr.split("\n").filter((line) => why.test(line));
    assert.equal(said.length, 1, said.join("\n"));
    assert.match(said[0], /products_changes stopped: PostgreSQL 127\.0\.0\.1:\d+/);
    assert.ok(!tailrace.child.stderr.includes("    at "), "no stack for what a person has to set");
    const { code } = await tailrace.stop();
    assert.equal(code, 1, "something was given up");
  }
});
