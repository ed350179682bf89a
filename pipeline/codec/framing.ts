/**
 * Confluent's framing of a value:
 *
 *     0x00 | schema id, int32 big-endian | Avro
 *
 * @module
 */

/** Bytes before the Avro value. */
export const FRAME_BYTES = 5;

/** The schema id of the value in `data[start, end)`, or -1 when it is not framed (null values have start -1). */
export function schemaIdAt(data: Uint8Array, start: number, end: number): number {
  if (start < 0 || end - start < FRAME_BYTES || data[start] !== 0) return -1;
  const id = (data[start + 1] << 24) | (data[start + 2] << 16) | (data[start + 3] << 8) | data[start + 4];
  return id < 0 ? -1 : id;
}

/** Writes the framing at `at`. */
export function writeFrame(data: Uint8Array, at: number, schemaId: number): void {
  data[at] = 0;
  data[at + 1] = schemaId >>> 24;
  data[at + 2] = schemaId >>> 16;
  data[at + 3] = schemaId >>> 8;
  data[at + 4] = schemaId;
}
