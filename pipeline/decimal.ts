/**
 * Exact decimals: an unscaled integer and a scale, as Avro's logical type has them.
 *
 * @module
 */

/** `decimalText(1250n, 2)` is `"12.50"`. */
export function decimalText(unscaled: bigint, scale: number): string {
  const digits = (unscaled < 0n ? -unscaled : unscaled).toString().padStart(scale + 1, "0");
  const sign = unscaled < 0n ? "-" : "";
  if (scale === 0) return sign + digits;
  return `${sign}${digits.slice(0, -scale)}.${digits.slice(-scale)}`;
}

/** A two's complement, big-endian integer of any length; no bytes are zero. */
export function bigintFromBytes(data: Uint8Array, start = 0, end = data.length): bigint {
  if (end <= start) return 0n;
  let value = BigInt(data[start] << 24 >> 24);
  for (let i = start + 1; i < end; i++) value = (value << 8n) | BigInt(data[i]);
  return value;
}

/** `unscaled / 10^scale / count` as the nearest double; `count` is a positive whole number. */
export function decimalQuotient(unscaled: bigint, scale: number, count: number): number {
  const divisor = BigInt(count) * 10n ** BigInt(scale);
  const [a, b] = [Number(unscaled), Number(divisor)];
  if (Number.isSafeInteger(a) && Number.isSafeInteger(b)) return a / b;
  // Enough bits of the quotient that the conversion rounds as the exact value would; the last one says whether more follow.
  const positive = unscaled < 0n ? -unscaled : unscaled;
  const shift = BigInt(Math.max(0, bits(divisor) - bits(positive) + 66));
  const shifted = positive << shift;
  const quotient = (shifted / divisor) | (shifted % divisor === 0n ? 0n : 1n);
  const value = Number(quotient) / 2 ** Number(shift);
  return unscaled < 0n ? -value : value;
}

function bits(value: bigint): number {
  return value.toString(2).length;
}
