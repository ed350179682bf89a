/**
 * Decompression of record batches with a cap on what comes out, so that a small hostile batch cannot fill the memory.
 * gzip and zstd are the runtime's; LZ4 and Snappy, which it lacks, are decoded here.
 *
 * @module
 */
import { gunzipSync, zstdDecompressSync } from "node:zlib";
import { MalformedRecordError } from "../errors.ts";

/** Neither format grows more than this per compressed byte, so an absurd length is refused before memory is taken for it. */
const SNAPPY_RATIO_MAX = 64 / 3;
const LZ4_RATIO_MAX = 255;

const XERIAL_MAGIC = [0x82, 0x53, 0x4e, 0x41, 0x50, 0x50, 0x59, 0x00];

/** Decompresses `bytes` with Kafka's codec number. @throws MalformedRecordError when damaged or larger than `bytesMax` */
export function decompress(codec: number, bytes: Uint8Array, bytesMax: number): Uint8Array {
  switch (codec) {
    case 1:
      return withLimit(() => gunzipSync(bytes, { maxOutputLength: bytesMax }), bytesMax);
    case 2:
      return snappy(bytes, bytesMax);
    case 3:
      return lz4Frame(bytes, bytesMax);
    case 4:
      return withLimit(() => zstdDecompressSync(bytes, { maxOutputLength: bytesMax }), bytesMax);
    default:
      throw new MalformedRecordError(`compression codec ${codec} is unknown`);
  }
}

function withLimit(inflate: () => Uint8Array, bytesMax: number): Uint8Array {
  try {
    const { buffer, byteOffset, byteLength } = inflate();
    // As a plain array: `slice` of a Node Buffer is no copy, and would hold on to the whole batch.
    return new Uint8Array(buffer, byteOffset, byteLength);
  } catch (error) {
    if ((error as { code?: string }).code === "ERR_BUFFER_TOO_LARGE") throw tooLarge(bytesMax);
    throw new MalformedRecordError((error as Error).message);
  }
}

function tooLarge(bytesMax: number): MalformedRecordError {
  return new MalformedRecordError(`it decompresses to more than the ${bytesMax} bytes allowed`);
}

/**
 * Snappy, bare or in the blocks that Java's xerial library writes: an 8-byte magic, two int32 versions, then blocks of an
 * int32 length and that many bytes.
 */
function snappy(bytes: Uint8Array, bytesMax: number): Uint8Array {
  if (!XERIAL_MAGIC.every((byte, i) => bytes[i] === byte)) return snappyBlock(bytes, { total: 0, bytesMax });
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const blocks: Uint8Array[] = [];
  let total = 0;
  for (let at = 16; at < bytes.length;) {
    const length = at + 4 <= bytes.length ? view.getInt32(at) : -1;
    at += 4;
    if (length < 0 || at + length > bytes.length) throw new MalformedRecordError("a snappy block runs past the end");
    const block = snappyBlock(bytes.subarray(at, at += length), { total, bytesMax });
    total += block.length;
    blocks.push(block);
  }
  if (blocks.length === 1) return blocks[0];
  const whole = new Uint8Array(total);
  let at = 0;
  for (const block of blocks) {
    whole.set(block, at);
    at += block.length;
  }
  return whole;
}

/** One Snappy block: the decompressed length as a varint, then literals and copies (google/snappy, format_description.txt). */
function snappyBlock(bytes: Uint8Array, { total, bytesMax }: { total: number; bytesMax: number }): Uint8Array {
  let at = 0;
  let size = 0;
  for (let scale = 1;; scale *= 128) {
    if (at >= bytes.length || at > 4) throw new MalformedRecordError("the snappy length is damaged");
    const byte = bytes[at++];
    size += (byte & 127) * scale;
    if (byte < 128) break;
  }
  if (total + size > bytesMax) throw tooLarge(bytesMax);
  if (size > SNAPPY_RATIO_MAX * bytes.length) throw new MalformedRecordError("the snappy length is damaged");
  const out = new Uint8Array(size);
  let filled = 0;
  while (at < bytes.length) {
    const tag = bytes[at++];
    let length: number;
    let distance = 0;
    switch (tag & 3) {
      case 0: {
        length = tag >> 2;
        if (length >= 60) {
          const extra = length - 59;
          length = 0;
          for (let i = 0; i < extra; i++) length += bytes[at++] * 2 ** (8 * i);
        }
        length++;
        if (!(at + length <= bytes.length && filled + length <= size)) {
          throw new MalformedRecordError("a snappy literal runs past the end");
        }
        out.set(bytes.subarray(at, at + length), filled);
        at += length;
        filled += length;
        continue;
      }
      case 1:
        length = 4 + ((tag >> 2) & 7);
        distance = ((tag >> 5) << 8) | bytes[at++];
        break;
      case 2:
        length = 1 + (tag >> 2);
        distance = bytes[at] | (bytes[at + 1] << 8);
        at += 2;
        break;
      default:
        length = 1 + (tag >> 2);
        distance = (bytes[at] | (bytes[at + 1] << 8) | (bytes[at + 2] << 16) | (bytes[at + 3] << 24)) >>> 0;
        at += 4;
    }
    if (!(at <= bytes.length && distance > 0 && distance <= filled && filled + length <= size)) {
      throw new MalformedRecordError("a snappy copy points outside the data");
    }
    filled = copyWithinOutput(out, filled, distance, length);
  }
  if (filled !== size) throw new MalformedRecordError("the snappy block ends early");
  return out;
}

