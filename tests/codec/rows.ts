/** Records and columns for tests of decoders: values in, plain values out. */
import { bigintAt, type Column, columnKind, Columns, type FieldType } from "../../pipeline/columns.ts";
import { createDecoder } from "../../pipeline/codec/projection.ts";
import { FRAME_BYTES, writeFrame } from "../../pipeline/codec/framing.ts";
import { projectableField } from "../../pipeline/codec/schema.ts";
import { bigintFromBytes } from "../../pipeline/decimal.ts";
import { Records } from "../../pipeline/log/records.ts";
import type { AvroSchema, PlanField } from "../../pipeline/plan/plan.ts";

/** Framed values one after the other, the first after `before` bytes of something else, `after` more at the end. */
export function recordsOf(values: readonly (Uint8Array | null)[], { before = 3, after = 0 } = {}): Records {
  const size = values.reduce((sum, value) => sum + FRAME_BYTES + (value?.length ?? 0), before + after);
  const data = new Uint8Array(size).fill(0xee);
  const records = new Records(Math.max(1, values.length));
  let at = before;
  values.forEach((value, row) => {
    records.valueStart[row] = value === null ? -1 : at;
    if (value === null) return;
    writeFrame(data, at, 7);
    data.set(value, at + FRAME_BYTES);
    at += FRAME_BYTES + value.length;
    records.valueEnd[row] = at;
  });
  records.length = values.length;
  records.data = data;
  records.view = new DataView(data.buffer);
  return records;
}

export function planField(schema: AvroSchema, path: string): PlanField {
  const type = projectableField(schema, path);
  if (typeof type === "string") throw new TypeError(`${path} ${type}`);
  return { path, type };
}

export type Plain = null | number | bigint | string;

/** One decoded row as plain values, or why it is bad. */
export type DecodedRow = { readonly values: readonly Plain[] } | { readonly bad: string };

/** Decodes all rows with a new decoder; garbage in the columns shows when a row is not written in full. */
export function decodeRows(
  options: { writer: AvroSchema; reader?: AvroSchema; paths: readonly string[] },
  values: readonly (Uint8Array | null)[],
  layout?: { before?: number; after?: number },
): DecodedRow[] {
  const reader = options.reader ?? options.writer;
  const fields = options.paths.map((path) => planField(reader, path));
  const out = new Columns(fields.map(({ type }) => type), Math.max(1, values.length));
  for (const column of out.columns) {
    column.ints.fill(0x5555);
    column.floats.fill(5.5);
    if (column.type.nullable) column.nulls.fill(1);
  }
  const records = recordsOf(values, layout);
  createDecoder({ writer: options.writer, reader, fields }).decode(records, 0, records.length, out);
  const rows: DecodedRow[] = new Array(values.length);
  for (let i = 0; i < out.length; i++) rows[out.source[i]] = { values: out.columns.map((column) => plain(column, i)) };
  for (const { row, reason } of out.bad) rows[row] = { bad: reason };
  if (out.length + out.bad.length !== values.length) throw new Error("A row is neither decoded nor bad");
  return rows;
}

const utf8 = new TextDecoder("utf-8", { ignoreBOM: true });

/** The value of a row: bigint for i64 and decimals, latin-1 text for bytes. */
export function plain(column: Column, row: number): Plain {
  if (column.nulls[row] !== 0) return null;
  switch (column.kind) {
    case "i32":
      return column.ints[row];
    case "i64":
      return bigintAt(column.ints, row);
    case "f64":
      return column.floats[row];
    case "bytes": {
      const bytes = column.data.subarray(column.ints[2 * row], column.ints[2 * row + 1]);
      if (column.type.type === "decimal") return bigintFromBytes(bytes);
      // Text need not be UTF-8: avsc too shows U+FFFD for what is not.
      return column.type.type === "bytes" ? latin1(bytes) : utf8.decode(bytes);
    }
  }
}

/** What a column should hold for a value that avsc read, "bad" where the row must be refused. */
export function expected(type: FieldType, value: unknown): Plain | "bad" {
  if (value === null) return null;
  if (type.type === "decimal") {
    const bytes = value as Uint8Array;
    const unscaled = bigintFromBytes(bytes);
    const fits = bytes.length > 0 && (unscaled < 0n ? -unscaled : unscaled) < 10n ** BigInt(type.precision);
    return fits ? unscaled : "bad";
  }
  if (type.type === "enum") return type.symbols.indexOf(value as string);
  if (type.type === "uuid") {
    if (value instanceof Uint8Array) return uuidOf(value);
    return /^[0-9a-f-]{36}$/i.test(value as string) ? value as string : "bad";
  }
  if (type.type === "boolean") return value ? 1 : 0;
  if (type.type === "float") return Math.fround(Number(value));
  switch (columnKind(type)) {
    case "i32":
      return value as number;
    case "i64":
      return BigInt(value as bigint | number);
    case "f64":
      return Number(value);
    case "bytes":
      return typeof value === "string" ? value : latin1(value as Uint8Array);
  }
}

export function latin1(bytes: Uint8Array): string {
  let text = "";
  for (const byte of bytes) text += String.fromCharCode(byte);
  return text;
}

function uuidOf(bytes: Uint8Array): string {
  const hex = Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
  return hex.replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, "$1-$2-$3-$4-$5");
}

/** The value at a dotted path of what avsc read with wrapped unions; null below a null. */
export function valueAt(value: unknown, path: string): unknown {
  let at = unwrap(value);
  for (const name of path.split(".")) {
    if (at === null) return null;
    at = unwrap((at as Record<string, unknown>)[name]);
  }
  return at;
}

function unwrap(value: unknown): unknown {
  const branch = value as { unwrap?: () => unknown } | null;
  return typeof branch?.unwrap === "function" ? branch.unwrap() : value;
}
