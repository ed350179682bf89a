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
import { BatchScanner } from "../log/record_batch.ts";
import { readHeaders } from "../log/record_headers.ts";
import { Records } from "../log/records.ts";
import type { PaneBatch } from "../operators/panes.ts";
import { Deduplicator } from "../operators/deduplicate.ts";
import { type Folded, unusableReason, WindowAggregate } from "../operators/window_aggregate.ts";
import { compileFilter } from "../plan/kernel.ts";
import type { AvroSchema, Plan } from "../plan/plan.ts";
import type { SetAsideRecord } from "../sinks/sink.ts";
import { WHOLE_BATCH } from "../sinks/set_aside_headers.ts";
import { tumblingStart } from "../windows/tumbling.ts";
import { PartitionWatermark } from "../windows/watermark.ts";
import { type PartitionProgress, PartitionState, REDRIVEN_MAX } from "./partition_state.ts";
import { RateLimit } from "./rate_limit.ts";
import { type RedrivenRow, redrivenRows } from "./redrive_headers.ts";
import type { ShardTask } from "./shard_task.ts";

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

const UNFRAMED = "the value does not start with a schema id (0x00 and four bytes)";

const OVERFULL =
  "more records were set aside since the rewind than are remembered, so its original may count by itself: " +
  "mend what sets them aside, and rewind the pipeline again";

const OVERDRIVEN = `${REDRIVEN_MAX} records of this partition came back already: rewind the pipeline instead`;

/** All that a shard has to tell at an epoch: exactly the effect of the records up to each partition's position. */
export interface ShardFlush {
  readonly panes: PaneBatch;
  readonly partitions: readonly PartitionProgress[];
  readonly setAside: readonly SetAsideRecord[];
  /** Records that came back after their windows had closed, and nothing else of those windows; null when there are none. */
  readonly reopened: PaneBatch | null;
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

/** Rows `[from, to)` of a chunk with the same schema id; one row when it is one that came back. */
interface Run {
  readonly from: number;
  readonly to: number;
  readonly back: RedrivenRow | null;
}

/** A decoder for a writer schema, or why there is none. */
type Reading = { readonly decoder: Decoder } | { readonly refusal: string };

export class Shard {
  readonly plan: Plan;
  readonly #task: ShardTask;
  readonly #options: ShardOptions;
  readonly #scanner = new BatchScanner({ decompressedBytesMax: DECOMPRESSED_BYTES_MAX });
  readonly #records = new Records(CHUNK_ROWS);
  readonly #columns: Columns;
  readonly #selection = new Int32Array(CHUNK_ROWS);
  readonly #everyRow = Int32Array.from({ length: CHUNK_ROWS }, (_, row) => row);
  readonly #filter: ReturnType<typeof compileFilter> | null;
  readonly #windows: WindowAggregate;
  /** Made when the first record comes back. */
  #reopened: WindowAggregate | null = null;
  readonly #partitions: ReadonlyMap<number, PartitionState>;
  readonly #readings = new Map<number, Reading>();
  #setAside: SetAsideRecord[] = [];
  #setAsideBytes = 0;
  #flushed = Promise.withResolvers<void>();
  #turn: Promise<void> = Promise.resolve();
  readonly #limit: RateLimit;
  readonly #ending = new AbortController();
  #closed = false;

