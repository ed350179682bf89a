/**
 * Numbers of decoded columns in the form that DuckDB's vectors hold them: two's complement, the low word first.
 *
 * @module
 */
import type { Column } from "../../../columns.ts";
import type { BlockColumn } from "./block_column.ts";

const WORD = 4294967296;
const DAY_MS = 86_400_000;
/** 0001-01-01 and the end of 9999 in UTC: what every reader of the table can show. */
const LEAST_MS = -62_135_596_800_000;
const MOST_MS = 253_402_300_799_999;
const UNITS = { days: DAY_MS, milliseconds: 1, microseconds: 1 / 1000 };

interface Rows {
  /** The staged row that the first goes to. */
  readonly base: number;
  readonly length: number;
}

/** Whether a time since the epoch is one that every reader can show. */
export function isInRange(value: number, unit: keyof typeof UNITS): boolean {
  const ms = value * UNITS[unit];
  return ms >= LEAST_MS && ms <= MOST_MS;
}

/** The first and last such time, in the unit. */
export function rangeIn(unit: keyof typeof UNITS): readonly [number, number] {
  return [LEAST_MS / UNITS[unit], MOST_MS / UNITS[unit]];
}

/** Ints and longs, as 64-bit integers. */
export function fillWhole({ kind, ints }: Column, into: BlockColumn, { base, length }: Rows): void {
  if (kind === "i64") {
    into.words.set(ints.subarray(0, 2 * length), 2 * base);
    return;
  }
  for (let i = 0; i < length; i++) {
    into.words[2 * (base + i)] = ints[i];
    into.words[2 * (base + i) + 1] = ints[i] >> 31;
  }
}

/** Milliseconds of a day as microseconds. */
export function fillTime({ ints }: Column, into: BlockColumn, { base, length }: Rows): void {
  for (let i = 0; i < length; i++) setLong(into, base + i, ints[i] * 1000);
}

/** Timestamps in milliseconds as microseconds: exact where they are in range. */
export function fillMicros({ ints }: Column, into: BlockColumn, { base, length }: Rows): void {
  const { words } = into;
  for (let i = 0; i < length; i++) {
    const low = (ints[2 * i] >>> 0) * 1000;
    const carry = Math.floor(low / WORD);
    words[2 * (base + i)] = low - carry * WORD;
    words[2 * (base + i) + 1] = ints[2 * i + 1] * 1000 + carry;
  }
}

/** A time in milliseconds as microseconds; exact where it is in range. */
export function setMicros({ words }: BlockColumn, row: number, ms: number): void {
  const high = Math.floor(ms / WORD);
  const low = (ms - high * WORD) * 1000;
  const carry = Math.floor(low / WORD);
  words[2 * row] = low - carry * WORD;
  words[2 * row + 1] = high * 1000 + carry;
}

/** A whole number within 2^53. */
export function setLong({ words }: BlockColumn, row: number, value: number): void {
  const high = Math.floor(value / WORD);
  words[2 * row] = value - high * WORD;
  words[2 * row + 1] = high;
}

/** Unscaled decimals, in 64 bits or 128 bits as the column is staged. */
export function fillDecimal({ kind, ints, data, nulls }: Column, into: BlockColumn, { base, length }: Rows): void {
  if (kind === "i64" && into.width === 8) {
    into.words.set(ints.subarray(0, 2 * length), 2 * base);
    return;
  }
  const { words } = into;
  for (let i = 0; i < length; i++) {
    const to = 4 * (base + i);
    if (kind === "i64") {
      const sign = ints[2 * i + 1] >> 31;
      words[to] = ints[2 * i];
      words[to + 1] = ints[2 * i + 1];
      words[to + 2] = words[to + 3] = sign;
    } else if (nulls[i] === 0) setBigEndian(into, base + i, data.subarray(ints[2 * i], ints[2 * i + 1]));
  }
}

/** Two's complement, big-endian, of at most 16 bytes that matter. */
function setBigEndian({ bytes }: BlockColumn, row: number, value: Uint8Array): void {
  const sign = value.length > 0 && value[0] >= 0x80 ? 0xff : 0;
  for (let i = 0; i < 16; i++) {
    const from = value.length - 1 - i;
    bytes[16 * row + i] = from >= 0 ? value[from] : sign;
  }
}
