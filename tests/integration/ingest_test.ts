import assert from "node:assert/strict";
import { startRegistry } from "../../broker/registry/mod.ts";
import { systemClock } from "../../pipeline/clock.ts";
import { KafkaAdmin } from "../../pipeline/log/admin.ts";
import { createCommittedLog } from "../../pipeline/log/committed_log.ts";
import { createRegistryClient } from "../../pipeline/log/registry_client.ts";
import { killUnderRequests } from "../ingest/kill_under_requests.ts";
import { NO_SECURITY, openBulk, readTopic, SCHEMA } from "../ingest/world.ts";
import { borrowKafka, whyNoKafka } from "../servers/kafka.ts";
import { temporaryFolder } from "../e2e/harness.ts";

const why = await whyNoKafka();
if (why !== null) console.log(`Bulk requests are not tried on Apache Kafka: ${why}`);

Deno.test({
  name: "Apache Kafka: a process killed again and again under bulk requests leaves each record in the topic once",
  ignore: why !== null,
  async fn() {
    await using kafka = await borrowKafka();
    await using folder = temporaryFolder();
    await using registry = await startRegistry({ host: "127.0.0.1", port: 0, dataDir: folder.path });
    const topic = `readings-${crypto.randomUUID()}`;
    await createRegistryClient({ url: registry.url }).register(`${topic}-value`, SCHEMA);
    await new KafkaAdmin(kafka.brokers, NO_SECURITY, "test").ensureTopics([{ topic, partitions: 3 }]);
    const sent = await killUnderRequests({ ...kafka, registryUrl: registry.url, topic });

    await using reader = openBulk(kafka.brokers, registry.url);
    const found = await readTopic(createCommittedLog(reader.cluster, { clock: systemClock }), topic);
    const ids = new Set(found.map(({ value }) => (value as { id: string }).id));
    assert.deepEqual([found.length, ids.size], [sent, sent]);
  },
});
