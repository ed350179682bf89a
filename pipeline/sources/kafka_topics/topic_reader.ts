import type { Clock } from "../../clock.ts";
import { schemaIdAt, writeFrame } from "../../codec/framing.ts";
import { UnavailableError } from "../../errors.ts";
import type { Cluster } from "../../log/cluster.ts";
import { type FetchedPart, Fetcher, OffsetOutOfRangeError } from "../../log/fetcher.ts";
import { BatchScanner, CorruptBatchError } from "../../log/record_batch.ts";
import { readHeaders } from "../../log/record_headers.ts";
import { Records } from "../../log/records.ts";
import type { Rejected, SourceRecord } from "../source.ts";
import type { BatchRoom } from "./batch_room.ts";
import type { TopicPosition } from "./position.ts";
import type { SchemaIds } from "./schema_ids.ts";

const CHUNK_ROWS = 1024;
/** Bytes asked for a partition in one answer. */
const PARTITION_BYTES = 1024 * 1024;
/** A batch that is larger than this when decompressed is not read: it is rejected as it is. */
const DECOMPRESSED_BYTES_MAX = 64 * 1024 * 1024;
/** How often it is looked whether a topic that is not there has come, or has more partitions. */
const LOOK_EVERY_MS = 15_000;
const ABSENT_MS = 2_000;
/** How long a broker may lack what it had. */
const SHORT_MS = 30_000;
const BACK_OFF_MS = { first: 100, most: 5_000 };

export interface TopicReaderOptions {
  readonly topic: string;
  /** Where its records go. */
  readonly target: string;
  /** The partition of the target for records of a partition; null to choose by key. */
  readonly targetPartition: (partition: number, key: Uint8Array | null) => number | undefined;
  readonly cluster: Cluster;
  readonly clock: Clock;
  readonly room: BatchRoom;
  /** Null for bytes that are passed on as they are. */
  readonly schemaIds: SchemaIds | null;
  /** Null where nothing of the topic was read before. */
  readonly position: TopicPosition | null;
  readonly from: "earliest" | "latest";
  /** Ends when all is read that is there at the beginning. */
  readonly isBounded: boolean;
  /** Bytes of an answer; two are held. */
  readonly fetchBytes: number;
  readonly onWaiting: (reason: string | null) => void;
  /** Told what is gone before it was read, once. */
  readonly onLost: (partition: number, lost: { readonly from: number; readonly to: number }) => void;
  readonly log: (level: "info" | "warn" | "error", message: string) => void;
}

/** Reads one topic into a room, from where it was on, and knows how far it is. */
export class TopicReader {
  readonly #options: TopicReaderOptions;
  readonly #scanner = new BatchScanner({ decompressedBytesMax: DECOMPRESSED_BYTES_MAX });
  readonly #rows = new Records(CHUNK_ROWS);
  #id: string | null;
  readonly #next: number[];
  readonly #lost: number[];
  /** The end of each partition as seen last. */
  readonly #ends: number[] = [];
  /** Why records of a schema cannot be translated, by its id; of the rows that are read now. */
  readonly #refused = new Map<number, string>();
  /** Since when a partition ends before where it was read to. */
  readonly #shortSince = new Map<number, number>();
  /** Where a bounded reading ends, by partition; null until it is known. */
  #until: readonly number[] | null = null;

  constructor(options: TopicReaderOptions) {
    this.#options = options;
    const { position } = options;
    this.#id = position?.id ?? null;
    this.#next = [...position?.next ?? []];
    this.#lost = this.#next.map((_, partition) => position?.lost?.[partition] ?? 0);
  }

  /** What is in the room up to now ends here. */
  position(): TopicPosition {
    const at = { id: this.#id, next: [...this.#next] };
    return this.#lost.some((count) => count > 0) ? { ...at, lost: [...this.#lost] } : at;
  }

  get #progress(): number {
    return this.#next.reduce((sum, next) => sum + next, 0);
  }

  get partitions(): number {
    return this.#next.length;
  }

  /** Records that are there and not read, as far as it was seen. */
  get behind(): number {
    return this.#ends.reduce((sum, end, partition) => sum + Math.max(0, end - (this.#next[partition] ?? 0)), 0);
  }

