/**
 * What came from a source and is no record, in `<topic>.rejected`: the bytes as they came, and headers that say whose they are.
 *
 *     value                the bytes
 *     tailrace.source      the source that read them
 *     tailrace.reason      why they are no record, in words
 *     tailrace.where       where they were: orders.csv:17
 *
 * @module
 */
import type { OutgoingRecord } from "../log/publisher.ts";
import type { CommittedLog, CommittedRecord } from "../log/transactions.ts";
import type { RejectedRecord } from "../runtime/connector_status.ts";
import { headerTexts } from "../sinks/set_aside_headers.ts";
import type { Rejected } from "./source.ts";

const HEADER = { source: "tailrace.source", reason: "tailrace.reason", where: "tailrace.where" } as const;

/** Bytes that are kept of a value, for people to look at. */
export const VALUE_SHOWN_MAX = 64 * 1024;
/** Offsets that are read at once, backwards from the end of a partition. */
const BLOCK = 256;
/** Offsets of a partition that are looked through: others may have written what is newest. */
const LOOKS_MAX = 4_096;

/** What a record of such a topic tells; null where it is not one that is asked for. */
export type Teller = (record: CommittedRecord) => { readonly reason: string; readonly where: string } | null;

export function rejectedRecord(
  { raw, reason, where }: Rejected,
  { source, atMs }: { readonly source: string; readonly atMs: number },
): OutgoingRecord {
  const text = new TextEncoder();
  const headers = [[HEADER.source, source], [HEADER.reason, reason], [HEADER.where, where]];
  return {
    key: null,
    value: raw,
    headers: headers.map(([name, value]) => [name, text.encode(value)]),
    timestampMs: atMs,
  };
}

/** Of the records that `source` rejected. */
export function rejectedBy(source: string): Teller {
  return ({ headers }) => {
    const texts = headerTexts(headers);
    if (texts.get(HEADER.source) !== source) return null;
    return { reason: texts.get(HEADER.reason) ?? "", where: texts.get(HEADER.where) ?? "" };
  };
}

/**
 * The newest records of a topic that `tell` tells of, newest first, at most `limit` of them. Holds no more than twice as many, and
 * looks at the last 4,096 offsets of each partition only.
 *
 * @throws UnavailableError when the brokers are away, or the topic does not exist (yet)
 */
export async function readRejected(
  log: CommittedLog,
  topic: string,
  { tell, limit, signal }: { readonly tell: Teller; readonly limit: number; readonly signal: AbortSignal },
): Promise<RejectedRecord[]> {
  const [first, end] = await Promise.all([log.offsets(topic, "earliest"), log.offsets(topic, "latest")]);
  let newest: RejectedRecord[] = [];
  for (const [partition, to] of end) {
    const from = Math.max(first.get(partition) ?? 0, to - LOOKS_MAX);
    const found = await readBackwards(log, { topic, partition, from, to }, { tell, limit, signal });
    newest = [...newest, ...found].sort((a, b) => b.timestampMs - a.timestampMs).slice(0, limit);
  }
  return newest;
}

/** The same of one partition: blocks are read forwards, the last one first. */
async function readBackwards(
  log: CommittedLog,
  { topic, partition, from, to }: {
    readonly topic: string;
    readonly partition: number;
    readonly from: number;
    readonly to: number;
  },
  { tell, limit, signal }: { readonly tell: Teller; readonly limit: number; readonly signal: AbortSignal },
): Promise<RejectedRecord[]> {
  const newest: RejectedRecord[] = [];
  for (let high = to; high > from && newest.length < limit;) {
    const low = Math.max(from, high - BLOCK);
    const until = high;
    const block: RejectedRecord[] = [];
    await log.read(topic, new Map([[partition, low]]), {
      signal,
      take: (record) => {
        if (record.offset >= until) return false;
        const told = tell(record);
        if (told) block.push(shown(record, told));
        if (block.length > limit) block.shift();
        return record.offset < until - 1;
      },
    });
    newest.push(...block.reverse());
    high = low;
  }
  return newest.slice(0, limit);
}

/** With a copy of its own of the value's beginning: the rest is not held for it. */
function shown(
  { partition, offset, timestampMs, value }: CommittedRecord,
  { reason, where }: { readonly reason: string; readonly where: string },
): RejectedRecord {
  const bytes = value ?? new Uint8Array();
  return {
    partition,
    offset,
    timestampMs,
    reason,
    where,
    value: bytes.slice(0, VALUE_SHOWN_MAX),
    valueBytes: bytes.length,
  };
}
