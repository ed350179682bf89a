import assert from "node:assert/strict";
import { join } from "node:path";
import { Kafka, logLevel } from "kafkajs";
import { startRegistry } from "../../broker/registry/mod.ts";
import { systemClock } from "../../pipeline/clock.ts";
import { BatchingProducer } from "../../pipeline/log/batching_producer.ts";
import { Cluster } from "../../pipeline/log/cluster.ts";
import { Producer } from "../../pipeline/log/producer.ts";
import { createRegistryClient } from "../../pipeline/log/registry_client.ts";
import { replayFile } from "../../pipeline/sources/file_replay.ts";
import { borrowKafka, whyNoKafka } from "../servers/kafka.ts";

const FLIGHTS = join(import.meta.dirname!, "../../node_modules/vega-datasets/data/flights-3m.parquet");
const why = await whyNoKafka();
if (why !== null) console.log(`skipped: ${why}`);

Deno.test({
  name: "Three million flights are in Apache Kafka once each, under the schema inferred and registered",
  ignore: why !== null,
  async fn() {
    const dataDir = await Deno.makeTempDir();
    await using kafka = await borrowKafka();
    await using server = await startRegistry({ host: "127.0.0.1", port: 0, dataDir });
    const topic = `flights-${crypto.randomUUID()}`;
    const admin = new Kafka({ brokers: kafka.brokers, logLevel: logLevel.NOTHING }).admin();
    await admin.connect();
    await admin.createTopics({ topics: [{ topic, numPartitions: 4 }], waitForLeaders: true });
    const registry = createRegistryClient({ url: server.url });
    const { signal } = new AbortController();
    {
      await using cluster = new Cluster(kafka.brokers, { clientId: "replay-test", ssl: false, sasl: null });
      const producer = new Producer(cluster, { clock: systemClock, signal, acks: -1 });
      const target = new BatchingProducer(producer, topic);
      const { rows, schema, schemaId } = await replayFile({
        file: FLIGHTS,
        topic,
        partitions: await producer.partitionCount(topic),
        target,
        registry,
        key: "origin",
        eventTime: "date",
        speed: Infinity,
        clock: systemClock,
        signal,
      });
      assert.equal(rows, 3_000_000);
      assert.equal(target.acknowledged, 3_000_000);
      assert.deepEqual(await registry.latest(`${topic}-value`), { id: schemaId, version: 1, schema });
    }
    const offsets = await admin.fetchTopicOffsets(topic);
    assert.equal(offsets.reduce((sum, { high }) => sum + Number(high), 0), 3_000_000);
    await admin.deleteTopics({ topics: [topic] });
    await admin.disconnect();
    await Deno.remove(dataDir, { recursive: true });
  },
});
