import { MalformedRecordError, UnavailableError } from "../errors.ts";
import type { Clock } from "../clock.ts";
import type { Cluster, TopicLeaders } from "./cluster.ts";
import type { BrokerConnection, Frame } from "./connection.ts";
import { KafkaCode, kafkaError } from "./kafka_errors.ts";
import { type AbortedTransaction, BATCH_HEADER_BYTES, CorruptBatchError } from "./record_batch.ts";
import { WireReader, type WireWriter } from "./wire.ts";

/** One partition's part of a Fetch answer: record batches at `frame[start, end)`, the last perhaps cut off. */
export interface FetchedPart {
  readonly partition: number;
  readonly frame: Uint8Array;
  readonly start: number;
  readonly end: number;
  /** Where the fetch began; the first batch may hold earlier records. */
  readonly fromOffset: number;
  /**
   * First offset that is not readable yet: the last stable offset. Where a transaction is undecided the log goes on behind it (up
   * to Kafka's own high watermark), but no position gets past it, so who waits for a position to reach the end waits for this.
   */
  readonly highWatermark: number;
  /** Transactions that were aborted and have batches here; undefined for none. For `BatchScanner.start`. */
  readonly aborted?: readonly AbortedTransaction[];
}

export interface FetcherOptions {
  readonly topic: string;
  readonly clock: Clock;
  readonly signal: AbortSignal;
  /** Most bytes asked for a partition in one answer, and in all. */
  readonly partitionBytes: number;
  readonly fetchBytes: number;
  /** How long a broker waits for a first byte, milliseconds; other requests to it wait as long. Default 500. */
  readonly maxWaitMs?: number;
  readonly partitions: readonly number[];
  /** Told what there is each time it is looked who leads; what it throws, such as that the topic is another now, ends the run. */
  readonly onTopic?: (found: TopicLeaders) => void;
  /** The offset after the last record taken; where fetching starts, and starts again after a failure. */
  readonly positionOf: (partition: number) => number;
  /**
   * Takes one part, whose bytes are used again once the promise resolves. While it does not, at most one further answer per
   * broker waits in memory. Called for empty parts too, as they carry the high watermark.
   */
  readonly take: (part: FetchedPart) => Promise<void>;
  /** Told why nothing can be fetched, and null once it goes on. */
  readonly onWaiting: (reason: string | null) => void;
}

const MAX_WAIT_MS = 500;
/** Only what is decided, and which of it was aborted. */
const READ_COMMITTED = 1;
/** A small answer is not followed by the next request before this, so that a trickle is read in gulps. */
const SMALL_ANSWER_BYTES = 64 * 1024;
const SMALL_ANSWER_PAUSE_MS = 10;
/** The event loop gets a turn, which takes about a millisecond, this often. */
const TURN_MS = 20;
const BACK_OFF_MS = { first: 100, most: 5_000 };

/**
 * Fetches the partitions given to it, for as long as it runs: one loop per leading broker, each asking for the next bytes
 * before it takes those just come (Fetch, version 11). What transactions have not decided is not fetched.
 */
export class Fetcher {
  readonly #cluster: Cluster;
  readonly #options: FetcherOptions;
  /** Next offset to fetch, by partition; ahead of what was taken by the answers on their way. */
  readonly #positions = new Map<number, number>();
  readonly #paused = new Set<number>();

  constructor(cluster: Cluster, options: FetcherOptions) {
    this.#cluster = cluster;
    this.#options = options;
  }

  /** Leaves partitions out of the coming requests, or takes them in again. */
  pause(partitions: readonly number[]): void {
    this.#paused.clear();
    for (const partition of partitions) this.#paused.add(partition);
  }

