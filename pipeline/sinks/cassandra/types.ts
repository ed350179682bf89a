/**
 * Which types of Cassandra hold which columns, and how values lie in them.
 *
 *     int, date        4 bytes, big-endian; a date is days + 2^31
 *     bigint           8 bytes, big-endian; timestamp: milliseconds; time: nanoseconds since midnight
 *     decimal          scale (4 bytes), then the unscaled value: two's complement, as few bytes as it takes
 *
 * Source: the native protocol's specification, section 6, data type serialization formats.
 *
 * @module
 */
import { Buffer } from "node:buffer";
import type { FieldType } from "../../columns.ts";
import { showType } from "../../plan/sql_types.ts";
import type { ResultValue } from "../sink.ts";

/** Bytes of a value as Cassandra keeps them. */
export type Encode = (value: NonNullable<ResultValue>) => Buffer;

/** One that a column can be kept in. */
interface Kept {
  readonly encode: Encode;
  /** What gets lost in it. */
  readonly loses?: string;
}

/** The type that a table is made with. */
export function cqlType(type: FieldType): string {
  return Object.keys(keptAs(type))[0];
}

/** How values of a column go into a type of Cassandra; null where they do not fit. */
export function keptIn(type: FieldType, cql: string): Kept | null {
  return keptAs(type)[cql === "varchar" ? "text" : cql] ?? null;
}

/** All types of Cassandra that hold a column, the best first. */
export function typesFor(type: FieldType): string[] {
  return Object.keys(keptAs(type));
}

export { showType };

function keptAs(type: FieldType): Readonly<Record<string, Kept>> {
  switch (type.type) {
    case "string":
    case "enum":
      return { text: { encode: text } };
    case "uuid":
      return { uuid: { encode: uuid }, text: { encode: text } };
    case "bytes":
      return { blob: { encode: blob } };
    case "boolean":
      return { boolean: { encode: boolean } };
    case "int":
      return { int: { encode: int }, bigint: { encode: long } };
    case "long":
      return { bigint: { encode: long } };
    case "float":
      return { float: { encode: float }, double: { encode: double } };
    case "double":
      return { double: { encode: double } };
    case "date":
      return { date: { encode: date } };
    case "time-millis":
      return { time: { encode: (value) => long(Number(value) * 1e6) } };
    case "time-micros":
      return { time: { encode: (value) => long(Number(value) * 1e3) } };
    case "timestamp-millis":
      return { timestamp: { encode: long }, bigint: { encode: long } };
    case "timestamp-micros":
      // A timestamp of Cassandra has milliseconds, and not one digit more.
      return {
        bigint: { encode: long },
        timestamp: { encode: millisOfMicros, loses: "the microseconds: a timestamp of Cassandra has milliseconds" },
      };
    case "decimal":
      return type.scale === 0
        ? { decimal: { encode: decimal }, varint: { encode: (value) => varint(BigInt(String(value))) } }
        : { decimal: { encode: decimal } };
  }
}

/** Of two's complement; the only form there is of a whole number. */
export function long(value: NonNullable<ResultValue>): Buffer {
  const bytes = Buffer.allocUnsafe(8);
  if (typeof value === "bigint") bytes.writeBigInt64BE(value);
  else {
    const whole = Number(value);
    bytes.writeInt32BE(Math.floor(whole / 4294967296), 0);
    bytes.writeInt32BE(whole | 0, 4);
  }
  return bytes;
}

export function int(value: NonNullable<ResultValue>): Buffer {
  const bytes = Buffer.allocUnsafe(4);
  bytes.writeInt32BE(Number(value));
  return bytes;
}

export function text(value: NonNullable<ResultValue>): Buffer {
  return Buffer.from(String(value), "utf8");
}

export function date(value: NonNullable<ResultValue>): Buffer {
  const bytes = Buffer.allocUnsafe(4);
  bytes.writeUInt32BE(Number(value) + 2 ** 31);
  return bytes;
}

function uuid(value: NonNullable<ResultValue>): Buffer {
  return Buffer.from(String(value).replaceAll("-", ""), "hex");
}

function blob(value: NonNullable<ResultValue>): Buffer {
  const { buffer, byteOffset, byteLength } = value as Uint8Array;
  return Buffer.from(buffer as ArrayBuffer, byteOffset, byteLength);
}

function boolean(value: NonNullable<ResultValue>): Buffer {
  return value === true ? TRUE : FALSE;
}

const TRUE = Buffer.from([1]);
const FALSE = Buffer.from([0]);

function float(value: NonNullable<ResultValue>): Buffer {
  const bytes = Buffer.allocUnsafe(4);
  bytes.writeFloatBE(Number(value));
  return bytes;
}

function double(value: NonNullable<ResultValue>): Buffer {
  const bytes = Buffer.allocUnsafe(8);
  bytes.writeDoubleBE(Number(value));
  return bytes;
}

/** Towards the past: the millisecond that it is in. */
function millisOfMicros(value: NonNullable<ResultValue>): Buffer {
  if (typeof value !== "bigint") return long(Math.floor(Number(value) / 1_000));
  const millis = value / 1_000n;
  return long(millis * 1_000n > value ? millis - 1n : millis);
}

/** As exact as its text: `12.50` is 1250 with two digits after the point. */
function decimal(value: NonNullable<ResultValue>): Buffer {
  const text = String(value);
  const point = text.indexOf(".");
  const unscaled = varint(BigInt(point === -1 ? text : text.slice(0, point) + text.slice(point + 1)));
  const bytes = Buffer.allocUnsafe(4 + unscaled.length);
  bytes.writeInt32BE(point === -1 ? 0 : text.length - point - 1);
  unscaled.copy(bytes, 4);
  return bytes;
}

function varint(value: bigint): Buffer {
  if (value >= -0x80000000n && value <= 0x7fffffffn) return shortest(int(Number(value)));
  if (BigInt.asIntN(64, value) === value) return shortest(long(value));
  const length = Math.ceil((value < 0n ? ~value : value).toString(16).length / 2) + 1;
  const bytes = Buffer.allocUnsafe(length);
  for (let at = length - 1, rest = value; at >= 0; at--, rest >>= 8n) bytes[at] = Number(rest & 0xffn);
  return shortest(bytes);
}

/** Without bytes that only repeat the sign. */
function shortest(bytes: Buffer): Buffer {
  let from = 0;
  while (from < bytes.length - 1 && bytes[from] === ((bytes[from + 1] & 0x80) === 0 ? 0 : 0xff)) from++;
  return bytes.subarray(from);
}
