/**
 * Rows in COPY's binary format, which PostgreSQL reads without parsing any text:
 *
 *     "PGCOPY\n" 0xff "\r\n" 0x00 | flags int32 = 0 | extension length int32 = 0
 *     row: field count int16 | field: length int32 (-1 null), bytes | field | ...
 *     end: int16 = -1
 *
 * Integers are big-endian. timestamptz is microseconds since 2000-01-01, date days since then, time microseconds since
 * midnight, each an integer. numeric is a number in base 10,000:
 *
 *     digit count int16 | weight of the first int16 | sign uint16 (0x4000 negative) | scale int16 | digit int16 | ...
 *
 * jsonb is a version, int8 = 1, and the text.
 *
 * Source: PostgreSQL documentation, "COPY, Binary Format"; src/backend/utils/adt/numeric.c, numeric_recv; jsonb.c, jsonb_recv.
 *
 * @module
 */
import type { FieldType } from "../columns.ts";
import { storableJson, storableText } from "./postgres_text.ts";
import type { ResultRows, ResultValue } from "./sink.ts";

const SIGNATURE = Uint8Array.of(0x50, 0x47, 0x43, 0x4f, 0x50, 0x59, 0x0a, 0xff, 0x0d, 0x0a, 0x00);
const INITIAL_BYTES = 1024 * 1024;

/** From 1970-01-01 to 2000-01-01. */
const EPOCH_DAYS = 10_957;
const EPOCH_MICROS = BigInt(EPOCH_DAYS) * 86_400_000_000n;
const EPOCH_MS = EPOCH_DAYS * 86_400_000;

/** Milliseconds whose microseconds, counted from 2000, are exact in a number. */
const EXACT_MS_MAX = 2 ** 53 / 1000 - EPOCH_MS;

const INT64_MIN = -(2n ** 63n);
const INT64_MAX = 2n ** 63n - 1n;
const NEGATIVE = 0x4000;
const JSONB_VERSION = 1;
const UUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i;

/** Thrown for a value that has no binary form; the upsert will say in words what is wrong with it. */
class NotEncodable extends Error {}

/** Encodes rows of a table; its buffer is used again for each call. */
export class CopyEncoder {
  readonly #out = new CopyBuffer();

  /** Rows `[from, to)`, valid until the next call; null when a value cannot be encoded. */
  encode(rows: ResultRows, from: number, to: number): Uint8Array | null {
    const out = this.#out;
    const writers = rows.columns.map(({ type, isJson }) => isJson ? writeJson : writerOf(type));
    out.start();
    try {
      for (let row = from; row < to; row++) {
        out.int16(writers.length);
        for (let column = 0; column < writers.length; column++) {
          const value = rows.values[column][row];
          if (value === null) out.int32(-1);
          else writers[column](out, value);
        }
      }
    } catch (error) {
      if (error instanceof NotEncodable) return null;
      throw error;
    }
    out.int16(-1);
    return out.bytes.subarray(0, out.length);
  }
}

function writeJson(out: CopyBuffer, value: Exclude<ResultValue, null>): void {
  out.json(value as string);
}

function writerOf(type: FieldType): (out: CopyBuffer, value: Exclude<ResultValue, null>) => void {
  switch (type.type) {
    case "boolean":
      return (out, value) => out.boolean(value as boolean);
    case "int":
      return (out, value) => out.integer(value as number);
    case "date":
      return (out, value) => out.integer((value as number) - EPOCH_DAYS);
    case "long":
      return (out, value) => out.long(value as number | bigint);
    case "time-millis":
      return (out, value) => out.long((value as number) * 1000);
    case "time-micros":
      return (out, value) => out.long(value as number | bigint);
    case "timestamp-millis":
      return (out, value) => {
        if (typeof value === "number" && Math.abs(value) < EXACT_MS_MAX) out.long((value - EPOCH_MS) * 1000);
        else out.long(BigInt(value as number | bigint) * 1000n - EPOCH_MICROS);
      };
    case "timestamp-micros":
      return (out, value) => out.long(BigInt(value as number | bigint) - EPOCH_MICROS);
    case "float":
      return (out, value) => out.float(value as number);
    case "double":
      return (out, value) => out.double(value as number);
    case "decimal":
      return (out, value) => out.numeric(value as string);
    case "uuid":
      return (out, value) => out.uuid(value as string);
    case "bytes":
      return (out, value) => out.sized(value as Uint8Array);
    case "string":
    case "enum":
      return (out, value) => out.text(value as string);
  }
}

