/**
 * Texts and bytes as DuckDB's vectors hold them, 16 bytes each:
 *
 *     up to 12 bytes long    length uint32 | the bytes, zeros behind them
 *     longer                 length uint32 | first 4 bytes | address uint64 of all bytes
 *
 * (`duckdb_string_t` of DuckDB's C API.) Read and written as words of 32 bits, without a view or string per text.
 *
 * @module
 */

/** Bytes that a text of so many is no address, but itself. */
export const INLINE_BYTES_MAX = 12;
/** The high bit of each byte: none is set in ASCII. */
export const HIGH_BITS = 0x80808080 | 0;

/** By length, what keeps the bytes of a text in each of the words that it may reach into: without a branch that is often mistaken. */
export const [FIRST_WORD, SECOND_WORD, THIRD_WORD] = [0, 4, 8].map((before) =>
  Int32Array.from({ length: INLINE_BYTES_MAX + 1 }, (_, length) => {
    const bytes = Math.min(Math.max(length - before, 0), 4);
    return bytes === 4 ? -1 : (1 << (8 * bytes)) - 1;
  })
);

const UTF8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/** Up to four bytes as a word, zeros behind them. */
export function partOfWord(data: Uint8Array, start: number, end: number): number {
  let word = 0;
  for (let i = 0; i < 4 && start + i < end; i++) word |= data[start + i] << (8 * i);
  return word;
}

export function isUtf8(bytes: Uint8Array): boolean {
  try {
    UTF8.decode(bytes);
    return true;
  } catch {
    return false;
  }
}

/** Bytes that texts are taken from. */
export class TextSource {
  readonly data: Uint8Array;
  readonly view: DataView;

  constructor(data: Uint8Array) {
    this.data = data;
    this.view = new DataView(data.buffer, data.byteOffset, data.byteLength);
  }
}
