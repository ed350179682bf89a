import type { Clock } from "../clock.ts";
import { UnavailableError } from "../errors.ts";
import type { Cluster } from "./cluster.ts";
import { type FetchedPart, Fetcher, OffsetOutOfRangeError } from "./fetcher.ts";
import { BatchScanner, CorruptBatchError } from "./record_batch.ts";
import { readHeaders } from "./record_headers.ts";
import { Records } from "./records.ts";
import type { CommittedLog, CommittedRecord, Offsets } from "./transactions.ts";

/** Bytes asked for a partition, and of a broker, in one answer; two answers of a broker are held at a time. */
const PARTITION_BYTES = 1024 * 1024;
const FETCH_BYTES = 8 * 1024 * 1024;
/** A batch that is larger than this when decompressed is not read. */
const DECOMPRESSED_BYTES_MAX = 256 * 1024 * 1024;
const CHUNK_ROWS = 2048;
/** Brokers that are away for this long are away; a leader that moves is not. */
const PATIENCE_MS = 10_000;

/** A transaction of another writer that is open for longer is told of; whoever reads may wait on. */
const OPEN_MS_MAX = 3_000;

export interface CommittedLogOptions {
  readonly clock: Clock;
  /** How long a reading waits for a transaction of another writer that is open. Default 3 s. */
  readonly openMsMax?: number;
}

/** Reads the topics of the cluster, whose connections it shares. Calls of `read` may overlap. */
export function createCommittedLog(cluster: Cluster, options: CommittedLogOptions): CommittedLog {
  const { clock, openMsMax = OPEN_MS_MAX } = options;
  return {
    offsets: async (topic, position) =>
      await cluster.offsets(topic, await partitionsOf(cluster, topic), position, { committed: true }),

    read: async (topic, from, { take, signal, isWhole = false }) => {
      const positions = new Map(from);
      const partitions = [...from.keys()];
      if (partitions.length === 0) return positions;
      const there = new Set(await partitionsOf(cluster, topic));
      const missing = partitions.filter((partition) => !there.has(partition));
      if (missing.length > 0) throw new UnavailableError(`Topic ${topic} has no partition ${missing.join(", ")} (yet)`);
      const ends = await cluster.offsets(topic, partitions, "latest", { committed: !isWhole });
      for (;;) {
        const starts = await cluster.offsets(topic, partitions, "earliest", { committed: true });
        for (const [partition, position] of positions) {
          const end = ends.get(partition)!;
          if (position < end) positions.set(partition, Math.min(end, Math.max(position, starts.get(partition)!)));
        }
        signal.throwIfAborted();
        try {
          await new Reading(cluster, { topic, positions, ends, take, clock, openMsMax, signal }).run();
          return positions;
        } catch (error) {
          // Retention was faster; what it deleted is not missed.
          if (!(error instanceof OffsetOutOfRangeError)) throw error;
        }
      }
    },
  };
}

async function partitionsOf(cluster: Cluster, topic: string): Promise<number[]> {
  const found = await cluster.leaders(topic);
  if (!found) throw new UnavailableError(`Topic ${topic} does not exist (yet)`);
  return found.leaders.map((_, partition) => partition);
}

interface ReadingOptions {
  readonly topic: string;
  /** Moved on by the reading. */
  readonly positions: Map<number, number>;
  readonly ends: Offsets;
  readonly take: (record: CommittedRecord) => boolean | void;
  readonly clock: Clock;
  readonly openMsMax: number;
  readonly signal: AbortSignal;
}

/** One walk over the partitions from their positions to their ends. */
class Reading {
  readonly #cluster: Cluster;
  readonly #options: ReadingOptions;
  readonly #scanner = new BatchScanner({ decompressedBytesMax: DECOMPRESSED_BYTES_MAX });
  readonly #rows = new Records(CHUNK_ROWS);
  readonly #going: Set<number>;
  readonly #finished = new AbortController();
  #movedAt: number;
  #failure: unknown = null;

