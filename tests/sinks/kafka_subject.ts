import type { KafkaMessage } from "kafkajs";
import { createKafkaSink } from "../../pipeline/sinks/kafka.ts";
import type { MakeSubject, Subject } from "../contracts/sink_contract.ts";
import { KafkajsPublisher, quietKafka } from "./kafkajs_publisher.ts";
import { foldResults, MemoryRegistry } from "./result_topic.ts";

const PARTITIONS = 3;

let topics = 0;

/** A results topic of its own on a real broker, written and read through kafkajs. */
export function kafkaSubject(
  brokers: () => readonly string[],
  options: { readonly outage?: Subject["outage"]; readonly afterwards?: () => Promise<void> } = {},
): MakeSubject {
  return async (columns) => {
    const topic = `results-${Deno.pid}-${topics++}`;
    await createTopic(brokers(), topic, PARTITIONS);
    const publisher = new KafkajsPublisher(brokers());
    const registry = new MemoryRegistry();
    const sink = await createKafkaSink({ publisher, registry, topic, columns, pipeline: "contract" });
    return {
      sink,
      outage: options.outage,
      read: async () => {
        const messages = (await readTopic(brokers(), topic)).flat();
        const schema = registry.subjects.get(`${topic}-value`)![0];
        return foldResults(columns, { schema, values: messages.map(({ value }) => value!) });
      },
      async [Symbol.asyncDispose]() {
        await sink[Symbol.asyncDispose]();
        await publisher[Symbol.asyncDispose]();
        await options.afterwards?.();
      },
    };
  };
}

export async function createTopic(brokers: readonly string[], topic: string, numPartitions: number): Promise<void> {
  const admin = quietKafka(brokers).admin();
  await admin.connect();
  await admin.createTopics({ topics: [{ topic, numPartitions, replicationFactor: 1 }], waitForLeaders: true });
  await admin.disconnect();
}

/** Every message of a topic, by partition. */
export async function readTopic(brokers: readonly string[], topic: string): Promise<KafkaMessage[][]> {
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
