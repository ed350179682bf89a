import { grown } from "../grown.ts";
import { PaneTable } from "./pane_table.ts";

/** Room an empty table begins with: there may be many that hold little. */
const SLOTS_FIRST = 16;

/** Keys by cell of event time, with the least and the largest time seen of each. */
export class SeenKeys {
  readonly #table = new PaneTable(SLOTS_FIRST);
  #least = new Float64Array(SLOTS_FIRST);
  #most = new Float64Array(SLOTS_FIRST);
  /** Largest time of all, -Infinity when empty. */
  maxTimeMs = -Infinity;

  get length(): number {
    return this.#table.length;
  }

  get bytes(): number {
    const { capacity, keys } = this.#table;
    // Per slot: two of the index, hash, window, end of key, and the two times.
    return capacity * (8 + 4 + 8 + 4 + 16) + keys.length;
  }

  /** Notes a key at a time; whether it was seen in this cell before. */
  see(data: Uint8Array, start: number, end: number, hash: number, cell: number, timeMs: number): boolean {
    if (timeMs > this.maxTimeMs) this.maxTimeMs = timeMs;
    const table = this.#table;
    // The table spreads windows by their seconds.
    let slot = table.find(data, start, end, hash, 1000 * cell);
    if (slot >= 0) {
      if (timeMs < this.#least[slot]) this.#least[slot] = timeMs;
      else if (timeMs > this.#most[slot]) this.#most[slot] = timeMs;
      return true;
    }
    slot = table.insert(data, start, end, hash, 1000 * cell);
    if (table.capacity > this.#least.length) {
      this.#least = grown(this.#least, new Float64Array(table.capacity));
      this.#most = grown(this.#most, new Float64Array(table.capacity));
    }
    this.#least[slot] = this.#most[slot] = timeMs;
    return false;
  }

  /** Whether a key was seen in a cell at a time or after it. */
  isAfter(data: Uint8Array, start: number, end: number, hash: number, cell: number, timeMs: number): boolean {
    if (this.maxTimeMs < timeMs) return false;
    const slot = this.#table.find(data, start, end, hash, 1000 * cell);
    return slot >= 0 && this.#most[slot] >= timeMs;
  }

  /** Whether a key was seen in a cell at a time or before it. */
  isBefore(data: Uint8Array, start: number, end: number, hash: number, cell: number, timeMs: number): boolean {
    const slot = this.#table.find(data, start, end, hash, 1000 * cell);
    return slot >= 0 && this.#least[slot] <= timeMs;
  }

  /** Forgets everything and keeps the memory. */
  clear(): void {
    this.#table.clear();
    this.maxTimeMs = -Infinity;
  }
}
