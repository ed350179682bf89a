/**
 * One pipeline's share of the work in one worker: the partitions it reads, from fetched bytes to panes. Knows no threads,
 * sockets or wall clock, so that tests drive it directly.
 *
 *     fetched part ▶ scan ▶ runs of one writer schema ▶ decode ▶ filter ▶ window, key ▶ panes ▶ flush
 *
 * @module
 */
import type { Clock } from "../clock.ts";
import { Columns } from "../columns.ts";
import type { Decoder } from "../codec/decoder.ts";
import { schemaIdAt } from "../codec/framing.ts";
import { createDecoder, IncompatibleSchemaError } from "../codec/projection.ts";
import { ConfigError, MalformedRecordError } from "../errors.ts";
import type { FetchedPart } from "../log/fetcher.ts";
import { BatchScanner, readHeaders } from "../log/record_batch.ts";
import { Records } from "../log/records.ts";
import { GROUP_KEY_BYTES_MAX } from "../operators/group_key.ts";
import type { PaneBatch } from "../operators/panes.ts";
import { WindowAggregate } from "../operators/window_aggregate.ts";
import { compileFilter } from "../plan/kernel.ts";
import type { AvroSchema, Plan } from "../plan/plan.ts";
import type { SetAsideRecord } from "../sinks/sink.ts";
import { tumblingStart } from "../windows/tumbling.ts";
import { PartitionWatermark } from "../windows/watermark.ts";

/** Rows of a chunk: what fits the second-level cache with its columns. */
export const CHUNK_ROWS = 2048;
/** Panes held between two flushes; reading waits at this. */
export const PANES_MAX = 250_000;
/** Bytes of group keys held between two flushes; reading waits at this. */
export const PANE_KEY_BYTES_MAX = 64 * 1024 * 1024;
/** Bytes of records set aside between two flushes; reading waits at this. */
export const SET_ASIDE_BYTES_MAX = 8 * 1024 * 1024;
/** What one compressed batch may grow to. */
export const DECOMPRESSED_BYTES_MAX = 64 * 1024 * 1024;
/** Writer schemas whose decoders are kept. */
const DECODERS_MAX = 256;

const UNTIMED = "the event time is null, out of range, or more than a day after the record's own timestamp";

const UNKEYED = `the group key is no UTF-8 text, or longer than ${GROUP_KEY_BYTES_MAX} bytes`;

const UNSTORABLE = "a date or time that is a key, or counts for a min or max, is before the year -4000 or after 9999";

/** Where to go on in a partition. */
export interface PartitionStart {
  readonly partition: number;
  readonly position: number;
  /** -Infinity before the first record. */
  readonly maxEventTimeMs: number;
  /** -Infinity when no idle decision was made. */
  readonly raisedToMs: number;
}

/** How far a partition has come, and what became of its records since the flush before. */
export interface PartitionProgress extends PartitionStart {
  readonly highWatermark: number;
  /** Kafka timestamp of the last record, -1 before the first. */
  readonly timestampMs: number;
  /**
   * How long the broker had answered "nothing new" when it last answered, milliseconds. Stands still while nothing is heard:
   * records may wait in a log that is out of reach.
   */
  readonly quietMs: number;
  readonly aggregated: number;
  readonly filtered: number;
  readonly late: number;
  readonly dead: number;
  readonly duplicate: number;
}

/** All that a shard has to tell at an epoch: exactly the effect of the records up to each partition's position. */
export interface ShardFlush {
  readonly panes: PaneBatch;
  readonly partitions: readonly PartitionProgress[];
  readonly setAside: readonly SetAsideRecord[];
}

export interface ShardOptions {
  readonly clock: Clock;
  /**
   * The writer schema of an id; null when the registry knows no such id. Does not resolve while the registry is away: the
   * records wait. Rejects with MalformedRecordError when the schema is not Avro.
   */
  readonly schemaById: (id: number) => Promise<AvroSchema | null>;
  /** Called when reading waits for a flush. */
  readonly onFull: () => void;
}

