/**
 * Result rows as bytes, for the journal.
 *
 *     frame    length  uint32   of the payload
 *              CRC-32C uint32   of the payload
 *              payload          JSON, or rows: blocks one after another
 *
 *     block    rows    uint32   at least 1, at most BLOCK_ROWS
 *              columns          one after another
 *
 *     column   kind    uint8    0 numbers, 1 longs, 2 texts, 3 bytes, 4 booleans; 16 more where a bitmap of nulls follows
 *              nulls            a bit per row, lowest first; set where the value is null
 *              values           0 float64 each; 1 int64 each; 4 uint8 each
 *                               2 characters (UTF-16) of each, uint32, then the bytes of all, uint32, then all as UTF-8
 *                               3 bytes of each, uint32, then all
 *
 * all little-endian. A number is a float64 because every number of a result fits one; a column with a long beyond 2^53 has longs.
 *
 * @module
 */
import type { ResultColumn } from "../../../plan/plan.ts";
import { crc32c } from "../../../log/crc32c.ts";
import type { ResultRows, ResultValue } from "../../sink.ts";

/** Rows of a block: so many are decoded at once. */
export const BLOCK_ROWS = 16_384;
export const FRAME_HEADER_BYTES = 8;

const Kind = { numbers: 0, longs: 1, texts: 2, bytes: 3, booleans: 4 } as const;
const WITH_NULLS = 16;
const EMPTY = new Uint8Array(0);

/** A payload with its length and checksum. */
export function frame(payload: Uint8Array): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(FRAME_HEADER_BYTES + payload.length);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, payload.length, true);
  view.setUint32(4, crc32c(payload), true);
  bytes.set(payload, FRAME_HEADER_BYTES);
  return bytes;
}

/** The payload of the frame that begins at `at`; null where there is no whole one. */
export function frameAt(bytes: Uint8Array, at: number): Uint8Array | null {
  const start = at + FRAME_HEADER_BYTES;
  if (start > bytes.length) return null;
  const view = new DataView(bytes.buffer, bytes.byteOffset + at, FRAME_HEADER_BYTES);
  const length = view.getUint32(0, true);
  // Nothing is that long: what a file system leaves of bytes that were never written are zeros.
  if (length === 0 || start + length > bytes.length) return null;
  return crc32c(bytes, start, start + length) === view.getUint32(4, true)
    ? bytes.subarray(start, start + length)
    : null;
}

/** The payload of some rows: those whose numbers are in `picked`, in that order. */
export function encodeRows(rows: ResultRows, picked: Uint32Array): Uint8Array {
  const parts: Uint8Array[] = [];
  for (let from = 0; from < picked.length; from += BLOCK_ROWS) {
    const block = picked.subarray(from, from + BLOCK_ROWS);
    parts.push(uint32s([block.length]));
    for (const values of rows.values) encodeColumn(values, block, parts);
  }
  return concat(parts);
}

/** The rows of a payload, block by block. */
export function* decodeRows(payload: Uint8Array, columns: readonly ResultColumn[]): Generator<ResultRows> {
  const reader = new Reader(payload);
  while (!reader.isAtEnd) {
    const length = reader.uint32();
    yield { columns, length, values: columns.map(() => decodeColumn(reader, length)) };
  }
}

/** How many rows a payload has, which is read over without making them. */
export function countRows(payload: Uint8Array, columns: number): number {
  const reader = new Reader(payload);
  let count = 0;
  while (!reader.isAtEnd) {
    const length = reader.uint32();
    count += length;
    for (let column = 0; column < columns; column++) skipColumn(reader, length);
  }
  return count;
}

function encodeColumn(values: readonly ResultValue[], picked: Uint32Array, parts: Uint8Array[]): void {
  const nulls = new Uint8Array((picked.length + 7) >> 3);
  let kind: number | null = null;
  let isNull = false;
  for (let i = 0; i < picked.length; i++) {
    const value = values[picked[i]];
    if (value === null) {
      isNull = true;
      nulls[i >> 3] |= 1 << (i & 7);
    } else if (kind === null || kind === Kind.numbers) {
      kind = kindOf(value);
    }
  }
  kind ??= Kind.numbers;
  parts.push(Uint8Array.of(isNull ? kind + WITH_NULLS : kind));
  if (isNull) parts.push(nulls);
  switch (kind) {
    case Kind.numbers:
      return void parts.push(bytesOf(Float64Array.from(picked, (row) => (values[row] ?? 0) as number)));
    case Kind.longs:
      return void parts.push(bytesOf(BigInt64Array.from(picked as Iterable<number>, (row) => longOf(values[row]))));
    case Kind.booleans:
      return void parts.push(Uint8Array.from(picked, (row) => values[row] === true ? 1 : 0));
    case Kind.texts: {
      const texts = Array.from(picked, (row) => (values[row] ?? "") as string);
      const all = new TextEncoder().encode(texts.join(""));
      return void parts.push(uint32s(texts.map(({ length }) => length)), uint32s([all.length]), all);
    }
    default: {
      const blobs = Array.from(picked, (row) => (values[row] ?? EMPTY) as Uint8Array);
      return void parts.push(uint32s(blobs.map(({ length }) => length)), ...blobs);
    }
  }
}