/**
 * An LZ4 frame (lz4/doc/lz4_Frame_format.md): magic 0x184D2204, flags, block size, optional content size, header checksum;
 * then blocks of a little-endian length (top bit: stored as is), ended by a length of zero. Checksums are not verified:
 * the record batch has its own.
 */
function lz4Frame(bytes: Uint8Array, bytesMax: number): Uint8Array {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (bytes.length < 7 || view.getUint32(0, true) !== 0x184d2204) {
    throw new MalformedRecordError("the lz4 frame has no magic number");
  }
  const flags = bytes[4];
  const blockChecksum = (flags & 0x10) !== 0;
  const blockBytesMax = 1 << (8 + 2 * ((bytes[5] >> 4) & 7));
  let at = 7 + (flags & 0x08 ? 8 : 0) + (flags & 0x01 ? 4 : 0);
  let out = new Uint8Array(Math.min(bytesMax, Math.max(1024, 4 * bytes.length)));
  let filled = 0;
  for (;;) {
    if (at + 4 > bytes.length) throw new MalformedRecordError("the lz4 frame ends early");
    const header = view.getUint32(at, true);
    at += 4;
    if (header === 0) return out.subarray(0, filled);
    const length = header & 0x7fffffff;
    if (at + length > bytes.length) throw new MalformedRecordError("an lz4 block runs past the end");
    const sizeMax = header & 0x80000000 ? length : Math.min(blockBytesMax, LZ4_RATIO_MAX * length);
    if (filled + sizeMax > out.length && out.length < bytesMax) {
      const larger = new Uint8Array(Math.min(bytesMax, 2 * (filled + sizeMax)));
      larger.set(out.subarray(0, filled));
      out = larger;
    }
    if (header & 0x80000000) {
      if (filled + length > out.length) throw tooLarge(bytesMax);
      out.set(bytes.subarray(at, at + length), filled);
      filled += length;
    } else {
      filled = lz4Block(bytes, { start: at, end: at + length }, out, { filled, bytesMax });
    }
    at += length + (blockChecksum ? 4 : 0);
  }
}

/** One LZ4 block (lz4/doc/lz4_Block_format.md): runs of literals, each followed by a copy of earlier output. */
function lz4Block(
  bytes: Uint8Array,
  range: { start: number; end: number },
  out: Uint8Array,
  to: { filled: number; bytesMax: number },
): number {
  let at = range.start;
  const end = range.end;
  let filled = to.filled;
  while (at < end) {
    const token = bytes[at++];
    let literals = token >> 4;
    if (literals === 15) {
      let byte: number;
      do literals += byte = at < end ? bytes[at++] : 0; while (byte === 255);
    }
    if (at + literals > end) throw new MalformedRecordError("an lz4 literal runs past the block");
    if (filled + literals > out.length) throw tooLarge(to.bytesMax);
    out.set(bytes.subarray(at, at + literals), filled);
    at += literals;
    filled += literals;
    if (at === end) break; // The last run has no copy.
    const distance = bytes[at] | (bytes[at + 1] << 8);
    at += 2;
    let length = token & 15;
    if (length === 15) {
      let byte: number;
      do length += byte = at < end ? bytes[at++] : 0; while (byte === 255);
    }
    length += 4;
    if (at > end || distance === 0 || distance > filled) {
      throw new MalformedRecordError("an lz4 copy points outside the data");
    }
    if (filled + length > out.length) throw tooLarge(to.bytesMax);
    filled = copyWithinOutput(out, filled, distance, length);
  }
  return filled;
}

/** Repeats `length` bytes from `distance` back; the two may overlap, which repeats a pattern. */
function copyWithinOutput(out: Uint8Array, filled: number, distance: number, length: number): number {
  const from = filled - distance;
  if (distance >= length) out.copyWithin(filled, from, from + length);
  else for (let i = 0; i < length; i++) out[filled + i] = out[from + i];
  return filled + length;
}