  constructor(cluster: Cluster, options: ReadingOptions) {
    this.#cluster = cluster;
    this.#options = options;
    const { positions, ends, clock } = options;
    this.#going = new Set([...positions].filter(([p, position]) => position < ends.get(p)!).map(([p]) => p));
    this.#movedAt = clock.monotonic();
  }

  async run(): Promise<void> {
    const { topic, positions, clock, signal } = this.#options;
    if (this.#going.size === 0) return;
    const partitions = [...this.#going];
    const fetcher = new Fetcher(this.#cluster, {
      topic,
      clock,
      signal: AbortSignal.any([signal, this.#finished.signal]),
      partitionBytes: PARTITION_BYTES,
      fetchBytes: FETCH_BYTES,
      // All that is wanted is there, and writers share the connection.
      maxWaitMs: 0,
      partitions,
      positionOf: (partition) => positions.get(partition)!,
      onWaiting: (reason) => this.#onWaiting(reason),
      take: (part) => {
        try {
          this.#take(part);
        } catch (error) {
          // Fetched again; all else ends the reading, whatever kind of error the caller's function throws.
          if (error instanceof CorruptBatchError) throw error;
          this.#fail(error);
        }
        fetcher.pause(partitions.filter((partition) => !this.#going.has(partition)));
        return Promise.resolve();
      },
    });
    await fetcher.run();
    if (this.#failure !== null) throw this.#failure;
    signal.throwIfAborted();
  }

  #take(part: FetchedPart): void {
    const { partition } = part;
    if (!this.#going.has(partition)) return;
    const { positions, ends } = this.#options;
    const scanner = this.#scanner;
    const end = ends.get(partition)!;
    scanner.start(part.frame, { ...part, fromOffset: positions.get(partition)!, until: end });
    while (scanner.scan(this.#rows)) {
      for (let row = 0; row < this.#rows.length; row++) {
        positions.set(partition, this.#rows.offsets[row] + 1);
        if (this.#options.take(this.#record(partition, row)) === false) {
          this.#finish(partition);
          return;
        }
      }
      // Rubbish of others: what this process writes and looks for can be read. It must not stop a pipeline.
      scanner.unreadable.length = 0;
      positions.set(partition, scanner.nextOffset);
    }
    if (scanner.nextOffset > positions.get(partition)!) positions.set(partition, scanner.nextOffset);
    const position = positions.get(partition)!;
    if (position > part.fromOffset) this.#movedAt = this.#options.clock.monotonic();
    if (position >= end) this.#finish(partition);
    else if (position >= part.highWatermark) this.#waitForOpen(partition, position);
  }

  #record(partition: number, row: number): CommittedRecord {
    const { data, offsets, timestamps, keyStart, keyEnd, valueStart, valueEnd, headersStart, headersEnd } = this.#rows;
    return {
      partition,
      offset: offsets[row],
      timestampMs: timestamps[row],
      key: keyStart[row] < 0 ? null : data.slice(keyStart[row], keyEnd[row]),
      value: valueStart[row] < 0 ? null : data.slice(valueStart[row], valueEnd[row]),
      headers: readHeaders(data, headersStart[row], headersEnd[row]) ?? [],
    };
  }

  #finish(partition: number): void {
    this.#going.delete(partition);
    if (this.#going.size === 0) this.#finished.abort();
  }

  /** Nothing more is committed before the end: somebody's transaction is open there. */
  #waitForOpen(partition: number, position: number): void {
    const { topic, clock, openMsMax } = this.#options;
    if (clock.monotonic() - this.#movedAt < openMsMax) return;
    const problem =
      `a transaction of another writer is open at offset ${position} of partition ${partition}: it has to end, or ` +
      "to time out, before it is known what was written after it";
    this.#fail(new UnavailableError(`Cannot read ${topic} to its end: ${problem}`));
  }

  #onWaiting(reason: string | null): void {
    const { topic, clock } = this.#options;
    if (reason === null || clock.monotonic() - this.#movedAt < PATIENCE_MS) return;
    this.#fail(new UnavailableError(`Cannot read ${topic}: ${reason}`));
  }

  #fail(error: unknown): void {
    this.#failure ??= error;
    this.#finished.abort();
  }
}
