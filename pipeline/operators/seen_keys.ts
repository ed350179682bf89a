import { grown } from "../grown.ts";

/** Keys an empty table has room for: there may be many tables that hold little. */
const KEYS_FIRST = 12;
const SLOTS_FIRST = 16;

/**
 * Keys by cell of event time, with the least and the largest time seen of each: a hash table with linear probing, at most three
 * quarters full. Slot and hash lie side by side, so that looking for a key that is not there reads one place of memory.
 *
 *     #index    key number + 1 (0 is free) | hash      two words a slot
 *     #words    keys, one after the other; key i ends at #ends[i]
 */
export class SeenKeys {
  #index = new Int32Array(2 * SLOTS_FIRST);
  #mask = SLOTS_FIRST - 1;
  #words = new Int32Array(4 * KEYS_FIRST);
  #ends = new Int32Array(KEYS_FIRST);
  #least = new Float64Array(KEYS_FIRST);
  #most = new Float64Array(KEYS_FIRST);
  /** Where the last unsuccessful search ended. */
  #vacant = 0;
  #length = 0;
  /** Largest time of all, -Infinity when empty. */
  maxTimeMs = -Infinity;
  readonly #cellMs: number;

  /** `cellMs`: how long a cell is. */
  constructor(cellMs: number) {
    this.#cellMs = cellMs;
  }

  get length(): number {
    return this.#length;
  }

  get bytes(): number {
    return 4 * (this.#index.length + this.#words.length + this.#ends.length) + 16 * this.#least.length;
  }

  /**
   * Notes a key, `words[start .. end)`, at a time in the cell that begins at `startMs`; whether it was seen in that cell before.
   * `hash` is of key and cell.
   */
  see(words: Int32Array, start: number, end: number, hash: number, startMs: number, timeMs: number): boolean {
    if (timeMs > this.maxTimeMs) this.maxTimeMs = timeMs;
    const key = this.#find(words, start, end, hash, startMs);
    if (key < 0) {
      this.#insert(words, start, end, hash, timeMs);
      return false;
    }
    if (timeMs < this.#least[key]) this.#least[key] = timeMs;
    else if (timeMs > this.#most[key]) this.#most[key] = timeMs;
    return true;
  }

  /** Whether a key was seen in a cell at a time or after it. */
  isAfter(words: Int32Array, start: number, end: number, hash: number, startMs: number, timeMs: number): boolean {
    if (this.maxTimeMs < timeMs) return false;
    const key = this.#find(words, start, end, hash, startMs);
    return key >= 0 && this.#most[key] >= timeMs;
  }

  /** Whether a key was seen in a cell at a time or before it. */
  isBefore(words: Int32Array, start: number, end: number, hash: number, startMs: number, timeMs: number): boolean {
    const key = this.#find(words, start, end, hash, startMs);
    return key >= 0 && this.#least[key] <= timeMs;
  }

  /** Reads the place where a search for the hash begins: a processor waits for many places at once, but for one search at a time. */
  touch(hash: number): number {
    return this.#index[2 * (hash & this.#mask)];
  }

  /** Forgets everything and keeps the memory. */
  clear(): void {
    this.#index.fill(0);
    this.#length = 0;
    this.maxTimeMs = -Infinity;
  }

  #find(words: Int32Array, start: number, end: number, hash: number, startMs: number): number {
    const index = this.#index;
    const mask = this.#mask;
    const endMs = startMs + this.#cellMs;
    let slot = hash & mask;
    for (let entry = index[2 * slot]; entry !== 0; slot = (slot + 1) & mask, entry = index[2 * slot]) {
      if (index[2 * slot + 1] !== hash) continue;
      const key = entry - 1;
      const least = this.#least[key];
      if (least >= startMs && least < endMs && this.#isKey(key, words, start, end)) return key;
    }
    this.#vacant = slot;
    return -1;
  }

  #isKey(key: number, words: Int32Array, start: number, end: number): boolean {
    const kept = this.#words;
    const from = key === 0 ? 0 : this.#ends[key - 1];
    if (this.#ends[key] - from !== end - start) return false;
    for (let i = start, j = from; i < end; i++, j++) if (words[i] !== kept[j]) return false;
    return true;
  }

  /** Adds a key that `#find` has just not found. */
  #insert(words: Int32Array, start: number, end: number, hash: number, timeMs: number): void {
    const key = this.#length++;
    const from = key === 0 ? 0 : this.#ends[key - 1];
    const to = from + end - start;
    if (to > this.#words.length) this.#words = grown(this.#words, new Int32Array(2 ** Math.ceil(Math.log2(to))));
    for (let i = start, j = from; i < end; i++, j++) this.#words[j] = words[i];
    this.#ends[key] = to;
    this.#least[key] = this.#most[key] = timeMs;
    this.#index[2 * this.#vacant] = key + 1;
    this.#index[2 * this.#vacant + 1] = hash;
    if (this.#length === this.#least.length) this.#grow();
  }

  #grow(): void {
    const keys = 2 * this.#least.length;
    this.#ends = grown(this.#ends, new Int32Array(keys));
    this.#least = grown(this.#least, new Float64Array(keys));
    this.#most = grown(this.#most, new Float64Array(keys));
    const before = this.#index;
    const index = this.#index = new Int32Array(2 * before.length);
    const mask = this.#mask = before.length - 1;
    for (let at = 0; at < before.length; at += 2) {
      if (before[at] === 0) continue;
      const hash = before[at + 1];
      let slot = hash & mask;
      while (index[2 * slot] !== 0) slot = (slot + 1) & mask;
      index[2 * slot] = before[at];
      index[2 * slot + 1] = hash;
    }
  }
}
