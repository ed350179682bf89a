/**
 * A record that was set aside, as its topic keeps it: the record's own key, value and headers, then ours, from the last
 * `__connect.errors.topic` on (`sinks/set_aside_headers.ts` draws them).
 *
 *     own headers ... [tailrace.redrive.*] | __connect.errors.topic ... tailrace.schema.id, tailrace.window.start
 *
 * @module
 */
import type { CommittedRecord } from "../log/transactions.ts";
import { REDRIVE_ATTEMPT, REDRIVE_OFFSET } from "../runtime/redrive_headers.ts";
import { setAsideTopics } from "../sinks/set_aside.ts";
import { HEADER, headerTexts, splitHeaders, WHOLE_BATCH, wholeNumber } from "../sinks/set_aside_headers.ts";

export type LetterKind = "late" | "dead";

/** Which letter: `partition` and `offset` are those of the topic `<topic>.<kind>`. */
export interface LetterPlace {
  readonly kind: LetterKind;
  /** The topic that the record came from. */
  readonly topic: string;
  readonly partition: number;
  readonly offset: number;
}

/** What is told of a letter without its bytes. Texts that others may have written are cut to `TEXT_LENGTH_MAX`. */
export interface Letter extends LetterPlace {
  /** Whose letter it is; null when no header says so. */
  readonly pipeline: string | null;
  /** Where the record lay that was set aside; null for a record that is not ours. */
  readonly source: { readonly topic: string; readonly partition: number; readonly offset: number } | null;
  /** Its first offset: of a record that was redriven and set aside again, where it lay at the very first. */
  readonly originalOffset: number | null;
  /** The record's own timestamp, milliseconds since the epoch. */
  readonly timestampMs: number;
  /** Why it was set aside, in words. */
  readonly cause: string;
  readonly schemaId: number | null;
  /** How often it had been redriven when it was set aside. */
  readonly attempt: number;
  /** Start of the window it would have counted in, milliseconds since the epoch; null where no event time could be read. */
  readonly windowStartMs: number | null;
  /** The value is a whole batch that could not be unpacked, not one record. */
  readonly isBatch: boolean;
  /** The key's length and how it begins; null for none. */
  readonly key: { readonly bytes: number; readonly start: string } | null;
  /** The value's length; null for none. */
  readonly valueBytes: number | null;
}

/** A letter with the record's own bytes. */
export interface FullLetter {
  readonly letter: Letter;
  readonly key: Uint8Array | null;
  readonly value: Uint8Array | null;
  /** The record's own, without those that setting aside added. */
  readonly headers: CommittedRecord["headers"];
}

const KEY_START_BYTES = 80;
/** No letter is redriven more often: what is dead or late three times is so for good. */
export const ATTEMPTS_MAX = 3;

const utf8 = new TextDecoder();

/** The topic that holds the letters of `topic`. */
export function letterTopic({ topic, kind }: { readonly topic: string; readonly kind: LetterKind }): string {
  return setAsideTopics(topic)[kind];
}

/** A record of `<topic>.<kind>`, read as a letter. */
export function readLetter(
  place: { readonly kind: LetterKind; readonly topic: string },
  record: CommittedRecord,
): FullLetter {
  const { headers, key, value } = record;
  const { own, added, origin } = splitHeaders(headers);
  const redriven = headerTexts(own);
  const cause = added.get(HEADER.reason[place.kind]) ?? "";
  const attempt = redriven.get(REDRIVE_ATTEMPT);
  const letter: Letter = {
    kind: place.kind,
    topic: place.topic,
    partition: record.partition,
    offset: record.offset,
    pipeline: added.get(HEADER.pipeline) ?? null,
    source: origin && { topic: origin.topic, partition: origin.partition, offset: origin.offset },
    originalOffset: wholeNumber(redriven.get(REDRIVE_OFFSET)) ?? origin?.offset ?? null,
    timestampMs: record.timestampMs,
    cause,
    schemaId: wholeNumber(added.get(HEADER.schemaId)),
    // One that cannot be read stands for the most, so that nothing goes round for ever.
    attempt: attempt === undefined ? 0 : wholeNumber(attempt) ?? ATTEMPTS_MAX,
    windowStartMs: time(added.get(HEADER.windowStart)),
    isBatch: place.kind === "dead" && cause.includes(WHOLE_BATCH),
    key: key && { bytes: key.length, start: utf8.decode(key.subarray(0, KEY_START_BYTES)) },
    valueBytes: value && value.length,
  };
  return { letter, key, value, headers: own };
}

/** ISO 8601 to milliseconds. */
function time(text: string | undefined): number | null {
  const ms = text === undefined ? NaN : Date.parse(text);
  return Number.isNaN(ms) ? null : ms;
}
