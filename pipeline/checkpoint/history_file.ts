/**
 * The layout of a pipeline's history: records of one size, in the order in which they were appended.
 *
 *      0  magic "TRHS"     uint32
 *      4  place            uint32    this record's place among those appended with it, from 0
 *      8  of               uint32    how many were appended together
 *     12  partition        uint32
 *     16  position         float64
 *     24  maxEventTimeMs   float64   NaN for null
 *     32  raisedToMs       float64   NaN for null
 *     40  consumed         float64
 *     48  aggregated       float64
 *     56  filtered         float64
 *     64  late             float64
 *     72  dead             float64
 *     80  duplicate        float64
 *     88  0                uint32
 *     92  CRC-32C of the 92 bytes before, uint32
 *
 * all little-endian. When the machine stops during an append, any part of what was appended may be on disk: the end may be there
 * without the beginning. So what was appended together counts together or not at all.
 *
 * @module
 */
import { crc32c } from "../log/crc32c.ts";
import type { Sample } from "./history.ts";

export const SAMPLE_BYTES = 96;
const MAGIC = 0x53485254; // "TRHS"

interface Row {
  readonly place: number;
  readonly of: number;
  readonly sample: Sample;
}

/** Samples that are appended together, as bytes. */
export function encodeSamples(samples: readonly Sample[]): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(samples.length * SAMPLE_BYTES);
  const view = new DataView(bytes.buffer);
  samples.forEach(({ partition, position, maxEventTimeMs, raisedToMs, buckets }, place) => {
    const at = place * SAMPLE_BYTES;
    [MAGIC, place, samples.length, partition].forEach((value, i) => view.setUint32(at + 4 * i, value, true));
    const { consumed, aggregated, filtered, late, dead, duplicate } = buckets;
    [position, maxEventTimeMs ?? NaN, raisedToMs ?? NaN, consumed, aggregated, filtered, late, dead, duplicate]
      .forEach((value, i) => view.setFloat64(at + 16 + 8 * i, value, true));
    view.setUint32(at + 92, crc32c(bytes, at, at + 92), true);
  });
  return bytes;
}

/**
 * The samples of a history, and the length of what is whole. What comes after that was torn while it was appended.
 *
 * @throws when it is damaged before its end
 */
export function decodeSamples(bytes: Uint8Array): { readonly samples: Sample[]; readonly length: number } {
  const rows = Array.from({ length: Math.floor(bytes.length / SAMPLE_BYTES) }, (_, i) => rowAt(bytes, i));
  const samples: Sample[] = [];
  while (samples.length < rows.length) {
    const start = samples.length;
    const together = rows.slice(start, start + (rows[start]?.of ?? 1));
    const isWhole = together.every((row, place) => row?.place === place && row.of === together.length);
    if (!isWhole) {
      const isLast = rows.every((row, i) => i < start || row === null || i - row.place === start);
      if (!isLast) throw new Error(`what begins at byte ${start * SAMPLE_BYTES} does not fit its checksums`);
      break;
    }
    for (const row of together) samples.push(row!.sample);
  }
  return { samples, length: samples.length * SAMPLE_BYTES };
}

/** Null where the bytes are no record. */
function rowAt(bytes: Uint8Array, index: number): Row | null {
  const at = index * SAMPLE_BYTES;
  const view = new DataView(bytes.buffer, bytes.byteOffset + at, SAMPLE_BYTES);
  if (view.getUint32(0, true) !== MAGIC || crc32c(bytes, at, at + 92) !== view.getUint32(92, true)) return null;
  const double = (i: number) => view.getFloat64(16 + 8 * i, true);
  const orNull = (value: number) => Number.isNaN(value) ? null : value;
  return {
    place: view.getUint32(4, true),
    of: view.getUint32(8, true),
    sample: {
      partition: view.getUint32(12, true),
      position: double(0),
      maxEventTimeMs: orNull(double(1)),
      raisedToMs: orNull(double(2)),
      buckets: {
        consumed: double(3),
        aggregated: double(4),
        filtered: double(5),
        late: double(6),
        dead: double(7),
        duplicate: double(8),
      },
    },
  };
}
