import { type Column, type FieldType } from "../columns.ts";
import { bigintFromBytes, decimalQuotient, decimalText } from "../decimal.ts";
import { grown } from "../grown.ts";
import type { ResultValue } from "../sinks/sink.ts";
import type { Assignment, StateArray, Sum } from "./aggregate.ts";
import { TwoDoubles } from "./two_doubles.ts";

/** Two parts of a sum of integers: `high * 2^50 + low`. Each stays exact in a double for 2^53 additions. */
const LOW_RANGE = 2 ** 50;
const LOW_LIMIT = 2 ** 52;

/** The exact sum of integers of up to 64 bits: int, long, and decimals of up to 18 digits. */
export class IntegerSum extends TwoDoubles implements Sum {
  readonly #type: FieldType;
  readonly #scale: number;

  /** `type` is the summed field's. */
  constructor(type: FieldType) {
    super();
    this.#type = type;
    this.#scale = type.type === "decimal" ? type.scale : 0;
  }

  add(column: Column, { rows, slots, length }: Assignment): void {
    const low = this.low;
    const seen = this.seen;
    const { ints, nulls } = column;
    if (column.kind === "i32") {
      for (let i = 0; i < length; i++) {
        const row = rows[i];
        if (nulls[row] !== 0) continue;
        const slot = slots[i];
        seen[slot] = 1;
        const sum = low[slot] += ints[row];
        if (sum >= LOW_LIMIT || sum <= -LOW_LIMIT) this.#carry(slot);
      }
      return;
    }
    for (let i = 0; i < length; i++) {
      const row = rows[i];
      if (nulls[row] !== 0) continue;
      const slot = slots[i];
      seen[slot] = 1;
      // value = word * 2^32 + rest; its multiple of 2^50 goes to the high part where there is one.
      const word = ints[2 * row + 1];
      const rest = ints[2 * row] >>> 0;
      const above = word >> 18;
      if (above === 0 || above === -1) {
        low[slot] += word * 4294967296 + rest;
      } else {
        this.high[slot] += above;
        low[slot] += (word & 0x3ffff) * 4294967296 + rest;
      }
      const sum = low[slot];
      if (sum >= LOW_LIMIT || sum <= -LOW_LIMIT) this.#carry(slot);
    }
  }

  merge(slot: number, [high, low, seen]: readonly StateArray[], row: number): void {
    this.high[slot] += high[row] as number;
    this.low[slot] += low[row] as number;
    this.seen[slot] |= seen[row] as number;
    this.#carry(slot);
  }

  result(slot: number): ResultValue {
    if (this.seen[slot] === 0) return null;
    const exact = this.#exact(slot);
    // The sum of ints is a long; of longs and decimals a decimal.
    if (this.#type.type === "int") return Number.isSafeInteger(Number(exact)) ? Number(exact) : exact;
    return decimalText(exact, this.#scale);
  }

  mean(slot: number, count: number): number | null {
    return this.seen[slot] === 0 ? null : decimalQuotient(this.#exact(slot), this.#scale, count);
  }

  /** The unscaled sum. */
  #exact(slot: number): bigint {
    return BigInt(this.high[slot]) * BigInt(LOW_RANGE) + BigInt(this.low[slot]);
  }

  #carry(slot: number): void {
    const whole = Math.trunc(this.low[slot] / LOW_RANGE);
    this.high[slot] += whole;
    this.low[slot] -= whole * LOW_RANGE;
  }
}

/** The exact sum of decimals of more than 18 digits: one BigInt a record, so slower than the others. */
export class WideSum implements Sum {
  readonly #scale: number;
  #sums: bigint[] = [];
  #seen = new Uint8Array(0);

  constructor(scale: number) {
    this.#scale = scale;
  }

  grow(capacity: number): void {
    while (this.#sums.length < capacity) this.#sums.push(0n);
    this.#seen = grown(this.#seen, new Uint8Array(capacity));
  }

  clear(length: number): void {
    this.#sums.fill(0n, 0, length);
    this.#seen.fill(0, 0, length);
  }

  add(column: Column, { rows, slots, length }: Assignment): void {
    for (let i = 0; i < length; i++) {
      const row = rows[i];
      if (column.nulls[row] !== 0) continue;
      this.#sums[slots[i]] += bigintFromBytes(column.data, column.ints[2 * row], column.ints[2 * row + 1]);
      this.#seen[slots[i]] = 1;
    }
  }

  merge(slot: number, [limbs, seen]: readonly StateArray[], row: number): void {
    this.#sums[slot] += fromLimbs(limbs as BigInt64Array, row);
    this.#seen[slot] |= seen[row] as number;
  }

  state(length: number): StateArray[] {
    return [toLimbs(this.#sums, length), this.#seen.slice(0, length)];
  }

  result(slot: number): string | null {
    return this.#seen[slot] === 0 ? null : decimalText(this.#sums[slot], this.#scale);
  }

  mean(slot: number, count: number): number | null {
    return this.#seen[slot] === 0 ? null : decimalQuotient(this.#sums[slot], this.#scale, count);
  }
}

/** Four 64-bit words a value, lowest first: 38 digits added 2^63 times fit. */
const LIMBS = 4;

/** Big integers as words, for handing over and saving. */
export function toLimbs(values: readonly bigint[], length: number): BigInt64Array {
  const limbs = new BigInt64Array(LIMBS * length);
  for (let i = 0; i < length; i++) {
    let rest = values[i];
    for (let limb = 0; limb < LIMBS; limb++, rest >>= 64n) limbs[LIMBS * i + limb] = BigInt.asIntN(64, rest);
  }
  return limbs;
}

/** Value `row` of what `toLimbs` made. */
export function fromLimbs(limbs: BigInt64Array, row: number): bigint {
  let value = limbs[LIMBS * row + LIMBS - 1];
  for (let limb = LIMBS - 2; limb >= 0; limb--) value = (value << 64n) | BigInt.asUintN(64, limbs[LIMBS * row + limb]);
  return value;
}
