/**
 * What the readers of all formats have in common.
 *
 * @module
 */

/** Where a reader is in a file: bytes before, decompressed, or rows before in Parquet; and the number of the next line or row. */
export interface Place {
  readonly offset: number;
  readonly line: number;
}

export const BEGINNING: Place = { offset: 0, line: 1 };

/** One row, or why a line is none. */
export type Item =
  | { readonly line: number; readonly value: Readonly<Record<string, unknown>>; readonly raw: () => Uint8Array }
  | { readonly line: number; readonly reason: string; readonly raw: () => Uint8Array };

/** Rows that belong together, and where reading goes on after them. */
export interface Block {
  readonly items: readonly Item[];
  /** Bytes read for them. */
  readonly bytes: number;
  readonly after: Place;
}

export interface FileReader {
  /**
   * Blocks from a place on, to the end.
   *
   * @throws FileFault when no more of this file can be read
   */
  read(path: string, from: Place): AsyncGenerator<Block>;
}

/** A file, or the rest of one, is of no use: `problem` in words that follow its name. */
export class FileFault extends Error {
  override readonly name = "FileFault";
}

/** Rows of a block, at most. */
export const BLOCK_ROWS_MAX = 1_000;
/** Of what could not be read, as it is kept. */
export const RAW_BYTES_MAX = 64 * 1024;
