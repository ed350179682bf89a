import type { SetAsideRecord } from "../sinks/sink.ts";

/** A record that was not aggregated, and why. */
export interface TestLetter {
  /** What was piped: the object, or the bytes. */
  readonly record: unknown;
  /** In words, for people. */
  readonly reason: string;
  readonly partition: number;
  readonly offset: number;
  /** The start of the window it would have counted in, ISO 8601; null where no event time could be read. */
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
    window: kept.windowStartMs === null ? null : new Date(kept.windowStartMs).toISOString(),
    kept,
  }));
}
