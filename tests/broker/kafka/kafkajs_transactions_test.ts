import assert from "node:assert/strict";
import { Kafka, type KafkaJSProtocolError, logLevel, type Producer } from "kafkajs";
import { brokerIn, temporaryFolder, type TestBroker } from "./support.ts";

function kafkaAt(broker: TestBroker): Kafka {
  return new Kafka({ clientId: "test", brokers: [broker.address], logLevel: logLevel.NOTHING, retry: { retries: 3 } });
}

function transactional(kafka: Kafka, transactionalId = "tx"): Producer {
  return kafka.producer({ transactionalId, idempotent: true, maxInFlightRequests: 1 });
}

/** What a new group reads of a topic until `count` records have come and nothing more for a moment. */
async function read(kafka: Kafka, topic: string, options: { count: number; committed: boolean }): Promise<string[]> {
  const groupId = `g${crypto.randomUUID()}`;
  const consumer = kafka.consumer({ groupId, readUncommitted: !options.committed, maxWaitTimeInMs: 50 });
  const seen: string[] = [];
  await consumer.connect();
  try {
    await consumer.subscribe({ topics: [topic], fromBeginning: true });
    await consumer.run({ eachMessage: ({ message }) => Promise.resolve(void seen.push(message.value!.toString())) });
    for (const end = performance.now() + 60_000; seen.length < options.count && performance.now() < end;) {
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
    await new Promise((resolve) => setTimeout(resolve, 150));
  } finally {
    await consumer.disconnect();
  }
  return seen.sort();
}

Deno.test("kafkajs commits and aborts: a reader of committed records sees the first only, another one both", async () => {
  using folder = temporaryFolder();
  await using broker = await brokerIn(folder.path, { defaultPartitions: 2 });
  const kafka = kafkaAt(broker);
  const producer = transactional(kafka);
  await producer.connect();
  try {
    for (let round = 0; round < 4; round++) {
      const transaction = await producer.transaction();
      const messages = [{ value: `${round}a`, partition: 0 }, { value: `${round}b`, partition: 1 }];
      await transaction.send({ topic: "t", messages });
      await transaction.send({ topic: "t", messages: [{ value: `${round}c`, partition: 0 }] });
      if (round % 2 === 0) await transaction.commit();
      else await transaction.abort();
    }
    assert.deepEqual(await read(kafka, "t", { count: 6, committed: true }), ["0a", "0b", "0c", "2a", "2b", "2c"]);
    assert.equal((await read(kafka, "t", { count: 12, committed: false })).length, 12);
  } finally {
    await producer.disconnect();
  }
});

Deno.test("kafkajs's offsets become the group's with the commit of their transaction, and never with an abort", async () => {
  using folder = temporaryFolder();
  await using broker = await brokerIn(folder.path, { defaultPartitions: 1 });
  const kafka = kafkaAt(broker);
  const [producer, admin] = [transactional(kafka), kafka.admin()];
  await producer.connect();
  await admin.connect();
  const committed = async () => (await admin.fetchOffsets({ groupId: "g", topics: ["t"] }))[0].partitions[0].offset;
  try {
    await admin.createTopics({ topics: [{ topic: "t", numPartitions: 1 }] });
    const commitTo = async (offset: string) => {
      const transaction = await producer.transaction();
      await transaction.sendOffsets({
        consumerGroupId: "g",
        topics: [{ topic: "t", partitions: [{ partition: 0, offset }] }],
      });
      return transaction;
    };
    const first = await commitTo("5");
    assert.equal(await committed(), "-1");
    await first.commit();
    assert.equal(await committed(), "5");
    await (await commitTo("9")).abort();
    assert.equal(await committed(), "5");
  } finally {
    await producer.disconnect();
    await admin.disconnect();
  }
});

Deno.test("a second kafkajs producer with the same id fences the first and aborts what it left open", async () => {
  using folder = temporaryFolder();
  await using broker = await brokerIn(folder.path, { defaultPartitions: 1 });
  const kafka = kafkaAt(broker);
  const [first, second] = [transactional(kafka), transactional(kafka)];
  try {
    await first.connect();
    const stale = await first.transaction();
    await stale.send({ topic: "t", messages: [{ value: "stale", partition: 0 }] });
    await second.connect();
    const transaction = await second.transaction();
    await transaction.send({ topic: "t", messages: [{ value: "fresh", partition: 0 }] });
    await assert.rejects(
      stale.send({ topic: "t", messages: [{ value: "too late", partition: 0 }] }),
      (error: KafkaJSProtocolError) => error.type === "INVALID_PRODUCER_EPOCH",
    );
    await assert.rejects(stale.commit());
    await transaction.commit();
    assert.deepEqual(await read(kafka, "t", { count: 1, committed: true }), ["fresh"]);
  } finally {
    await first.disconnect();
    await second.disconnect();
  }
});