  constructor(task: ShardTask, options: ShardOptions) {
    const { plan, partitions } = task;
    this.plan = plan;
    this.#limit = new RateLimit(options.clock, null);
    this.#task = task;
    this.#options = options;
    this.#columns = new Columns(plan.fields.map(({ type }) => type), CHUNK_ROWS);
    this.#filter = plan.where && compileFilter(plan.where.expression, plan.fields);
    this.#windows = new WindowAggregate(plan, CHUNK_ROWS, task);
    const now = options.clock.monotonic();
    const { allowedLatenessMs } = plan;
    this.#partitions = new Map(partitions.map((start) => {
      const deduplicator = plan.dedupe && new Deduplicator(plan, CHUNK_ROWS);
      return [start.partition, new PartitionState(start, { allowedLatenessMs, now, deduplicator })];
    }));
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
    while (!this.#closed) {
      state.pass();
      const { limit } = state;
      if (state.position >= limit) {
        this.#options.onFull();
        return;
      }
      if (part.end > part.start) await this.#takeUpTo(state, part, limit);
      if (state.position < limit) return;
    }
  }

  /** Takes what the part holds before `limit`. */
  async #takeUpTo(state: PartitionState, part: FetchedPart, limit: number): Promise<void> {
    const scanner = this.#scanner;
    scanner.start(part.frame, {
      start: part.start,
      end: part.end,
      fromOffset: state.position,
      until: limit,
      aborted: part.aborted,
    });
    let more = true;
    while (more) {
      while (this.#full() && !this.#closed) {
        this.#options.onFull();
        await this.#flushed.promise;
      }
      if (this.#closed) return;
      more = scanner.scan(this.#records);
      const { length } = this.#records;
      if (this.#limit.perSecond !== null && length > 0) {
        await this.#limit.take(length, this.#ending.signal).catch(() => {});
        if (this.#closed) return;
      }
      if (length > 0) await this.#takeRows(state);
      for (const batch of scanner.unreadable.splice(0)) this.#setBatchAside(state, batch);
      state.position = scanner.nextOffset;
    }
  }

  async #takeRows(state: PartitionState): Promise<void> {
    const { length, offsets, timestamps, data, valueStart, valueEnd } = this.#records;
    const redriven = redrivenRows(this.#records);
    let next = 0;
    for (let from = 0; from < length;) {
      const back = next < redriven.length && redriven[next].row === from ? redriven[next++] : null;
      const to = back ? from + 1 : Math.min(this.#endOfRun(from), redriven[next]?.row ?? length);
      const id = schemaIdAt(data, valueStart[from], valueEnd[from]);
      const reading = id < 0 ? null : this.#readings.get(id) ?? await this.#lookUp(id);
      // From here to the new position without a wait: a flush in between would tell a half of it.
      state.fates.consumed += to - from;
      this.#run(state, { from, to, back }, reading);
      state.position = offsets[to - 1] + 1;
      from = to;
    }
    state.timestampMs = timestamps[length - 1];
    state.lastRecordAt = this.#options.clock.monotonic();
  }

  /**
   * Hands over what was gathered since the last flush and starts anew. `raises` are watermarks decided for idle partitions;
   * they hold from here on.
   */
  flush(raises: ReadonlyMap<number, number>): ShardFlush {
    const partitions = [...this.#partitions.values()].map((state): PartitionProgress => {
      const raise = raises.get(state.partition);
      if (raise !== undefined) state.raise(raise);
      return state.progress();
    });
    const panes = this.#windows.panes.batch();
    this.#windows.panes.clear();
    const reopened = this.#reopened && this.#reopened.panes.length > 0 ? this.#reopened.panes.batch() : null;
    this.#reopened?.panes.clear();
    const setAside = this.#setAside;
    this.#setAside = [];
    this.#setAsideBytes = 0;
    this.#flushed.resolve();
    this.#flushed = Promise.withResolvers();
    return { panes, partitions, setAside, reopened };
  }

  /** Takes so many records per second at most from here on; null for as fast as it goes. */
  limit(perSecond: number | null): void {
    if (perSecond !== this.#limit.perSecond) this.#limit.set(perSecond);
  }

  /** Ends a `take` that waits, and takes nothing more. */
  close(): void {
    this.#closed = true;
    this.#ending.abort();
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

  /** Processes one run; `reading` is null where no schema is named. */
  #run(state: PartitionState, run: Run, reading: Reading | null): void {
    const { from, to, back } = run;
    const { valueStart, offsets } = this.#records;
    if (back !== null) {
      const isOthers = back.pipeline !== null && back.pipeline !== this.plan.name;
      // Of one that is known to have counted nothing has to be asked.
      const letter = this.#hasCounted(state, back) ? "holds" : state.letterOf(back.source);
      if (isOthers || letter === "void" || state.hasCounted(back.source, offsets[from])) {
        state.fates.duplicate++;
        return;
      }
      const problem = letter === "unknown" ? OVERFULL : state.hasRoomFor(back.source) ? null : OVERDRIVEN;
      if (problem !== null) {
        this.#setRowAside(state, from, { why: "dead", reason: problem });
        return;
      }
    }
    if (valueStart[from] < 0) {
      // A null value marks a deleted key in a compacted topic; there is no event in it.
      state.fates.filtered += to - from;
    } else if (reading === null) {
      for (let row = from; row < to; row++) this.#setRowAside(state, row, { why: "dead", reason: UNFRAMED });
    } else {
      this.#fold(state, run, reading);
    }
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

  #fold(state: PartitionState, { from, to, back }: Run, reading: Reading): void {
    const { fates, watermark } = state;
    if ("refusal" in reading) {
      for (let row = from; row < to; row++) this.#setRowAside(state, row, { why: "dead", reason: reading.refusal });
      return;
    }
    const columns = this.#columns;
    reading.decoder.decode(this.#records, from, to, columns);
    const decoded = columns.bad.length;
    const selection = this.#filter ? this.#selection : this.#everyRow;
    const selected = this.#filter ? this.#filter(columns, selection) : columns.length;
    // The filter adds the rows it cannot compute, such as an overflow.
    for (const { row, reason } of columns.bad) this.#setRowAside(state, row, { why: "dead", reason });
    const uncomputable = columns.bad.length - decoded;
    fates.filtered += columns.length - selected - uncomputable;
    const { timestamps } = this.#records;
    const chosen = { selection, selected, timestamps };
    const { deduplicator: dedupe, isLearning } = state;
    const folded = this.#windows.fold(columns, { ...chosen, watermark, dedupe, isLearning });
    dedupe?.forget(watermark.currentMs);
    if (back === null || folded.lateLength === 0 || !this.#reopens(state, back, folded.times)) {
      this.#account(state, folded);
      if (back !== null && folded.aggregated > 0) this.#countBack(state, back, folded.times);
      return;
    }
    const windows = this.#task.onlyWindows
      ? this.#windows
      : this.#reopened ??= new WindowAggregate(this.plan, CHUNK_ROWS);
    // No window has closed for a record that came back.
    const open = new PartitionWatermark(0);
    // Read again after a rewind, its window's result may be an earlier one, and has it.
    const isThere = !state.isPast && this.#hasCounted(state, back);
    const again = windows.fold(columns, {
      ...chosen,
      watermark: open,
      dedupe: null,
      isLearning: isLearning || isThere,
    });
    this.#account(state, again);
    if (again.aggregated > 0) this.#countBack(state, back, again.times);
  }

  /** Whether a record that came back after its window had closed counts in it. Of the past that is known. */
  #reopens(state: PartitionState, back: RedrivenRow, times: Float64Array): boolean {
    // The only row of its run.
    return this.#hasCounted(state, back) || !state.isPast && !this.#isGone(times[0]);
  }

  #hasCounted(state: PartitionState, { row, source }: RedrivenRow): boolean {
    return state.hasCountedAt(source, this.#records.offsets[row]);
  }

  /** Notes what became of a chunk's rows, and sets aside those that were not aggregated. */
  #account(state: PartitionState, folded: Folded): void {
    const { fates } = state;
    const { source } = this.#columns;
    fates.aggregated += folded.aggregated;
    fates.duplicate += folded.duplicate;
    for (let i = 0; i < folded.lateLength; i++) {
      const row = folded.late[i];
      const windowStartMs = this.#windowStart(folded.times[row]);
      this.#setRowAside(state, source[row], { why: "late", reason: this.#lateReason(windowStartMs), windowStartMs });
    }
    for (let i = 0; i < folded.unusableLength; i++) {
      const row = folded.unusable[i];
      const reason = unusableReason(folded, row);
      const windowStartMs = Number.isNaN(folded.times[row]) ? null : this.#windowStart(folded.times[row]);
      this.#setRowAside(state, source[row], { why: "dead", reason, windowStartMs });
    }
  }

  #countBack(state: PartitionState, { row, source }: RedrivenRow, times: Float64Array): void {
    // The only row of its run.
    state.countRedriven({ source, offset: this.#records.offsets[row], windowStartMs: this.#windowStart(times[0]) });
  }

  /** Whether a closed window's records are not all in the log any more. */
  #isGone(timeMs: number): boolean {
    return this.#windowStart(timeMs) <= (this.#task.goneMs ?? -Infinity);
  }

  #windowStart(timeMs: number): number {
    const { sizeMs, offsetMs } = this.plan.window;
    return tumblingStart(timeMs, sizeMs, offsetMs);
  }

  #lateReason(start: number): string {
    const { sizeMs } = this.plan.window;
    const gone = start <= (this.#task.goneMs ?? -Infinity)
      ? "; it cannot be computed again, because the log does not hold all of its records any more"
      : "";
    return `window [${new Date(start).toISOString()}, ${new Date(start + sizeMs).toISOString()}) had closed: ` +
      `the partition's watermark was past its end${gone}`;
  }

  #setRowAside(
    state: PartitionState,
    row: number,
    cause: { why: "late" | "dead"; reason: string; windowStartMs?: number | null },
  ): void {
    state.fates[cause.why]++;
    if (this.#task.onlyWindows) return;
    if (state.isLearning) return;
    const records = this.#records;
    state.noteAside(records.offsets[row]);
    const { data } = records;
    const bytes = (start: number, end: number) => start < 0 ? null : data.slice(start, end);
    const value = bytes(records.valueStart[row], records.valueEnd[row]);
    const id = schemaIdAt(data, records.valueStart[row], records.valueEnd[row]);
    this.#keep({
      windowStartMs: null,
      ...cause,
      topic: this.plan.topic,
      partition: state.partition,
      offset: records.offsets[row],
      timestampMs: records.timestamps[row],
      key: bytes(records.keyStart[row], records.keyEnd[row]),
      value,
      headers: readHeaders(data, records.headersStart[row], records.headersEnd[row]) ?? [],
      schemaId: id < 0 ? null : id,
    });
  }

  #setBatchAside(state: PartitionState, batch: BatchScanner["unreadable"][number]): void {
    state.fates.consumed += batch.count;
    state.fates.dead += batch.count;
    if (this.#task.onlyWindows || state.isLearning) return;
    this.#keep({
      why: "dead",
      reason: `${batch.count} records: ${batch.reason}. ${WHOLE_BATCH}`,
      topic: this.plan.topic,
      partition: state.partition,
      offset: batch.offset,
      timestampMs: batch.timestampMs,
      key: null,
      value: batch.bytes,
      headers: [],
      schemaId: null,
      windowStartMs: null,
    });
  }

  #keep(record: SetAsideRecord): void {
    this.#setAside.push(record);
    this.#setAsideBytes += 200 + (record.key?.length ?? 0) + (record.value?.length ?? 0);
  }
}