function kindOf(value: Exclude<ResultValue, null>): number {
  switch (typeof value) {
    case "number":
      return Kind.numbers;
    case "bigint":
      return Kind.longs;
    case "string":
      return Kind.texts;
    case "boolean":
      return Kind.booleans;
    default:
      return Kind.bytes;
  }
}

/** Of a column with a bigint all values are whole numbers. */
function longOf(value: ResultValue): bigint {
  return value === null ? 0n : BigInt(value as number | bigint);
}

function decodeColumn(reader: Reader, length: number): ResultValue[] {
  const tag = reader.uint8();
  const nulls = tag >= WITH_NULLS ? reader.bytes((length + 7) >> 3) : null;
  const values = decodeValues(reader, tag % WITH_NULLS, length);
  if (nulls !== null) {
    for (let row = 0; row < length; row++) if (nulls[row >> 3] & (1 << (row & 7))) values[row] = null;
  }
  return values;
}

function decodeValues(reader: Reader, kind: number, length: number): ResultValue[] {
  switch (kind) {
    case Kind.numbers:
      return Array.from(new Float64Array(reader.copy(8 * length)));
    case Kind.longs:
      return Array.from(new BigInt64Array(reader.copy(8 * length)), (value) => {
        const number = Number(value);
        return Number.isSafeInteger(number) ? number : value;
      });
    case Kind.booleans:
      return Array.from(reader.bytes(length), (byte) => byte === 1);
    case Kind.texts: {
      const lengths = new Uint32Array(reader.copy(4 * length));
      const all = new TextDecoder("utf-8", { ignoreBOM: true }).decode(reader.bytes(reader.uint32()));
      let at = 0;
      return Array.from(lengths, (length) => all.slice(at, at += length));
    }
    default: {
      const lengths = new Uint32Array(reader.copy(4 * length));
      return Array.from(lengths, (length) => reader.bytes(length).slice());
    }
  }
}

function skipColumn(reader: Reader, length: number): void {
  const tag = reader.uint8();
  if (tag >= WITH_NULLS) reader.bytes((length + 7) >> 3);
  switch (tag % WITH_NULLS) {
    case Kind.numbers:
    case Kind.longs:
      return void reader.bytes(8 * length);
    case Kind.booleans:
      return void reader.bytes(length);
    case Kind.texts:
      reader.bytes(4 * length);
      return void reader.bytes(reader.uint32());
    default: {
      let sum = 0;
      for (const length_ of new Uint32Array(reader.copy(4 * length))) sum += length_;
      reader.bytes(sum);
    }
  }
}

class Reader {
  readonly #bytes: Uint8Array;
  readonly #view: DataView;
  #at = 0;

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  }

  get isAtEnd(): boolean {
    return this.#at === this.#bytes.length;
  }

  uint8(): number {
    return this.#view.getUint8(this.#at++);
  }

  uint32(): number {
    this.#at += 4;
    return this.#view.getUint32(this.#at - 4, true);
  }

  bytes(length: number): Uint8Array {
    if (this.#at + length > this.#bytes.length) throw new RangeError("The rows run past the frame's end");
    this.#at += length;
    return this.#bytes.subarray(this.#at - length, this.#at);
  }

  /** Where typed arrays of wider elements can begin. */
  copy(length: number): ArrayBuffer {
    return this.bytes(length).slice().buffer as ArrayBuffer;
  }
}

function uint32s(values: readonly number[]): Uint8Array {
  return bytesOf(Uint32Array.from(values));
}

function bytesOf({ buffer }: { readonly buffer: ArrayBufferLike }): Uint8Array {
  return new Uint8Array(buffer);
}

function concat(parts: readonly Uint8Array[]): Uint8Array {
  const all = new Uint8Array(parts.reduce((sum, { length }) => sum + length, 0));
  let at = 0;
  for (const part of parts) {
    all.set(part, at);
    at += part.length;
  }
  return all;
}
