/**
 * CRC-32C (Castagnoli, reflected polynomial 0x82F63B78), which Kafka keeps over each record batch, sixteen bytes at a
 * step ("slicing-by-16", Kounavis and Berry, 2005).
 *
 * @module
 */
const POLYNOMIAL = 0x82f63b78;
const SLICES = 16;

/** `TABLE[256 * k + b]`: what byte `b` contributes when `k` more bytes follow it in the step. */
const TABLE = buildTable();

function buildTable(): Int32Array {
  const table = new Int32Array(256 * SLICES);
  for (let byte = 0; byte < 256; byte++) {
    let crc = byte;
    for (let bit = 0; bit < 8; bit++) crc = crc & 1 ? (crc >>> 1) ^ POLYNOMIAL : crc >>> 1;
    table[byte] = crc;
  }
  for (let i = 256; i < table.length; i++) {
    const previous = table[i - 256];
    table[i] = (previous >>> 8) ^ table[previous & 255];
  }
  return table;
}

/** The checksum of `bytes[start, end)` as an unsigned 32-bit integer. */
export function crc32c(bytes: Uint8Array, start = 0, end = bytes.length): number {
  // Outside the array a read gives undefined, which the arithmetic below would quietly take for zero.
  if (start < 0 || end > bytes.length || start > end) {
    throw new RangeError(`Cannot checksum [${start}, ${end}) of ${bytes.length} bytes`);
  }
  const t = TABLE;
  const b = bytes;
  let crc = -1;
  let p = start;
  for (const stop = end - (SLICES - 1); p < stop; p += SLICES) {
    crc ^= b[p] | (b[p + 1] << 8) | (b[p + 2] << 16) | (b[p + 3] << 24);
    crc = t[3840 + (crc & 255)] ^ t[3584 + ((crc >>> 8) & 255)] ^ t[3328 + ((crc >>> 16) & 255)] ^
      t[3072 + (crc >>> 24)] ^
      t[2816 + b[p + 4]] ^ t[2560 + b[p + 5]] ^ t[2304 + b[p + 6]] ^ t[2048 + b[p + 7]] ^
      t[1792 + b[p + 8]] ^ t[1536 + b[p + 9]] ^ t[1280 + b[p + 10]] ^ t[1024 + b[p + 11]] ^
      t[768 + b[p + 12]] ^ t[512 + b[p + 13]] ^ t[256 + b[p + 14]] ^ t[b[p + 15]];
  }
  for (; p < end; p++) crc = (crc >>> 8) ^ t[(crc ^ b[p]) & 255];
  return ~crc >>> 0;
}
