/**
 * The distinct texts of a column, each with a number: how Parquet keeps a column of few texts (its dictionary encoding), worked out
 * while the texts are at hand. DuckDB's writer takes such a column as an ENUM, and then neither hashes nor compares a text per row.
 *
 * A text is told by the 16 bytes that DuckDB keeps of it (see `text_words.ts`), but for longer ones, whose last 8 are here
 *
 *     length uint32 | first 4 bytes | hash of all bytes | 0
 *
 * @module
 */
import type { Column } from "../../../columns.ts";
import { FIRST_WORD, INLINE_BYTES_MAX, isUtf8, partOfWord, SECOND_WORD, THIRD_WORD } from "./text_words.ts";

/** Most distinct texts, and bytes of them all: each group of rows in a file has them once. */
export const CODED_TEXTS_MAX = 16_384;
export const CODED_BYTES_MAX = 1024 * 1024;
const FIRST_SLOTS = 256;
const UTF8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/** The high bit of each byte: none is set in ASCII. */
const HIGH_BIT = 0x80;

export class TextCodes {
  /** Code + 1 by slot, 0 for none; at most half are taken. */
  #slots = new Int32Array(FIRST_SLOTS);
  #entries = new Int32Array(4 * FIRST_SLOTS);
  /** All texts, one behind the other. */
  #bytes = new Uint8Array(4096);
  #starts = new Int32Array(FIRST_SLOTS + 1);
  #length = 0;
  #isAscii = true;

  /** How many there are. */
  get length(): number {
    return this.#length;
  }

