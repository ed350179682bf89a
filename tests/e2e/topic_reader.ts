/**
 * Reads topics with kafkajs, which shares no code with the pipeline's own reader.
 *
 * @module
 */
import { type IHeaders, Kafka, type KafkaConfig, logLevel } from "kafkajs";
import "../../pipeline/log/kafkajs_timers.ts";

export interface TopicRecord {
  readonly partition: number;
  readonly offset: number;
  readonly timestampMs: number;
  readonly key: Uint8Array | null;
  readonly value: Uint8Array | null;
  readonly headers: IHeaders;
}

export function kafkaAt(brokers: string, options: Partial<KafkaConfig> = {}): Kafka {
  return new Kafka({
    clientId: "tests",
    brokers: brokers.split(","),
    logLevel: logLevel.NOTHING,
    retry: { retries: 8, initialRetryTime: 100 },
    ...options,
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
  return (await readFrom(brokers, topic, { within })).records;
}

/**
 * The committed records from given positions (0 where none is given) to where the topic ends now, partition by partition, each
 * in order of offset; and where each partition was read to.
 */
export async function readFrom(
  brokers: string,
  topic: string,
  { from = new Map(), within = 60_000 }: { from?: ReadonlyMap<number, number>; within?: number } = {},
): Promise<{ readonly records: TopicRecord[]; readonly ends: Map<number, number> }> {
  const ends = await endsOf(brokers, topic);
  const left = new Map([...ends].filter(([partition, end]) => end > (from.get(partition) ?? 0)));
  if (left.size === 0) return { records: [], ends };
  const consumer = kafkaAt(brokers).consumer({
    groupId: `tests-${crypto.randomUUID()}`,
    sessionTimeout: 10_000,
    heartbeatInterval: 1_000,
    maxWaitTimeInMs: 100,
    maxBytesPerPartition: 8 * 1024 * 1024,
  });
  const records: TopicRecord[] = [];
  const done = Promise.withResolvers<void>();
  // Waited for below; its time may be over before.
  done.promise.catch(() => {});
  const timer = setTimeout(() => done.reject(new Error(`${topic} was not read to its end in time`)), within);
  // Told also of batches without records for the reader: markers of transactions, and what was aborted.
  consumer.on(consumer.events.END_BATCH_PROCESS, ({ payload: { partition, lastOffset } }) => {
    if (left.has(partition) && Number(lastOffset) + 1 >= left.get(partition)!) left.delete(partition);
    if (left.size === 0) done.resolve();
  });
  try {
    await consumer.connect();
    await consumer.subscribe({ topic, fromBeginning: true });
    await consumer.run({
      autoCommit: false,
      partitionsConsumedConcurrently: ends.size,
      // deno-lint-ignore require-await -- kafkajs wants a promise
      eachBatch: async ({ batch }) => {
        for (const { offset, timestamp, key, value, headers = {} } of batch.messages) {
          if (Number(offset) < (from.get(batch.partition) ?? 0) || Number(offset) >= ends.get(batch.partition)!) {
            continue;
          }
          const times = { offset: Number(offset), timestampMs: Number(timestamp) };
          records.push({ partition: batch.partition, ...times, key, value, headers });
        }
      },
    });
    for (const [partition, offset] of from) consumer.seek({ topic, partition, offset: String(offset) });
    await done.promise;
  } finally {
    clearTimeout(timer);
    await consumer.disconnect();
  }
  return { records: dedupedByOffset(records), ends };
}

/** In order; a seek may fetch some for a second time. */
function dedupedByOffset(records: TopicRecord[]): TopicRecord[] {
  records.sort((a, b) => a.partition - b.partition || a.offset - b.offset);
  return records.filter(({ partition, offset }, i) =>
    i === 0 || records[i - 1].partition !== partition || records[i - 1].offset !== offset
  );
}

/** The value of a header as text; undefined without one. */
export function headerText({ headers }: TopicRecord, name: string): string | undefined {
  const value = headers[name];
  const last = Array.isArray(value) ? value.at(-1) : value;
  return last === undefined ? undefined : typeof last === "string" ? last : new TextDecoder().decode(last);
}
