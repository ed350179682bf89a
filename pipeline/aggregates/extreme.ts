import { bigintAt, type Column, type FieldType } from "../columns.ts";
import { bigintFromBytes, decimalText } from "../decimal.ts";
import { grown } from "../grown.ts";
import type { ResultValue } from "../sinks/sink.ts";
import type { Aggregate, Assignment, StateArray } from "./aggregate.ts";
import { fromLimbs, toLimbs } from "./sum.ts";

/** Which end: the least value or the greatest. */
export type End = "min" | "max";

/**
 * The least or greatest double. NaN is greater than every number, as DuckDB and PostgreSQL order it; -0 equals 0 and the
 * first of them seen would stay, so 0 is kept.
 */
export class DoubleExtreme implements Aggregate {
  readonly #max: boolean;
  #values = new Float64Array(0);
  #seen = new Uint8Array(0);

  constructor(end: End) {
    this.#max = end === "max";
  }

  grow(capacity: number): void {
    this.#values = grown(this.#values, new Float64Array(capacity));
    this.#seen = grown(this.#seen, new Uint8Array(capacity));
  }

  clear(length: number): void {
    this.#seen.fill(0, 0, length);
  }

  add(column: Column, { rows, slots, length }: Assignment): void {
    const { floats, nulls } = column;
    for (let i = 0; i < length; i++) {
      const row = rows[i];
      if (nulls[row] === 0) this.#offer(slots[i], floats[row]);
    }
  }

  merge(slot: number, [values, seen]: readonly StateArray[], row: number): void {
    if (seen[row]) this.#offer(slot, values[row] as number);
  }

  state(length: number): StateArray[] {
    return [this.#values.slice(0, length), this.#seen.slice(0, length)];
  }

  result(slot: number): number | null {
    return this.#seen[slot] === 0 ? null : this.#values[slot];
  }

  #offer(slot: number, value: number): void {
    const held = this.#values[slot];
    if (this.#seen[slot] === 0) {
      this.#seen[slot] = 1;
      this.#values[slot] = value + 0; // -0 + 0 is 0
    } else if (this.#max ? value > held || value !== value : value < held || (held !== held && value === value)) {
      this.#values[slot] = value + 0;
    }
  }
}

/** The least or greatest integer of up to 64 bits: int, long, date, times, timestamps, and decimals of up to 18 digits. */
export class IntegerExtreme implements Aggregate {
  readonly #type: FieldType;
  readonly #max: boolean;
  /** The value as two words, as an `i64` column has it. */
  #high = new Int32Array(0);
  #low = new Int32Array(0);
  #seen = new Uint8Array(0);

  constructor(type: FieldType, end: End) {
    this.#type = type;
    this.#max = end === "max";
  }

  grow(capacity: number): void {
    this.#high = grown(this.#high, new Int32Array(capacity));
    this.#low = grown(this.#low, new Int32Array(capacity));
    this.#seen = grown(this.#seen, new Uint8Array(capacity));
  }

  clear(length: number): void {
    this.#seen.fill(0, 0, length);
  }

  add(column: Column, { rows, slots, length }: Assignment): void {
    const { ints, nulls } = column;
    const wide = column.kind === "i64";
    for (let i = 0; i < length; i++) {
      const row = rows[i];
      if (nulls[row] !== 0) continue;
      if (wide) this.#offer(slots[i], ints[2 * row + 1], ints[2 * row]);
      else this.#offer(slots[i], ints[row] >> 31, ints[row]);
    }
  }

  merge(slot: number, [high, low, seen]: readonly StateArray[], row: number): void {
    if (seen[row]) this.#offer(slot, high[row] as number, low[row] as number);
  }

  state(length: number): StateArray[] {
    return [this.#high.slice(0, length), this.#low.slice(0, length), this.#seen.slice(0, length)];
  }

  result(slot: number): ResultValue {
    if (this.#seen[slot] === 0) return null;
    const exact = bigintAt(Int32Array.of(this.#low[slot], this.#high[slot]), 0);
    if (this.#type.type === "decimal") return decimalText(exact, this.#type.scale);
    return Number.isSafeInteger(Number(exact)) ? Number(exact) : exact;
  }

  #offer(slot: number, high: number, low: number): void {
    const held = this.#high[slot];
    const order = high !== held ? high - held : (low >>> 0) - (this.#low[slot] >>> 0);
    if (this.#seen[slot] !== 0 && (this.#max ? order <= 0 : order >= 0)) return;
    this.#seen[slot] = 1;
    this.#high[slot] = high;
    this.#low[slot] = low;
  }
}

/** The least or greatest decimal of more than 18 digits. */
export class WideExtreme implements Aggregate {
  readonly #scale: number;
  readonly #max: boolean;
  #values: bigint[] = [];
  #seen = new Uint8Array(0);

  constructor(scale: number, end: End) {
    this.#scale = scale;
    this.#max = end === "max";
  }

  grow(capacity: number): void {
    while (this.#values.length < capacity) this.#values.push(0n);
    this.#seen = grown(this.#seen, new Uint8Array(capacity));
  }

  clear(length: number): void {
    this.#seen.fill(0, 0, length);
  }

  add(column: Column, { rows, slots, length }: Assignment): void {
    for (let i = 0; i < length; i++) {
      const row = rows[i];
      if (column.nulls[row] === 0) {
        this.#offer(slots[i], bigintFromBytes(column.data, column.ints[2 * row], column.ints[2 * row + 1]));
      }
    }
  }

  merge(slot: number, [limbs, seen]: readonly StateArray[], row: number): void {
    if (seen[row]) this.#offer(slot, fromLimbs(limbs as BigInt64Array, row));
  }

  state(length: number): StateArray[] {
    return [toLimbs(this.#values, length), this.#seen.slice(0, length)];
  }

  result(slot: number): string | null {
    return this.#seen[slot] === 0 ? null : decimalText(this.#values[slot], this.#scale);
  }

  #offer(slot: number, value: bigint): void {
    if (this.#seen[slot] !== 0 && (this.#max ? value <= this.#values[slot] : value >= this.#values[slot])) return;
    this.#seen[slot] = 1;
    this.#values[slot] = value;
  }
}
