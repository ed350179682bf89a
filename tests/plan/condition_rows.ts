/** Rows of every column type, as random values, as columns, and as a DuckDB table. */
import fc from "fast-check";
import { type Column, Columns, type FieldType } from "../../pipeline/columns.ts";
import { duckdbType } from "../../pipeline/plan/sql_types.ts";

/** null, boolean, number (int, float, double, date, enum index), bigint (64-bit and unscaled decimals), or string. */
export type CellValue = null | boolean | number | bigint | string;
export type Row = readonly CellValue[];

export const FIELDS: readonly { readonly path: string; readonly type: FieldType }[] = [
  { path: "b", type: { type: "boolean", nullable: true } },
  { path: "i", type: { type: "int", nullable: true } },
  { path: "j", type: { type: "int", nullable: false } },
  { path: "l", type: { type: "long", nullable: true } },
  { path: "f", type: { type: "float", nullable: true } },
  { path: "d", type: { type: "double", nullable: true } },
  { path: "s", type: { type: "string", nullable: true } },
  { path: "t", type: { type: "string", nullable: false } },
  { path: "e", type: { type: "enum", symbols: ["red", "green", "blue"], nullable: true } },
  { path: "m", type: { type: "decimal", precision: 12, scale: 2, nullable: true } },
  { path: "n", type: { type: "decimal", precision: 18, scale: 6, nullable: false } },
  { path: "w", type: { type: "decimal", precision: 30, scale: 4, nullable: true } },
  { path: "da", type: { type: "date", nullable: true } },
  { path: "ti", type: { type: "time-millis", nullable: true } },
  { path: "tu", type: { type: "time-micros", nullable: true } },
  { path: "ts", type: { type: "timestamp-millis", nullable: true } },
  { path: "tm", type: { type: "timestamp-micros", nullable: true } },
];

const WORDS = [
  "",
  "a",
  "A",
  "ab",
  "abc",
  "%",
  "_",
  "a_b",
  "é",
  "É",
  "ß",
  "ẞ",
  "İ",
  "ǆ",
  "👍",
  "👍🏽",
  "\ue000",
  "z",
  "approved",
  "Abc",
  "e\u0301",
];
export const anyText = fc.oneof(fc.constantFrom(...WORDS), fc.string({ unit: "binary", maxLength: 6 }).map(withoutNul));
function withoutNul(text: string): string {
  return text.replaceAll("\0", "");
}

const small = fc.integer({ min: -4, max: 4 });
const DAY = 86_400_000;

function solid(type: FieldType): fc.Arbitrary<CellValue> {
  switch (type.type) {
    case "boolean":
      return fc.boolean();
    case "int":
      return fc.oneof(
        small,
        fc.integer({ min: -(2 ** 31), max: 2 ** 31 - 1 }),
        fc.constantFrom(2 ** 31 - 1, -(2 ** 31)),
      );
    case "long":
      return fc.oneof(
        small.map(BigInt),
        fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }),
        fc.constantFrom(2n ** 53n, 2n ** 53n + 1n, -(2n ** 53n) - 1n, 2n ** 63n - 1n, -(2n ** 63n)),
      );
    case "float":
      return fc.oneof(small, fc.float(), fc.constantFrom(Math.fround(0.1), NaN, Infinity, -0));
    case "double":
      return fc.oneof(small, fc.double(), fc.constantFrom(0.1, 0.5, 1.5, 2.5, -2.5, NaN, -Infinity, -0));
    case "decimal": {
      const limit = 10n ** BigInt(type.precision) - 1n;
      return fc.oneof(
        fc.bigInt({ min: -400n, max: 400n }),
        small.map((value) => BigInt(value) * 10n ** BigInt(type.scale)),
        fc.bigInt({ min: -limit, max: limit }),
        fc.constantFrom(limit, -limit),
      );
    }
    case "enum":
      return fc.nat({ max: type.symbols.length - 1 });
    case "date":
      return fc.oneof(small, fc.integer({ min: -40_000, max: 60_000 }));
    case "time-millis":
      return fc.integer({ min: 0, max: DAY - 1 });
    case "time-micros":
      return fc.bigInt({ min: 0n, max: BigInt(DAY) * 1000n - 1n });
    case "timestamp-millis":
      return fc.oneof(
        fc.constantFrom(0n, -1n, 1_704_067_200_000n),
        fc.bigInt({ min: -4_000_000_000_000n, max: 8_000_000_000_000n }),
      );
    case "timestamp-micros":
      return fc.oneof(
        fc.constantFrom(0n, -1n, 1_704_067_200_000_000n),
        fc.bigInt({ min: -(2n ** 52n), max: 2n ** 54n }),
      );
    default:
      return anyText;
  }
}

