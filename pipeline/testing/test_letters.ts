import { isoTime } from "../codec/time_text.ts";
import type { HeaderList } from "../log/record_batch_writer.ts";
import { REDRIVE_ATTEMPT, REDRIVE_OFFSET, redriveHeaders } from "../runtime/redrive_headers.ts";
import { headerTexts } from "../sinks/set_aside_headers.ts";
import type { SetAsideRecord } from "../sinks/sink.ts";

/** A record that was not aggregated, and why. */
export interface TestLetter {
  /** What was piped: the object, or the bytes. */
  readonly record: unknown;
  /** In words, for people. */
  readonly reason: string;
  readonly partition: number;
  readonly offset: number;
  /** The start of the window it would have counted in, ISO 8601; null where there is none to be read, or no date reaches it. */
  readonly window: string | null;
  /** What is kept of it, byte for byte. */
  readonly kept: SetAsideRecord;
}

/** What a topic of letters holds after these were written: each record once, in order of partition and offset. */
export function lettersOf(
  kept: readonly SetAsideRecord[],
  piped: (partition: number, offset: number) => unknown,
): TestLetter[] {
  const once = new Map(kept.map((record) => [`${record.partition}/${record.offset}`, record]));
  return [...once.values()].sort((a, b) => a.partition - b.partition || a.offset - b.offset).map((kept) => ({
    record: piped(kept.partition, kept.offset),
    reason: kept.reason,
    partition: kept.partition,
    offset: kept.offset,
    window: kept.windowStartMs === null ? null : isoTime(kept.windowStartMs),
    kept,
  }));
}

/** The headers with which a letter comes back, as of a redrive from its topic. */
export function headersOfRedrive({ kept }: TestLetter, pipeline: string): HeaderList {
  const before = headerTexts(kept.headers);
  return redriveHeaders(kept.headers, {
    offset: Number(before.get(REDRIVE_OFFSET) ?? kept.offset),
    attempt: Number(before.get(REDRIVE_ATTEMPT) ?? 0) + 1,
    pipeline,
  });
}
