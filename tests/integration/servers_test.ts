import assert from "node:assert/strict";
import { Kafka, logLevel } from "kafkajs";
import { postgresClient } from "../../pipeline/postgres_client.ts";
import { startKafka, whyNoKafka } from "../servers/kafka.ts";
import { startTestPostgres } from "../servers/postgres.ts";

const why = await whyNoKafka();
if (why !== null) console.log(`skipped: ${why}`);

Deno.test({
  name: "Apache Kafka keeps what it acknowledged when it is killed, and answers again on the same address",
  ignore: why !== null,
  async fn() {
    await using server = await startKafka({ heap: "512m" });
    const kafka = new Kafka({ brokers: server.brokers, logLevel: logLevel.NOTHING });
    const admin = kafka.admin();
    await admin.connect();
    await admin.createTopics({ topics: [{ topic: "kept", numPartitions: 2 }] });
    const producer = kafka.producer();
    await producer.connect();
    await producer.send({ topic: "kept", messages: [{ partition: 1, value: "one" }] });
    await Promise.all([producer.disconnect(), admin.disconnect()]);
    await server.kill();
    await server.restart();
    const again = kafka.admin();
    await again.connect();
    const offsets = await again.fetchTopicOffsets("kept");
    assert.deepEqual(offsets.map(({ partition, high }) => [partition, high]).sort(), [[0, "0"], [1, "1"]]);
    await again.disconnect();
    await server.stop();
    await assert.rejects(Deno.connect({ hostname: "127.0.0.1", port: Number(server.brokers[0].split(":")[1]) }));
  },
});

Deno.test("A PostgreSQL for tests gives every test a database of its own", async () => {
  await using server = await startTestPostgres();
  const urls = [await server.database(), await server.database()];
  const tables = async (url: string, create: boolean) => {
    const sql = postgresClient(url);
    if (create) await sql`create table mine (n int)`;
    const found = await sql`select tablename from pg_tables where schemaname = 'public'`;
    await sql.end();
    return found.map(({ tablename }) => tablename);
  };
  assert.deepEqual(await tables(urls[0], true), ["mine"]);
  assert.deepEqual(await tables(urls[1], false), []);
});
