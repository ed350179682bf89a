/**
 * Records that were not aggregated, in topics beside their own: `<topic>.dead` for those that do not decode, `<topic>.late`
 * for those whose window had closed. Key, value and headers are the record's own, byte for byte; further headers say where it
 * came from and why:
 *
 *     __connect.errors.topic .partition .offset    where it was
 *     __connect.errors.connector.name .task.id     the pipeline, and 0
 *     __connect.errors.stage                       dead: VALUE_CONVERTER
 *     __connect.errors.class.name                  dead: what was at work
 *     __connect.errors.exception.class.name        dead: MalformedRecordError
 *     __connect.errors.exception.message           dead: why, in words
 *     tailrace.late.reason                         late: window and watermark, in words
 *     tailrace.schema.id                           the writer's schema, where it could be read
 *
 * The first are Kafka Connect's names (KIP-298), so that its tools read these topics. Its `.exception.stacktrace` is left out:
 * the decoder refuses a record without throwing, and a trace of our own code would say nothing about the record.
 *
 * A record set aside for a second time has these headers twice; the last of a name is the newest, as in Kafka Connect.
 *
 * @module
 */
import type { OutgoingRecord, Publisher } from "../log/publisher.ts";
import { publishAll } from "./publish_all.ts";
import type { SetAsideRecord, SetAsideSink } from "./sink.ts";

const PREFIX = "__connect.errors.";

/** A topic's companions, to be created before a pipeline over it starts. */
export function setAsideTopics(topic: string): { readonly dead: string; readonly late: string } {
  return { dead: `${topic}.dead`, late: `${topic}.late` };
}

/** Publishes to `<topic>.dead` and `<topic>.late`, each record to the partition of its own number where there is one. */
export function createSetAsideSink(
  { publisher, pipeline }: { readonly publisher: Publisher; readonly pipeline: string },
): SetAsideSink {
  return {
    resume: () => Promise.resolve(),
    position: () => null,
    async write(records, { signal }) {
      signal.throwIfAborted();
      const topics = new Map<string, SetAsideRecord[]>();
      for (const record of records) {
        const topic = setAsideTopics(record.topic)[record.why];
        const list = topics.get(topic);
        if (list) list.push(record);
        else topics.set(topic, [record]);
      }
      for (const [topic, list] of topics) {
        const count = await publisher.partitionCount(topic);
        const partitions: OutgoingRecord[][] = Array.from({ length: count }, () => []);
        for (const record of list) partitions[record.partition % count].push(outgoing(record, pipeline));
        await publishAll(publisher, topic, { partitions, signal });
      }
    },
    /** The publisher is the caller's. */
    [Symbol.asyncDispose]: () => Promise.resolve(),
  };
}

function outgoing(record: SetAsideRecord, pipeline: string): OutgoingRecord {
  const text = new TextEncoder();
  const added: [string, string][] = [
    [`${PREFIX}topic`, record.topic],
    [`${PREFIX}partition`, String(record.partition)],
    [`${PREFIX}offset`, String(record.offset)],
    [`${PREFIX}connector.name`, pipeline],
    [`${PREFIX}task.id`, "0"],
  ];
  if (record.why === "dead") {
    added.push(
      [`${PREFIX}stage`, "VALUE_CONVERTER"],
      [`${PREFIX}class.name`, "tailrace.Decoder"],
      [`${PREFIX}exception.class.name`, "MalformedRecordError"],
      [`${PREFIX}exception.message`, record.reason],
    );
  } else {
    added.push(["tailrace.late.reason", record.reason]);
  }
  if (record.schemaId !== null) added.push(["tailrace.schema.id", String(record.schemaId)]);
  return {
    key: record.key,
    value: record.value,
    timestampMs: record.timestampMs,
    headers: [...record.headers, ...added.map(([name, value]) => [name, text.encode(value)] as const)],
  };
}
