import { gzipSync, zstdCompressSync } from "node:zlib";
import { concat } from "./batches.ts";

/** The codecs of record batches, by their number there, each with something that compresses: what brokers and clients accept. */
export const COMPRESSORS: readonly { name: string; codec: number; compress(bytes: Uint8Array): Uint8Array }[] = [
  { name: "none", codec: 0, compress: (bytes) => bytes },
  { name: "gzip", codec: 1, compress: (bytes) => gzipSync(bytes) },
  { name: "snappy", codec: 2, compress: snappyLiterals },
  { name: "lz4", codec: 3, compress: lz4Literals },
  { name: "zstd", codec: 4, compress: (bytes) => zstdCompressSync(bytes) },
];

/** Snappy of literals only: a length, then runs of up to 60 bytes. */
export function snappyLiterals(bytes: Uint8Array): Uint8Array<ArrayBuffer> {
  const parts: Uint8Array[] = [uvarint(bytes.length)];
  for (let at = 0; at < bytes.length; at += 60) {
    const run = bytes.subarray(at, at + 60);
    parts.push(Uint8Array.of((run.length - 1) << 2), run);
  }
  return concat(parts);
}

export function uvarint(value: number): Uint8Array {
  const bytes: number[] = [];
  for (; value > 127; value = Math.floor(value / 128)) bytes.push((value % 128) | 128);
  return Uint8Array.of(...bytes, value);
}

/** An LZ4 frame of one block that is stored as it is: up to 64 KiB. 0x82 is the checksum of the two bytes before it. */
function lz4Literals(bytes: Uint8Array): Uint8Array<ArrayBuffer> {
  if (bytes.length > 1 << 16) throw new RangeError("Cannot store more than 64 KiB in one block");
  const head = Uint8Array.of(0x04, 0x22, 0x4d, 0x18, 0x60, 0x40, 0x82);
  const size = Uint8Array.of(bytes.length, bytes.length >> 8, bytes.length >> 16, 0x80);
  return concat([head, size, bytes, new Uint8Array(4)]);
}