  /**
   * Writes the codes of a column's rows from `base` on; those without a value get 0.
   *
   * @param refuse told of a row whose text is not UTF-8, and which then is null
   * @returns how many of the rows have codes now: fewer than there are where one finds no room, or has a zero byte, which no
   *   ENUM's text may have
   */
  code(
    { ints, nulls, data }: Column,
    { base, length: rows, into }: { readonly base: number; readonly length: number; readonly into: Uint16Array },
    refuse: (row: number) => void,
  ): number {
    const view = new DataView(data.buffer, data.byteOffset, data.byteLength);
    const lastWhole = data.byteLength - INLINE_BYTES_MAX;
    let slots = this.#slots;
    let entries = this.#entries;
    for (let row = 0; row < rows; row++) {
      if (nulls[row] !== 0) {
        into[base + row] = 0;
        continue;
      }
      const start = ints[2 * row];
      const length = ints[2 * row + 1] - start;
      let a: number;
      let b = 0;
      let c = 0;
      if (length > INLINE_BYTES_MAX) {
        a = view.getInt32(start, true);
        b = hashOf(view, start, start + length);
      } else if (start <= lastWhole) {
        a = view.getInt32(start, true) & FIRST_WORD[length];
        b = view.getInt32(start + 4, true) & SECOND_WORD[length];
        c = view.getInt32(start + 8, true) & THIRD_WORD[length];
      } else {
        const end = start + length;
        a = partOfWord(data, start, end);
        b = partOfWord(data, start + 4, end);
        c = partOfWord(data, start + 8, end);
      }
      const mask = slots.length - 1;
      let slot = mixed(length, a, b, c) & mask;
      let taken = slots[slot];
      for (; taken !== 0; taken = slots[slot]) {
        const entry = 4 * (taken - 1);
        if (
          entries[entry] === length && entries[entry + 1] === a && entries[entry + 2] === b &&
          (length > INLINE_BYTES_MAX ? this.#has(taken - 1, data, start) : entries[entry + 3] === c)
        ) break;
        slot = (slot + 1) & mask;
      }
      if (taken === 0) {
        const text = data.subarray(start, start + length);
        const isAscii = !text.some((byte) => byte >= HIGH_BIT);
        if (!isAscii && !isUtf8(text)) {
          refuse(row);
          into[base + row] = 0;
          continue;
        }
        if (!this.#admit(text, isAscii)) return row;
        taken = this.#length;
        const entry = 4 * (taken - 1);
        entries[entry] = length;
        entries[entry + 1] = a;
        entries[entry + 2] = b;
        entries[entry + 3] = c;
        slots[slot] = taken;
        if (2 * taken >= slots.length) {
          this.#grow();
          slots = this.#slots;
          entries = this.#entries;
        }
      }
      into[base + row] = taken - 1;
    }
    return rows;
  }

  /** The texts, in the order of their codes. */
  texts(): string[] {
    const starts = this.#starts;
    if (!this.#isAscii) return Array.from({ length: this.#length }, (_, code) => UTF8.decode(this.#bytesOf(code)));
    const all = UTF8.decode(this.#bytes.subarray(0, starts[this.#length]));
    return Array.from({ length: this.#length }, (_, code) => all.slice(starts[code], starts[code + 1]));
  }

  /** The first and last text by their bytes. There must be one. */
  bounds(): { readonly least: string; readonly most: string } {
    let [least, most] = [0, 0];
    for (let code = 1; code < this.#length; code++) {
      if (this.#compare(code, least) < 0) least = code;
      else if (this.#compare(code, most) > 0) most = code;
    }
    return { least: UTF8.decode(this.#bytesOf(least)), most: UTF8.decode(this.#bytesOf(most)) };
  }

  /** All texts, one behind the other. */
  get allBytes(): Uint8Array {
    return this.#bytes.subarray(0, this.#starts[this.#length]);
  }

  /** By code, the 16 bytes of each text: longer ones have, for their address, where they begin in `allBytes`. */
  entries(): Int32Array {
    const entries = this.#entries.slice(0, 4 * this.#length);
    for (let code = 0; code < this.#length; code++) {
      if (entries[4 * code] <= INLINE_BYTES_MAX) continue;
      entries[4 * code + 2] = this.#starts[code];
      entries[4 * code + 3] = 0;
    }
    return entries;
  }

  /** What they take in memory. */
  get memoryBytes(): number {
    return this.#bytes.length + this.#slots.byteLength + this.#entries.byteLength + this.#starts.byteLength;
  }

  #bytesOf(code: number): Uint8Array {
    return this.#bytes.subarray(this.#starts[code], this.#starts[code + 1]);
  }

  #has(code: number, data: Uint8Array, from: number): boolean {
    const bytes = this.#bytes;
    const end = this.#starts[code + 1];
    for (let i = this.#starts[code], at = from; i < end; i++, at++) if (bytes[i] !== data[at]) return false;
    return true;
  }

  #compare(a: number, b: number): number {
    const [bytes, starts] = [this.#bytes, this.#starts];
    let [i, j] = [starts[a], starts[b]];
    const [lengthA, lengthB] = [starts[a + 1] - i, starts[b + 1] - j];
    for (const end = i + Math.min(lengthA, lengthB); i < end; i++, j++) {
      if (bytes[i] !== bytes[j]) return bytes[i] - bytes[j];
    }
    return lengthA - lengthB;
  }

  #admit(text: Uint8Array, isAscii: boolean): boolean {
    const start = this.#starts[this.#length];
    const end = start + text.length;
    if (this.#length === CODED_TEXTS_MAX || end > CODED_BYTES_MAX || text.includes(0)) return false;
    if (!isAscii) this.#isAscii = false;
    if (end > this.#bytes.length) {
      const grown = new Uint8Array(2 * end);
      grown.set(this.#bytes.subarray(0, start));
      this.#bytes = grown;
    }
    this.#bytes.set(text, start);
    this.#starts[++this.#length] = end;
    return true;
  }

  #grow(): void {
    const count = 2 * this.#slots.length;
    const entries = new Int32Array(4 * count);
    entries.set(this.#entries);
    const starts = new Int32Array(count + 1);
    starts.set(this.#starts);
    const slots = new Int32Array(count);
    for (let code = 0; code < this.#length; code++) {
      const [length, a, b, c] = entries.subarray(4 * code, 4 * code + 4);
      let slot = mixed(length, a, b, c) & (count - 1);
      while (slots[slot] !== 0) slot = (slot + 1) & (count - 1);
      slots[slot] = code + 1;
    }
    this.#slots = slots;
    this.#entries = entries;
    this.#starts = starts;
  }
}

/** Spreads texts over slots; the constants are MurmurHash3's and xxHash's. */
function mixed(length: number, a: number, b: number, c: number): number {
  let hash = Math.imul(a, 0xcc9e2d51) ^ Math.imul(b, 0x9e3779b1) ^ Math.imul(c, 0x85ebca77) ^ length;
  hash = Math.imul(hash ^ (hash >>> 15), 0x85ebca6b);
  return hash ^ (hash >>> 13);
}

/** FNV-1a, a word at a time and then the last word of all, which some bytes are in twice. For more than 4 bytes. */
function hashOf(view: DataView, start: number, end: number): number {
  let hash = 0x811c9dc5 | 0;
  for (let at = start; at + 4 <= end; at += 4) {
    hash = Math.imul(hash ^ view.getInt32(at, true), 0x01000193);
    hash ^= hash >>> 15;
  }
  return Math.imul(hash ^ view.getInt32(end - 4, true), 0x01000193);
}
