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
export function bigintFromBytes(data: Uint8Array, start: number, end: number): bigint {
  if (end <= start) return 0n;
  let value = BigInt(data[start] << 24 >> 24);
  for (let i = start + 1; i < end; i++) value = (value << 8n) | BigInt(data[i]);
  return value;
}