/** A growing buffer with the fields of the format, each with its length. */
class CopyBuffer {
  bytes = new Uint8Array(INITIAL_BYTES);
  length = 0;
  #view = new DataView(this.bytes.buffer);
  readonly #text = new TextEncoder();

  start(): void {
    this.bytes.set(SIGNATURE);
    this.bytes.fill(0, SIGNATURE.length, SIGNATURE.length + 8);
    this.length = SIGNATURE.length + 8;
  }

  int16(value: number): void {
    this.#room(2);
    this.#view.setInt16(this.length, value);
    this.length += 2;
  }

  int32(value: number): void {
    this.#room(4);
    this.#view.setInt32(this.length, value);
    this.length += 4;
  }

  boolean(value: boolean): void {
    this.int32(1);
    this.#room(1);
    this.bytes[this.length++] = value ? 1 : 0;
  }

  integer(value: number): void {
    if ((value | 0) !== value) throw new NotEncodable();
    this.int32(4);
    this.int32(value);
  }

  long(value: number | bigint): void {
    this.int32(8);
    this.#room(8);
    if (typeof value === "number" && Number.isSafeInteger(value)) {
      const high = Math.floor(value / 2 ** 32);
      this.#view.setInt32(this.length, high);
      this.#view.setUint32(this.length + 4, value - high * 2 ** 32);
    } else {
      const integer = BigInt(value);
      if (integer < INT64_MIN || integer > INT64_MAX) throw new NotEncodable();
      this.#view.setBigInt64(this.length, integer);
    }
    this.length += 8;
  }

  float(value: number): void {
    this.int32(4);
    this.#room(4);
    this.#view.setFloat32(this.length, value);
    this.length += 4;
  }

  double(value: number): void {
    this.int32(8);
    this.#room(8);
    this.#view.setFloat64(this.length, value);
    this.length += 8;
  }

  uuid(value: string): void {
    if (!UUID.test(value)) throw new NotEncodable();
    const digits = value.replaceAll("-", "");
    this.int32(16);
    this.#room(16);
    for (let i = 0; i < 32; i += 2) this.bytes[this.length++] = parseInt(digits.slice(i, i + 2), 16);
  }

  text(value: string): void {
    const storable = storableText(value);
    // UTF-8 takes at most three bytes for each UTF-16 unit.
    this.#room(4 + 3 * storable.length);
    const { written } = this.#text.encodeInto(storable, this.bytes.subarray(this.length + 4));
    this.#view.setInt32(this.length, written);
    this.length += 4 + written;
  }

  json(value: string): void {
    const storable = storableJson(value);
    this.#room(5 + 3 * storable.length);
    const { written } = this.#text.encodeInto(storable, this.bytes.subarray(this.length + 5));
    this.#view.setInt32(this.length, written + 1);
    this.bytes[this.length + 4] = JSONB_VERSION;
    this.length += 5 + written;
  }

  sized(value: Uint8Array): void {
    this.int32(value.length);
    this.#room(value.length);
    this.bytes.set(value, this.length);
    this.length += value.length;
  }

  /** Decimal text such as `-12.50`, cut into groups of four digits to both sides of the point. */
  numeric(value: string): void {
    const negative = value.startsWith("-");
    const point = value.indexOf(".");
    const whole = value.slice(negative ? 1 : 0, point < 0 ? value.length : point);
    const scale = point < 0 ? 0 : value.length - point - 1;
    const wholeGroups = Math.ceil(whole.length / 4);
    const groups = wholeGroups + Math.ceil(scale / 4);
    const digits = whole.padStart(4 * wholeGroups, "0") +
      (point < 0 ? "" : value.slice(point + 1)).padEnd(4 * (groups - wholeGroups), "0");
    this.int32(8 + 2 * groups);
    this.int16(groups);
    this.int16(wholeGroups - 1);
    this.int16(negative ? NEGATIVE : 0);
    this.int16(scale);
    for (let i = 0; i < digits.length; i += 4) {
      const group = Number(digits.slice(i, i + 4));
      if (Number.isNaN(group)) throw new NotEncodable();
      this.int16(group);
    }
  }

  #room(bytes: number): void {
    if (this.length + bytes <= this.bytes.length) return;
    const larger = new Uint8Array(Math.max(2 * this.bytes.length, this.length + bytes));
    larger.set(this.bytes);
    this.bytes = larger;
    this.#view = new DataView(larger.buffer);
  }
}
