/**
 * Rows of decoded columns in memory, a block of them after the other, in the form that DuckDB's vectors take: numbers as they are,
 * texts by their codes while they are few. What reads them (`scan_held.ts`) may go on while more are added.
 *
 * @module
 */
import {
  BIGINT,
  BLOB,
  BOOLEAN,
  DATE,
  DECIMAL,
  DOUBLE,
  type DuckDBType,
  INTEGER,
  TIMESTAMPTZ,
  VARCHAR,
} from "@duckdb/node-api";
import { type Column, NARROW_DECIMAL_DIGITS } from "../../../columns.ts";
import { decimalOf } from "../delta/schema.ts";
import type { SimpleType } from "../delta/table.ts";
import { fillColumn } from "./fill_column.ts";
import { HeldTexts, type Refuse } from "./held_texts.ts";
import { BLOCK_ROWS_MAX, BlockColumn, type Width } from "./block_column.ts";

/** A block ends when its longer texts take so many bytes. */
export const BLOCK_TEXT_BYTES_MAX = 4 * 1024 * 1024;

/** A column that is held. */
export interface HeldField {
  readonly name: string;
  readonly type: SimpleType;
  /** Whether its texts may be held by their codes; false for those that are given one by one. */
  readonly isCoded?: boolean;
}

/** One column. Its blocks have the rows of the other columns' blocks. */
export class HeldColumn {
  readonly name: string;
  readonly type: DuckDBType;
  readonly width: Width;
  /** The block being filled. */
  readonly now: BlockColumn;
  readonly texts: HeldTexts | null;
  /** Those of numbers, null where no row has one; empty where there are texts. */
  readonly blocks: (Uint8Array | null)[] = [];
  /** By block, a bit for each row: 1 where there is a value. Null where all have one. */
  readonly valid: (Uint8Array | null)[] = [];

  constructor({ name, type, isCoded = true }: HeldField) {
    const held = heldType(type);
    this.name = name;
    this.type = held.type;
    this.width = held.width;
    this.now = new BlockColumn(held.width);
    const isText = type === "string";
    this.texts = isText || type === "binary" ? new HeldTexts(this.now, { isCoded: isText && isCoded }) : null;
  }

  /** Takes a decoded column's rows, but no enum's; the first of them is row `base` of the block. Those that are refused are null. */
  add(from: Column, { base, length }: { readonly base: number; readonly length: number }, refuse: Refuse): void {
    const { now } = this;
    now.setValidRange(base, base + length, from.type.nullable ? from.nulls : null);
    const refuseRow: Refuse = (row, problem) => {
      now.setNull(base + row);
      refuse(row, problem);
    };
    if (this.texts !== null) this.texts.add(from, { base, length }, refuseRow);
    else fillColumn(from, now, { base, length }, refuseRow);
  }

  /** What is held beside the blocks. */
  get memoryBytes(): number {
    return this.now.bytes.length + this.now.valid.length + (this.texts?.memoryBytes ?? 0);
  }

  /** @returns bytes that the block takes */
  endBlock(length: number): number {
    const { now } = this;
    // In words of 64 bits, as DuckDB has them.
    const valid = now.isFull(length) ? null : now.valid.slice(0, 8 * Math.ceil(length / 64));
    this.valid.push(valid);
    let bytes = valid?.length ?? 0;
    if (this.texts !== null) bytes += this.texts.endBlock(length);
    else {
      const block = now.isEmpty() ? null : now.bytes.slice(0, length * this.width);
      this.blocks.push(block);
      bytes += block?.length ?? 0;
    }
    now.clear();
    return bytes;
  }
}

/** Rows that are all in memory. */
export class HeldRows {
  readonly columns: readonly HeldColumn[];
  readonly #blockRows: number[] = [];
  #filled = 0;
  #rows = 0;
  /** What the blocks take. */
  #bytes = 0;

  constructor(fields: readonly HeldField[]) {
    this.columns = fields.map((field) => new HeldColumn(field));
  }

  /** Rows of each block; those after the last `end` are in none. */
  get blockRows(): readonly number[] {
    return this.#blockRows;
  }

  /** Rows of the block being filled. */
  get filled(): number {
    return this.#filled;
  }

  get rows(): number {
    return this.#rows;
  }

  /** What they take in memory. */
  get bytes(): number {
    let bytes = this.#bytes;
    for (const column of this.columns) bytes += column.memoryBytes;
    return bytes;
  }

  /** Lets the block being filled have room for so many rows, 2,048 at most. */
  makeRoom(rows: number): void {
    if (rows > BLOCK_ROWS_MAX) {
      throw new RangeError(`Cannot add ${rows} rows at once: ${BLOCK_ROWS_MAX} are the most`);
    }
    if (this.#filled + rows > BLOCK_ROWS_MAX || this.#textBytes() > BLOCK_TEXT_BYTES_MAX) this.end();
  }

  /** Of the block being filled. */
  #textBytes(): number {
    let bytes = 0;
    for (const { texts } of this.columns) if (texts !== null) bytes += texts.bytesNow;
    return bytes;
  }

  /** Counts rows that all columns have been given. */
  added(rows: number): void {
    this.#filled += rows;
    this.#rows += rows;
  }

  /** Ends the block: all rows are in blocks. */
  end(): void {
    if (this.#filled === 0) return;
    for (const column of this.columns) this.#bytes += column.endBlock(this.#filled);
    this.#blockRows.push(this.#filled);
    this.#filled = 0;
  }
}

/** What a column is held as: what can be filled word by word; it is cast to its own type when it is written. */
function heldType(type: SimpleType): { readonly type: DuckDBType; readonly width: Width } {
  const digits = decimalOf(type);
  if (digits) {
    const isNarrow = digits.precision <= NARROW_DECIMAL_DIGITS;
    return { type: DECIMAL(isNarrow ? 18 : 38, digits.scale), width: isNarrow ? 8 : 16 };
  }
  switch (type) {
    case "boolean":
      return { type: BOOLEAN, width: 1 };
    case "date":
      return { type: DATE, width: 4 };
    case "integer":
      return { type: INTEGER, width: 4 };
    case "timestamp":
      return { type: TIMESTAMPTZ, width: 8 };
    case "double":
      return { type: DOUBLE, width: 8 };
    case "string":
      return { type: VARCHAR, width: 16 };
    case "binary":
      return { type: BLOB, width: 16 };
    default:
      return { type: BIGINT, width: 8 };
  }
}
