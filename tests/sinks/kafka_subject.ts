import kafkajs, { type KafkaMessage } from "kafkajs";
import { startBroker } from "../../broker/kafka/mod.ts";
import { systemClock } from "../../pipeline/clock.ts";
import { Cluster } from "../../pipeline/log/cluster.ts";
import "../../pipeline/log/kafkajs_timers.ts";
import { LogPublisher } from "../../pipeline/log/log_publisher.ts";
import { Producer } from "../../pipeline/log/producer.ts";
import type { ResultColumn } from "../../pipeline/plan/plan.ts";
import { createKafkaSink } from "../../pipeline/sinks/kafka.ts";
import type { Outage, Subject } from "../contracts/sink_contract.ts";
import { foldResults, MemoryRegistry } from "./result_topic.ts";

const HOST = "127.0.0.1";
const PARTITIONS = 3;

/** A producer gives up this soon, so that an outage is told and does not make a write wait. */
const DELIVERY_MS_MAX = 300;

/** Where the results topic is; `outage` only where the broker is the subject's own. */
export interface SubjectBroker extends AsyncDisposable {
  readonly brokers: readonly string[];
  readonly outage?: Outage;
  /** How long the producer tries; short where there are outages. */
  readonly deliveryTimeoutMs?: number;
}

/** An embedded broker of the subject's own. */
async function embedded(): Promise<SubjectBroker> {
  const dataDir = await Deno.makeTempDir({ prefix: "tailrace-broker-" });
  let broker = await startBroker({ host: HOST, port: 0, dataDir });
  const { port } = broker;
  let running = true;
  const begin = async () => {
    running = false;
    await broker.close();
  };
  const end = async () => {
    broker = await startBroker({ host: HOST, port, dataDir });
    running = true;
  };
  return {
    brokers: [`${HOST}:${port}`],
    outage: { begin, end, interrupt: () => begin().then(end) },
    deliveryTimeoutMs: DELIVERY_MS_MAX,
    async [Symbol.asyncDispose]() {
      if (running) await broker.close();
      await Deno.remove(dataDir, { recursive: true });
    },
  };
}

/** A results topic on a broker, written as in production and read by a client that is not ours. */
export async function kafkaSubject(columns: readonly ResultColumn[], start = embedded): Promise<Subject> {
  const server = await start();
  const { brokers, outage, deliveryTimeoutMs } = server;
  const topic = `results-${crypto.randomUUID()}`;
  await createTopic(brokers, topic, PARTITIONS);

  const stop = new AbortController();
  const cluster = new Cluster(brokers, { clientId: "sink-test", ssl: false, sasl: null });
  const publisher = new LogPublisher(
    new Producer(cluster, { clock: systemClock, signal: stop.signal, acks: -1, deliveryTimeoutMs }),
  );
  const registry = new MemoryRegistry();
  const sink = await createKafkaSink({ publisher, registry, topic, columns, pipeline: "contract" });
  return {
    sink,
    outage,
    read: async () => {
      const messages = (await readTopic(brokers, topic)).flat();
      const schema = registry.subjects.get(`${topic}-value`)![0];
      return foldResults(columns, { schema, values: messages.map(({ value }) => value!) });
    },
    async [Symbol.asyncDispose]() {
      await sink[Symbol.asyncDispose]();
      stop.abort();
      await cluster.close();
      await server[Symbol.asyncDispose]();
    },
  };
}

function quietKafka(brokers: readonly string[]): kafkajs.Kafka {
  return new kafkajs.Kafka({ brokers: [...brokers], clientId: "sink-test", logLevel: kafkajs.logLevel.NOTHING });
}

async function createTopic(brokers: readonly string[], topic: string, numPartitions: number): Promise<void> {
  const admin = quietKafka(brokers).admin();
  await admin.connect();
  await admin.createTopics({ topics: [{ topic, numPartitions, replicationFactor: 1 }], waitForLeaders: true });
  await admin.disconnect();
}

/** Every message of a topic, by partition. */
async function readTopic(brokers: readonly string[], topic: string): Promise<KafkaMessage[][]> {
  const kafka = quietKafka(brokers);
  const admin = kafka.admin();
  await admin.connect();
  const ends = await admin.fetchTopicOffsets(topic);
  await admin.disconnect();
  const messages: KafkaMessage[][] = ends.map(() => []);
  let missing = ends.reduce((sum, { high, low }) => sum + Number(high) - Number(low), 0);
  if (missing === 0) return messages;
  const consumer = kafka.consumer({ groupId: `${topic}-${crypto.randomUUID()}`, maxWaitTimeInMs: 50 });
  const done = Promise.withResolvers<void>();
  await consumer.connect();
  await consumer.subscribe({ topic, fromBeginning: true });
  await consumer.run({
    autoCommit: false,
    eachBatch: ({ batch }) => {
      messages[batch.partition].push(...batch.messages);
      missing -= batch.messages.length;
      if (missing <= 0) done.resolve();
      return Promise.resolve();
    },
  });
  await done.promise;
  await consumer.disconnect();
  return messages;
}
