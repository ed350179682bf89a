/**
 * From fetched bytes to staged rows: the hot path of an archive. Knows no sockets, threads or files.
 *
 *     fetched part ▶ scan ▶ runs of one writer schema ▶ decode ▶ columns of the stage
 *
 * @module
 */
import { schemaIdAt } from "../../../codec/framing.ts";
import type { Clock } from "../../../clock.ts";
import { ConfigError, MalformedRecordError } from "../../../errors.ts";
import type { FetchedPart } from "../../../log/fetcher.ts";
import { BatchScanner } from "../../../log/record_batch.ts";
import { readHeaders } from "../../../log/record_headers.ts";
import { Records } from "../../../log/records.ts";
import type { AvroSchema } from "../../../plan/plan.ts";
import { IncompatibleSchemaError } from "../../../codec/projection.ts";
import type { ArchiveColumns } from "./archive_columns.ts";
import { isInRange, setLong, setMicros } from "../columns/fill_numbers.ts";
import type { HeldColumn } from "../columns/held_rows.ts";
import { BLOCK_ROWS_MAX } from "../columns/block_column.ts";
import { TextSource } from "../columns/text_words.ts";
import { Stage, STAGED } from "./stage.ts";
import { WrittenSchema } from "./written_schema.ts";

/** What one compressed batch may grow to. */
const DECOMPRESSED_BYTES_MAX = 64 * 1024 * 1024;
/** Writer schemas that are kept ready. */
const SCHEMAS_MAX = 256;
/** Days that rows of one flush may be of: each makes a file. Rows of further ones are kept without a day. */
export const DAYS_MAX = 32;
const DAY_MS = 86_400_000;
/** Faults are cut to this many characters. */
const FAULT_LENGTH_MAX = 300;
const UNFRAMED = "the value does not start with a schema id (0x00 and four bytes)";

const utf8 = new TextEncoder();

/** Rows read since the last flush began. */
export interface Staged {
  readonly stages: readonly Stage[];
  readonly rows: number;
  /** The day, since the epoch, that all rows are of; null when they are of several, or some of none. */
  readonly day: number | null;
}

interface Run {
  readonly from: number;
  readonly to: number;
  /** -1 where no schema is named, -2 for null values. */
  readonly id: number;
}

const NO_SCHEMA = -1;
const TOMBSTONE = -2;

export interface StagerOptions {
  readonly clock: Clock;
  readonly archive: ArchiveColumns;
  /** Dotted path of the field that says when a record happened; null when unknown. */
  readonly eventTime: string | null;
  /** As `ShardOptions.schemaById`. */
  readonly schemaById: (id: number) => Promise<AvroSchema | null>;
}

/** Where a partition is read to. */
interface Position {
  next: number;
  highWatermark: number;
  maxEventTimeMs: number;
}

export class Stager {
  readonly #options: StagerOptions;
  readonly #scanner = new BatchScanner({ decompressedBytesMax: DECOMPRESSED_BYTES_MAX });
  readonly #records = new Records(BLOCK_ROWS_MAX);
  readonly #schemas = new Map<number, WrittenSchema | { readonly refusal: string }>();
  readonly #positions: ReadonlyMap<number, Position>;
  #stages: Stage[] = [];
  #rows = 0;
  #since: number | null = null;
  /** Days, since the epoch, that staged rows are of. */
  #days = new Set<number>();
  /** Whether some are of none. */
  #isDayMissing = false;

