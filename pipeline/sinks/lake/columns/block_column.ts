/**
 * One column of a block of rows being filled: numbers in the form that DuckDB's vectors hold them, and which rows have a value.
 *
 * @module
 */

/** Rows of DuckDB's own chunks, and so of a block. */
export const BLOCK_ROWS_MAX = 2048;

/** Bytes of one value in its vector. */
export type Width = 1 | 4 | 8 | 16;

/** Every column has the same shape, so that code over them stays monomorphic. */
export class BlockColumn {
  readonly width: Width;
  readonly bytes: Uint8Array;
  readonly words: Int32Array;
  readonly floats: Float64Array;
  /** A bit for each row: 1 where there is a value. */
  readonly valid: Uint8Array = new Uint8Array(BLOCK_ROWS_MAX / 8);
  /** Whether any row may have a value. */
  isUsed = false;

  constructor(width: Width) {
    this.width = width;
    this.bytes = new Uint8Array(BLOCK_ROWS_MAX * width);
    this.words = new Int32Array(this.bytes.buffer);
    this.floats = width >= 8 ? new Float64Array(this.bytes.buffer) : new Float64Array(0);
  }

  setValid(row: number): void {
    this.valid[row >> 3] |= 1 << (row & 7);
    this.isUsed = true;
  }

  setNull(row: number): void {
    this.valid[row >> 3] &= ~(1 << (row & 7));
  }

  /** Rows `[from, to)` have values, except where `nulls` is 1 (by row from `from`), if told. */
  setValidRange(from: number, to: number, nulls: Uint8Array | null): void {
    if (to > from) this.isUsed = true;
    if (nulls === null) {
      let row = from;
      while (row < to && (row & 7) !== 0) this.setValid(row++);
      const whole = to & ~7;
      if (row < whole) this.valid.fill(0xff, row >> 3, whole >> 3);
      for (row = Math.max(row, whole); row < to; row++) this.setValid(row);
      return;
    }
    const { valid } = this;
    for (let row = from; row < to; row++) if (nulls[row - from] === 0) valid[row >> 3] |= 1 << (row & 7);
  }

  /** Whether each of the first rows has a value. */
  isFull(length: number): boolean {
    const { valid } = this;
    const whole = length >> 3;
    for (let i = 0; i < whole; i++) if (valid[i] !== 0xff) return false;
    const rest = length & 7;
    return rest === 0 || (valid[whole] & ((1 << rest) - 1)) === (1 << rest) - 1;
  }

  /** Whether no row has a value. */
  isEmpty(): boolean {
    return !this.isUsed || this.valid.every((byte) => byte === 0);
  }

  /** Forgets all rows. */
  clear(): void {
    if (!this.isUsed) return;
    this.valid.fill(0);
    // What is null must not look like an address.
    if (this.width === 16) this.words.fill(0);
    this.isUsed = false;
  }
}
