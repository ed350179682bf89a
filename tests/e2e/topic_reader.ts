/**
 * Reads topics with kafkajs, which shares no code with the pipeline's own reader.
 *
 * @module
 */
import { type IHeaders, Kafka, logLevel } from "kafkajs";
import "../../pipeline/log/kafkajs_timers.ts";

export interface TopicRecord {
  readonly partition: number;
  readonly offset: number;
  readonly timestampMs: number;
  readonly key: Uint8Array | null;
  readonly value: Uint8Array | null;
  readonly headers: IHeaders;
}

export function kafkaAt(brokers: string): Kafka {
  return new Kafka({
    clientId: "tests",
    brokers: brokers.split(","),
    logLevel: logLevel.NOTHING,
    retry: { retries: 8, initialRetryTime: 100 },
  });
}

/** Where each partition ends now. */
export async function endsOf(brokers: string, topic: string): Promise<Map<number, number>> {
  const admin = kafkaAt(brokers).admin();
  await admin.connect();
  try {
    const offsets = await admin.fetchTopicOffsets(topic);
    return new Map(offsets.map(({ partition, high }) => [partition, Number(high)]));
  } finally {
    await admin.disconnect();
  }
}

/** All records that the topic holds now, partition by partition, each in order of offset. */
export async function readTopic(brokers: string, topic: string, within = 60_000): Promise<TopicRecord[]> {
  const ends = await endsOf(brokers, topic);
  const left = new Map([...ends].filter(([, end]) => end > 0));
  if (left.size === 0) return [];
  const consumer = kafkaAt(brokers).consumer({
    groupId: `tests-${crypto.randomUUID()}`,
    sessionTimeout: 10_000,
    heartbeatInterval: 1_000,
    maxWaitTimeInMs: 100,
    maxBytesPerPartition: 8 * 1024 * 1024,
  });
  const records: TopicRecord[] = [];
  const done = Promise.withResolvers<void>();
  const timer = setTimeout(() => done.reject(new Error(`${topic} was not read to its end in time`)), within);
  await consumer.connect();
  try {
    await consumer.subscribe({ topic, fromBeginning: true });
    await consumer.run({
      autoCommit: false,
      partitionsConsumedConcurrently: ends.size,
      // deno-lint-ignore require-await -- kafkajs wants a promise
      eachBatch: async ({ batch }) => {
        for (const { offset, timestamp, key, value, headers = {} } of batch.messages) {
          if (Number(offset) >= ends.get(batch.partition)!) continue;
          const times = { offset: Number(offset), timestampMs: Number(timestamp) };
          records.push({ partition: batch.partition, ...times, key, value, headers });
        }
        if (Number(batch.lastOffset()) + 1 >= ends.get(batch.partition)!) left.delete(batch.partition);
        if (left.size === 0) done.resolve();
      },
    });
    await done.promise;
  } finally {
    clearTimeout(timer);
    await consumer.disconnect();
  }
  return records.sort((a, b) => a.partition - b.partition || a.offset - b.offset);
}

/** The value of a header as text; undefined without one. */
export function headerText({ headers }: TopicRecord, name: string): string | undefined {
  const value = headers[name];
  const last = Array.isArray(value) ? value.at(-1) : value;
  return last === undefined ? undefined : typeof last === "string" ? last : new TextDecoder().decode(last);
}
