import type { Columns } from "../columns.ts";
import { ConfigError } from "../errors.ts";
import { showDuration } from "../plan/durations.ts";
import type { Plan } from "../plan/plan.ts";
import { KeyWords } from "./key_words.ts";
import { SeenKeys } from "./seen_keys.ts";

/** Keys remembered for one partition. Beyond it the pipeline stops rather than fill the memory, or count something twice. */
export const KEYS_MAX = 5_000_000;
/** Into how many parts the time in which windows stay open is cut at most, each forgotten as a whole. */
const PARTS_MAX = 8;
/** Emptied parts kept, to be filled again. */
const SPARE_PARTS_MAX = 2;

/** What the rows of a chunk are: `rows[0 .. length)` index columns, in log order; `times` has the event time of each row. */
export interface Candidates {
  readonly rows: Int32Array;
  readonly length: number;
  /** By row, milliseconds; none is NaN for a row in `rows`. */
  readonly times: Float64Array;
}

/**
 * Finds records that were seen before, in one partition.
 *
 * A record is a duplicate when an earlier record of its partition that came here too (selected, not late, with a usable event
 * time) has the same value in `plan.dedupe.field` and an event time at most `withinMs` from its own, before or after. Null is no
 * value: such records are never duplicates. A duplicate counts as seen itself, so a chain of repeats goes on for as long as each
 * is near enough to any before it. That is what lets this memory be built again from the last stretch of the log: were only the
 * kept records remembered, whether one is kept would follow from all the chain before it, back to its beginning.
 *
 * Event time is cut into cells as long as `withinMs`. Of each key and cell the least and the largest time seen is enough: all
 * within one cell are near enough to each other, and of the cells beside it only the nearest time matters. Cells are kept in
 * parts (`SeenKeys`), one table each, which are dropped as a whole when no record in time can match anything in them.
 *
 * No clock and no I/O; nothing is allocated per record but where a table grows.
 */
export class Deduplicator {
  readonly #field: number;
  readonly #withinMs: number;
  readonly #windowMs: number;
  readonly #allowedLatenessMs: number;
  readonly #name: string;
  readonly #keysMax: number;
  readonly #keys: KeyWords;
  readonly #repeats: Int32Array;
  /** Cells to a part. */
  readonly #cells: number;
  readonly #parts = new Map<number, SeenKeys>();
  readonly #spare: SeenKeys[] = [];
  #size = 0;
  #maxTimeMs = -Infinity;
  /** The cell at hand, where it begins (NaN: none), its part, and the parts of the cells beside it. */
  #cell = 0;
  #startMs = NaN;
  #here: SeenKeys | null = null;
  #before: SeenKeys | null = null;
  #after: SeenKeys | null = null;
  /** Keeps the reading that only warms the cache from being optimized away. */
  #touched = 0;

  /**
   * `capacity`: most rows of a chunk; `keysMax` instead of `KEYS_MAX`.
   *
   * @throws Error when the plan has no `dedupe`
   */
  constructor(plan: Plan, capacity: number, { keysMax = KEYS_MAX }: { readonly keysMax?: number } = {}) {
    if (plan.dedupe === null) throw new Error(`Pipeline ${plan.name} has no dedupe: this is a bug`);
    const { field, withinMs } = plan.dedupe;
    this.#field = field;
    this.#withinMs = withinMs;
    this.#windowMs = plan.window.sizeMs;
    this.#allowedLatenessMs = plan.allowedLatenessMs;
    this.#name = plan.name;
    this.#keysMax = keysMax;
    this.#keys = new KeyWords(plan.fields[field].type, capacity);
    this.#repeats = new Int32Array(capacity);
    const openMs = plan.window.sizeMs + plan.allowedLatenessMs;
    this.#cells = Math.max(1, Math.ceil(openMs / (PARTS_MAX * withinMs)));
  }

  /** Keys held. One that was seen in several cells counts in each. */
  get size(): number {
    return this.#size;
  }

