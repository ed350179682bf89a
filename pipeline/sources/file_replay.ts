/**
 * Plays a file of rows into a topic, as fast as it goes or at the pace of its event times.
 *
 * @module
 */
import type { Clock } from "../clock.ts";
import { ByteWriter } from "../codec/byte_writer.ts";
import { createRowEncoder } from "../codec/encode.ts";
import { FRAME_BYTES, writeFrame } from "../codec/framing.ts";
import { ConfigError, MalformedRecordError } from "../errors.ts";
import type { RegistryClient } from "../log/registry_client.ts";
import type { AvroSchema } from "../plan/plan.ts";
import { partitionOf } from "../log/murmur2.ts";
import { type FileRows, openReplayFile } from "./file_replay_reader.ts";

/** At a pace, rows that are due within this time go out together. */
const TICK_MS = 20;
/** How often progress is told while rows go out. */
const PROGRESS_MS = 200;
/** A longer gap is slept through in parts: timers count milliseconds in 31 bits. */
const SLEEP_MS_MAX = 60_000;
/** Keys whose bytes and partition are remembered; the memory starts over when it is full. */
const KEYS_MAX = 100_000;

/** Where records are written: `BatchingProducer` of the topic. */
export interface RecordTarget {
  begin(partition: number, timestampMs: number, key: Uint8Array | null): ByteWriter;
  end(partition: number): void;
  /** Sends what is open, without waiting. */
  flush(): void;
  /** Resolves when there is room for more. */
  ready(): Promise<void>;
  /** Resolves when all is acknowledged. */
  drain(): Promise<void>;
}

export interface ReplayOptions {
  /** Path of a .csv, .tsv, .ndjson, .jsonl or .json file, each also .gz, or a .parquet file. */
  readonly file: string;
  readonly topic: string;
  /** Partitions of the topic. */
  readonly partitions: number;
  readonly target: RecordTarget;
  /** Where the schema is registered as `<topic>-value`. */
  readonly registry: RegistryClient;
  /** Schema to write with; inferred from the columns when absent, see file_replay_schema.ts. */
  readonly schema?: AvroSchema;
  /** Column whose text is the key; without one, records go round the partitions in turn. */
  readonly key?: string;
  /** Column the rows are ordered by, and paced by: a date, a timestamp, or milliseconds since the epoch. */
  readonly eventTime?: string;
  /** Event time played in a second, in seconds: 1 as it happened, 60 a minute a second, Infinity as fast as it goes. */
  readonly speed: number;
  /** Number of the first row to write, in the order of writing, from 1; those before it are passed over. */
  readonly fromRow?: number;
  readonly clock: Clock;
  /** Ends the replay early; what was read so far is still sent. */
  readonly signal: AbortSignal;
  readonly onProgress?: (progress: ReplayProgress) => void;
  /** Told once, before the first row, how Avro names differ from the file's. */
  readonly onRenamed?: (renamed: readonly { readonly column: string; readonly field: string }[]) => void;
}

export interface ReplayProgress {
  /** Rows written. */
  readonly rows: number;
  /** Rows there are to write, from `fromRow` on. */
  readonly total: number;
}

export interface ReplayResult extends ReplayProgress {
  /** Null when the file holds no rows: nothing is registered for it. */
  readonly schemaId: number | null;
  readonly schema: AvroSchema;
}

/** Reads `max`, `1x`, `60x`, `0.5x`. @throws ConfigError naming the flag */
export function parseSpeed(text: string): number {
  if (text === "max") return Infinity;
  const speed = /^\d+(\.\d+)?x$/.test(text) ? Number(text.slice(0, -1)) : 0;
  if (speed > 0) return speed;
  throw new ConfigError({
    where: "--speed",
    problem: `${JSON.stringify(text)} is not max, or a factor such as 1x or 60x`,
  });
}

/**
 * Plays a file into a topic and resolves when every record is acknowledged. Memory is bounded, whatever the file's size.
 *
 * Kafka's timestamp of a record is the time of writing, not the event's: by event time, brokers would delete old history as
 * soon as it is in. The event time is the field's.
 *
 * @throws ConfigError when the file or a column is missing, cannot be read, or has a row that the schema cannot hold: it is
 *   named, and how many rows before it are in the topic
 * @throws UnavailableError when broker or registry is away
 */
