import kafkajs, { type KafkaMessage } from "kafkajs";
import { startBroker } from "../../broker/kafka/mod.ts";
import { systemClock } from "../../pipeline/clock.ts";
import { Cluster } from "../../pipeline/log/cluster.ts";
import "../../pipeline/log/kafkajs_timers.ts";
import { createCommittedLog } from "../../pipeline/log/committed_log.ts";
import { createTransactionalPublisher } from "../../pipeline/log/transactional_publisher.ts";
import type { ResultColumn } from "../../pipeline/plan/plan.ts";
import { createKafkaSink } from "../../pipeline/sinks/kafka.ts";
import type { Outage, Subject } from "../contracts/sink_contract.ts";
import { Proxy } from "../log/proxy.ts";
import { foldResults, MemoryRegistry, resultValues } from "./result_topic.ts";

const HOST = "127.0.0.1";
/** Where the proxy listens, at the broker's port; the broker tells clients to come there. */
const PROXY_HOST = "127.0.0.2";
const PARTITIONS = 3;
const PIPELINE = "contract";

/** EndTxn, which decides a transaction. */
const END_TRANSACTION = 26;

/** Where the results topic is; `outage` and `loseAnswer` only where the broker is the subject's own. */
export interface SubjectBroker extends AsyncDisposable {
  readonly brokers: readonly string[];
  readonly outage?: Outage;
  readonly loseAnswer?: () => void;
  /** Cuts all connections instead of passing on the answer that is the `count`th from now. */
  readonly cutAtAnswer?: (count: number) => void;
}

/** Other tests take ports for a moment, this one too. */
const PORT_TRIES = 50;

async function startAgain(options: Parameters<typeof startBroker>[0]): ReturnType<typeof startBroker> {
  for (let tries = 1;; tries++) {
    try {
      return await startBroker(options);
    } catch (error) {
      if (tries === PORT_TRIES || !/in use/.test((error as Error).message)) throw error;
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
  }
}

/** An embedded broker of the subject's own, behind a proxy. */
async function embedded(): Promise<SubjectBroker> {
  const dataDir = await Deno.makeTempDir({ prefix: "tailrace-broker-" });
  // Each read is by a group of its own, with one member: nobody else is to be waited for.
  const options = { host: HOST, dataDir, advertisedHost: PROXY_HOST, groupInitialDelayMs: 0 };
  let broker = await startBroker({ ...options, port: 0 });
  const { port } = broker;
  const proxy = new Proxy({ hostname: PROXY_HOST, port }, { hostname: HOST, port });
  proxy.byFrame = true;
  let running = true;
  const begin = async () => {
    running = false;
    await broker.close();
  };
  const end = async () => {
    broker = await startAgain({ ...options, port });
    running = true;
  };
  return {
    brokers: [proxy.address],
    outage: { begin, end, interrupt: () => begin().then(end) },
    loseAnswer: () => {
      let isDecided = false;
      proxy.onRequest = (chunk) => {
        // Length, then the request's kind. Nothing else is on its way when it comes: all before it is answered.
        isDecided ||= new DataView(chunk.buffer, chunk.byteOffset).getInt16(4) === END_TRANSACTION;
        return "pass";
      };
      proxy.onAnswer = () => {
        if (!isDecided) return "pass";
        proxy.onRequest = proxy.onAnswer = () => "pass";
        return "cut";
      };
    },
    cutAtAnswer: (count) => {
      proxy.onAnswer = () => {
        if (--count > 0) return "pass";
        proxy.onAnswer = () => "pass";
        proxy.cut();
        return "cut";
      };
    },
    async [Symbol.asyncDispose]() {
      if (running) await broker.close();
      await proxy[Symbol.asyncDispose]();
      await Deno.remove(dataDir, { recursive: true });
    },
  };
}

/** A results topic on a broker, written as in production and read by a client that is not ours. */
export async function kafkaSubject(
  columns: readonly ResultColumn[],
  start = embedded,
): Promise<Subject & Pick<SubjectBroker, "cutAtAnswer">> {
  const parts = new AsyncDisposableStack();
  const { brokers, outage, loseAnswer, cutAtAnswer } = parts.use(await start());
  const topic = `results-${crypto.randomUUID()}`;
  await createTopic(brokers, topic, PARTITIONS);
  const registry = new MemoryRegistry();
  const stop = new AbortController();
  const reopen = async () => {
    const cluster = parts.adopt(
      new Cluster(brokers, { clientId: "sink-test", ssl: false, sasl: null }),
      (cluster) => cluster.close(),
    );
    const clock = systemClock;
    const transactionalId = `tailrace.${topic}`;
    const publisher = createTransactionalPublisher(cluster, { transactionalId, clock, signal: stop.signal });
    const log = createCommittedLog(cluster, { clock });
    return parts.use(await createKafkaSink({ publisher, log, registry, topic, columns, pipeline: PIPELINE }));
  };
  const values = async () => (await readTopic(brokers, topic)).map(({ value }) => value!);
  const sink = await reopen();
  const schema = registry.subjects.get(`${topic}-value`)![0];
  return {
    sink,
    reopen,
    loseAnswer,
    cutAtAnswer,
    outage,
    read: async () => foldResults(columns, { schema, values: await values() }),
    readAll: async () => resultValues(columns, { schema, values: await values() }),
    async [Symbol.asyncDispose]() {
      stop.abort();
      await parts.disposeAsync();
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

/**
 * Every committed record of the pipeline. A mark at the end of each partition, which has no place among the results, tells
 * when all is read that was written before it.
 */
async function readTopic(brokers: readonly string[], topic: string): Promise<KafkaMessage[]> {
  const kafka = quietKafka(brokers);
  const mark = crypto.randomUUID();
  const producer = kafka.producer({ createPartitioner: () => ({ message }) => message.partition! });
  await producer.connect();
  await producer.send({
    topic,
    messages: Array.from({ length: PARTITIONS }, (_, partition) => ({ partition, value: mark })),
  });
  await producer.disconnect();
  const messages: KafkaMessage[] = [];
  let missing = PARTITIONS;
  const consumer = kafka.consumer({ groupId: `${topic}-${mark}`, maxWaitTimeInMs: 50 });
  const done = Promise.withResolvers<void>();
  await consumer.connect();
  await consumer.subscribe({ topic, fromBeginning: true });
  await consumer.run({
    autoCommit: false,
    eachBatch: ({ batch }) => {
      for (const message of batch.messages) {
        if (message.headers?.pipeline?.toString() === PIPELINE) messages.push(message);
        else if (message.value?.toString() === mark) missing--;
      }
      if (missing === 0) done.resolve();
      return Promise.resolve();
    },
  });
  await done.promise;
  await consumer.disconnect();
  return messages;
}
