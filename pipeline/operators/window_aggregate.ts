import { type Column, type Columns, type FieldType, numberAt } from "../columns.ts";
import type { Plan } from "../plan/plan.ts";
import { tumblingStart } from "../windows/tumbling.ts";
import type { PartitionWatermark } from "../windows/watermark.ts";
import { GROUP_KEY_BYTES_MAX, GroupKeyWriter } from "./group_key.ts";
import type { Deduplicator } from "./deduplicate.ts";
import { hashKey } from "./pane_table.ts";
import { Panes } from "./panes.ts";

/** What ECMAScript dates and PostgreSQL's timestamptz both hold, with room for the window's end. */
export const TIME_RANGE_MS = { least: Date.UTC(-4000, 0, 1), most: Date.UTC(9999, 11, 31, 23, 59, 59, 999) };

const DAY_MS = 86_400_000;
/**
 * An event time this much after the record's own timestamp is taken for a mistake. Were it believed, one record from a wrong
 * clock would close every window and make all that follows late.
 */
export const AHEAD_MS_MAX = DAY_MS;

/** What became of a chunk's selected rows. The arrays are used again by the next chunk. */
export interface Folded {
  readonly aggregated: number;
  /** Rows seen before by the plan's `dedupe`. */
  readonly duplicate: number;
  /** Rows whose window had closed, `late[0 .. lateLength)`. */
  readonly late: Int32Array;
  readonly lateLength: number;
  /** Event time of each row of the chunk, milliseconds; NaN where there is no usable one. */
  readonly times: Float64Array;
  /** Rows without a usable event time (NaN in `times`), key or value (1 in `beyond`), `unusable[0 .. unusableLength)`. */
  readonly unusable: Int32Array;
  readonly unusableLength: number;
  /** 1 for rows with a date or time that no result can hold; null where no date or time gets into one. */
  readonly beyond: Uint8Array | null;
}

const UNTIMED = "the event time is null, out of range, or more than a day after the record's own timestamp";
const UNKEYED = `the group key is no UTF-8 text, or longer than ${GROUP_KEY_BYTES_MAX} bytes`;
const UNSTORABLE = "a date or time that is a key, or counts for a min or max, is before the year -4000 or after 9999";

/** Why a row is unusable, in words. */
export function unusableReason({ times, beyond }: Pick<Folded, "times" | "beyond">, row: number): string {
  if (Number.isNaN(times[row])) return UNTIMED;
  return beyond?.[row] === 1 ? UNSTORABLE : UNKEYED;
}

/** Sorts the rows of chunks into windows and adds them up by group key. */
export class WindowAggregate {
  readonly panes: Panes;
  readonly #plan: Plan;
  readonly #keys: GroupKeyWriter;
  readonly #times: Float64Array;
  readonly #rows: Int32Array;
  readonly #slots: Int32Array;
  readonly #late: Int32Array;
  readonly #unusable: Int32Array;
  /** Fields whose dates and times are published as they are. */
  readonly #published: readonly number[];
  readonly #beyond: Uint8Array;
  /** Window start by row. */
  readonly #starts: Float64Array;
  readonly #floorMs: number;
  readonly #only: ReadonlySet<number> | null;