  /**
   * Runs until the signal ends it. A broker that is away is tried again with growing pauses.
   *
   * @throws OffsetOutOfRangeError and ConfigError, which no retry mends
   */
  async run(): Promise<void> {
    const { clock, signal, onWaiting, topic, partitions, positionOf } = this.#options;
    if (partitions.length === 0) return;
    let pauseMs = BACK_OFF_MS.first;
    while (!signal.aborted) {
      const round = new AbortController();
      try {
        const found = await this.#cluster.leaders(topic);
        if (!found) throw new UnavailableError(`Topic ${topic} does not exist (yet)`);
        this.#options.onTopic?.(found);
        for (const partition of partitions) this.#positions.set(partition, positionOf(partition));
        const byLeader = Map.groupBy(partitions, (partition) => found.leaders[partition] ?? -1);
        const unled = byLeader.get(-1) ?? [];
        byLeader.delete(-1);
        const reason = unled.length === 0 ? null : `No broker leads ${topic}/${unled.join(",")} at the moment`;
        if (reason !== null && byLeader.size === 0) throw new UnavailableError(reason);
        onWaiting(reason);
        const began = clock.monotonic();
        const loops = [...byLeader].map(([leader, partitions]) => this.#follow(leader, partitions, round.signal));
        // The others are read meanwhile; then it is looked again who leads.
        if (unled.length > 0) loops.push(clock.sleep(BACK_OFF_MS.most, round.signal));
        await Promise.race(loops).finally(() => round.abort());
        await Promise.allSettled(loops);
        if (clock.monotonic() - began > BACK_OFF_MS.most) pauseMs = BACK_OFF_MS.first;
      } catch (error) {
        round.abort();
        if (signal.aborted) return;
        if (!isPassing(error)) throw error;
        onWaiting((error as Error).message);
        await clock.sleep(pauseMs, signal).catch(() => {});
        pauseMs = Math.min(2 * pauseMs, BACK_OFF_MS.most);
      }
    }
  }

  /** Fetches from one broker until the round ends. */
  async #follow(leader: number, partitions: readonly number[], round: AbortSignal): Promise<void> {
    const { clock, signal, take } = this.#options;
    const connection = await this.#cluster.node(leader);
    const ended = () => signal.aborted || round.aborted;
    let order = partitions;
    let turnedAt = clock.monotonic();
    let asked = this.#ask(connection, order);
    try {
      while (!ended()) {
        const frame = await asked;
        const parts = frame ? this.#read(frame) : [];
        const bytes = parts.reduce((sum, part) => sum + part.end - part.start, 0);
        order = hungryFirst(order, parts);
        if (bytes >= SMALL_ANSWER_BYTES) {
          asked = this.#ask(connection, order);
        } else {
          asked = clock.sleep(bytes === 0 && frame ? 0 : SMALL_ANSWER_PAUSE_MS, round).then(() =>
            ended() ? null : this.#ask(connection, order)
          );
        }
        // A rejection is looked at in the next turn.
        asked.catch(() => {});
        for (const part of parts) {
          if (ended()) break;
          await take(part);
        }
        frame?.release();
        // Bytes that have come already are read without a turn of the event loop: at full speed, others' messages would wait.
        if (clock.monotonic() - turnedAt >= TURN_MS) {
          await clock.sleep(0);
          turnedAt = clock.monotonic();
        }
      }
    } finally {
      asked.then((frame) => frame?.release(), () => {});
    }
  }