  /** Memory of the tables. */
  get bytes(): number {
    let bytes = 0;
    for (const part of this.#parts.values()) bytes += part.bytes;
    for (const part of this.#spare) bytes += part.bytes;
    return bytes;
  }

  /**
   * Keeps the rows whose key was not seen near their time: they come first in `rows`, and how many they are is returned. The
   * others follow them, up to `length`. Both are in log order.
   *
   * @throws ConfigError when more keys would have to be remembered than fit
   */
  keep(columns: Columns, { rows, length, times }: Candidates): number {
    const column = columns.columns[this.#field];
    const { nulls } = column;
    this.#keys.write(column, rows, length);
    this.#touch(length);
    let kept = 0;
    let repeats = 0;
    for (let i = 0; i < length; i++) {
      const row = rows[i];
      if (nulls[row] === 0 && this.#isSeen(i, times[row])) this.#repeats[repeats++] = row;
      else rows[kept++] = row;
    }
    for (let i = 0; i < repeats; i++) rows[kept + i] = this.#repeats[i];
    return kept;
  }

  /**
   * Forgets what no record in time can match any more. Changes no answer for records whose window ends after the watermark: they
   * are younger than `watermarkMs` less a window, and so what they match is younger than that less `withinMs`. To know all that
   * is left, a new reader begins where the largest event time of the log before was not yet beyond that.
   */
  forget(watermarkMs: number): void {
    const until = watermarkMs - this.#windowMs - this.#withinMs;
    for (const [number, part] of this.#parts) {
      if (part.maxTimeMs > until) continue;
      this.#parts.delete(number);
      this.#size -= part.length;
      part.clear();
      if (this.#spare.length < SPARE_PARTS_MAX) this.#spare.push(part);
      // Any of the three at hand may be gone.
      this.#startMs = NaN;
    }
  }

  /** Whether the i-th key was seen near its time; from here on it was. */
  #isSeen(i: number, timeMs: number): boolean {
    const withinMs = this.#withinMs;
    if (!(timeMs >= this.#startMs && timeMs < this.#startMs + withinMs)) this.#turnTo(Math.floor(timeMs / withinMs));
    const here = this.#here!;
    const cell = this.#cell;
    const startMs = this.#startMs;
    const { words, ends, hashes } = this.#keys;
    const hash = hashes[i];
    const start = i === 0 ? 0 : ends[i - 1];
    const end = ends[i];
    const { length } = here;
    let isSeen = here.see(words, start, end, inCell(hash, cell), startMs, timeMs);
    if (here.length > length && ++this.#size > this.#keysMax) throw this.#tooMany();
    if (!isSeen && this.#before !== null) {
      isSeen = this.#before.isAfter(words, start, end, inCell(hash, cell - 1), startMs - withinMs, timeMs - withinMs);
    }
    if (!isSeen && this.#after !== null && this.#maxTimeMs >= startMs + withinMs) {
      isSeen = this.#after.isBefore(words, start, end, inCell(hash, cell + 1), startMs + withinMs, timeMs + withinMs);
    }
    if (timeMs > this.#maxTimeMs) this.#maxTimeMs = timeMs;
    return isSeen;
  }

  /** Has the places that most searches will read fetched from memory, for the cell at hand and the one before. */
  #touch(length: number): void {
    const { hashes } = this.#keys;
    const here = this.#here;
    const before = this.#before;
    let touched = 0;
    for (let i = 0; i < length && here !== null; i++) touched ^= here.touch(inCell(hashes[i], this.#cell));
    for (let i = 0; i < length && before !== null; i++) touched ^= before.touch(inCell(hashes[i], this.#cell - 1));
    this.#touched = touched;
  }

  /** Makes a cell the one at hand. */
  #turnTo(cell: number): void {
    this.#here = this.#partOf(cell);
    this.#cell = cell;
    this.#startMs = cell * this.#withinMs;
    this.#before = this.#parts.get(Math.floor((cell - 1) / this.#cells)) ?? null;
    this.#after = this.#parts.get(Math.floor((cell + 1) / this.#cells)) ?? null;
  }

  #partOf(cell: number): SeenKeys {
    const number = Math.floor(cell / this.#cells);
    let part = this.#parts.get(number);
    if (part === undefined) {
      // The watermark is at least here, told or not. So there are never more parts than the plan's times need.
      this.forget(this.#maxTimeMs - this.#allowedLatenessMs);
      part = this.#spare.pop() ?? new SeenKeys(this.#withinMs);
      this.#parts.set(number, part);
    }
    return part;
  }

  #tooMany(): ConfigError {
    return new ConfigError({
      where: `streams: ${this.#name}.dedupe`,
      problem: `more than ${this.#keysMax} keys came within ${showDuration(this.#withinMs)} (and the time a window ` +
        "stays open) in one partition, more than are remembered: use a shorter `within`, or more partitions",
    });
  }
}

/** Spreads a key's cells, which lie side by side. */
function inCell(hash: number, cell: number): number {
  const mixed = Math.imul(hash ^ cell, 0x9e3779b1);
  return mixed ^ (mixed >>> 15);
}