export async function replayFile(options: ReplayOptions): Promise<ReplayResult> {
  const { file, topic, speed, clock, signal, target, eventTime, onProgress } = options;
  if (speed !== Infinity && eventTime === undefined) {
    throw new ConfigError({ where: "--speed", problem: "a pace needs --event-time, the column to pace by" });
  }
  await using opened = await openReplayFile({ ...options, recordName: topic });
  if (opened.renamed.length > 0) options.onRenamed?.(opened.renamed);
  const { schema } = opened;
  if (opened.rows === 0) return { rows: 0, total: 0, schemaId: null, schema };
  const passed = (options.fromRow ?? 1) - 1;
  const total = opened.rows - passed;
  if (total <= 0) {
    throw new ConfigError({
      where: "--from-row",
      problem: `${passed + 1} is not there: ${file} has ${opened.rows} rows`,
    });
  }
  const schemaId = await options.registry.register(`${topic}-value`, schema);
  const writer = new RowWriter(schema, schemaId, options);
  const pace = new Pace(speed, clock);
  let rows = 0;
  let toldAt = clock.monotonic();
  try {
    let start = 0;
    for await (const chunk of opened.read()) {
      for (let row = Math.max(0, passed - start); row < chunk.length && !signal.aborted; row++) {
        const eventTimeMs = chunk.eventTimes?.[row] ?? null;
        for (let waitMs; (waitMs = pace.waitMs(eventTimeMs)) > 0 && !signal.aborted;) {
          target.flush();
          onProgress?.({ rows, total });
          await clock.sleep(Math.min(waitMs, SLEEP_MS_MAX), signal).catch(() => {});
        }
        if (signal.aborted) break;
        writer.write(chunk, row);
        rows++;
      }
      start += chunk.length;
      if (signal.aborted) break;
      await target.ready();
      // Acknowledgements come in through the event loop, which a full-speed loop would starve.
      await new Promise((resolve) => setTimeout(resolve, 0));
      if (clock.monotonic() - toldAt >= PROGRESS_MS) {
        toldAt = clock.monotonic();
        onProgress?.({ rows, total });
      }
    }
  } catch (error) {
    const malformed = error instanceof MalformedRecordError;
    if (!malformed && !(error instanceof ConfigError)) throw error;
    await target.drain();
    const next = passed + rows + 1;
    const problem = malformed
      ? `row ${next} of ${opened.rows}: ${error.message}`
      : error.faults.map(({ problem }) => problem).join("; ");
    throw new ConfigError({ where: file, problem: `${problem}; ${standing(rows, next, malformed)}` });
  }
  await target.drain();
  onProgress?.({ rows, total });
  return { rows, total, schemaId, schema };
}

/** What a replay that failed left in the topic, and how to go on. */
function standing(written: number, next: number, isNamed: boolean): string {
  if (written === 0) return "nothing was written";
  const first = next - written;
  const before = isNamed && first === 1
    ? `the ${written === 1 ? "row" : `${written} rows`} before it`
    : written === 1
    ? `row ${first}`
    : `rows ${first} to ${next - 1}`;
  return `${before} ${written === 1 ? "is" : "are"} in the topic: mend the file, then go on with --from-row ${next}`;
}

/** Encodes rows into the target's open batches. */
class RowWriter {
  readonly #encoder;
  readonly #schemaId: number;
  readonly #options: ReplayOptions;
  /** A row is written here first: one that does not encode must leave nothing in a batch. */
  readonly #row = new ByteWriter(4096);
  readonly #keys = new Map<string, { bytes: Uint8Array; partition: number }>();
  #turn: number;

  constructor(schema: AvroSchema, schemaId: number, options: ReplayOptions) {
    this.#encoder = createRowEncoder(schema);
    this.#schemaId = schemaId;
    this.#options = options;
    this.#turn = (options.fromRow ?? 1) - 1;
  }

  write(rows: FileRows, row: number): void {
    const { target, clock, partitions } = this.#options;
    this.#row.clear();
    this.#encoder.encodeAt(rows.values, row, this.#row);
    const text = rows.keys?.[row] ?? null;
    const key = text === null ? null : this.#keyOf(text);
    const partition = key === null ? this.#turn++ % partitions : key.partition;
    const out = target.begin(partition, clock.now(), key?.bytes ?? null);
    out.ensure(FRAME_BYTES);
    writeFrame(out.buffer, out.position, this.#schemaId);
    out.position += FRAME_BYTES;
    out.raw(this.#row.written());
    target.end(partition);
  }

  #keyOf(text: string): { bytes: Uint8Array; partition: number } {
    let key = this.#keys.get(text);
    if (key === undefined) {
      if (this.#keys.size >= KEYS_MAX) this.#keys.clear();
      const bytes = new TextEncoder().encode(text);
      this.#keys.set(text, key = { bytes, partition: partitionOf(bytes, this.#options.partitions) });
    }
    return key;
  }
}

/** When a row is due: the first one now, the others by the event time since it. */
class Pace {
  readonly #speed: number;
  readonly #clock: Clock;
  #firstMs: number | null = null;
  #startMs = 0;

  constructor(speed: number, clock: Clock) {
    this.#speed = speed;
    this.#clock = clock;
  }

  /** How long to wait before a row of this event time, in whole ticks from the start; 0 when it is due. */
  waitMs(eventTimeMs: number | null): number {
    if (this.#speed === Infinity || eventTimeMs === null) return 0;
    const now = this.#clock.monotonic();
    if (this.#firstMs === null) {
      this.#firstMs = eventTimeMs;
      this.#startMs = now;
    }
    const afterMs = Math.floor((eventTimeMs - this.#firstMs) / this.#speed / TICK_MS) * TICK_MS;
    return Math.max(0, this.#startMs + afterMs - now);
  }
}
