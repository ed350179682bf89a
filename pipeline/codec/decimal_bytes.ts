/**
 * Unscaled decimals as Avro writes them: two's complement, big-endian, in any number of bytes.
 *
 * @module
 */

/** Room for the largest unscaled value of a precision: its words for up to 18 digits, its bytes beyond. */
export interface DecimalLimit {
  /** `10 ** precision - 1` as words, when it has at most 18 digits. */
  readonly low: number;
  readonly high: number;
  /** The same in 16 bytes, big-endian. */
  readonly bytes: Uint8Array;
}

export function decimalLimit(precision: number): DecimalLimit {
  const limit = 10n ** BigInt(precision) - 1n;
  const bytes = new Uint8Array(16);
  for (let i = 15, rest = limit; i >= 0; i--, rest >>= 8n) bytes[i] = Number(rest & 0xffn);
  return { low: Number(BigInt.asIntN(32, limit)), high: Number(BigInt.asIntN(32, limit >> 32n)), bytes };
}

/**
 * Reads `data[start, end)`, sign-extended, into `ints[2 * row]` (low) and `ints[2 * row + 1]` (high). False when there are no
 * bytes or the value is beyond `limit`.
 */
export function decimalToWords(
  data: Uint8Array,
  start: number,
  end: number,
  ints: Int32Array,
  row: number,
  limit: DecimalLimit,
): boolean {
  if (start >= end) return false;
  let at = start;
  let high = (data[at] << 24) >> 31;
  let low = high;
  // Bytes beyond the eighth may only repeat the sign.
  for (; end - at > 8; at++) {
    if (data[at] !== (high & 0xff)) return false;
  }
  if (at > start && (data[at] << 24) >> 31 !== high) return false;
  for (; end - at > 4; at++) high = (high << 8) | data[at];
  for (; at < end; at++) low = (low << 8) | data[at];
  ints[2 * row] = low;
  ints[2 * row + 1] = high;
  if (high < 0) {
    low = -low | 0;
    high = low === 0 ? -high | 0 : ~high;
    // The one value that has no positive counterpart.
    if (high < 0) return false;
  }
  return high < limit.high || (high === limit.high && low >>> 0 <= limit.low >>> 0);
}

/**
 * Where the shortest form of `data[start, end)` begins, so that equal values have equal bytes; -1 when there are no bytes or
 * the value is beyond `limit`.
 */
export function decimalStart(data: Uint8Array, start: number, end: number, limit: DecimalLimit): number {
  if (start >= end) return -1;
  const sign = (data[start] << 24) >> 31 & 0xff;
  let first = start;
  while (end - first > 1 && data[first] === sign && ((data[first + 1] ^ sign) & 0x80) === 0) first++;
  const length = end - first;
  if (length > 16) return -1;
  // Compares |value| with the limit byte by byte; for a negative value |value| is its complement plus one, so `>=`.
  for (let i = 0; i < 16; i++) {
    const byte = i < 16 - length ? 0 : data[first + i - (16 - length)] ^ sign;
    if (byte !== limit.bytes[i]) return byte < limit.bytes[i] ? first : -1;
  }
  return sign === 0 ? first : -1;
}