export const anyRow: fc.Arbitrary<Row> = fc.tuple(
  ...FIELDS.map(({ type }) => type.nullable ? fc.option(solid(type), { freq: 5 }) : solid(type)),
);

/** The rows as the decoder would leave them. */
export function columnsOf(rows: readonly Row[]): Columns {
  const columns = new Columns(FIELDS.map(({ type }) => type), rows.length);
  columns.length = rows.length;
  FIELDS.forEach((_, c) => fill(columns.columns[c], rows.map((row) => row[c])));
  // Row numbers of the scanned records need not be those of the columns.
  rows.forEach((_, r) => columns.source[r] = r + 100);
  return columns;
}

function fill(column: Column, values: readonly CellValue[]): void {
  const bytes: number[] = [0xff];
  values.forEach((value, r) => {
    if (value === null) {
      column.nulls[r] = 1;
      // What a null leaves behind is undefined: make it something that would be noticed.
      if (column.kind === "i32") column.ints[r] = 1;
      return;
    }
    switch (column.kind) {
      case "i32":
        column.ints[r] = Number(value);
        return;
      case "i64":
        column.ints[2 * r] = Number(BigInt.asIntN(32, value as bigint));
        column.ints[2 * r + 1] = Number(BigInt.asIntN(32, (value as bigint) >> 32n));
        return;
      case "f64":
        column.floats[r] = value as number;
        return;
      case "bytes": {
        column.ints[2 * r] = bytes.length;
        bytes.push(...(typeof value === "bigint" ? bigEndian(value) : new TextEncoder().encode(value as string)));
        column.ints[2 * r + 1] = bytes.length;
      }
    }
  });
  column.data = Uint8Array.from(bytes);
}

/** Two's complement in as few bytes as hold it. */
function bigEndian(value: bigint): number[] {
  const bytes: number[] = [];
  let rest = value;
  do {
    bytes.unshift(Number(BigInt.asUintN(8, rest)));
    rest >>= 8n;
  } while (!((rest === 0n && bytes[0] < 128) || (rest === -1n && bytes[0] >= 128)));
  return bytes;
}

/** `CREATE TABLE` with one column per field, and `id`. */
export function createTable(name: string): string {
  const columns = FIELDS.map(({ path, type }) => `${path} ${duckdbType(type)}`);
  return `CREATE OR REPLACE TABLE ${name} (id INTEGER, ${columns.join(", ")})`;
}

export function insertRows(name: string, rows: readonly Row[]): string {
  const tuples = rows.map((row, r) => `(${[r, ...row.map((value, c) => sqlValue(value, FIELDS[c].type))].join(", ")})`);
  return `INSERT INTO ${name} VALUES ${tuples.join(", ")}`;
}

export function sqlText(text: string): string {
  return `'${text.replaceAll("'", "''")}'`;
}

function sqlValue(value: CellValue, type: FieldType): string {
  if (value === null) return "NULL";
  switch (type.type) {
    case "float":
    case "double":
      return `'${Object.is(value, -0) ? "-0.0" : value}'::DOUBLE`;
    case "decimal": {
      const digits = String((value as bigint) < 0n ? -(value as bigint) : value).padStart(type.scale + 1, "0");
      const split = digits.length - type.scale;
      return `'${(value as bigint) < 0n ? "-" : ""}${digits.slice(0, split)}.${digits.slice(split)}'::${
        duckdbType(type)
      }`;
    }
    case "enum":
      return sqlText(type.symbols[value as number]);
    case "date":
      return `DATE '1970-01-01' + ${value}`;
    case "time-millis":
      return `TIME '00:00:00' + to_milliseconds(${value})`;
    case "time-micros":
      return `TIME '00:00:00' + to_microseconds(${value})`;
    case "timestamp-millis":
      return `make_timestamp(${(value as bigint) * 1000n})`;
    case "timestamp-micros":
      return `make_timestamp(${value})`;
    case "string":
      return sqlText(value as string);
    default:
      return String(value);
  }
}