  /**
   * `capacity`: most rows of a chunk. Rows of windows that start before `floorMs`, or at none of `onlyWindows`, count as
   * aggregated and leave no pane.
   */
  constructor(
    plan: Plan,
    capacity: number,
    { floorMs = -Infinity, onlyWindows }: { readonly floorMs?: number; readonly onlyWindows?: readonly number[] } = {},
  ) {
    this.#plan = plan;
    this.#floorMs = floorMs;
    this.#only = onlyWindows ? new Set(onlyWindows) : null;
    this.#starts = new Float64Array(capacity);
    this.panes = new Panes(plan);
    this.#keys = new GroupKeyWriter(
      plan.groupBy.map(({ field }) => field),
      plan.fields.map(({ type }) => type),
      capacity,
    );
    this.#times = new Float64Array(capacity);
    this.#rows = new Int32Array(capacity);
    this.#slots = new Int32Array(capacity);
    this.#late = new Int32Array(capacity);
    this.#unusable = new Int32Array(capacity);
    this.#published = publishedTimes(plan);
    this.#beyond = new Uint8Array(capacity);
  }

  /**
   * Adds the rows `selection[0 .. selected)` (ascending) to their panes and moves the watermark on by the event times of all
   * rows: a record that is filtered out still tells the time.
   *
   * @param chosen.timestamps the records' own timestamps, by `columns.source`; negative where there is none
   * @param chosen.isLearning leaves no panes: the rows were added before
   */
  fold(
    columns: Columns,
    chosen: {
      readonly selection: Int32Array;
      readonly selected: number;
      readonly watermark: PartitionWatermark;
      readonly timestamps: Float64Array;
      readonly dedupe?: Deduplicator | null;
      readonly isLearning?: boolean;
    },
  ): Folded {
    const { selection, selected, watermark, dedupe = null, isLearning = false } = chosen;
    const { sizeMs, offsetMs } = this.#plan.window;
    const lateness = this.#plan.allowedLatenessMs;
    const times = this.#times;
    const rows = this.#rows;
    const starts = this.#starts;
    eventTimes(columns.columns[this.#plan.eventTime], columns, { times, timestamps: chosen.timestamps });
    const beyond = this.#published.length === 0 ? null : this.#markBeyond(columns);
    const keys = this.#keys.keysOf(columns);
    const { raisedToMs } = watermark;
    let { maxEventTimeMs } = watermark;
    let currentMs = watermark.currentMs;
    let windowStart = NaN;
    let windowEnd = NaN;
    let inTime = 0;
    let lateLength = 0;
    let unusableLength = 0;
    let next = 0;
    for (let row = 0; row < columns.length; row++) {
      const time = times[row];
      if (time > maxEventTimeMs) {
        maxEventTimeMs = time;
        if (time - lateness > raisedToMs) currentMs = time - lateness;
      }
      if (next >= selected || selection[next] !== row) continue;
      next++;
      if (!(time >= windowStart && time < windowEnd)) {
        if (time !== time) {
          this.#unusable[unusableLength++] = row;
          continue;
        }
        windowStart = tumblingStart(time, sizeMs, offsetMs);
        windowEnd = windowStart + sizeMs;
      }
      if (windowEnd <= currentMs) {
        this.#late[lateLength++] = row;
        continue;
      }
      // What cannot count is no first of its kind either.
      if (beyond !== null && beyond[row] === 1 || dedupe !== null && !this.#keys.isUsable(columns, row)) {
        this.#unusable[unusableLength++] = row;
        continue;
      }
      starts[row] = windowStart;
      rows[inTime++] = row;
    }
    watermark.maxEventTimeMs = maxEventTimeMs;
    const kept = dedupe === null ? inTime : dedupe.keep(columns, { rows, length: inTime, times });
    const unkeyed = isLearning ? 0 : this.#addToPanes(columns, keys, { length: kept, unusableLength });
    return {
      aggregated: kept - unkeyed,
      duplicate: inTime - kept,
      times,
      late: this.#late,
      lateLength,
      unusable: this.#unusable,
      unusableLength: unusableLength + unkeyed,
      beyond,
    };
  }

  /** Finds the panes of `rows[0 .. length)` and adds the rows; returns how many have no usable key, noted as unusable. */
  #addToPanes(
    columns: Columns,
    { data, spans }: ReturnType<GroupKeyWriter["keysOf"]>,
    { length, unusableLength }: { length: number; unusableLength: number },
  ): number {
    const { table } = this.panes;
    const rows = this.#rows;
    const slots = this.#slots;
    const starts = this.#starts;
    const floorMs = this.#floorMs;
    const only = this.#only;
    let added = 0;
    let unkeyed = 0;
    for (let i = 0; i < length; i++) {
      const row = rows[i];
      const windowStart = starts[row];
      if (windowStart < floorMs || only !== null && !only.has(windowStart)) continue;
      const start = spans[2 * row];
      const end = spans[2 * row + 1];
      const hash = hashKey(data, start, end);
      let slot = table.find(data, start, end, hash, windowStart);
      if (slot < 0) {
        if (!this.#keys.isUsable(columns, row)) {
          this.#unusable[unusableLength + unkeyed++] = row;
          continue;
        }
        slot = table.insert(data, start, end, hash, windowStart);
      }
      rows[added] = row;
      slots[added++] = slot;
    }
    this.panes.add(columns, { rows, slots, length: added });
    return unkeyed;
  }

  /** One such value in a result would be refused by the database, and with it every result after. */
  #markBeyond(columns: Columns): Uint8Array {
    const beyond = this.#beyond.fill(0, 0, columns.length);
    for (const field of this.#published) {
      const { ints, nulls, kind, type } = columns.columns[field];
      const unitMs = UNIT_MS[type.type]!;
      for (let row = 0; row < columns.length; row++) {
        if (nulls[row] === 0 && !isTime(unitMs * (kind === "i32" ? ints[row] : numberAt(ints, row)))) beyond[row] = 1;
      }
    }
    return beyond;
  }
}

const UNIT_MS: Readonly<Partial<Record<FieldType["type"], number>>> = {
  "date": DAY_MS,
  "timestamp-millis": 1,
  "timestamp-micros": 0.001,
};

/** Fields with dates or timestamps that are keys, or that a least or greatest value is kept of. */
function publishedTimes({ fields, groupBy, accumulators }: Plan): number[] {
  const kept = accumulators.filter(({ kind }) => kind === "min" || kind === "max").map(({ field }) => field!);
  const used = new Set([...groupBy.map(({ field }) => field), ...kept]);
  return [...used].filter((field) => UNIT_MS[fields[field].type.type] !== undefined);
}

function isTime(ms: number): boolean {
  return ms >= TIME_RANGE_MS.least && ms <= TIME_RANGE_MS.most;
}

/** Event times in milliseconds; NaN where null, out of range, or too far ahead of the record's own timestamp. */
function eventTimes(
  column: Column,
  { length, source }: Columns,
  { times, timestamps }: { times: Float64Array; timestamps: Float64Array },
): void {
  const { ints, nulls } = column;
  switch (column.type.type) {
    case "date":
      for (let row = 0; row < length; row++) times[row] = ints[row] * DAY_MS;
      break;
    case "timestamp-micros":
      for (let row = 0; row < length; row++) {
        times[row] = Math.floor(numberAt(ints, row) / 1000);
      }
      break;
    default:
      for (let row = 0; row < length; row++) times[row] = numberAt(ints, row);
  }
  for (let row = 0; row < length; row++) {
    const time = times[row];
    const own = timestamps[source[row]];
    const isUsable = nulls[row] === 0 && isTime(time) && (own < 0 || time <= own + AHEAD_MS_MAX);
    if (!isUsable) times[row] = NaN;
  }
}
