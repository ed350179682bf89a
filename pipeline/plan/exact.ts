/**
 * Whole numbers without loss, at the speed of doubles while they are small: what kernels compute integers, decimals (unscaled)
 * and times with.
 *
 * @module
 */
import { bigintAt, numberAt } from "../columns.ts";
import { bigintFromBytes } from "../decimal.ts";

/** A number while it is a safe integer, a bigint beyond: so two values are equal exactly if they are `===`, and `<` just works. */
export type Exact = number | bigint;

/** Why one row cannot be computed. Thrown by kernels' helpers, caught per row; no Error, for a stack per bad row costs too much. */
export class RowFault {
  readonly reason: string;
  constructor(reason: string) {
    this.reason = reason;
  }
}

const SAFE = Number.MAX_SAFE_INTEGER;
const TWO_53 = 9007199254740992n;

/** The one way to write `value`. */
export function normalize(value: bigint): Exact {
  const number = Number(value);
  return number >= -SAFE && number <= SAFE ? number : value;
}

/** Row `row` of an `i64` column. */
export function longAt(ints: Int32Array, row: number): Exact {
  const near = numberAt(ints, row);
  return near >= -SAFE && near <= SAFE ? near : bigintAt(ints, row);
}

/** The big-endian two's complement number in `data[start, end)`. */
export function wideAt(data: Uint8Array, start: number, end: number): Exact {
  return normalize(bigintFromBytes(data, start, end));
}

export function add(a: Exact, b: Exact): Exact {
  if (typeof a === "number" && typeof b === "number") {
    const sum = a + b;
    if (sum >= -SAFE && sum <= SAFE) return sum;
  }
  return normalize(BigInt(a) + BigInt(b));
}

export function subtract(a: Exact, b: Exact): Exact {
  if (typeof a === "number" && typeof b === "number") {
    const difference = a - b;
    if (difference >= -SAFE && difference <= SAFE) return difference;
  }
  return normalize(BigInt(a) - BigInt(b));
}

export function multiply(a: Exact, b: Exact): Exact {
  if (typeof a === "number" && typeof b === "number") {
    const product = a * b;
    // Plus zero turns -0 into 0: a whole number has no sign without a value.
    if (product >= -SAFE && product <= SAFE) return product + 0;
  }
  return normalize(BigInt(a) * BigInt(b));
}

/** Towards zero; null for a zero divisor. */
export function divideWhole(a: Exact, b: Exact): Exact | null {
  if (b === 0) return null;
  if (typeof a === "number" && typeof b === "number") return (a - a % b) / b + 0;
  return normalize(BigInt(a) / BigInt(b));
}

/** The remainder has the dividend's sign; null for a zero divisor. */
export function remainder(a: Exact, b: Exact): Exact | null {
  if (b === 0) return null;
  if (typeof a === "number" && typeof b === "number") return a % b + 0;
  return normalize(BigInt(a) % BigInt(b));
}

export function negate(a: Exact): Exact {
  return typeof a === "number" ? 0 - a : normalize(-a);
}

export function absolute(a: Exact): Exact {
  return a < 0 ? negate(a) : a;
}

/** `a / factor`, halves away from zero. */
export function scaleDown(a: Exact, factor: Exact): Exact {
  if (typeof a === "number" && typeof factor === "number") {
    const rest = a % factor;
    const whole = (a - rest) / factor;
    return (2 * Math.abs(rest) >= factor ? whole + Math.sign(a) : whole) + 0;
  }
  const [value, by] = [BigInt(a), BigInt(factor)];
  const rest = value % by;
  const whole = value / by;
  const away = (rest < 0n ? -rest : rest) * 2n >= by ? (value < 0n ? -1n : 1n) : 0n;
  return normalize(whole + away);
}

/** `a` less its remainder: the start of the `unit` that it lies in, also before zero. */
export function floorTo(a: Exact, unit: number): Exact {
  if (typeof a === "number") {
    const rest = a % unit;
    const floor = rest < 0 ? a - rest - unit : a - rest;
    if (floor >= -SAFE) return floor + 0;
  }
  const [value, by] = [BigInt(a), BigInt(unit)];
  return normalize(value - ((value % by) + by) % by);
}

