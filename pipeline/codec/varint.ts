/**
 * Avro's variable-length integers, read into 32-bit words: zigzag, then 7 bits a byte, least significant first, the top
 * bit of every byte but the last set.
 *
 *     300 -> zigzag 600 = 0b100_1011000 -> 0xd8 0x04
 *
 * @module
 */

/** What the readers return instead of a position. */
export const ENDS_INSIDE = -1;
export const TOO_LONG = -2;

/**
 * Reads a long (at most 10 bytes, 64 bits) at `at`, not going beyond `end`. Puts its low word into `words[0]` and its high
 * word into `words[1]`; returns the position after it, `ENDS_INSIDE` or `TOO_LONG`.
 */
export function readLong(data: Uint8Array, at: number, end: number, words: Int32Array): number {
  let low = 0;
  let high = 0;
  for (let shift = 0; shift < 70; shift += 7) {
    if (at >= end) return ENDS_INSIDE;
    const byte = data[at++];
    if (shift < 28) low |= (byte & 0x7f) << shift;
    else if (shift > 28) high |= (byte & 0x7f) << (shift - 32);
    else {
      // The fifth byte straddles the words: four bits finish the low one, three begin the high one.
      low |= (byte & 0x0f) << 28;
      high = (byte & 0x7f) >> 4;
    }
    if (byte < 0x80) {
      // The tenth byte holds bit 63 and nothing else.
      if (shift === 63 && byte > 1) return TOO_LONG;
      const sign = -(low & 1);
      words[0] = ((low >>> 1) | (high << 31)) ^ sign;
      words[1] = (high >>> 1) ^ sign;
      return at;
    }
  }
  return TOO_LONG;
}

/** Reads an int (at most 5 bytes, 32 bits) at `at` into `words[0]`; otherwise as `readLong`. */
export function readInt(data: Uint8Array, at: number, end: number, words: Int32Array): number {
  let value = 0;
  for (let shift = 0; shift < 35; shift += 7) {
    if (at >= end) return ENDS_INSIDE;
    const byte = data[at++];
    value |= (byte & 0x7f) << shift;
    if (byte < 0x80) {
      if (shift === 28 && byte > 0x0f) return TOO_LONG;
      words[0] = (value >>> 1) ^ -(value & 1);
      return at;
    }
  }
  return TOO_LONG;
}