  /** Sends a request for the partitions that are not paused; null when all are. */
  async #ask(connection: BrokerConnection, partitions: readonly number[]): Promise<Frame | null> {
    const wanted = partitions.filter((partition) => !this.#paused.has(partition));
    if (wanted.length === 0) return null;
    return await connection.request(1, 11, (writer) => this.#write(writer, wanted));
  }

  #write(writer: WireWriter, partitions: readonly number[]): void {
    const { topic, partitionBytes, fetchBytes, maxWaitMs = MAX_WAIT_MS } = this.#options;
    writer.int32(-1).int32(maxWaitMs).int32(1).int32(fetchBytes).int8(READ_COMMITTED); // replica, wait, least and most bytes
    writer.int32(0).int32(-1); // no fetch session
    writer.arrayLength(1).string(topic).arrayLength(partitions.length);
    for (const partition of partitions) {
      writer.int32(partition).int32(-1).int64(this.#positions.get(partition)!).int64(-1).int32(partitionBytes);
    }
    writer.arrayLength(0).string(""); // nothing forgotten, no rack
  }

  /** Finds each partition's bytes in an answer and moves the positions past them. */
  #read(frame: Frame): FetchedPart[] {
    const reader = new WireReader(frame.data, frame.start, frame.end);
    const topic = this.#options.topic;
    const parts: FetchedPart[] = [];
    reader.int32(); // throttle time
    const failed = kafkaError(reader.int16(), `to fetch ${topic}`);
    if (failed) throw failed;
    reader.int32(); // session
    for (let topics = reader.arrayLength(); topics > 0; topics--) {
      reader.string();
      for (let i = reader.arrayLength(); i > 0; i--) {
        const partition = reader.int32();
        const code = reader.int16();
        const highWatermark = reader.int64();
        const lastStable = reader.int64();
        const logStart = reader.int64();
        const aborted = readAborted(reader);
        reader.int32(); // preferred replica
        const length = Math.max(0, reader.int32());
        const start = reader.skip(length);
        const fromOffset = this.#positions.get(partition)!;
        if (code === KafkaCode.offsetOutOfRange) {
          throw new OffsetOutOfRangeError(topic, partition, {
            wanted: fromOffset,
            first: logStart,
            end: highWatermark,
          });
        }
        const error = kafkaError(code, `to fetch ${topic}/${partition}`);
        if (error) throw error;
        const end = start + length;
        this.#positions.set(partition, offsetAfter(frame.data, start, end) ?? fromOffset);
        parts.push({ partition, frame: frame.data, start, end, fromOffset, highWatermark: lastStable, aborted });
      }
    }
    return parts;
  }
}

/** The saved position is not in the log: the records were deleted by retention, or the topic was created anew. */
export class OffsetOutOfRangeError extends Error {
  override readonly name = "OffsetOutOfRangeError";

  constructor(topic: string, partition: number, offsets: { wanted: number; first: number; end: number }) {
    super(
      `Cannot read ${topic}/${partition} from offset ${offsets.wanted}: the log holds ${offsets.first} to ${offsets.end}. ` +
        `Records were deleted before they were read, or the topic was created anew. ` +
        "To begin anew with what the log holds: tailrace rewind PIPELINE --earliest",
    );
  }
}

/**
 * The order to ask in next: a broker fills an answer in the order asked until it is full, so those that got something go last.
 * Otherwise the first ones, while they have a backlog, would keep all others waiting.
 */
function hungryFirst(order: readonly number[], parts: readonly FetchedPart[]): readonly number[] {
  const fed = new Set(parts.filter(({ start, end }) => end > start).map(({ partition }) => partition));
  if (fed.size === 0 || fed.size === order.length) return order;
  return [...order.filter((partition) => !fed.has(partition)), ...order.filter((partition) => fed.has(partition))];
}

/** Whether fetching again may help: the broker is away, or what it sent came damaged. */
function isPassing(error: unknown): boolean {
  return error instanceof UnavailableError || error instanceof MalformedRecordError ||
    error instanceof CorruptBatchError;
}

function readAborted(reader: WireReader): AbortedTransaction[] | undefined {
  const count = reader.arrayLength(16);
  if (count <= 0) return undefined;
  return Array.from({ length: count }, () => ({ producerId: reader.bigint64(), firstOffset: reader.int64() }));
}

/** The offset after the last whole batch in `data[start, end)`; null where there is none. */
function offsetAfter(data: Uint8Array, start: number, end: number): number | null {
  const view = new DataView(data.buffer, data.byteOffset, data.byteLength);
  let after: number | null = null;
  for (let at = start; at + BATCH_HEADER_BYTES <= end;) {
    const next = at + 12 + view.getInt32(at + 8);
    if (next > end || next <= at) break;
    after = Number(view.getBigInt64(at)) + view.getInt32(at + 23) + 1;
    at = next;
  }
  return after;
}
