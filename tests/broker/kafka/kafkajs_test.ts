import assert from "node:assert/strict";
import { Kafka, type KafkaJSAggregateError, type KafkaJSProtocolError, logLevel, Partitioners } from "kafkajs";
import { brokerIn, temporaryFolder, type TestBroker } from "./support.ts";

function kafkaAt(broker: TestBroker): Kafka {
  return new Kafka({ clientId: "test", brokers: [broker.address], logLevel: logLevel.NOTHING, retry: { retries: 3 } });
}

async function until(what: string, holds: () => boolean): Promise<void> {
  for (const end = performance.now() + 60_000; !holds();) {
    if (performance.now() > end) throw new Error(`It did not happen within 60 s: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

Deno.test("kafkajs creates, describes, extends and deletes topics", async () => {
  using folder = temporaryFolder();
  await using broker = await brokerIn(folder.path);
  const admin = kafkaAt(broker).admin();
  await admin.connect();
  try {
    const configEntries = [{ name: "retention.ms", value: "60000" }];
    assert.equal(await admin.createTopics({ topics: [{ topic: "orders", numPartitions: 3, configEntries }] }), true);
    assert.equal(await admin.createTopics({ topics: [{ topic: "orders" }] }), false);
    await assert.rejects(admin.createTopics({ topics: [{ topic: "not a name" }] }), (error: KafkaJSAggregateError) => {
      return (error.errors[0] as KafkaJSProtocolError).type === "INVALID_TOPIC_EXCEPTION";
    });
    await admin.createPartitions({ topicPartitions: [{ topic: "orders", count: 5 }] });
    const { topics: [orders] } = await admin.fetchTopicMetadata({ topics: ["orders"] });
    assert.deepEqual(orders.partitions.map((partition) => partition.partitionId), [0, 1, 2, 3, 4]);
    const { resources: [resource] } = await admin.describeConfigs({
      includeSynonyms: false,
      resources: [{ type: 2, name: "orders" }],
    });
    assert.equal(resource.configEntries.find((entry) => entry.configName === "retention.ms")?.configValue, "60000");
    const cluster = await admin.describeCluster();
    assert.equal(cluster.brokers[0].port, broker.running.port);
    assert.deepEqual(await admin.listTopics(), ["orders"]);
    await admin.deleteTopics({ topics: ["orders"] });
    assert.deepEqual(await admin.listTopics(), []);
    assert.deepEqual([...Deno.readDirSync(`${folder.path}/topics`)], []);
  } finally {
    await admin.disconnect();
  }
});

for (const idempotent of [false, true]) {
  Deno.test(`kafkajs produces and consumes, ${idempotent ? "idempotent" : "not idempotent"}, keys, headers and times kept`, async () => {
    using folder = temporaryFolder();
    await using broker = await brokerIn(folder.path);
    const kafka = kafkaAt(broker);
    const producer = kafka.producer({ idempotent, createPartitioner: Partitioners.DefaultPartitioner });
    const consumer = kafka.consumer({
      groupId: "g",
      sessionTimeout: 6000,
      heartbeatInterval: 500,
      maxWaitTimeInMs: 100,
    });
    const seen: string[] = [];
    try {
      await producer.connect();
      for (let round = 0; round < 5; round++) {
        await producer.send({
          topic: "t",
          acks: -1,
          messages: Array.from({ length: 100 }, (_, i) => ({
            key: `k${i}`,
            value: `${round}/${i}`,
            headers: { round: String(round) },
            timestamp: String(1_700_000_000_000 + i),
          })),
        });
      }
      await consumer.connect();
      await consumer.subscribe({ topics: ["t"], fromBeginning: true });
      await consumer.run({
        eachMessage: ({ message }) => {
          const { key, value, headers, timestamp } = message;
          seen.push([key, value, headers!.round, Number(timestamp) - 1_700_000_000_000].join(" "));
          return Promise.resolve();
        },
      });
      await until("500 messages were consumed", () => seen.length >= 500);
    } finally {
      await consumer.disconnect();
      await producer.disconnect();
    }
    const expected = Array.from({ length: 500 }, (_, n) => {
      const [round, i] = [Math.floor(n / 100), n % 100];
      return `k${i} ${round}/${i} ${round} ${i}`;
    });
    assert.deepEqual(seen.sort(), expected.sort());
  });
}

Deno.test("two kafkajs members share the partitions, and one takes over all when the other leaves", async () => {
  using folder = temporaryFolder();
  await using broker = await brokerIn(folder.path, { defaultPartitions: 4 });
  const kafka = kafkaAt(broker);
  const admin = kafka.admin();
  await admin.connect();
  await admin.createTopics({ topics: [{ topic: "t", numPartitions: 4 }] });
  const assigned = new Map<string, number[]>();
  const start = async (name: string) => {
    const consumer = kafka.consumer({
      groupId: "g",
      sessionTimeout: 6000,
      rebalanceTimeout: 6000,
      heartbeatInterval: 100,
      maxWaitTimeInMs: 50,
    });
    consumer.on(consumer.events.GROUP_JOIN, ({ payload }) => {
      assigned.set(name, payload.memberAssignment.t ?? []);
    });
    await consumer.connect();
    await consumer.subscribe({ topics: ["t"] });
    await consumer.run({ eachMessage: () => Promise.resolve() });
    return consumer;
  };
  const one = await start("one");
  await until("one has all partitions", () => assigned.get("one")?.length === 4);
  const two = await start("two");
  try {
    await until("they share", () => assigned.get("one")?.length === 2 && assigned.get("two")?.length === 2);
    assert.deepEqual([...assigned.get("one")!, ...assigned.get("two")!].sort(), [0, 1, 2, 3]);
    const { groups: [group] } = await admin.describeGroups(["g"]);
    assert.deepEqual([group.state, group.members.length, group.protocol], ["Stable", 2, "RoundRobinAssigner"]);
    assert.deepEqual((await admin.listGroups()).groups, [{ groupId: "g", protocolType: "consumer" }]);
    await one.disconnect();
    await until("two has all partitions", () => assigned.get("two")?.length === 4);
  } finally {
    await two.disconnect();
    await admin.disconnect();
  }
});

Deno.test("committed offsets, topics and records are there after a restart", async () => {
  using folder = temporaryFolder();
  {
    await using broker = await brokerIn(folder.path);
    const kafka = kafkaAt(broker);
    const [admin, producer] = [kafka.admin(), kafka.producer()];
    await admin.connect();
    await producer.connect();
    await admin.createTopics({ topics: [{ topic: "t", numPartitions: 2 }] });
    await producer.send({ topic: "t", messages: [{ value: "a", partition: 1 }, { value: "b", partition: 1 }] });
    const consumer = kafka.consumer({ groupId: "g", maxWaitTimeInMs: 50 });
    await consumer.connect();
    await consumer.subscribe({ topics: ["t"], fromBeginning: true });
    const seen = Promise.withResolvers<void>();
    await consumer.run({
      autoCommit: false,
      eachMessage: async () => {
        await consumer.commitOffsets([{ topic: "t", partition: 1, offset: "1", metadata: "note" }]);
        seen.resolve();
      },
    });
    await seen.promise;
    await consumer.disconnect();
    await producer.disconnect();
    await admin.disconnect();
  }
  await using broker = await brokerIn(folder.path);
  const admin = kafkaAt(broker).admin();
  await admin.connect();
  try {
    const offsets = await admin.fetchOffsets({ groupId: "g", topics: ["t"] });
    assert.deepEqual(offsets[0].partitions.map(({ partition, offset }) => [partition, offset]).sort(), [[0, "-1"], [
      1,
      "1",
    ]]);
    const ends = await admin.fetchTopicOffsets("t");
    assert.deepEqual(ends.map(({ partition, high }) => [partition, high]).sort(), [[0, "0"], [1, "2"]]);
    await admin.deleteGroups(["g"]);
    const after = await admin.fetchOffsets({ groupId: "g", topics: ["t"] });
    assert.deepEqual(after[0].partitions.map(({ offset }) => offset), ["-1", "-1"]);
  } finally {
    await admin.disconnect();
  }
});

Deno.test("kafkajs finds the offset at a time", async () => {
  using folder = temporaryFolder();
  await using broker = await brokerIn(folder.path);
  const kafka = kafkaAt(broker);
  const [admin, producer] = [kafka.admin(), kafka.producer()];
  await admin.connect();
  await producer.connect();
  try {
    await admin.createTopics({ topics: [{ topic: "t", numPartitions: 1 }] });
    for (let i = 0; i < 10; i++) {
      await producer.send({
        topic: "t",
        messages: [{ value: "a", timestamp: String(1000 + i * 10) }, { value: "b", timestamp: String(1005 + i * 10) }],
      });
    }
    for (
      const [time, offset] of [[0, "0"], [1000, "0"], [1001, "1"], [1045, "9"], [1046, "10"], [1095, "19"]] as const
    ) {
      assert.deepEqual(await admin.fetchTopicOffsetsByTimestamp("t", time), [{ partition: 0, offset }], String(time));
    }
    // Beyond the last record kafkajs falls back to the end.
    assert.deepEqual(await admin.fetchTopicOffsetsByTimestamp("t", 2000), [{ partition: 0, offset: "20" }]);
  } finally {
    await producer.disconnect();
    await admin.disconnect();
  }
});
