import assert from "node:assert/strict";
import avsc from "avsc";
import { Buffer } from "node:buffer";
import { Partitioners } from "kafkajs";
import { FREE_PORTS, Tailrace, temporaryFolder } from "./harness.ts";
import { headerText, kafkaAt, readTopic, type TopicRecord } from "./topic_reader.ts";

const TRANSACTION = JSON.parse(
  await Deno.readTextFile(new URL("../../schemas/transaction.avsc", import.meta.url)),
);

/** A transaction as JSON. */
function payment(fields: Record<string, unknown> = {}): Record<string, unknown> {
  return {
    transaction_id: "0192d0c5-0000-7000-8000-000000000001",
    account_id: "acc-e2e",
    merchant: "corner shop",
    category: "groceries",
    status: "approved",
    amount: "12.34",
    currency: "EUR",
    country: null,
    event_time: new Date().toISOString(),
    ...fields,
  };
}

function framed(schemaId: number, avro: Uint8Array): Buffer {
  const frame = Buffer.alloc(5);
  frame.writeInt32BE(schemaId, 1);
  return Buffer.concat([frame, avro]);
}

Deno.test("bad records end beside the topic, good ones go on", async (t) => {
  await using folder = temporaryFolder();
  await using tailrace = await Tailrace.start([
    "dev",
    ...["--data", `${folder.path}/data`, ...FREE_PORTS, "--rate", "500", "--pipelines", "account_minute"],
  ]);
  await tailrace.until("payments are aggregated", async () => {
    return (await tailrace.status("account_minute")).buckets.aggregated > 50_000;
  });
  const post = async (topic: string, body: unknown) => {
    const response = await fetch(`${tailrace.url}/v1/topics/${topic}/records`, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify(body),
    });
    return { status: response.status, type: response.headers.get("content-type"), body: await response.json() };
  };

  await t.step("values that do not decode are dead letters, byte for byte, with Kafka Connect's headers", async () => {
    const subject = await fetch(`${tailrace.registryUrl}/subjects/transactions-value/versions/latest`);
    const { id } = await subject.json();
    const other = JSON.stringify({ type: "record", name: "Other", fields: [{ name: "unrelated", type: "int" }] });
    const registered = await fetch(`${tailrace.registryUrl}/subjects/other-value/versions`, {
      method: "POST",
      headers: { "content-type": "application/vnd.schemaregistry.v1+json" },
      body: JSON.stringify({ schema: other }),
    });
    const otherId = (await registered.json()).id;
    const type = avsc.Type.forSchema(TRANSACTION);
    const good = type.toBuffer({
      ...payment({ event_time: Date.now() }),
      amount: Buffer.from([0x04, 0xd2]),
    });
    const poison: Record<string, { value: Buffer; why: RegExp }> = {
      "no frame": { value: Buffer.from("hello"), why: /schema id/ },
      "no bytes": { value: Buffer.alloc(0), why: /schema id/ },
      "cut off": { value: framed(id, good.subarray(0, good.length - 3)), why: /event_time|end/ },
      "unknown schema": { value: framed(4_242_424, good), why: /4242424.*not in the registry/ },
      "another schema": { value: framed(otherId, Buffer.from([2])), why: /./ },
      "a length beyond the end": { value: framed(id, Buffer.from([72, 0xff, 0xff, 0xff, 0xff, 0x0f])), why: /./ },
    };
    const before = await tailrace.status("account_minute");
    const producer = kafkaAt(tailrace.brokers).producer({ createPartitioner: Partitioners.DefaultPartitioner });
    await producer.connect();
    const messages = Object.entries(poison).map(([name, { value }], i) => ({
      key: Buffer.from([0xff, i]),
      value,
      partition: i % 4,
      headers: { trace: Buffer.from([0, 0xfe, i]), name },
    }));
    try {
      await producer.send({ topic: "transactions", messages });
    } finally {
      await producer.disconnect();
    }
    const after = await tailrace.until("all are counted as dead", async () => {
      const status = await tailrace.status("account_minute");
      return status.buckets.dead === messages.length && status.state === "running" && status;
    });
    const { consumed, aggregated, filtered, late, dead } = after.buckets;
    assert.equal(consumed, aggregated + filtered + late + dead);
    await tailrace.until("good records go on", async () => {
      return (await tailrace.status("account_minute")).buckets.aggregated > before.buckets.aggregated + 500;
    });
    // Counted when they are met, written with the next rows.
    const letters = await tailrace.until("all are in the topic of dead letters", async () => {
      const records = await readTopic(tailrace.brokers, "transactions.dead");
      return records.length >= messages.length &&
        new Map(records.map((record) => [headerText(record, "name"), record]));
    });
    assert.equal(letters.size, messages.length);
    for (const { key, value, partition, headers } of messages) {
      const letter = letters.get(headers.name)!;
      assert.deepEqual(new Uint8Array(letter.key!), new Uint8Array(key));
      assert.deepEqual(new Uint8Array(letter.value!), new Uint8Array(value));
      assert.deepEqual(new Uint8Array(letter.headers.trace as Buffer), new Uint8Array(headers.trace));
      const told = (name: string) => headerText(letter, `__connect.errors.${name}`);
      assert.equal(told("topic"), "transactions");
      assert.equal(told("partition"), String(partition));
      assert.match(told("offset")!, /^\d+$/);
      assert.equal(told("connector.name"), "account_minute");
      assert.equal(told("task.id"), "0");
      assert.equal(told("stage"), "VALUE_CONVERTER");
      assert.equal(told("exception.class.name"), "MalformedRecordError");
      assert.match(told("exception.message")!, poison[headers.name].why, headers.name);
    }
  });

  await t.step("JSON that fits is written as Avro and counted", async () => {
    const value = payment();
    const { status, body } = await post("transactions", {
      records: [{ key: "acc-e2e", value }, { key: "acc-e2e", value: { ...value, amount: "0.66" } }],
    });
    assert.equal(status, 201, JSON.stringify(body));
    assert.equal(body.records.length, 2);
    assert.equal(body.records[1].offset, body.records[0].offset + 1);
    const type = avsc.Type.forSchema(TRANSACTION);
    const records = await readTopic(tailrace.brokers, "transactions");
    const written = body.records.map(({ partition, offset }: { partition: number; offset: number }) => {
      const record = records.find((record) => record.partition === partition && record.offset === offset)!;
      assert.equal(new TextDecoder().decode(record.key!), "acc-e2e");
      return type.fromBuffer(record.value!.subarray(5) as never);
    });
    assert.deepEqual(written.map(({ amount }: { amount: Buffer }) => amount.toString("hex")), ["04d2", "42"]);
    assert.deepEqual([written[0].merchant, written[0].category], ["corner shop", "groceries"]);
    await tailrace.until("the result is there", async () => {
      const response = await fetch(`${tailrace.url}/v1/pipelines/account_minute/results?key=acc-e2e`);
      const { rows } = await response.json();
      return rows.length === 1 && rows[0].n === 2 && rows[0].total === "13.00" && rows[0].largest === "12.34";
    });
  });

  await t.step("JSON that does not fit is refused whole, with the record and the field of each fault", async () => {
    const { status, type, body } = await post("transactions", {
      records: [
        { key: "acc-e2e", value: payment() },
        { key: "acc-e2e", value: payment({ amount: "a lot", category: "spaceships" }) },
        { key: "acc-e2e", value: { account_id: 7 } },
      ],
    });
    assert.equal(status, 422);
    assert.match(type!, /^application\/problem\+json/);
    const told = (body.errors as { where: string; problem: string }[]).map(({ where, problem }) =>
      `${where} ${problem}`
    );
    for (const fault of [/^records\[1\].*amount/, /^records\[1\].*category/, /^records\[2\].*account_id/]) {
      assert.ok(told.some((line) => fault.test(line)), JSON.stringify(told));
    }
    assert.ok(!told.some((line) => line.startsWith("records[0]")));
    const absent = await post("no-such-topic", { records: [{ value: {} }] });
    assert.equal(absent.status, 404);
    const response = await fetch(`${tailrace.url}/v1/pipelines/account_minute/results?key=acc-e2e`);
    assert.deepEqual((await response.json()).rows.map(({ n }: { n: number }) => n), [2]);
  });

  await t.step("a record whose window has closed ends among the late ones, with the reason", async () => {
    const { status, body } = await post("transactions", {
      records: [{
        key: "acc-late",
        value: payment({ account_id: "acc-late", event_time: "2020-02-02T02:02:02.000Z" }),
      }],
    });
    assert.equal(status, 201);
    const [at] = body.records;
    await tailrace.until("it is counted as late", async () => {
      return (await tailrace.status("account_minute")).buckets.late === 1;
    });
    const [late, ...more]: TopicRecord[] = await tailrace.until("it is in the topic of late records", async () => {
      const records = await readTopic(tailrace.brokers, "transactions.late");
      return records.length > 0 && records;
    });
    assert.equal(more.length, 0);
    assert.equal(new TextDecoder().decode(late.key!), "acc-late");
    assert.equal(headerText(late, "__connect.errors.partition"), String(at.partition));
    assert.equal(headerText(late, "__connect.errors.offset"), String(at.offset));
    assert.match(headerText(late, "tailrace.late.reason")!, /window/);
    const original = (await readTopic(tailrace.brokers, "transactions"))
      .find(({ partition, offset }) => partition === at.partition && offset === at.offset)!;
    assert.deepEqual(new Uint8Array(late.value!), new Uint8Array(original.value!));
  });
});
