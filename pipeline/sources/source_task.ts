/**
 * Runs a source: what it reads goes into its topics, each thing once.
 *
 * One transaction holds the records of a batch, what was rejected, and the position after it. A crash leaves either all of that
 * or nothing; the next run claims the transactional id, which ends whatever was open under it, and reads on from the position
 * that is committed.
 *
 *     source ── batch ──▶ limit ──▶ [ records + rejected + position ] committed ──▶ source.committed(position)
 *        └── reads the next batch meanwhile
 *
 * @module
 */
import type { Clock } from "../clock.ts";
import { BatchTooLargeError } from "../log/kafka_errors.ts";
import type { OutgoingRecord } from "../log/publisher.ts";
import { partitionOf } from "../log/murmur2.ts";
import type { CommittedLog, OutgoingPart, TransactionalPublisher } from "../log/transactions.ts";
import { positionRecord, positionTopic, readState, type SourceState } from "./positions.ts";
import { rejectedRecord } from "./rejected.ts";
import { largestRecord } from "./largest_record.ts";
import type { Rejected, Source, SourceBatch, SourceRecord } from "./source.ts";

export interface SourceTaskOptions {
  readonly name: string;
  /** Of records that name none; null for a source that names all. */
  readonly topic: string | null;
  /** Where what is no record goes. */
  readonly rejectedTopic: string;
  readonly clock: Clock;
  /** Under the transactional id of the source, in the cluster that is written to. */
  readonly publisher: TransactionalPublisher;
  /** Of the same cluster. */
  readonly log: CommittedLog;
  /** Opens the other side. */
  readonly open: () => Promise<Source>;
  /** Waits until so many more records may be written. */
  readonly limit: (records: number, signal: AbortSignal) => Promise<void>;
  readonly onWaiting: (reason: string | null) => void;
  /** Told the state of every commit, and at the start what the last run left. */
  readonly onState: (state: SourceState) => void;
  /** Told the open source, and null when it is closed. */
  readonly onOpen?: (source: Source | null) => void;
}

/**
 * Reads until the signal, or with `isBounded` until all is read that was there.
 *
 * @throws UnavailableError, ConfigError, ConflictError as source and brokers do; the next call goes on from the last commit
 */
export async function runSource(
  options: SourceTaskOptions,
  { signal, isBounded = false }: { readonly signal: AbortSignal; readonly isBounded?: boolean },
): Promise<void> {
  const { name, publisher, log, clock, onWaiting, onState, onOpen } = options;
  await publisher.claim({ signal });
  let state = await readState(log, { source: name, signal });
  onState(state);
  await using source = await options.open();
  onOpen?.(source);
  // Ends the reading when a commit fails, and only then the source is closed.
  const ending = new AbortController();
  const until = AbortSignal.any([signal, ending.signal]);
  const batches = source.read(state.position, { signal: until, clock, isBounded, onWaiting })[Symbol.asyncIterator]();
  const parts = new Parts(options);
  try {
    let next = batches.next();
    for (;;) {
      const { done, value: batch } = await next;
      if (done) break;
      next = batches.next();
      next.catch(() => {}); // looked at in the next round
      state = await commit(batch, { state, parts, options, signal });
      onState(state);
      await source.committed?.(batch.position);
    }
  } catch (error) {
    if (!signal.aborted) throw error;
  } finally {
    onOpen?.(null);
    ending.abort(signal.reason ?? new DOMException("The source is closed", "AbortError"));
    await batches.return?.().catch(() => {});
  }
}

async function commit(
  batch: SourceBatch,
  { state, parts, options, signal }: {
    readonly state: SourceState;
    readonly parts: Parts;
    readonly options: SourceTaskOptions;
    readonly signal: AbortSignal;
  },
): Promise<SourceState> {
  const { skipped = 0, position } = batch;
  let { records, rejected = [] } = batch;
  const came = records.length + rejected.length + skipped;
  if (came === 0 && JSON.stringify(position) === JSON.stringify(state.position)) return state;
  if (records.length > 0) await options.limit(records.length, signal);
  const { counts } = state;
  const atMs = options.clock.now();
  for (;;) {
    const after = {
      position,
      counts: {
        read: counts.read + came,
        written: counts.written + records.length,
        rejected: counts.rejected + rejected.length,
        skipped: counts.skipped + skipped,
      },
      atMs,
    };
    try {
      await options.publisher.commit(await parts.of({ records, rejected, atMs, last: positionRecord(after) }), {
        signal,
      });
      return after;
    } catch (error) {
      if (!(error instanceof BatchTooLargeError)) throw error;
      // Which batch it was is not told; the largest record is in none that is smaller.
      const largest = largestRecord(records, options.topic);
      if (largest === null || batch.tooLarge === undefined || !largest.isAlone) throw largest?.fault(error) ?? error;
      rejected = [...rejected, batch.tooLarge(largest.record)];
      records = records.filter((record) => record !== largest.record);
      await options.publisher.claim({ signal });
    }
  }
}

/** Divides what is written over topics and partitions. */
class Parts {
  readonly #options: SourceTaskOptions;
  /** Records without key and partition go round. */
  #turn = 0;

  constructor(options: SourceTaskOptions) {
    this.#options = options;
  }

  async of(
    { records, rejected, atMs, last }: {
      readonly records: readonly SourceRecord[];
      readonly rejected: readonly Rejected[];
      readonly atMs: number;
      readonly last: OutgoingRecord;
    },
  ): Promise<OutgoingPart[]> {
    const { name, publisher, rejectedTopic } = this.#options;
    const topics = new Map<string, OutgoingRecord[][]>();
    const listsOf = async (topic: string): Promise<OutgoingRecord[][]> => {
      const count = await publisher.partitionCount(topic);
      const lists: OutgoingRecord[][] = Array.from({ length: count }, () => []);
      topics.set(topic, lists);
      return lists;
    };
    for (const record of records) {
      const topic = record.topic ?? this.#ownTopic();
      const lists = topics.get(topic) ?? await listsOf(topic);
      if (record.partition === "all") { for (const list of lists) list.push(record); }
      else lists[this.#partition(record, lists.length)].push(record);
    }
    if (rejected.length > 0) {
      const lists = topics.get(rejectedTopic) ?? await listsOf(rejectedTopic);
      for (const one of rejected) lists[this.#turn++ % lists.length].push(rejectedRecord(one, { source: name, atMs }));
    }
    const parts: OutgoingPart[] = [];
    for (const [topic, lists] of topics) {
      lists.forEach((list, partition) => {
        if (list.length > 0) parts.push({ topic, partition, records: list });
      });
    }
    return [...parts, { topic: positionTopic(name), partition: 0, records: [last] }];
  }

  #partition({ key, partition }: SourceRecord, count: number): number {
    if (typeof partition === "number") return partition % count;
    return key === null ? this.#turn++ % count : partitionOf(key, count);
  }

  #ownTopic(): string {
    if (this.#options.topic === null) throw new Error(`${this.#options.name} gave a record without a topic`);
    return this.#options.topic;
  }
}