  /**
   * Reads until the signal, or until all is read that is wanted.
   *
   * @throws ConfigError when a person has to change something
   */
  async run(signal: AbortSignal): Promise<void> {
    const { clock, onWaiting, topic } = this.#options;
    let pauseMs = BACK_OFF_MS.first;
    while (!signal.aborted) {
      try {
        if (!await this.#find(signal)) {
          // What is not there has nothing to read.
          if (this.#options.isBounded) return;
          onWaiting(`Topic ${topic} does not exist (yet)`);
          await clock.sleep(ABSENT_MS, signal).catch(() => {});
          continue;
        }
        if (this.#isDone()) return;
        const before = this.#progress;
        await this.#fetch(signal).finally(() => {
          if (this.#progress > before) pauseMs = BACK_OFF_MS.first;
        });
      } catch (error) {
        if (signal.aborted) return;
        if (!(error instanceof UnavailableError)) throw error;
        onWaiting(error.message);
        await clock.sleep(pauseMs, signal).catch(() => {});
        pauseMs = Math.min(2 * pauseMs, BACK_OFF_MS.most);
      }
    }
  }

  /** Learns of the topic's partitions, and where each begins and ends; false when there is no such topic. */
  async #find(signal: AbortSignal): Promise<boolean> {
    const { cluster, topic, from, room } = this.#options;
    const found = await cluster.leaders(topic);
    if (found === null) return false;
    const partitions = found.leaders.map((_, partition) => partition);
    const starts = await cluster.offsets(topic, partitions, "earliest", { committed: true });
    const ends = await cluster.offsets(topic, partitions, "latest", { committed: true });
    signal.throwIfAborted();
    const isAnew = this.#next.length > 0 && this.#id !== found.id && this.#id !== null && found.id !== null;
    if (isAnew) {
      this.#options.log("warn", `Topic ${topic} was made anew: it is read from its beginning`);
      this.#next.length = 0;
    }
    const isFirst = this.#next.length === 0 && !isAnew;
    // Where the reading began is written down at once: after a crash "latest" would be elsewhere.
    if (isAnew || isFirst) room.hurry();
    this.#id = found.id;
    for (const partition of partitions) {
      const [start, end] = [starts.get(partition)!, ends.get(partition)!];
      this.#ends[partition] = end;
      this.#lost[partition] ??= 0;
      const next = this.#next[partition];
      // Partitions that came later are read from their beginning, whatever `from` says.
      if (next === undefined) this.#next[partition] = isFirst && from === "latest" ? end : start;
      else if (next < start) this.#skip(partition, start);
      else if (next > end) this.#goBack(partition, end);
      else this.#shortSince.delete(partition);
    }
    if (this.#options.isBounded) this.#until ??= partitions.map((partition) => ends.get(partition)!);
    return true;
  }

  /**
   * The topic ends before where it was read to. A broker that starts again may not show at once what it has; one that still does not
   * after a while lost it with its disk, and what is written there now is new.
   */
  #goBack(partition: number, end: number): void {
    const { topic, clock, log, room } = this.#options;
    const next = this.#next[partition];
    const since = this.#shortSince.get(partition) ?? clock.monotonic();
    this.#shortSince.set(partition, since);
    const what = `${topic}/${partition} ends at offset ${end}, before ${next}, where it was read to`;
    if (clock.monotonic() - since < SHORT_MS) {
      throw new UnavailableError(`${what}: its broker may not have all of it yet`);
    }
    log("error", `${what}: its broker lost records that had been read. What is written to it from now on is read`);
    this.#shortSince.delete(partition);
    this.#next[partition] = end;
    room.hurry();
  }

