import assert from "node:assert/strict";
import { Admin, Consumer, ProduceAcks, Producer, stringDeserializers, stringSerializers } from "@platformatic/kafka";
import { brokerIn, RawClient, temporaryFolder, valuesIn } from "./support.ts";

Deno.test("@platformatic/kafka creates a topic, produces, consumes in a group and commits", async () => {
  using folder = temporaryFolder();
  await using broker = await brokerIn(folder.path);
  const bootstrapBrokers = [broker.address];
  const admin = new Admin({ clientId: "admin", bootstrapBrokers });
  const producer = new Producer({ clientId: "p", bootstrapBrokers, serializers: stringSerializers });
  const consumer = new Consumer({ clientId: "c", groupId: "g", bootstrapBrokers, deserializers: stringDeserializers });
  try {
    await admin.createTopics({ topics: ["t"], partitions: 3, replicas: 1 });
    for (let round = 0; round < 4; round++) {
      await producer.send({
        acks: ProduceAcks.ALL,
        messages: Array.from({ length: 50 }, (_, i) => ({ topic: "t", key: `k${i}`, value: `${round}/${i}` })),
      });
    }
    const stream = await consumer.consume({ topics: ["t"], mode: "earliest", autocommit: false, maxWaitTime: 100 });
    const seen: string[] = [];
    let last;
    for await (const message of stream) {
      seen.push(`${message.key} ${message.value}`);
      last = message;
      if (seen.length === 200) break;
    }
    await last!.commit();
    const expected = Array.from({ length: 200 }, (_, n) => `k${n % 50} ${Math.floor(n / 50)}/${n % 50}`);
    assert.deepEqual(seen.sort(), expected.sort());
    const committed = await consumer.listCommittedOffsets({ topics: [{ topic: "t", partitions: [0, 1, 2] }] });
    assert.equal(committed.get("t")![last!.partition], last!.offset + 1n);
    await stream.close();
  } finally {
    await consumer.close();
    await producer.close();
    await admin.close();
  }
});

Deno.test("@platformatic/kafka's idempotent producer writes each record once", async () => {
  using folder = temporaryFolder();
  await using broker = await brokerIn(folder.path);
  const bootstrapBrokers = [broker.address];
  const producer = new Producer({
    clientId: "p",
    bootstrapBrokers,
    serializers: stringSerializers,
    idempotent: true,
    autocreateTopics: true,
  });
  try {
    const sent = Array.from({ length: 10 }, (_, i) => `${i}`);
    for (const value of sent) await producer.send({ messages: [{ topic: "t", partition: 0, value }] });
    using client = await RawClient.open(broker);
    assert.deepEqual(valuesIn((await client.fetch("t", 0)).records).map(({ value }) => value), sent);
  } finally {
    await producer.close();
  }
});
