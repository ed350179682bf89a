import { type Column, columnKind, type FieldType } from "../columns.ts";
import { grown } from "../grown.ts";

/** The value of a hexadecimal digit, by its character code. */
const HEX = new Int32Array(256);
for (let i = 0; i < 16; i++) {
  HEX["0123456789abcdef".charCodeAt(i)] = i;
  HEX["0123456789ABCDEF".charCodeAt(i)] = i;
}
/** Where each half (four digits) of a UUID's four words begins in its text. */
const UUID_HALVES = [0, 4, 9, 14, 19, 24, 28, 32];

/**
 * Values of one column as 32-bit words, equal values in equal words: what is hashed, kept and compared.
 *
 *     i32: 1 word | i64: low, high | uuid: its 16 bytes, 4 words | bytes: length, then four bytes to a word, zeros at the end
 */
export class KeyWords {
  readonly #shape: "i32" | "i64" | "uuid" | "bytes";
  /** Values one after the other; the i-th lies in `words[ends[i - 1] .. ends[i])`. */
  words: Int32Array;
  readonly ends: Int32Array;
  readonly hashes: Int32Array;

  /** `capacity`: most values at a time. */
  constructor(type: FieldType, capacity: number) {
    const kind = columnKind(type);
    if (kind === "f64") throw new Error(`A ${type.type} makes no key: this is a bug`);
    this.#shape = type.type === "uuid" ? "uuid" : kind;
    this.words = new Int32Array(4 * capacity);
    this.ends = new Int32Array(capacity);
    this.hashes = new Int32Array(capacity);
  }

  /** Writes and hashes the values of `rows[0 .. length)`, instead of those before. A null has no words. */
  write(column: Column, rows: Int32Array, length: number): void {
    const { nulls } = column;
    let start = 0;
    for (let i = 0; i < length; i++) {
      const row = rows[i];
      const end = nulls[row] !== 0 ? start : this.#write(column, row, start);
      this.ends[i] = end;
      this.hashes[i] = hashWords(this.words, start, end);
      start = end;
    }
  }

  /** Writes one value and returns where it ends. */
  #write({ ints, data }: Column, row: number, at: number): number {
    const { words } = this;
    switch (this.#shape) {
      case "i32":
        words[at] = ints[row];
        return at + 1;
      case "i64":
        words[at] = ints[2 * row];
        words[at + 1] = ints[2 * row + 1];
        return at + 2;
      case "uuid":
        writeUuid(words, at, data, ints[2 * row]);
        return at + 4;
      default:
        return this.#writeBytes(at, data, ints[2 * row], ints[2 * row + 1]);
    }
  }

  #writeBytes(start: number, data: Uint8Array, from: number, to: number): number {
    const bytes = to - from;
    const end = start + 1 + ((bytes + 3) >> 2);
    if (end > this.words.length) this.words = grown(this.words, new Int32Array(2 * end));
    const { words } = this;
    words[start] = bytes;
    let at = start + 1;
    let p = from;
    for (const stop = to - 3; p < stop; p += 4) {
      words[at++] = data[p] | data[p + 1] << 8 | data[p + 2] << 16 | data[p + 3] << 24;
    }
    if (p < to) {
      let rest = data[p];
      if (p + 1 < to) rest |= data[p + 1] << 8;
      if (p + 2 < to) rest |= data[p + 2] << 16;
      words[at] = rest;
    }
    return end;
  }
}

function writeUuid(words: Int32Array, at: number, data: Uint8Array, from: number): void {
  for (let word = 0; word < 4; word++) {
    const a = from + UUID_HALVES[2 * word];
    const b = from + UUID_HALVES[2 * word + 1];
    words[at + word] = HEX[data[a]] << 28 | HEX[data[a + 1]] << 24 | HEX[data[a + 2]] << 20 | HEX[data[a + 3]] << 16 |
      HEX[data[b]] << 12 | HEX[data[b + 1]] << 8 | HEX[data[b + 2]] << 4 | HEX[data[b + 3]];
  }
}

/** A 32-bit hash of `words[start .. end)`: murmur3's mixing, a word at a step. */
function hashWords(words: Int32Array, start: number, end: number): number {
  let h = end - start;
  for (let i = start; i < end; i++) {
    let k = Math.imul(words[i], 0xcc9e2d51);
    k = (k << 15) | (k >>> 17);
    h ^= Math.imul(k, 0x1b873593);
    h = (h << 13) | (h >>> 19);
    h = (Math.imul(h, 5) + 0xe6546b64) | 0;
  }
  h ^= h >>> 16;
  h = Math.imul(h, 0x85ebca6b);
  return h ^ h >>> 13;
}