interface PartitionState {
  readonly partition: number;
  readonly watermark: PartitionWatermark;
  position: number;
  highWatermark: number;
  timestampMs: number;
  lastRecordAt: number;
  lastAnswerAt: number;
  aggregated: number;
  filtered: number;
  late: number;
  dead: number;
  duplicate: number;
}

/** A decoder for a writer schema, or why there is none. */
type Reading = { readonly decoder: Decoder } | { readonly refusal: string };

export class Shard {
  readonly plan: Plan;
  readonly #options: ShardOptions;
  readonly #scanner = new BatchScanner({ decompressedBytesMax: DECOMPRESSED_BYTES_MAX });
  readonly #records = new Records(CHUNK_ROWS);
  readonly #columns: Columns;
  readonly #selection = new Int32Array(CHUNK_ROWS);
  readonly #everyRow = Int32Array.from({ length: CHUNK_ROWS }, (_, row) => row);
  readonly #filter: ReturnType<typeof compileFilter> | null;
  readonly #windows: WindowAggregate;
  readonly #partitions: ReadonlyMap<number, PartitionState>;
  readonly #readings = new Map<number, Reading>();
  #setAside: SetAsideRecord[] = [];
  #setAsideBytes = 0;
  #flushed = Promise.withResolvers<void>();
  #turn: Promise<void> = Promise.resolve();
  #closed = false;

