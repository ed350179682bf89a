/**
 * PostgreSQL's texts of values as Avro, byte by byte: no strings are made on the way, but for floats and large numbers.
 *
 * What Avro cannot say is left to the caller, who is told by `false`: `infinity` and `NaN` of types that have no such value
 * in Avro, and `24:00`.
 *
 * @module
 */
import type { ByteWriter } from "../../codec/byte_writer.ts";

const ZERO = 0x30;
const MINUS = 0x2d;
const POINT = 0x2e;
/** Numbers of so many digits are exact as they are. */
const EXACT_DIGITS = 15;
const DAY_SECONDS = 86_400;

/** UTF-8 as it came. */
export function textBytes(data: Uint8Array, start: number, end: number, out: ByteWriter): boolean {
  const length = end - start;
  out.long(length);
  out.ensure(length);
  const { buffer } = out;
  let at = out.position;
  if (length < 64) {
    for (let i = start; i < end; i++) buffer[at++] = data[i];
  } else {
    buffer.set(data.subarray(start, end), at);
  }
  out.position += length;
  return true;
}

/** An int or long. */
export function integer(data: Uint8Array, start: number, end: number, out: ByteWriter): boolean {
  if (end - start > EXACT_DIGITS) {
    out.bigLong(BigInt(ascii(data, start, end)));
    return true;
  }
  const negative = data[start] === MINUS;
  let value = 0;
  for (let i = negative ? start + 1 : start; i < end; i++) value = 10 * value + data[i] - ZERO;
  out.long(negative ? -value : value);
  return true;
}

export function floating(write: (value: number, out: ByteWriter) => void) {
  return (data: Uint8Array, start: number, end: number, out: ByteWriter): boolean => {
    write(Number(ascii(data, start, end)), out);
    return true;
  };
}

/** A decimal with `scale` digits after the point, as Avro's unscaled bytes. */
export function decimal(scale: number) {
  return (data: Uint8Array, start: number, end: number, out: ByteWriter): boolean => {
    const negative = data[start] === MINUS;
    let value = 0;
    let digits = 0;
    let fraction = -1;
    for (let i = negative ? start + 1 : start; i < end; i++) {
      const byte = data[i];
      if (byte === POINT) {
        fraction = 0;
        continue;
      }
      // NaN
      if (byte < ZERO || byte > ZERO + 9) return false;
      value = 10 * value + byte - ZERO;
      digits++;
      if (fraction >= 0) fraction++;
    }
    const missing = scale - Math.max(fraction, 0);
    if (missing < 0) return false;
    if (digits + missing > EXACT_DIGITS) {
      bigDecimal(BigInt(ascii(data, start, end).replace(".", "") + "0".repeat(missing)), out);
    } else {
      for (let i = 0; i < missing; i++) value *= 10;
      // Minus zero has no bytes of its own.
      out.unscaled(negative && value !== 0 ? -value : value);
    }
    return true;
  };
}

/** Two's complement, big-endian, as few bytes as hold it, their number before them. */
function bigDecimal(value: bigint, out: ByteWriter): void {
  let length = 1;
  while (BigInt.asIntN(8 * length, value) !== value) length++;
  out.long(length);
  out.ensure(length);
  for (let i = length - 1; i >= 0; i--) out.buffer[out.position++] = Number(value >> BigInt(8 * i) & 0xffn);
}

/** `2026-01-31`, as days since 1970. */
export function date(data: Uint8Array, start: number, end: number, out: ByteWriter): boolean {
  const days = daysAt(data, start, end);
  if (days === null) return false;
  out.long(days);
  return true;
}

/** `12:30:00.25`, as microseconds since midnight. */
export function time(data: Uint8Array, start: number, end: number, out: ByteWriter): boolean {
  const micros = microsAt(data, start, end);
  if (micros === null || micros >= DAY_SECONDS * 1_000_000) return false;
  out.long(micros);
  return true;
}

