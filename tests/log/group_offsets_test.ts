import assert from "node:assert/strict";
import { Kafka, logLevel } from "kafkajs";
import { startBroker } from "../../broker/kafka/mod.ts";
import { KafkaAdmin } from "../../pipeline/log/admin.ts";
import { Cluster } from "../../pipeline/log/cluster.ts";
import { noteOffsets } from "../../pipeline/log/group_offsets.ts";
import "../../pipeline/log/kafkajs_timers.ts";

Deno.test("positions are noted where group tools look, without joining the group; a group with members keeps its own", async () => {
  const dataDir = await Deno.makeTempDir({ prefix: "tailrace-broker-" });
  const broker = await startBroker({ host: "127.0.0.1", port: 0, dataDir });
  const brokers = [`127.0.0.1:${broker.port}`];
  const options = { clientId: "test", ssl: false, sasl: null } as const;
  const kafka = new Kafka({ brokers, logLevel: logLevel.NOTHING });
  const [admin, consumer] = [
    kafka.admin(),
    kafka.consumer({ groupId: "tailrace.p", sessionTimeout: 6_000, maxWaitTimeInMs: 50 }),
  ];
  const cluster = new Cluster(brokers, options);
  const noted = async (groupId: string) => {
    const [{ partitions }] = await admin.fetchOffsets({ groupId, topics: ["t"] });
    return partitions.map(({ offset }) => offset);
  };
  try {
    await new KafkaAdmin(brokers, options, "test").ensureTopics([{ topic: "t", partitions: 2 }]);
    await admin.connect();
    await noteOffsets(cluster, "tailrace.q", { topic: "t", positions: new Map([[0, 7], [1, 2 ** 40]]) });
    assert.deepEqual(await noted("tailrace.q"), ["7", String(2 ** 40)]);
    // Offsets that the topic has: of others a kafkajs consumer commits -1 when it finds them out of range.
    await noteOffsets(cluster, "tailrace.p", { topic: "t", positions: new Map([[0, 0], [1, 0]]) });
    await consumer.connect();
    await consumer.subscribe({ topic: "t" });
    const joined = new Promise((resolve) => consumer.on(consumer.events.GROUP_JOIN, resolve));
    await consumer.run({ eachMessage: () => Promise.resolve() });
    await joined;
    await assert.rejects(
      noteOffsets(cluster, "tailrace.p", { topic: "t", positions: new Map([[0, 8]]) }),
      /Kafka refused/,
    );
    assert.equal((await noted("tailrace.p"))[0], "0");
  } finally {
    await consumer.disconnect();
    await admin.disconnect();
    await cluster.close();
    await broker.close();
    await Deno.remove(dataDir, { recursive: true });
  }
});
