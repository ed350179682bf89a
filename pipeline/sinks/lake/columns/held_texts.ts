/**
 * One column of texts or bytes in memory: by their codes while they are few, else one by one.
 *
 * @module
 */
import type { Column } from "../../../columns.ts";
import { BLOCK_ROWS_MAX, type BlockColumn } from "./block_column.ts";
import { TextCodes } from "./text_codes.ts";
import {
  FIRST_WORD,
  HIGH_BITS,
  INLINE_BYTES_MAX,
  isUtf8,
  partOfWord,
  SECOND_WORD,
  TextSource,
  THIRD_WORD,
} from "./text_words.ts";

/** What is said of a value that a column cannot hold begins so, after the name of its field. */
export const IS_NOT = "is not";
export const NOT_TEXT = `${IS_NOT} UTF-8 text`;

const NO_BYTES = new Uint8Array(0);

/** Values of a block of rows. It stays as it is: what reads it goes on while rows are added. */
export type HeldTextBlock =
  /** A code for each row. */
  | { readonly codes: Uint16Array }
  /** The 16 bytes of each row: longer ones have, for their address, where they begin in `bytes`. */
  | { readonly codes: null; readonly entries: Int32Array; readonly bytes: Uint8Array };

/** Told of a row whose text cannot be held: it is null, or all of it ends when this throws. */
export type Refuse = (row: number, problem: string) => void;

export class HeldTexts {
  /** What the blocks that have codes have codes of. */
  readonly codes: TextCodes | null;
  /** Null for a block without any value. */
  readonly blocks: (HeldTextBlock | null)[] = [];
  /** Of the column's block being filled: its words are those of texts without codes. */
  readonly #rows: BlockColumn;
  readonly #codesNow: Uint16Array | null;
  /** Until there are too many: from then on texts are held one by one. */
  #isCoding: boolean;
  /** The longer texts of the block being filled. */
  #bytes = NO_BYTES;
  #view = new DataView(NO_BYTES.buffer);
  #bytesEnd = 0;

  /** @param options.isCoded false for bytes, and for texts that are given one by one */
  constructor(rows: BlockColumn, { isCoded }: { readonly isCoded: boolean }) {
    this.#rows = rows;
    this.#isCoding = isCoded;
    this.codes = isCoded ? new TextCodes() : null;
    this.#codesNow = isCoded ? new Uint16Array(BLOCK_ROWS_MAX) : null;
  }

  /** Whether all values have codes. */
  get isCoded(): boolean {
    return this.#isCoding;
  }

  /** What the longer texts of the block being filled take. */
  get bytesNow(): number {
    return this.#bytesEnd;
  }

