/**
 * Group keys as bytes: what the pane table hashes and compares.
 *
 * One column of never-null bytes (a string, mostly) is its own key and is read in place. Any other key is written out, column
 * after column, equal values in equal bytes: a uuid's letters are made small, as they mean the same.
 *
 *     null flag (1 byte, 1 = null, and then nothing more) | i32: 4 bytes | i64: 8 bytes | bytes: length uint32, bytes
 *
 * all little-endian.
 *
 * @module
 */
import { bigintAt, type Column, columnKind, type Columns, type FieldType, NARROW_DECIMAL_DIGITS } from "../columns.ts";
import type { ResultValue } from "../sinks/sink.ts";
import { bigintFromBytes, decimalText } from "../decimal.ts";

/** The text and bytes of one key may be this long in all: databases limit what they index. */
export const GROUP_KEY_BYTES_MAX = 1_024;

/** Where the keys of a chunk's rows lie: row `r` in `data[spans[2r] .. spans[2r + 1])`. */
export interface KeySpans {
  readonly data: Uint8Array;
  readonly spans: Int32Array;
}

/** Finds or writes the keys of whole chunks. */
export class GroupKeyWriter {
  readonly #fields: readonly number[];
  readonly #inPlace: boolean;
  #buffer = new Uint8Array(64 * 1024);
  #view = new DataView(this.#buffer.buffer);
  readonly #spans: Int32Array;

  /** `fields`: indexes of the key columns; `types`: of all columns of the chunks to come. */
  constructor(fields: readonly number[], types: readonly FieldType[], capacity: number) {
    this.#fields = fields;
    this.#inPlace = isKeyInPlace(fields.map((field) => types[field]));
    this.#spans = new Int32Array(2 * capacity);
  }

  /** The keys of all rows; valid until the next call or until the columns are refilled. */
  keysOf(columns: Columns): KeySpans {
    if (this.#inPlace) {
      const column = columns.columns[this.#fields[0]];
      return { data: column.data, spans: column.ints };
    }
    let at = 0;
    for (let row = 0; row < columns.length; row++) {
      this.#spans[2 * row] = at;
      for (const field of this.#fields) at = this.#write(columns.columns[field], row, at);
      this.#spans[2 * row + 1] = at;
    }
    return { data: this.#buffer, spans: this.#spans };
  }

  /**
   * Whether the key of a row can be published: not too long, and its text UTF-8. Two keys of damaged text could otherwise be
   * shown as one. Asked once for each new pane.
   */
  isUsable(columns: Columns, row: number): boolean {
    let bytes = 0;
    for (const field of this.#fields) {
      const { kind, type, ints, nulls, data } = columns.columns[field];
      if (kind !== "bytes" || nulls[row] !== 0) continue;
      const start = ints[2 * row];
      const end = ints[2 * row + 1];
      bytes += end - start;
      if (bytes > GROUP_KEY_BYTES_MAX || (type.type === "string" && !isUtf8(data, start, end))) return false;
    }
    return true;
  }

  #write(column: Column, row: number, start: number): number {
    const { ints, kind } = column;
    const length = kind === "bytes" ? ints[2 * row + 1] - ints[2 * row] : 0;
    if (start + length + 16 > this.#buffer.length) this.#grow(start + length + 16);
    let at = start;
    this.#buffer[at++] = column.nulls[row];
    if (column.nulls[row]) return at;
    switch (kind) {
      case "i32":
        this.#view.setInt32(at, ints[row], true);
        return at + 4;
      case "i64":
        this.#view.setInt32(at, ints[2 * row], true);
        this.#view.setInt32(at + 4, ints[2 * row + 1], true);
        return at + 8;
      default:
        this.#view.setUint32(at, length, true);
        at += 4;
        if (column.type.type === "uuid") {
          // In ASCII this makes letters small and leaves digits and hyphens alone.
          for (let i = ints[2 * row]; i < ints[2 * row + 1]; i++) this.#buffer[at++] = column.data[i] | 0x20;
          return at;
        }
        for (let i = ints[2 * row]; i < ints[2 * row + 1]; i++) this.#buffer[at++] = column.data[i];
        return at;
    }
  }

  #grow(size: number): void {
    const larger = new Uint8Array(2 ** Math.ceil(Math.log2(size)));
    larger.set(this.#buffer);
    this.#buffer = larger;
    this.#view = new DataView(larger.buffer);
  }
}

const strict = new TextDecoder("utf-8", { fatal: true });

function isUtf8(data: Uint8Array, start: number, end: number): boolean {
  let bits = 0;
  for (let i = start; i < end; i++) bits |= data[i];
  if (bits < 128) return true;
  try {
    strict.decode(data.subarray(start, end));
    return true;
  } catch {
    return false;
  }
}

/** Turns a key's bytes back into the values of its columns. */
export function createKeyReader(
  types: readonly FieldType[],
): (data: Uint8Array, start: number, end: number) => ResultValue[] {
  // A leading byte order mark is part of the key.
  const text = new TextDecoder("utf-8", { ignoreBOM: true });
  const ofBytes = (type: FieldType, data: Uint8Array, start: number, end: number): ResultValue => {
    if (type.type === "bytes") return data.slice(start, end);
    if (type.type === "decimal") return decimalText(bigintFromBytes(data, start, end), type.scale);
    return text.decode(data.subarray(start, end));
  };
  if (isKeyInPlace(types)) return (data, start, end) => [ofBytes(types[0], data, start, end)];
  return (data, start) => {
    const view = new DataView(data.buffer, data.byteOffset, data.byteLength);
    let at = start;
    return types.map((type) => {
      if (data[at++] === 1) return null;
      switch (columnKind(type)) {
        case "i32": {
          const value = view.getInt32(at, true);
          at += 4;
          return type.type === "boolean" ? value === 1 : type.type === "enum" ? type.symbols[value] : value;
        }
        case "i64": {
          const value = bigintAt(Int32Array.of(view.getInt32(at, true), view.getInt32(at + 4, true)), 0);
          at += 8;
          if (type.type === "decimal") return decimalText(value, type.scale);
          return Number.isSafeInteger(Number(value)) ? Number(value) : value;
        }
        default: {
          const length = view.getUint32(at, true);
          at += 4 + length;
          return ofBytes(type, data, at - length, at);
        }
      }
    });
  };
}

/** Whether keys of these columns are one column's own bytes. Wide decimals and uuids may be written in several ways, so are not. */
function isKeyInPlace(types: readonly FieldType[]): boolean {
  const [type] = types;
  return types.length === 1 && !type.nullable && columnKind(type) === "bytes" &&
    type.type !== "uuid" && !(type.type === "decimal" && type.precision > NARROW_DECIMAL_DIGITS);
}
