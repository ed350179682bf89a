/**
 * The unit that flows through the hot path: rows of typed columns. One {@linkcode Columns} is allocated per worker and
 * refilled for every chunk of records, so nothing is allocated per record.
 *
 * @module
 */

/** The logical type of a field, as Avro names it. `nullable` when the schema is a union with null. */
export type FieldType =
  & (
    | {
      readonly type:
        | "boolean"
        | "int"
        | "long"
        | "float"
        | "double"
        | "string"
        | "bytes"
        | "uuid"
        | "date"
        | "time-millis"
        | "time-micros"
        | "timestamp-millis"
        | "timestamp-micros";
    }
    | { readonly type: "enum"; readonly symbols: readonly string[] }
    /** `precision` decimal digits, `scale` of them after the point. At most 38 digits. */
    | { readonly type: "decimal"; readonly precision: number; readonly scale: number }
  )
  & { readonly nullable: boolean };

/**
 * How a column's values lie in memory:
 * - `i32`: `ints[row]`. boolean (0 or 1), int, date (days), time-millis, enum (index into `symbols`).
 * - `i64`: `ints[2 * row]` the low word, `ints[2 * row + 1]` the high word, two's complement. long, time-micros,
 *   timestamps, and the unscaled value of a decimal of at most 18 digits.
 * - `f64`: `floats[row]`. float, double.
 * - `bytes`: `data[ints[2 * row] .. ints[2 * row + 1])`. string (UTF-8), bytes, uuid (text), and the unscaled value of a
 *   decimal of more than 18 digits (two's complement, big-endian).
 */
export type ColumnKind = "i32" | "i64" | "f64" | "bytes";

/** Columns hold decimals of at most this many digits, as DuckDB does. */
export const DECIMAL_DIGITS_MAX = 38;
/** Decimals of up to this many digits travel as 64-bit integers; wider ones as bytes. */
export const NARROW_DECIMAL_DIGITS = 18;

/** The memory layout for a logical type. */
export function columnKind(type: FieldType): ColumnKind {
  switch (type.type) {
    case "boolean":
    case "int":
    case "date":
    case "time-millis":
    case "enum":
      return "i32";
    case "long":
    case "time-micros":
    case "timestamp-millis":
    case "timestamp-micros":
      return "i64";
    case "decimal":
      return type.precision <= NARROW_DECIMAL_DIGITS ? "i64" : "bytes";
    case "float":
    case "double":
      return "f64";
    case "string":
    case "bytes":
    case "uuid":
      return "bytes";
  }
}

const EMPTY = new Uint8Array(0);

/** One column of up to `capacity` rows. Every column has the same shape, so that code over columns stays monomorphic. */
export class Column {
  readonly type: FieldType;
  readonly kind: ColumnKind;
  readonly ints: Int32Array;
  readonly floats: Float64Array;
  /** 1 where the value is null; the value itself is then undefined. All zero unless `type.nullable`. */
  readonly nulls: Uint8Array;
  /** What a `bytes` column's positions point into: the batch's own bytes, or a constant where the reader's default stands. */
  data: Uint8Array = EMPTY;

  constructor(type: FieldType, capacity: number) {
    this.type = type;
    this.kind = columnKind(type);
    this.ints = new Int32Array(this.kind === "f64" ? 0 : this.kind === "i32" ? capacity : 2 * capacity);
    this.floats = new Float64Array(this.kind === "f64" ? capacity : 0);
    this.nulls = new Uint8Array(capacity);
  }
}

/** A row that could not be decoded: its row in the scanned records, and why. */
export interface BadRow {
  readonly row: number;
  readonly reason: string;
}

/** Rows decoded from one run of records that share a writer schema. */
export class Columns {
  readonly capacity: number;
  readonly columns: readonly Column[];
  /** How many rows are filled. */
  length = 0;
  /** For each filled row, which row of the scanned records it came from. */
  readonly source: Int32Array;
  /** Rows of the run that did not decode, in order. */
  bad: BadRow[] = [];

  constructor(types: readonly FieldType[], capacity: number) {
    this.capacity = capacity;
    this.columns = types.map((type) => new Column(type, capacity));
    this.source = new Int32Array(capacity);
  }
}

/** The exact value of row `row` of an `i64` column, for places where people look; never on the hot path. */
export function bigintAt(ints: Int32Array, row: number): bigint {
  return (BigInt(ints[2 * row + 1]) << 32n) | BigInt(ints[2 * row] >>> 0);
}

/** The nearest double to row `row` of an `i64` column; exact up to 2^53. */
export function numberAt(ints: Int32Array, row: number): number {
  return ints[2 * row + 1] * 4294967296 + (ints[2 * row] >>> 0);
}
