/**
 * A record that was set aside, as its topic keeps it: the record's own key, value and headers, then ours, from the last
 * `__connect.errors.topic` on (`sinks/set_aside.ts` draws them).
 *
 *     own headers ... [tailrace.redrive.*] | __connect.errors.topic ... tailrace.schema.id, tailrace.window.start
 *
 * @module
 */
import type { CommittedRecord } from "../log/transactions.ts";
import { REDRIVE_ATTEMPT, REDRIVE_OFFSET, REDRIVE_PIPELINE } from "../runtime/redrive_headers.ts";

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

export const TEXT_LENGTH_MAX = 1_000;
const KEY_START_BYTES = 80;
/** No letter is redriven more often: what is dead or late three times is so for good. */
export const ATTEMPTS_MAX = 3;

const REDRIVE_HEADERS: ReadonlySet<string> = new Set([REDRIVE_OFFSET, REDRIVE_ATTEMPT, REDRIVE_PIPELINE]);

const CONNECT = "__connect.errors.";
const utf8 = new TextDecoder();

/** The topic that holds the letters of `topic`. */
export function letterTopic({ topic, kind }: { readonly topic: string; readonly kind: LetterKind }): string {
  return `${topic}.${kind}`;
}

/** A record of `<topic>.<kind>`, read as a letter. */
export function readLetter(
  place: { readonly kind: LetterKind; readonly topic: string },
  record: CommittedRecord,
): FullLetter {
  const { headers, key, value } = record;
  const from = headers.findLastIndex(([name]) => name === `${CONNECT}topic`);
  const own = from < 0 ? headers : headers.slice(0, from);
  const added = textsOf(from < 0 ? [] : headers.slice(from));
  const redriven = textsOf(own);
  const topic = added.get(`${CONNECT}topic`);
  const partition = wholeNumber(added.get(`${CONNECT}partition`));
  const offset = wholeNumber(added.get(`${CONNECT}offset`));
  const source = topic === undefined || partition === null || offset === null ? null : { topic, partition, offset };
  const cause = added.get(place.kind === "dead" ? `${CONNECT}exception.message` : "tailrace.late.reason") ?? "";
  const attempt = redriven.get(REDRIVE_ATTEMPT);
  const letter: Letter = {
    kind: place.kind,
    topic: place.topic,
    partition: record.partition,
    offset: record.offset,
    pipeline: added.get(`${CONNECT}connector.name`) ?? null,
    source,
    originalOffset: wholeNumber(redriven.get(REDRIVE_OFFSET)) ?? offset,
    timestampMs: record.timestampMs,
    cause,
    schemaId: wholeNumber(added.get("tailrace.schema.id")),
    // One that cannot be read stands for the most, so that nothing goes round for ever.
    attempt: attempt === undefined ? 0 : wholeNumber(attempt) ?? ATTEMPTS_MAX,
    windowStartMs: time(added.get("tailrace.window.start")),
    isBatch: place.kind === "dead" && cause.includes("The value is the whole batch"),
    key: key && { bytes: key.length, start: utf8.decode(key.subarray(0, KEY_START_BYTES)) },
    valueBytes: value && value.length,
  };
  return { letter, key, value, headers: own };
}

/** The record's own headers with those of a redrive at the end, in place of those of an earlier one. */
export function redriveHeaders(
  { letter, headers }: FullLetter,
  { attempt, offset }: { readonly attempt: number; readonly offset: number },
): CommittedRecord["headers"] {
  const bytes = (text: string) => new TextEncoder().encode(text);
  return [
    ...headers.filter(([name]) => !REDRIVE_HEADERS.has(name)),
    [REDRIVE_OFFSET, bytes(String(offset))],
    [REDRIVE_ATTEMPT, bytes(String(attempt))],
    [REDRIVE_PIPELINE, bytes(letter.pipeline ?? "")],
  ];
}

/** The last value of each name, as text. */
function textsOf(headers: CommittedRecord["headers"]): Map<string, string> {
  return new Map(
    headers.flatMap(([name, value]) => value === null ? [] : [[name, utf8.decode(value).slice(0, TEXT_LENGTH_MAX)]]),
  );
}

function wholeNumber(text: string | undefined): number | null {
  const number = text !== undefined && /^\d{1,16}$/.test(text) ? Number(text) : NaN;
  return Number.isSafeInteger(number) ? number : null;
}

/** ISO 8601 to milliseconds. */
function time(text: string | undefined): number | null {
  const ms = text === undefined ? NaN : Date.parse(text);
  return Number.isNaN(ms) ? null : ms;
}
