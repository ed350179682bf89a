/**
 * Decimals as people write them, to and from the unscaled integer that Avro stores: `"12.50"` of scale 2 is 1250.
 *
 * @module
 */

/** Texts longer than this are no decimals: 38 digits, sign, point and exponent take far less. */
const TEXT_LENGTH_MAX = 200;
const DECIMAL = /^([+-]?)(\d*)\.?(\d*)(?:[eE]([+-]?\d{1,3}))?$/;

/** Why a value cannot be taken, in words that follow the name of its field. */
export class Refused {
  readonly problem: string;

  constructor(problem: string) {
    this.problem = problem;
  }
}

/** The unscaled value of a decimal, exactly; refused when it has more digits than precision and scale leave room for. */
export function parseDecimal(text: string, precision: number, scale: number): bigint | Refused {
  const match = text.length <= TEXT_LENGTH_MAX ? DECIMAL.exec(text) : null;
  if (match === null || match[2] + match[3] === "") {
    return new Refused(`is ${quote(text)}, not a decimal such as "12.50"`);
  }
  const [, sign, whole, fraction, exponent] = match;
  const digits = (whole + fraction).replace(/^0+/, "");
  // How many zeros make it an unscaled value; negative: how many digits at the end must be zero to leave.
  const shift = scale - fraction.length + Number(exponent ?? 0);
  if (digits === "") return 0n;
  let unscaled = digits;
  if (shift >= 0) {
    if (digits.length + shift > precision) return new Refused(`is ${quote(text)}, more than ${precision} digits`);
    unscaled += "0".repeat(shift);
  } else {
    if (!/^0*$/.test(digits.slice(shift))) {
      return new Refused(`is ${quote(text)}, more than ${scale} digits after the point`);
    }
    unscaled = digits.slice(0, shift);
  }
  if (unscaled.length > precision) return new Refused(`is ${quote(text)}, more than ${precision} digits`);
  return sign === "-" ? -BigInt(unscaled) : BigInt(unscaled);
}

/**
 * The same as a number, for the usual short decimals: digits, a point, at most 15 digits after scaling. NaN when it is not
 * as simple as that and `parseDecimal` has to look.
 */
export function parseShortDecimal(text: string, precision: number, scale: number): number {
  const { length } = text;
  const negative = length > 0 && text.charCodeAt(0) === 45;
  let at = negative ? 1 : 0;
  let value = 0;
  let places = -1;
  if (at === length || length > 17) return NaN;
  for (; at < length; at++) {
    const digit = text.charCodeAt(at) - 48;
    if (digit >= 0 && digit <= 9) {
      value = value * 10 + digit;
      if (places >= 0) places++;
    } else if (digit === -2 && places < 0) places = 0;
    else return NaN;
  }
  for (let i = Math.max(0, places); i < scale; i++) value *= 10;
  if (places > scale || places === 0 || value >= Math.min(1e15, 10 ** precision)) return NaN;
  return negative && value > 0 ? -value : value;
}

/** Two's complement, big-endian, in `length` bytes, or as few as hold the value. */
export function unscaledBytes(value: bigint, length?: number): Uint8Array {
  const bits = (value < 0n ? -value - 1n : value).toString(2).length + (value === 0n || value === -1n ? 0 : 1);
  const bytes = new Uint8Array(length ?? Math.ceil(bits / 8));
  for (let i = bytes.length - 1, rest = value; i >= 0; i--, rest >>= 8n) bytes[i] = Number(rest & 0xffn);
  return bytes;
}

/** A value as a message shows it, cut short. What is inside objects and lists is not shown: they may be of any size. */
export function quote(value: unknown): string {
  if (value instanceof Uint8Array) return `${value.length} bytes`;
  if (Array.isArray(value)) return `a list of ${value.length}`;
  if (typeof value === "object" && value !== null) return "an object";
  const text = typeof value === "string" ? JSON.stringify(value.slice(0, 60)) : String(value);
  return text.length > 60 ? `${text.slice(0, 57)}...` : text;
}
