/**
 * The headers that a record gets when it is set aside, behind its own:
 *
 *     __connect.errors.topic .partition .offset    where it was
 *     __connect.errors.connector.name .task.id     the pipeline, and 0
 *     __connect.errors.stage                       dead: VALUE_CONVERTER
 *     __connect.errors.class.name                  dead: what was at work
 *     __connect.errors.exception.class.name        dead: MalformedRecordError
 *     __connect.errors.exception.message           dead: why, in words
 *     tailrace.late.reason                         late: window and watermark, in words
 *     tailrace.schema.id                           the writer's schema, where it could be read
 *     tailrace.window.start                        start of the window it would count in, ISO 8601, where the event time
 *                                                  could be read
 *
 * The first are Kafka Connect's names (KIP-298), so that its tools read these topics. Its `.exception.stacktrace` is left out:
 * the decoder refuses a record without throwing, and a trace of our own code would say nothing about the record.
 *
 * A record set aside for a second time has these headers twice; the last of a name is the newest, as in Kafka Connect.
 *
 * @module
 */
import { isoTime } from "../codec/time_text.ts";
import type { HeaderList } from "../log/record_batch_writer.ts";
import type { SetAsideRecord } from "./sink.ts";

const CONNECT = "__connect.errors.";

/** Names of the headers that tell something of the record. */
export const HEADER = {
  topic: `${CONNECT}topic`,
  partition: `${CONNECT}partition`,
  offset: `${CONNECT}offset`,
  pipeline: `${CONNECT}connector.name`,
  reason: { dead: `${CONNECT}exception.message`, late: "tailrace.late.reason" },
  schemaId: "tailrace.schema.id",
  windowStart: "tailrace.window.start",
} as const;

/** In the reason of a dead letter that is not one record: what could not be unpacked is kept as a whole. */
export const WHOLE_BATCH = "The value is the whole batch as it was fetched";

/** What the headers say of where a record was, and who set it aside. */
export interface Origin {
  readonly pipeline: string | null;
  readonly topic: string;
  readonly partition: number;
  readonly offset: number;
}

/** What is added to the headers of a record that this pipeline sets aside. */
export function addedHeaders(record: SetAsideRecord, pipeline: string): HeaderList {
  const added: [string, string][] = [
    [HEADER.topic, record.topic],
    [HEADER.partition, String(record.partition)],
    [HEADER.offset, String(record.offset)],
    [HEADER.pipeline, pipeline],
    [`${CONNECT}task.id`, "0"],
  ];
  if (record.why === "dead") {
    added.push(
      [`${CONNECT}stage`, "VALUE_CONVERTER"],
      [`${CONNECT}class.name`, "tailrace.Decoder"],
      [`${CONNECT}exception.class.name`, "MalformedRecordError"],
    );
  }
  added.push([HEADER.reason[record.why], record.reason]);
  if (record.schemaId !== null) added.push([HEADER.schemaId, String(record.schemaId)]);
  const windowStart = record.windowStartMs === null ? null : isoTime(record.windowStartMs);
  if (windowStart !== null) added.push([HEADER.windowStart, windowStart]);
  const text = new TextEncoder();
  return added.map(([name, value]) => [name, text.encode(value)]);
}

/**
 * The headers of a record in a topic of ours: its own, those that were added when it was set aside last, as text, and where it
 * was; `origin` is null for a record that somebody else wrote there.
 */
export function splitHeaders(headers: HeaderList): {
  readonly own: HeaderList;
  readonly added: ReadonlyMap<string, string>;
  readonly origin: Origin | null;
} {
  const from = headers.findLastIndex(([name]) => name === HEADER.topic);
  const added = headerTexts(from < 0 ? [] : headers.slice(from));
  const topic = added.get(HEADER.topic);
  const [partition, offset] = [HEADER.partition, HEADER.offset].map((name) => wholeNumber(added.get(name)));
  const isOurs = topic !== undefined && partition !== null && offset !== null;
  return {
    own: from < 0 ? headers : headers.slice(0, from),
    added,
    origin: isOurs ? { pipeline: added.get(HEADER.pipeline) ?? null, topic, partition, offset } : null,
  };
}

/** Texts that others may have written are cut to this. */
export const TEXT_LENGTH_MAX = 1_000;

/** The last value of each name, as text. */
export function headerTexts(headers: HeaderList): Map<string, string> {
  return new Map(
    headers.flatMap(([name, value]) => value === null ? [] : [[name, utf8.decode(value).slice(0, TEXT_LENGTH_MAX)]]),
  );
}

const utf8 = new TextDecoder();

/** A header's whole number; null when it is none. */
export function wholeNumber(text: string | undefined): number | null {
  const number = text !== undefined && /^\d{1,16}$/.test(text) ? Number(text) : NaN;
  return Number.isSafeInteger(number) ? number : null;
}