  /** @param positions where each partition is read from */
  constructor(positions: ReadonlyMap<number, number>, options: StagerOptions) {
    this.#options = options;
    this.#positions = new Map(
      Array.from(positions, ([partition, next]) => [partition, { next, highWatermark: -1, maxEventTimeMs: -Infinity }]),
    );
  }

  get partitions(): number[] {
    return [...this.#positions.keys()];
  }

  /** The offset after the last record staged, by partition. */
  positions(): Map<number, number> {
    return new Map(Array.from(this.#positions, ([partition, { next }]) => [partition, next]));
  }

  maxEventTimes(): Map<number, number> {
    const known = Array.from(
      this.#positions,
      ([partition, { maxEventTimeMs }]) => [partition, maxEventTimeMs] as const,
    );
    return new Map(known.filter(([, time]) => time > -Infinity));
  }

  positionOf(partition: number): number {
    return this.#positions.get(partition)!.next;
  }

  /** Records that are in the log and not here, as far as is known. */
  lag(): number {
    let lag = 0;
    for (const { next, highWatermark } of this.#positions.values()) lag += Math.max(0, highWatermark - next);
    return lag;
  }

  get rows(): number {
    return this.#rows;
  }

  /** What is staged; it stays. */
  staged(): Staged {
    const [day] = this.#days;
    const isOneDay = this.#days.size === 1 && !this.#isDayMissing;
    return { stages: this.#stages, rows: this.#rows, day: isOneDay ? day : null };
  }

  /** Hands over what is staged; what comes next is staged anew. */
  handOver(): Staged {
    const staged = this.staged();
    this.#stages = [];
    this.#rows = 0;
    this.#since = null;
    this.#days = new Set();
    this.#isDayMissing = false;
    return staged;
  }

  /** That the staged rows take in memory. */
  get bytes(): number {
    return this.#stages.reduce((sum, { held }) => sum + held.bytes, 0);
  }

  /** By the monotonic clock, when the first of them was staged; null for none. */
  get since(): number | null {
    return this.#since;
  }

  /**
   * Stages what a fetched part holds, one scan of it after the other. `mayGoOn` is asked for before each, and may wait.
   *
   * @throws CorruptBatchError when the bytes do not fit their checksum; fetch them again from `positionOf`
   */
  async take(part: FetchedPart, mayGoOn: () => Promise<void> | null): Promise<void> {
    const position = this.#positions.get(part.partition)!;
    position.highWatermark = part.highWatermark;
    if (part.end <= part.start) return;
    if (this.#schemas.size > SCHEMAS_MAX) this.#schemas.clear();
    const { frame, start, end, aborted } = part;
    this.#scanner.start(frame, { start, end, fromOffset: position.next, aborted });
    for (let more = true; more;) {
      const wait = mayGoOn();
      if (wait !== null) await wait;
      more = this.#scanner.scan(this.#records);
      const unreadable = this.#scanner.unreadable.splice(0);
      if (this.#records.length > 0 || unreadable.length > 0) {
        const runs = this.#runs();
        for (const { id } of runs) if (id >= 0 && !this.#schemas.has(id)) await this.#lookUp(id);
        const stage = this.#stage();
        // From here to the new position without a wait: what is handed over in between must be whole.
        this.#stageRuns(stage, { runs, partition: part.partition, position });
        for (const batch of unreadable) this.#stageUnreadable(stage, { batch, partition: part.partition });
        this.#since ??= this.#options.clock.monotonic();
      }
      position.next = this.#scanner.nextOffset;
    }
  }

  /** A stage that has all columns there are now. */
  #stage(): Stage {
    const { archive } = this.#options;
    const last = this.#stages.at(-1);
    if (last?.generation === archive.generation) return last;
    const stage = new Stage(archive);
    this.#stages.push(stage);
    return stage;
  }

  #runs(): Run[] {
    const { data, valueStart, valueEnd, length } = this.#records;
    const idOf = (row: number) =>
      valueStart[row] < 0 ? TOMBSTONE : Math.max(NO_SCHEMA, schemaIdAt(data, valueStart[row], valueEnd[row]));
    const runs: Run[] = [];
    for (let from = 0; from < length;) {
      const id = idOf(from);
      let to = from + 1;
      while (to < length && idOf(to) === id) to++;
      runs.push({ from, to, id });
      from = to;
    }
    return runs;
  }

  #stageRuns(
    stage: Stage,
    { runs, partition, position }: { runs: readonly Run[]; partition: number; position: Position },
  ): void {
    const records = this.#records;
    const { length } = records;
    if (length === 0) return;
    const { held } = stage;
    held.makeRoom(length);
    const source = new TextSource(records.data);
    const place = { held, firstField: STAGED.firstField };
    for (const { from, to, id } of runs) {
      const schema = id < 0 ? null : this.#schemas.get(id) ?? { refusal: `schema id ${id} is not in the registry` };
      const about = { partition, id, source };
      if (schema instanceof WrittenSchema) {
        const base = held.filled;
        const filled = schema.fill(records, { from, to }, place);
        for (let i = 0; i < filled.added; i++) this.#fillKafka(stage, base + i, { ...about, row: filled.source[i] });
        for (const [i, fault] of filled.faults) {
          this.#fillFault(stage, base + i, { row: filled.source[i], fault, source });
        }
        for (const { row, reason } of filled.undecoded) this.#addWithoutFields(stage, { ...about, row, fault: reason });
        if (filled.maxEventTimeMs > position.maxEventTimeMs) position.maxEventTimeMs = filled.maxEventTimeMs;
      } else {
        const fault = id === TOMBSTONE ? null : schema?.refusal ?? UNFRAMED;
        for (let row = from; row < to; row++) this.#addWithoutFields(stage, { ...about, row, fault });
      }
    }
    this.#rows += length;
    // One that was not there may be registered any time.
    for (const { id } of runs) {
      if (id >= 0 && !(this.#schemas.get(id) instanceof WrittenSchema)) this.#schemas.delete(id);
    }
  }

  #addWithoutFields(
    stage: Stage,
    at: { partition: number; id: number; source: TextSource; row: number; fault: string | null },
  ): void {
    const row = stage.held.filled;
    this.#fillKafka(stage, row, at);
    if (at.fault !== null) this.#fillFault(stage, row, { ...at, fault: at.fault });
    stage.held.added(1);
  }

  /** What is known of every record, at row `to` of the block. */
  #fillKafka(
    stage: Stage,
    to: number,
    { row, partition, id, source }: { row: number; partition: number; id: number; source: TextSource },
  ): void {
    const { columns } = stage.held;
    const { offsets, timestamps, keyStart, keyEnd, headersStart, headersEnd } = this.#records;
    columns[STAGED.partition].now.words[to] = partition;
    columns[STAGED.partition].now.setValid(to);
    setLong(columns[STAGED.offset].now, to, offsets[row]);
    columns[STAGED.offset].now.setValid(to);
    this.#fillTimestamp(columns, to, timestamps[row]);
    if (keyStart[row] >= 0) columns[STAGED.key].texts!.set(to, source, keyStart[row], keyEnd[row]);
    if (id >= 0) {
      columns[STAGED.schemaId].now.words[to] = id;
      columns[STAGED.schemaId].now.setValid(to);
    }
    // A count of none is one zero byte.
    if (headersEnd[row] - headersStart[row] > 1) this.#fillHeaders(stage, to, row);
  }

  #fillTimestamp(columns: readonly HeldColumn[], to: number, timestampMs: number): void {
    // -1 says that there is none.
    if (timestampMs < 0 || !isInRange(timestampMs, "milliseconds")) {
      this.#isDayMissing = true;
      return;
    }
    setMicros(columns[STAGED.timestamp].now, to, timestampMs);
    columns[STAGED.timestamp].now.setValid(to);
    const day = Math.floor(timestampMs / DAY_MS);
    if (!this.#days.has(day)) {
      if (this.#days.size >= DAYS_MAX) {
        this.#isDayMissing = true;
        return;
      }
      this.#days.add(day);
    }
    columns[STAGED.ingestDate].now.words[to] = day;
    columns[STAGED.ingestDate].now.setValid(to);
  }

  #fillHeaders(stage: Stage, to: number, row: number): void {
    const { data, headersStart, headersEnd } = this.#records;
    const headers = readHeaders(data, headersStart[row], headersEnd[row]);
    if (headers === null || headers.length === 0) return;
    stage.hasHeaders = true;
    const pairs = headers.map(([name, value]) => [name, value && value.toBase64()]);
    stage.held.columns[STAGED.headers].texts!.set(to, new TextSource(utf8.encode(JSON.stringify(pairs))));
  }

  #fillFault(
    stage: Stage,
    to: number,
    { row, fault, source }: { row: number; fault: string; source: TextSource },
  ): void {
    const { columns } = stage.held;
    const { valueStart, valueEnd } = this.#records;
    columns[STAGED.fault].texts!.set(to, faultText(fault));
    columns[STAGED.value].texts!.set(to, source, valueStart[row], valueEnd[row]);
  }

  /** A batch whose records cannot be told apart: one row, with all of its bytes. */
  #stageUnreadable(
    stage: Stage,
    { batch, partition }: { batch: BatchScanner["unreadable"][number]; partition: number },
  ): void {
    const { held } = stage;
    held.makeRoom(1);
    const { columns, filled: row } = held;
    columns[STAGED.partition].now.words[row] = partition;
    columns[STAGED.partition].now.setValid(row);
    setLong(columns[STAGED.offset].now, row, batch.offset);
    columns[STAGED.offset].now.setValid(row);
    this.#fillTimestamp(columns, row, batch.timestampMs);
    columns[STAGED.fault].texts!.set(row, faultText(`${batch.count} records: ${batch.reason}`));
    columns[STAGED.value].texts!.set(row, new TextSource(batch.bytes));
    held.added(1);
    this.#rows++;
  }

  async #lookUp(id: number): Promise<void> {
    const { schemaById, archive, eventTime } = this.#options;
    try {
      const schema = await schemaById(id);
      if (schema === null) return;
      this.#schemas.set(id, new WrittenSchema(schema, archive, { eventTime }));
    } catch (error) {
      const isRefused = error instanceof MalformedRecordError || error instanceof ConfigError ||
        error instanceof IncompatibleSchemaError;
      if (!isRefused) throw error;
      this.#schemas.set(id, { refusal: error.message });
    }
  }
}

function faultText(fault: string): TextSource {
  return new TextSource(utf8.encode(fault.slice(0, FAULT_LENGTH_MAX).toWellFormed()));
}
