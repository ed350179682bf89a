/**
 * Single values between JSON and Avro: everything but records, arrays, maps and unions.
 *
 * @module
 */
import type { ByteWriter } from "./byte_writer.ts";
import { bigintFromBytes, decimalText } from "../decimal.ts";
import { parseDecimal, quote, Refused, unscaledBytes } from "./decimal_text.ts";
import { type AvroType, describe, type Logical } from "./schema.ts";
import { parseDate, parseTime, parseTimestamp, timeText } from "./time_text.ts";
import { isUuidString, uuidBytes, writeUuidText } from "./uuid.ts";

/** Unscaled values of more bytes are shown as bytes. */
export const DECIMAL_BYTES_SHOWN_MAX = 256;

/** A value ready to be written: boolean; number for int, float, double and an enum's index; bigint for long. */
export type Leaf = null | boolean | number | bigint | string | Uint8Array;

/**
 * Takes a JSON value for a type that is no record, array, map or union. With `raw` logical types do not count.
 * Refused with what is wrong.
 */
export function leafFrom(type: AvroType, value: unknown, raw: boolean): Leaf | Refused {
  const logical = raw || !("logical" in type) ? null : type.logical;
  if (logical !== null) {
    const leaf = logicalFrom(logical, type, value);
    if (leaf !== undefined) return leaf;
  }
  switch (type.kind) {
    case "null":
      if (value === null) return null;
      break;
    case "boolean":
      if (typeof value === "boolean") return value;
      break;
    case "int":
      if (typeof value === "number" && (value | 0) === value) return value;
      break;
    case "long": {
      const long = longFrom(value);
      if (long !== null) return long;
      break;
    }
    case "float":
    case "double":
      if (typeof value === "number") return value;
      if (value === "NaN" || value === "Infinity" || value === "-Infinity") return Number(value);
      break;
    case "string":
      if (typeof value === "string") return value;
      break;
    case "enum": {
      const index = typeof value === "string" ? type.symbols.indexOf(value) : -1;
      if (index >= 0) return index;
      return new Refused(`is ${quote(value)}, not one of ${type.symbols.slice(0, 12).join(", ")}`);
    }
    case "bytes":
    case "fixed": {
      const bytes = bytesFrom(value);
      if (bytes !== null && (type.kind !== "fixed" || bytes.length === type.size)) return bytes;
      break;
    }
  }
  return new Refused(`is ${quote(value)}, not ${article(describe(type))}`);
}

/** Writes what `leafFrom` gave for the same type. */
export function writeLeaf(type: AvroType, leaf: Leaf, into: ByteWriter): void {
  switch (type.kind) {
    case "null":
      return;
    case "boolean":
      return into.byte(leaf ? 1 : 0);
    case "int":
    case "enum":
      return into.long(leaf as number);
    case "long":
      return into.bigLong(leaf as bigint);
    case "float":
      return into.float(leaf as number);
    case "double":
      return into.double(leaf as number);
    case "string":
      return into.string(leaf as string);
    case "bytes":
      return into.bytes(leaf as Uint8Array);
    case "fixed":
      return into.raw(leaf as Uint8Array);
    default:
      throw new TypeError(`${describe(type)} is not a single value`);
  }
}

/** A value read from Avro as JSON shows it; null where its logical type has no text for it. */
export function logicalText(logical: Logical, value: bigint | Uint8Array): string | null {
  if (value instanceof Uint8Array) {
    if (logical.kind === "decimal") {
      // Making digits of a very long integer takes quadratic time, and no decimal is that long.
      return value.length > DECIMAL_BYTES_SHOWN_MAX ? null : decimalText(bigintFromBytes(value), logical.scale);
    }
    const text = new Uint8Array(36);
    writeUuidText(value, 0, text, 0);
    return new TextDecoder().decode(text);
  }
  return timeText(logical.kind, value) ?? null;
}

/** Undefined when the value is to be taken as the type beneath. */
function logicalFrom(logical: Logical, type: AvroType, value: unknown): Leaf | Refused | undefined {
  if (logical.kind === "decimal") return decimalFrom(logical, type, value);
  if (logical.kind === "uuid") {
    if (typeof value !== "string") return type.kind === "fixed" ? undefined : refuse(value, "a UUID");
    if (type.kind === "fixed") return uuidBytes(value) ?? refuse(value, "a UUID");
    return isUuidString(value) ? value : refuse(value, "a UUID");
  }
  if (typeof value !== "string") return undefined;
  // The digits of a long beyond 2^53 are a string too.
  if (type.kind === "long" && /^-?\d+$/.test(value)) return undefined;
  switch (logical.kind) {
    case "date":
      return inInt(parseDate(value)) ?? refuse(value, 'a date such as "2026-01-31"');
    case "time-millis":
    case "time-micros": {
      const micros = parseTime(value);
      if (micros === null) return refuse(value, 'a time such as "12:30:00.250"');
      if (logical.kind === "time-micros") return BigInt(micros);
      return micros % 1000 === 0 ? micros / 1000 : refuse(value, "a time in whole milliseconds");
    }
  }
  const local = logical.kind.startsWith("local-");
  const micros = parseTimestamp(value, local);
  if (micros === null) {
    return refuse(
      value,
      local
        ? 'a time such as "2026-01-31T12:30:00" without a zone'
        : 'a time such as "2026-01-31T12:30:00Z" with its zone',
    );
  }
  if (logical.kind.endsWith("micros")) {
    return BigInt.asIntN(64, micros) === micros ? micros : refuse(value, "a time that 64 bits can hold");
  }
  return micros % 1000n === 0n ? micros / 1000n : refuse(value, "a time in whole milliseconds");
}

function decimalFrom(logical: Logical & { kind: "decimal" }, type: AvroType, value: unknown): Leaf | Refused {
  if (typeof value !== "string" && typeof value !== "number" && typeof value !== "bigint") {
    return refuse(value, 'a decimal such as "12.50"');
  }
  const unscaled = parseDecimal(String(value), logical.precision, logical.scale);
  if (unscaled instanceof Refused) return unscaled;
  return unscaledBytes(unscaled, type.kind === "fixed" ? type.size : undefined);
}

function longFrom(value: unknown): bigint | null {
  const exact = typeof value === "bigint" || Number.isSafeInteger(value) ||
    (typeof value === "string" && /^-?\d{1,19}$/.test(value));
  if (!exact) return null;
  const long = BigInt(value as bigint | number | string);
  return BigInt.asIntN(64, long) === long ? long : null;
}

function bytesFrom(value: unknown): Uint8Array | null {
  if (value instanceof Uint8Array) return value;
  if (typeof value !== "string") return null;
  const bytes = new Uint8Array(value.length);
  for (let i = 0; i < value.length; i++) {
    const code = value.charCodeAt(i);
    if (code > 255) return null;
    bytes[i] = code;
  }
  return bytes;
}

function inInt(value: number | null): number | null {
  return value !== null && (value | 0) === value ? value : null;
}

function refuse(value: unknown, wanted: string): Refused {
  return new Refused(`is ${quote(value)}, not ${wanted}`);
}

function article(name: string): string {
  if (name === "null" || name === "bytes") return name;
  return `${/^[aeiou]/.test(name) ? "an" : "a"} ${name}`;
}