  /** Retention was faster: records are gone that were not read. It is written down with the next position. */
  #skip(partition: number, start: number): void {
    const from = this.#next[partition];
    this.#lost[partition] += start - from;
    this.#next[partition] = start;
    this.#options.onLost(partition, { from, to: start });
    this.#options.room.hurry();
  }

  #isDone(): boolean {
    return this.#until !== null && this.#until.every((end, partition) => this.#next[partition] >= end);
  }

  /** Fetches until the signal, the end of what is wanted, or until there is more to fetch than is being fetched. */
  async #fetch(signal: AbortSignal): Promise<void> {
    const { topic, cluster, clock, onWaiting, fetchBytes } = this.#options;
    const round = new AbortController();
    const ending = AbortSignal.any([signal, round.signal]);
    let failure: unknown = null;
    const fail = (error: unknown) => {
      failure ??= error;
      round.abort();
    };
    const fetcher = new Fetcher(cluster, {
      topic,
      clock,
      signal: ending,
      partitionBytes: PARTITION_BYTES,
      fetchBytes,
      partitions: this.#next.map((_, partition) => partition),
      positionOf: (partition) => this.#next[partition],
      onWaiting,
      take: async (part) => {
        try {
          await this.#take(part, ending);
        } catch (error) {
          // Fetched again by the fetcher; all else ends this round.
          if (error instanceof CorruptBatchError) throw error;
          fail(error);
        }
        if (this.#isDone()) round.abort();
      },
    });
    const looking = this.#untilGrown(ending).then(() => round.abort());
    try {
      await fetcher.run();
    } catch (error) {
      // `find` sees what is gone.
      if (!(error instanceof OffsetOutOfRangeError)) throw error;
    } finally {
      round.abort();
      await looking;
    }
    if (failure !== null && !signal.aborted) throw failure;
  }

  /** Resolves when the topic has other partitions than it had, or with the signal. */
  async #untilGrown(signal: AbortSignal): Promise<void> {
    const { cluster, clock, topic } = this.#options;
    while (!signal.aborted) {
      await clock.sleep(LOOK_EVERY_MS, signal).catch(() => {});
      if (signal.aborted) return;
      // A broker that is away is told of by the fetcher.
      const found = await cluster.leaders(topic).catch(() => null);
      if (found !== null && (found.leaders.length > this.#next.length || found.id !== this.#id)) return;
    }
  }

  async #take(part: FetchedPart, signal: AbortSignal): Promise<void> {
    const { partition } = part;
    const { room } = this.#options;
    this.#ends[partition] = part.highWatermark;
    const scanner = this.#scanner;
    const until = this.#until?.[partition];
    scanner.start(part.frame, { ...part, fromOffset: this.#next[partition], until });
    while (scanner.scan(this.#rows)) {
      await room.room(signal);
      if (signal.aborted) return;
      await this.#learnSchemas();
      if (signal.aborted) return;
      this.#add(partition);
    }
    this.#next[partition] = Math.max(this.#next[partition], scanner.nextOffset);
  }

  /** Asks the registries about schemas of the rows that were not met before. */
  async #learnSchemas(): Promise<void> {
    const { schemaIds } = this.#options;
    if (schemaIds === null) return;
    const { data, length, valueStart, valueEnd } = this.#rows;
    this.#refused.clear();
    for (let row = 0; row < length; row++) {
      const id = schemaIdAt(data, valueStart[row], valueEnd[row]);
      if (id < 0 || schemaIds.known(id) !== undefined || this.#refused.has(id)) continue;
      const translation = await schemaIds.translate(id);
      if ("reason" in translation) this.#refused.set(id, translation.reason);
    }
  }

  /** Puts the rows, and what could not be read after them, into the room: from then on the position is behind them. */
  #add(partition: number): void {
    const { topic, target, targetPartition, schemaIds, room } = this.#options;
    const rows = this.#rows;
    const { length } = rows;
    const records: SourceRecord[] = [];
    const rejected: Rejected[] = [];
    let bytes = 0;
    if (length > 0) {
      // One copy for all: the frame is used again.
      const start = firstByte(rows);
      const data = rows.data.slice(start, rows.headersEnd[length - 1]);
      bytes += data.length;
      const cut = (from: number, to: number) => from < 0 ? null : data.subarray(from - start, to - start);
      for (let row = 0; row < length; row++) {
        const value = cut(rows.valueStart[row], rows.valueEnd[row]);
        const headers = readHeaders(data, rows.headersStart[row] - start, rows.headersEnd[row] - start);
        const where = () => `${topic}/${partition} offset ${rows.offsets[row]}`;
        if (headers === null) {
          rejected.push({ raw: value ?? new Uint8Array(0), reason: "its headers are malformed", where: where() });
          continue;
        }
        if (schemaIds !== null && value !== null) {
          const id = schemaIdAt(value, 0, value.length);
          const reason = id < 0 ? undefined : this.#refused.get(id);
          if (reason !== undefined) {
            rejected.push({ raw: value, reason, where: where() });
            continue;
          }
          if (id >= 0) writeFrame(value, 0, schemaIds.known(id)!);
        }
        const key = cut(rows.keyStart[row], rows.keyEnd[row]);
        records.push({
          topic: target,
          partition: targetPartition(partition, key),
          key,
          value,
          headers,
          timestampMs: rows.timestamps[row],
        });
      }
    }
    for (const batch of this.#scanner.unreadable.splice(0)) {
      bytes += batch.bytes.length;
      const where = `${topic}/${partition} offset ${batch.offset}, ${batch.count} records`;
      rejected.push({ raw: batch.bytes, reason: batch.reason, where });
    }
    this.#next[partition] = Math.max(this.#next[partition], this.#scanner.nextOffset);
    room.add(records, { rejected, bytes });
  }
}

/** Where the first row's own bytes begin. */
function firstByte({ keyStart, valueStart, headersStart }: Records): number {
  if (keyStart[0] >= 0) return keyStart[0];
  return valueStart[0] >= 0 ? valueStart[0] : headersStart[0];
}
