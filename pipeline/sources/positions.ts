/**
 * Where sources are, in Kafka itself: a topic for each source, whose last record is written in one transaction with the records
 * before it.
 *
 *     tailrace.source.<name>, partition 0:   .. {position, counts}  {position, counts}  <- the last one counts
 *
 * @module
 */
import { ConfigError } from "../errors.ts";
import type { TopicSpec } from "../log/admin.ts";
import type { OutgoingRecord } from "../log/publisher.ts";
import type { CommittedLog, CommittedRecord } from "../log/transactions.ts";
import { POSITION_BYTES_MAX, type SourcePosition } from "./source.ts";

/** Everything read so far, by where it ended. */
export interface SourceCounts {
  readonly read: number;
  readonly written: number;
  readonly rejected: number;
  readonly skipped: number;
}

/** What a commit leaves. */
export interface SourceState {
  /** Null before the first batch. */
  readonly position: SourcePosition | null;
  readonly counts: SourceCounts;
  /** When it was written, milliseconds since the epoch; null before. */
  readonly atMs: number | null;
}

export const FIRST_STATE: SourceState = {
  position: null,
  counts: { read: 0, written: 0, rejected: 0, skipped: 0 },
  atMs: null,
};

export function positionTopic(source: string): string {
  return `tailrace.source.${source}`;
}

/** Keeps many positions, of which the last is wanted: they may be long, and there is no end to them. */
export function positionTopicSpec(source: string): TopicSpec {
  return { topic: positionTopic(source), partitions: 1, keepsBytes: 64 * POSITION_BYTES_MAX };
}

/** @throws ConfigError when the position is longer than may be */
export function positionRecord(state: SourceState & { readonly atMs: number }): OutgoingRecord {
  const value = new TextEncoder().encode(JSON.stringify(state));
  if (value.length > POSITION_BYTES_MAX) {
    throw new ConfigError({
      where: "source",
      problem: `what it has to remember takes ${value.length} bytes, more than ${POSITION_BYTES_MAX}: ` +
        "look back over less time, or name fewer things to read",
    });
  }
  return { key: null, value, headers: [], timestampMs: state.atMs };
}

/**
 * The state that the last commit left; `FIRST_STATE` where there was none.
 *
 * @throws UnavailableError when the brokers are away
 */
export async function readState(
  log: CommittedLog,
  { source, signal }: { readonly source: string; readonly signal: AbortSignal },
): Promise<SourceState> {
  const topic = positionTopic(source);
  const from = await log.offsets(topic, "earliest");
  let last: CommittedRecord | null = null;
  await log.read(topic, from, { take: (record) => void (last = record), signal, isWhole: true });
  const value = (last as CommittedRecord | null)?.value;
  if (!value) return FIRST_STATE;
  try {
    return JSON.parse(new TextDecoder().decode(value)) as SourceState;
  } catch {
    throw new ConfigError({
      where: `topic ${topic}`,
      problem:
        "its last record is not a position: another program wrote to it. Delete the topic to read from the beginning",
    });
  }
}