  constructor(plan: Plan, partitions: readonly PartitionStart[], options: ShardOptions) {
    this.plan = plan;
    this.#options = options;
    this.#columns = new Columns(plan.fields.map(({ type }) => type), CHUNK_ROWS);
    this.#filter = plan.where && compileFilter(plan.where.expression, plan.fields);
    this.#windows = new WindowAggregate(plan, CHUNK_ROWS);
    this.#partitions = new Map(partitions.map((start) => [start.partition, {
      partition: start.partition,
      position: start.position,
      watermark: new PartitionWatermark(plan.allowedLatenessMs, start),
      highWatermark: -1,
      timestampMs: -1,
      lastRecordAt: options.clock.monotonic(),
      lastAnswerAt: options.clock.monotonic(),
      aggregated: 0,
      filtered: 0,
      late: 0,
      dead: 0,
      duplicate: 0,
    }]));
  }

  get partitions(): number[] {
    return [...this.#partitions.keys()];
  }

  /** The offset after the last record taken. */
  positionOf(partition: number): number {
    return this.#partitions.get(partition)!.position;
  }

  /**
   * Takes a fetched part. Waits for the flush when a bound is reached, and for the registry when a schema is not known yet.
   *
   * @throws CorruptBatchError when the bytes do not fit their checksum; fetch them again from `positionOf`
   */
  take(part: FetchedPart): Promise<void> {
    // One at a time: the rows and columns are shared by all partitions.
    const turn = this.#turn.then(() => this.#take(part));
    this.#turn = turn.catch(() => {});
    return turn;
  }

  async #take(part: FetchedPart): Promise<void> {
    const state = this.#partitions.get(part.partition)!;
    state.highWatermark = part.highWatermark;
    state.lastAnswerAt = this.#options.clock.monotonic();
    if (part.end === part.start) return;
    const scanner = this.#scanner;
    scanner.start(part.frame, { start: part.start, end: part.end, fromOffset: state.position });
    let more = true;
    while (more) {
      while (this.#full() && !this.#closed) {
        this.#options.onFull();
        await this.#flushed.promise;
      }
      if (this.#closed) return;
      more = scanner.scan(this.#records);
      const { length } = this.#records;
      for (let from = 0; from < length;) {
        const to = this.#endOfRun(from);
        const pending = this.#run(state, from, to);
        if (pending) await pending;
        state.position = this.#records.offsets[to - 1] + 1;
        from = to;
      }
      if (length > 0) {
        state.timestampMs = this.#records.timestamps[length - 1];
        state.lastRecordAt = this.#options.clock.monotonic();
      }
      for (const batch of scanner.unreadable.splice(0)) this.#setBatchAside(state, batch);
      state.position = scanner.nextOffset;
    }
  }

  /**
   * Hands over what was gathered since the last flush and starts anew. `raises` are watermarks decided for idle partitions;
   * they hold from here on.
   */
  flush(raises: ReadonlyMap<number, number>): ShardFlush {
    const partitions = [...this.#partitions.values()].map((state): PartitionProgress => {
      const raise = raises.get(state.partition);
      if (raise !== undefined) state.watermark.raise(raise);
      const progress = {
        partition: state.partition,
        position: state.position,
        maxEventTimeMs: state.watermark.maxEventTimeMs,
        raisedToMs: state.watermark.raisedToMs,
        highWatermark: state.highWatermark,
        timestampMs: state.timestampMs,
        quietMs: Math.max(0, state.lastAnswerAt - state.lastRecordAt),
        aggregated: state.aggregated,
        filtered: state.filtered,
        late: state.late,
        dead: state.dead,
        duplicate: state.duplicate,
      };
      state.aggregated =
        state.filtered =
        state.late =
        state.dead =
        state.duplicate =
          0;
      return progress;
    });
    const panes = this.#windows.panes.batch();
    this.#windows.panes.clear();
    const setAside = this.#setAside;
    this.#setAside = [];
    this.#setAsideBytes = 0;
    this.#flushed.resolve();
    this.#flushed = Promise.withResolvers();
    return { panes, partitions, setAside };
  }

  /** Ends a `take` that waits for a flush, and takes nothing more. */
  close(): void {
    this.#closed = true;
    this.#flushed.resolve();
  }

  #full(): boolean {
    const { panes } = this.#windows;
    return panes.length >= PANES_MAX || panes.keyBytes >= PANE_KEY_BYTES_MAX ||
      this.#setAsideBytes >= SET_ASIDE_BYTES_MAX;
  }

  /** The row after the run that starts at `from`: rows with the same schema id. */
  #endOfRun(from: number): number {
    const { data, valueStart, valueEnd, length } = this.#records;
    const id = schemaIdAt(data, valueStart[from], valueEnd[from]);
    const isNull = valueStart[from] < 0;
    let to = from + 1;
    while (to < length && schemaIdAt(data, valueStart[to], valueEnd[to]) === id && (valueStart[to] < 0) === isNull) {
      to++;
    }
    return to;
  }

  /** Processes one run; asynchronous only when its schema has to be looked up. */
  #run(state: PartitionState, from: number, to: number): Promise<void> | void {
    const { data, valueStart, valueEnd } = this.#records;
    if (valueStart[from] < 0) {
      // A null value marks a deleted key in a compacted topic; there is no event in it.
      state.filtered += to - from;
      return;
    }
    const id = schemaIdAt(data, valueStart[from], valueEnd[from]);
    if (id < 0) {
      for (let row = from; row < to; row++) {
        this.#setRowAside(state, row, {
          why: "dead",
          reason: "the value does not start with a schema id (0x00 and four bytes)",
        });
      }
      return;
    }
    const reading = this.#readings.get(id);
    if (reading) return this.#fold(state, { from, to, reading });
    return this.#lookUp(id).then((found) => this.#fold(state, { from, to, reading: found }));
  }

  async #lookUp(id: number): Promise<Reading> {
    const reading = await this.#options.schemaById(id).then(
      (writer) => writer === null ? null : this.#readingOf(writer),
      (error) => {
        if (error instanceof MalformedRecordError) return { refusal: error.message };
        throw error;
      },
    );
    // Not kept, as it may be registered any time.
    if (reading === null) return { refusal: `schema id ${id} is not in the registry` };
    if (this.#readings.size >= DECODERS_MAX) this.#readings.delete(this.#readings.keys().next().value!);
    this.#readings.set(id, reading);
    return reading;
  }

  #readingOf(writer: AvroSchema): Reading {
    try {
      return { decoder: createDecoder({ writer, reader: this.plan.schema, fields: this.plan.fields }) };
    } catch (error) {
      if (error instanceof IncompatibleSchemaError || error instanceof ConfigError) return { refusal: error.message };
      throw error;
    }
  }

  #fold(state: PartitionState, run: { from: number; to: number; reading: Reading }): void {
    if ("refusal" in run.reading) {
      for (let row = run.from; row < run.to; row++) {
        this.#setRowAside(state, row, { why: "dead", reason: run.reading.refusal });
      }
      return;
    }
    const columns = this.#columns;
    run.reading.decoder.decode(this.#records, run.from, run.to, columns);
    const decoded = columns.bad.length;
    const selection = this.#filter ? this.#selection : this.#everyRow;
    const selected = this.#filter ? this.#filter(columns, selection) : columns.length;
    // The filter adds the rows it cannot compute, such as an overflow.
    for (const { row, reason } of columns.bad) this.#setRowAside(state, row, { why: "dead", reason });
    const uncomputable = columns.bad.length - decoded;
    const { timestamps } = this.#records;
    const folded = this.#windows.fold(columns, { selection, selected, watermark: state.watermark, timestamps });
    state.aggregated += folded.aggregated;
    state.filtered += columns.length - selected - uncomputable;
    for (let i = 0; i < folded.lateLength; i++) {
      const row = folded.late[i];
      this.#setRowAside(state, columns.source[row], { why: "late", reason: this.#lateReason(folded.times[row]) });
    }
    for (let i = 0; i < folded.unusableLength; i++) {
      const row = folded.unusable[i];
      const reason = Number.isNaN(folded.times[row]) ? UNTIMED : folded.beyond?.[row] === 1 ? UNSTORABLE : UNKEYED;
      this.#setRowAside(state, columns.source[row], { why: "dead", reason });
    }
  }

  #lateReason(timeMs: number): string {
    const { sizeMs, offsetMs } = this.plan.window;
    const start = tumblingStart(timeMs, sizeMs, offsetMs);
    return `window [${new Date(start).toISOString()}, ${new Date(start + sizeMs).toISOString()}) had closed: ` +
      "the partition's watermark was past its end";
  }

  #setRowAside(state: PartitionState, row: number, cause: { why: "late" | "dead"; reason: string }): void {
    state[cause.why]++;
    const records = this.#records;
    const { data } = records;
    const bytes = (start: number, end: number) => start < 0 ? null : data.slice(start, end);
    const value = bytes(records.valueStart[row], records.valueEnd[row]);
    const id = schemaIdAt(data, records.valueStart[row], records.valueEnd[row]);
    this.#keep({
      ...cause,
      topic: this.plan.topic,
      partition: state.partition,
      offset: records.offsets[row],
      timestampMs: records.timestamps[row],
      key: bytes(records.keyStart[row], records.keyEnd[row]),
      value,
      headers: readHeaders(data, records.headersStart[row], records.headersEnd[row]) ?? [],
      schemaId: id < 0 ? null : id,
      windowStartMs: null,
    });
  }

  #setBatchAside(state: PartitionState, batch: BatchScanner["unreadable"][number]): void {
    state.dead += batch.count;
    this.#keep({
      why: "dead",
      reason: `${batch.count} records: ${batch.reason}. The value is the whole batch as it was fetched`,
      topic: this.plan.topic,
      partition: state.partition,
      offset: batch.offset,
      timestampMs: batch.timestampMs,
      key: null,
      value: batch.bytes,
      headers: [],
      schemaId: null,
    });
  }

  #keep(record: SetAsideRecord): void {
    this.#setAside.push(record);
    this.#setAsideBytes += 200 + (record.key?.length ?? 0) + (record.value?.length ?? 0);
  }
}
