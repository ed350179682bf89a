import assert from "node:assert/strict";
import { createApp } from "../../api/app.ts";
import { createKafkaIngest } from "../../api/kafka_ingest.ts";
import { systemClock } from "../../pipeline/clock.ts";
import { Cluster } from "../../pipeline/log/cluster.ts";
import { LogPublisher } from "../../pipeline/log/log_publisher.ts";
import { Producer } from "../../pipeline/log/producer.ts";
import { createRegistryClient } from "../../pipeline/log/registry_client.ts";
import { brokerIn, RawClient, temporaryFolder } from "../broker/kafka/support.ts";
import { fakeDeps } from "./fake_deps.ts";

const SCHEMA = { type: "record", name: "R", fields: [{ name: "text", type: "string" }] };

/** A registry that answers with a topic's schema as it is told, whatever language that is in. */
function registryOf(answers: Readonly<Record<string, object>>) {
  const server = Deno.serve({ hostname: "127.0.0.1", port: 0, onListen: () => {} }, (request) => {
    const [, topic] = /^\/subjects\/(\w+)-value\/versions\/latest$/.exec(new URL(request.url).pathname) ?? [];
    return Object.hasOwn(answers, topic)
      ? Response.json({ subject: `${topic}-value`, version: 1, id: 1, ...answers[topic] })
      : Response.json({ error_code: 40401, message: "not found" }, { status: 404 });
  });
  return { url: `http://127.0.0.1:${server.addr.port}`, [Symbol.asyncDispose]: () => server.shutdown() };
}

Deno.test("records that cannot be written get an answer of the contract, and hold up nobody else's", async () => {
  using folder = temporaryFolder();
  await using broker = await brokerIn(folder.path, { batchBytesMax: 2_000, defaultPartitions: 1 });
  await using registry = registryOf({
    texts: { schema: JSON.stringify(SCHEMA) },
    shapes: { schema: '{"type":"object"}', schemaType: "JSON" },
    broken: { schema: '{"type":"record"}' },
  });
  {
    using client = await RawClient.open(broker);
    for (const topic of ["texts", "shapes", "broken", "bare"]) await client.createTopic(topic);
  }
  await using cluster = new Cluster([broker.address], { clientId: "test", ssl: false, sasl: null });
  const stop = new AbortController();
  const producer = new Producer(cluster, { clock: systemClock, signal: stop.signal, acks: -1 });
  const ingest = createKafkaIngest({
    cluster,
    publisher: new LogPublisher(producer),
    registry: createRegistryClient({ url: registry.url }),
    clock: systemClock,
  });
  const fake = fakeDeps({ ingest });
  const app = createApp(fake.deps);
  const write = async (topic: string, ...texts: string[]) => {
    const body = JSON.stringify({ records: texts.map((text) => ({ value: { text } })) });
    const init = { method: "POST", body, headers: { "content-type": "application/json" } };
    const response = await app.request(`/v1/topics/${topic}/records`, init);
    const { type = "written", detail } = await response.json();
    return [response.status, type.replace("/docs#", ""), detail];
  };
  assert.deepEqual(await write("bare", "a").then((answer) => answer.slice(0, 2)), [404, "unknown-topic"]);
  assert.deepEqual(await write("shapes", "a"), [422, "unusable-schema", "the schema is JSON, not Avro"]);
  assert.deepEqual(await write("broken", "a").then((answer) => answer.slice(0, 2)), [422, "unusable-schema"]);
  const large = "x".repeat(3_000);
  const answers = await Promise.all([
    write("texts", "before"),
    write("texts", large),
    ...Array.from({ length: 8 }, (_, i) => write("texts", `after ${i}`)),
    write("texts", ...Array.from({ length: 100 }, () => "many records, each of them small")),
  ]);
  assert.deepEqual(answers.map(([status]) => status), [201, 413, ...Array(8).fill(201), 413]);
  assert.match(answers[1][2], /larger than the broker allows \(max\.message\.bytes\)/);
  {
    using client = await RawClient.open(broker);
    assert.equal((await client.fetch("texts", 0)).end, 9, "each small one once");
  }
  assert.deepEqual(fake.logged, []);
  stop.abort();
});