/** @throws RowFault unless `a` fits 32 bits */
export function fitInt(a: Exact): Exact {
  if (a >= -2147483648 && a <= 2147483647) return a;
  throw new RowFault(`${a} does not fit an int (32 bits)`);
}

const LONG_MIN = -(2n ** 63n);
const LONG_MAX = 2n ** 63n - 1n;

/** @throws RowFault unless `a` fits 64 bits */
export function fitLong(a: Exact): Exact {
  if (typeof a === "number" || (a >= LONG_MIN && a <= LONG_MAX)) return a;
  throw new RowFault(`${a} does not fit a long (64 bits)`);
}

/** @throws RowFault unless `|a| < limit`, the power of ten beyond the type's digits */
export function fitDigits(a: Exact, limit: Exact): Exact {
  if (a < limit && -a < limit) return a;
  throw new RowFault(`${a} (unscaled) has more than ${String(limit).length - 1} digits`);
}

/** The double that DuckDB makes of a long. */
export function longToDouble(a: Exact): number {
  return Number(a);
}

/**
 * The double that DuckDB makes of a decimal: one division where the unscaled value is exact as a double, else the whole part and the
 * fraction apart. It rounds twice then, so this is not always the nearest double; agreeing matters more here.
 */
export function decimalToDouble(a: Exact, scale: number, wide: boolean): number {
  if (typeof a === "number" || (a >= -TWO_53 && a <= TWO_53)) return Number(a) / Number(`1e${scale}`);
  const toDouble = wide ? hugeToDouble : Number;
  if (scale === 0) return toDouble(a);
  const power = 10n ** BigInt(scale);
  return toDouble(a / power) + toDouble(a % power) / Number(`1e${scale}`);
}

/** A 128-bit integer as DuckDB converts it, word by word. */
function hugeToDouble(a: bigint): number {
  const lower = BigInt.asUintN(64, a);
  const upper = a >> 64n;
  if (upper === -1n) return -Number(2n ** 64n - 1n - lower) - 1;
  return Number(lower) + Number(upper) * 18446744073709551616;
}

/** The nearest float32, rounded once: a detour over double would round twice. */
export function longToFloat(a: Exact): number {
  if (typeof a === "number") return Math.fround(a);
  const magnitude = a < 0n ? -a : a;
  const shift = BigInt(magnitude.toString(2).length - 53);
  // Rounding to odd at 53 bits keeps what the second rounding has to know.
  const kept = magnitude >> shift;
  const odd = kept << shift === magnitude ? kept : kept | 1n;
  const float = Math.fround(Number(odd << shift));
  return a < 0n ? -float : float;
}

/** Halves to even, as the processor does. @throws RowFault beyond `bits` bits */
export function doubleToWhole(a: number, bits: 32 | 64): Exact {
  const limit = bits === 32 ? 2147483648 : 9223372036854775808;
  const floor = Math.floor(a);
  const rest = a - floor;
  const even = rest > 0.5 || (rest === 0.5 && floor % 2 !== 0) ? floor + 1 : floor;
  if (even >= -limit && even < limit) return normalize(BigInt(even));
  throw new RowFault(`${a} does not fit ${bits} bits`);
}

/** Halves away from zero after scaling in doubles. @throws RowFault for more than `precision` digits */
export function doubleToDecimal(a: number, precision: number, scale: number): Exact {
  const scaled = a * Number(`1e${scale}`);
  const floor = Math.floor(Math.abs(scaled));
  const rounded = Math.sign(scaled) * (Math.abs(scaled) - floor >= 0.5 ? floor + 1 : floor);
  const limit = Number(`1e${precision}`);
  if (rounded > -limit && rounded < limit) return normalize(BigInt(rounded));
  throw new RowFault(`${a} does not fit decimal(${precision},${scale})`);
}

/** A float32 from a double. @throws RowFault when it is finite and beyond float's range */
export function doubleToFloat(a: number): number {
  const float = Math.fround(a);
  if (Number.isFinite(float) || !Number.isFinite(a)) return float;
  throw new RowFault(`${a} does not fit a float`);
}
