/**
 * Result rows as Confluent-framed Avro, straight from their columns.
 *
 *     0x00 | schema id, int32 BE | field | field | ...
 *
 * A field that may be null begins with its branch: 0x00 for null, 0x02 for a value. int and long are zigzag varints, float
 * and double little-endian IEEE 754, boolean one byte; string, bytes and decimal have their length first, as a long; a
 * decimal is its unscaled value, two's complement big-endian, in as few bytes as hold it.
 * Source: Apache Avro specification 1.12, "Binary encoding".
 *
 * @module
 */
import type { FieldType } from "../columns.ts";
import type { ResultColumn } from "../plan/plan.ts";
import type { ResultRows, ResultValue } from "./sink.ts";

const INITIAL_BYTES = 512;
const NULL_BRANCH = 0;
const VALUE_BRANCH = 2;

/** Integers whose double is still exact in a number. */
const ZIGZAG_NUMBER_MAX = 2 ** 51;

/** Text of fewer bytes has its length in one. */
const ONE_BYTE_LENGTH = 64;

/** Digits, and perhaps a sign, that a number holds exactly. */
const SAFE_DIGITS = 15;

type Present = Exclude<ResultValue, null>;

/** Encodes one row at a time. */
export interface ResultEncoder {
  /** Row `row` framed with the schema's id, in bytes of its own. */
  encode(rows: ResultRows, row: number): Uint8Array;
}

/** An encoder for rows of these columns, in the shape of `resultSchema`. */
export function createResultEncoder(columns: readonly ResultColumn[], options: { schemaId: number }): ResultEncoder {
  const out = new Output();
  const writers = columns.map(({ type }) => writerOf(type));
  return {
    encode(rows, row) {
      out.length = 0;
      out.byte(0);
      out.int32(options.schemaId);
      for (let column = 0; column < writers.length; column++) {
        const value = rows.values[column][row];
        if (columns[column].type.nullable) out.byte(value === null ? NULL_BRANCH : VALUE_BRANCH);
        else if (value === null) throw new Error(`Cannot encode null in ${columns[column].name}: it is not nullable`);
        if (value !== null) writers[column](out, value);
      }
      return out.bytes.slice(0, out.length);
    },
  };
}

function writerOf(type: FieldType): (out: Output, value: Present) => void {
  switch (type.type) {
    case "boolean":
      return (out, value) => out.byte(value ? 1 : 0);
    case "float":
      return (out, value) => out.float(value as number);
    case "double":
      return (out, value) => out.double(value as number);
    case "string":
    case "uuid":
      return (out, value) => out.string(value as string);
    case "bytes":
      return (out, value) => out.sized(value as Uint8Array);
    case "enum": {
      const indexes = new Map(type.symbols.map((symbol, index) => [symbol, index]));
      return (out, value) => {
        const index = indexes.get(value as string);
        if (index === undefined) throw new Error(`Cannot encode ${value}: it is not a symbol of the enum`);
        out.long(index);
      };
    }
    case "decimal":
      return (out, value) => out.sized(unscaledBytes(value as string, type.scale));
    default:
      return (out, value) => out.long(value as number | bigint);
  }
}

/** The unscaled value of decimal text such as `"-12.5"`, at `scale` digits after the point. */
export function unscaledBytes(text: string, scale: number): Uint8Array {
  const point = text.indexOf(".");
  const digitsAfter = point < 0 ? 0 : text.length - point - 1;
  if (digitsAfter > scale) throw new Error(`Cannot encode ${text}: more than ${scale} digits after the point`);
  const digits = (point < 0 ? text : text.slice(0, point) + text.slice(point + 1)) + "0".repeat(scale - digitsAfter);
  return digits.length <= SAFE_DIGITS ? smallBytes(Number(digits)) : largeBytes(BigInt(digits));
}

function smallBytes(value: number): Uint8Array {
  let length = 1;
  for (let limit = 128; value < -limit || value >= limit; limit *= 256) length++;
  const bytes = new Uint8Array(length);
  for (let i = length - 1; i >= 0; i--, value = Math.floor(value / 256)) bytes[i] = value & 0xff;
  return bytes;
}

function largeBytes(value: bigint): Uint8Array {
  let length = 1;
  while (BigInt.asIntN(8 * length, value) !== value) length++;
  const bytes = new Uint8Array(length);
  for (let i = length - 1; i >= 0; i--, value >>= 8n) bytes[i] = Number(value & 0xffn);
  return bytes;
}

/** A growing buffer with Avro's primitives. */
class Output {
  bytes = new Uint8Array(INITIAL_BYTES);
  length = 0;
  #view = new DataView(this.bytes.buffer);
  readonly #text = new TextEncoder();

  byte(value: number): void {
    this.#room(1);
    this.bytes[this.length++] = value;
  }

  int32(value: number): void {
    this.#room(4);
    this.#view.setInt32(this.length, value);
    this.length += 4;
  }

  float(value: number): void {
    this.#room(4);
    this.#view.setFloat32(this.length, value, true);
    this.length += 4;
  }

  double(value: number): void {
    this.#room(8);
    this.#view.setFloat64(this.length, value, true);
    this.length += 8;
  }

  long(value: number | bigint): void {
    this.#room(10);
    if (typeof value === "bigint" || Math.abs(value) > ZIGZAG_NUMBER_MAX) return this.#bigLong(BigInt(value));
    let rest = value < 0 ? -2 * value - 1 : 2 * value;
    while (rest >= 128) {
      this.bytes[this.length++] = rest % 128 | 128;
      rest = Math.floor(rest / 128);
    }
    this.bytes[this.length++] = rest;
  }

  string(value: string): void {
    if (value.length < ONE_BYTE_LENGTH && this.#ascii(value)) return;
    this.sized(this.#text.encode(value));
  }

  /** Writes short text of one byte a character, as keys mostly are, without an encoder; false when it is not. */
  #ascii(value: string): boolean {
    this.#room(1 + value.length);
    for (let i = 0; i < value.length; i++) {
      const code = value.charCodeAt(i);
      if (code >= 128) return false;
      this.bytes[this.length + 1 + i] = code;
    }
    this.bytes[this.length] = 2 * value.length;
    this.length += 1 + value.length;
    return true;
  }

  #bigLong(value: bigint): void {
    let rest = BigInt.asUintN(64, value << 1n ^ value >> 63n);
    while (rest >= 0x80n) {
      this.bytes[this.length++] = Number(rest & 0x7fn) | 0x80;
      rest >>= 7n;
    }
    this.bytes[this.length++] = Number(rest);
  }

  sized(value: Uint8Array): void {
    this.long(value.length);
    this.#room(value.length);
    this.bytes.set(value, this.length);
    this.length += value.length;
  }

  #room(bytes: number): void {
    if (this.length + bytes <= this.bytes.length) return;
    const larger = new Uint8Array(Math.max(2 * this.bytes.length, this.length + bytes));
    larger.set(this.bytes);
    this.bytes = larger;
    this.#view = new DataView(larger.buffer);
  }
}