/** `2026-01-31 12:30:00.25` with or without `+00`, as microseconds since 1970. */
export function timestamp(data: Uint8Array, start: number, end: number, out: ByteWriter): boolean {
  let space = start;
  while (space < end && data[space] !== 0x20) space++;
  // infinity, -infinity
  if (space === end) return false;
  const isBefore = data[end - 1] === 0x43;
  let until = isBefore ? end - 3 : end;
  // The zone of the session is UTC.
  if (until - space > 4 && data[until - 3] === 0x2b) until -= 3;
  const days = isBefore ? daysBefore(data, start, space) : daysAt(data, start, space);
  const micros = microsAt(data, space + 1, until);
  if (days === null || micros === null) return false;
  const seconds = days * DAY_SECONDS;
  // Exact up to the year 2255.
  if (Math.abs(seconds) < 9e9) out.long(seconds * 1_000_000 + micros);
  else out.bigLong(BigInt(seconds) * 1_000_000n + BigInt(micros));
  return true;
}

/** `\x00ff` */
export function bytea(data: Uint8Array, start: number, end: number, out: ByteWriter): boolean {
  const length = (end - start - 2) >> 1;
  out.long(length);
  out.ensure(length);
  for (let i = start + 2; i < end; i += 2) {
    out.buffer[out.position++] = (nibble(data[i]) << 4) | nibble(data[i + 1]);
  }
  return true;
}

function nibble(byte: number): number {
  return byte <= 0x39 ? byte - ZERO : byte - 0x57;
}

export function ascii(data: Uint8Array, start: number, end: number): string {
  let text = "";
  for (let i = start; i < end; i++) text += String.fromCharCode(data[i]);
  return text;
}

function daysAt(data: Uint8Array, start: number, end: number): number | null {
  if (data[end - 1] === 0x43) return daysBefore(data, start, end - 3);
  return civil(data, start, end, (year) => year);
}

/** Of a date before Christ: 1 BC is the year 0. */
function daysBefore(data: Uint8Array, start: number, end: number): number | null {
  return civil(data, start, end, (year) => 1 - year);
}

/**
 * Days since 1970-01-01 of `year-month-day`; null for `infinity`.
 *
 * Source: Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms", days_from_civil.
 */
function civil(data: Uint8Array, start: number, end: number, asYear: (year: number) => number): number | null {
  let dash = start;
  let year = 0;
  for (; dash < end && data[dash] !== MINUS; dash++) {
    if (data[dash] < ZERO || data[dash] > ZERO + 9) return null;
    year = 10 * year + data[dash] - ZERO;
  }
  if (end - dash !== 6) return null;
  const month = two(data, dash + 1);
  const day = two(data, dash + 4);
  // Years begin in March, so that the odd day is the last.
  const shifted = asYear(year) - (month <= 2 ? 1 : 0);
  const era = Math.floor(shifted / 400);
  const yearOfEra = shifted - era * 400;
  const dayOfYear = Math.floor((153 * (month + (month > 2 ? -3 : 9)) + 2) / 5) + day - 1;
  const dayOfEra = yearOfEra * 365 + Math.floor(yearOfEra / 4) - Math.floor(yearOfEra / 100) + dayOfYear;
  return era * 146_097 + dayOfEra - 719_468;
}

/** Microseconds of `12:30:00.25`. */
function microsAt(data: Uint8Array, start: number, end: number): number | null {
  if (end - start < 8) return null;
  const seconds = (two(data, start) * 60 + two(data, start + 3)) * 60 + two(data, start + 6);
  let fraction = 0;
  for (let i = start + 9, unit = 100_000; i < end; i++, unit /= 10) fraction += (data[i] - ZERO) * unit;
  return seconds * 1_000_000 + fraction;
}

function two(data: Uint8Array, at: number): number {
  return 10 * (data[at] - ZERO) + data[at + 1] - ZERO;
}