  /** What is held beside the blocks. */
  get memoryBytes(): number {
    return (this.codes?.memoryBytes ?? 0) + (this.#codesNow?.byteLength ?? 0) + this.#bytes.length;
  }

  /** Takes a column's rows, the first of them as row `base` of the block being filled. */
  add(column: Column, { base, length }: { readonly base: number; readonly length: number }, refuse: Refuse): void {
    let row = 0;
    if (this.#isCoding) {
      row = this.codes!.code(column, { base, length, into: this.#codesNow! }, (refused) => refuse(refused, NOT_TEXT));
      if (row === length) return;
      this.#endCoding(base + row);
    }
    // The decoder checked uuids.
    const isText = column.type.type === "string";
    const { ints, nulls } = column;
    const source = new TextSource(column.data);
    for (; row < length; row++) {
      if (nulls[row] !== 0) continue;
      const start = ints[2 * row];
      const end = ints[2 * row + 1];
      const before = this.#bytesEnd;
      const isAscii = this.#put(base + row, source, start, end);
      if (!isText || isAscii || isUtf8(source.data.subarray(start, end))) continue;
      // DuckDB takes the bytes of a block's texts only if all of them are UTF-8.
      this.#bytesEnd = before;
      this.#rows.words.fill(0, 4 * (base + row), 4 * (base + row + 1));
      refuse(row, NOT_TEXT);
    }
  }

  /** One row's value, of `source.data[start, end)`, which is UTF-8 where the column is of texts. */
  set(row: number, source: TextSource, start = 0, end = source.data.length): void {
    // Given one by one, they are taken for many.
    if (this.#isCoding) this.#endCoding(row);
    this.#put(row, source, start, end);
    this.#rows.setValid(row);
  }

  /** Ends the block. @returns bytes that it takes */
  endBlock(length: number): number {
    const bytes = this.#bytesEnd > 0 ? this.#bytes.slice(0, this.#bytesEnd) : NO_BYTES;
    this.#bytesEnd = 0;
    if (this.#rows.isEmpty()) {
      this.blocks.push(null);
      return 0;
    }
    if (this.#isCoding) {
      const codes = this.#codesNow!.slice(0, length);
      this.blocks.push({ codes });
      return codes.byteLength;
    }
    const entries = this.#rows.words.slice(0, 4 * length);
    this.blocks.push({ codes: null, entries, bytes });
    return entries.byteLength + bytes.byteLength;
  }

  /** Rows of the block being filled, up to this one, have codes: they become texts, whose bytes are there once for all of them. */
  #endCoding(to: number): void {
    this.#isCoding = false;
    const codes = this.codes!;
    if (codes.length === 0) return;
    const { words, valid } = this.#rows;
    const entries = codes.entries();
    const { allBytes } = codes;
    const place = this.#makeRoom(allBytes.length);
    this.#bytes.set(allBytes, place);
    for (let row = 0; row < to; row++) {
      if ((valid[row >> 3] & (1 << (row & 7))) === 0) continue;
      const entry = 4 * this.#codesNow![row];
      for (let i = 0; i < 4; i++) words[4 * row + i] = entries[entry + i];
      if (words[4 * row] > INLINE_BYTES_MAX) words[4 * row + 2] += place;
    }
  }

  /** Writes the 16 bytes of a row, and the bytes of a longer text. @returns whether all of it is ASCII */
  #put(row: number, { data, view }: TextSource, start: number, end: number): boolean {
    const { words } = this.#rows;
    const length = end - start;
    const word = 4 * row;
    words[word] = length;
    if (length > INLINE_BYTES_MAX) {
      words[word + 1] = view.getInt32(start, true);
      words[word + 2] = this.#makeRoom(length);
      words[word + 3] = 0;
      return this.#copy(words[word + 2], { data, view }, start, end);
    }
    let a: number;
    let b: number;
    let c: number;
    if (start + INLINE_BYTES_MAX <= data.length) {
      a = view.getInt32(start, true) & FIRST_WORD[length];
      b = view.getInt32(start + 4, true) & SECOND_WORD[length];
      c = view.getInt32(start + 8, true) & THIRD_WORD[length];
    } else {
      a = partOfWord(data, start, end);
      b = partOfWord(data, start + 4, end);
      c = partOfWord(data, start + 8, end);
    }
    words[word + 1] = a;
    words[word + 2] = b;
    words[word + 3] = c;
    return ((a | b | c) & HIGH_BITS) === 0;
  }

  /** @returns whether all of it is ASCII */
  #copy(to: number, { data, view }: TextSource, start: number, end: number): boolean {
    const into = this.#view;
    let all = 0;
    let at = start;
    for (; at + 4 <= end; at += 4, to += 4) {
      const word = view.getInt32(at, true);
      into.setInt32(to, word, true);
      all |= word;
    }
    for (; at < end; at++, to++) {
      this.#bytes[to] = data[at];
      // As the sign of a word.
      all |= data[at] << 24;
    }
    return (all & HIGH_BITS) === 0;
  }

  /** @returns where so many bytes may be put */
  #makeRoom(length: number): number {
    const place = this.#bytesEnd;
    const end = place + length;
    if (end > this.#bytes.length) {
      const grown = new Uint8Array(2 * end);
      grown.set(this.#bytes.subarray(0, place));
      this.#bytes = grown;
      this.#view = new DataView(grown.buffer);
    }
    this.#bytesEnd = end;
    return place;
  }
}
