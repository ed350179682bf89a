import { crc32c } from "./crc32c.ts";
import { BATCH_HEADER_BYTES } from "./record_batch.ts";
import type { ByteWriter } from "../codec/byte_writer.ts";

/** What a record's headers are written from. */
export type HeaderList = readonly (readonly [name: string, value: Uint8Array | null])[];

const NO_HEADERS: HeaderList = [];
const text = new TextEncoder();

/**
 * Writes one uncompressed record batch (the layout stands in record_batch.ts) straight into a byte buffer. A value is
 * written in place: between `beginRecord` and `endRecord` the caller writes it to `out`.
 *
 * A record's length stands before its bytes, as a varint whose own size depends on it. Room for the size seen last is left
 * and the bytes are moved only where that was wrong, which for records of one kind is rare.
 */
export class RecordBatchWriter {
  readonly #out: ByteWriter;
  #start = 0;
  #count = 0;
  #baseTimestamp = 0;
  #maxTimestamp = 0;
  #recordStart = 0;
  #valueStart = 0;
  #recordLengthBytes = 2;
  #valueLengthBytes = 2;

  constructor(out: ByteWriter) {
    this.#out = out;
  }

  /** How many records the batch holds so far. */
  get count(): number {
    return this.#count;
  }

  /** How many bytes the batch takes so far. */
  get size(): number {
    return this.#out.position - this.#start;
  }

  /** Forgets the batch; the buffer is the caller's to clear. */
  reset(): void {
    this.#count = 0;
    this.#start = this.#out.position;
  }

  /** Starts a batch at the buffer's position. */
  begin(): void {
    this.#start = this.#out.position;
    this.#count = 0;
    this.#maxTimestamp = -1;
    this.#out.ensure(BATCH_HEADER_BYTES);
    this.#out.position += BATCH_HEADER_BYTES;
  }

  /** Starts a record; its value is what the caller then writes to `out`. */
  beginRecord(timestampMs: number, key: Uint8Array | null): void {
    const out = this.#out;
    out.ensure(40 + (key?.length ?? 0));
    if (this.#count === 0) this.#baseTimestamp = timestampMs;
    if (timestampMs > this.#maxTimestamp) this.#maxTimestamp = timestampMs;
    this.#recordStart = out.position;
    out.position += this.#recordLengthBytes;
    out.buffer[out.position++] = 0;
    this.#zigzag(timestampMs - this.#baseTimestamp);
    this.#zigzag(this.#count);
    if (key === null) {
      out.buffer[out.position++] = 1;
    } else {
      this.#zigzag(key.length);
      const { buffer } = out;
      let at = out.position;
      for (let i = 0; i < key.length; i++) buffer[at++] = key[i];
      out.position = at;
    }
    this.#valueStart = out.position;
    out.position += this.#valueLengthBytes;
  }

  /** Ends the record begun; `isNull` makes its value null instead of empty. */
  endRecord(headers: HeaderList = NO_HEADERS, isNull = false): void {
    const out = this.#out;
    const length = isNull ? -1 : out.position - this.#valueStart - this.#valueLengthBytes;
    this.#valueLengthBytes = this.#fill(this.#valueStart, this.#valueLengthBytes, length);
    out.ensure(10);
    this.#zigzag(headers.length);
    for (const [name, value] of headers) this.#header(text.encode(name), value);
    const total = out.position - this.#recordStart - this.#recordLengthBytes;
    this.#recordLengthBytes = this.#fill(this.#recordStart, this.#recordLengthBytes, total);
    this.#count++;
  }

  /** Adds a whole record. */
  append(timestampMs: number, record: { key: Uint8Array | null; value: Uint8Array | null; headers: HeaderList }): void {
    this.beginRecord(timestampMs, record.key);
    if (record.value) this.#raw(record.value);
    this.endRecord(record.headers, record.value === null);
  }

  /**
   * Completes the batch's header but for producer and checksum, which `stampBatch` adds; returns the batch, which stays in
   * the buffer.
   */
  finish(): Uint8Array {
    const out = this.#out;
    const batch = out.buffer.subarray(this.#start, out.position);
    const view = new DataView(batch.buffer, batch.byteOffset, batch.byteLength);
    view.setBigInt64(0, 0n);
    view.setInt32(8, batch.length - 12);
    view.setInt32(12, -1);
    view.setInt8(16, 2);
    view.setInt16(21, 0);
    view.setInt32(23, this.#count - 1);
    view.setBigInt64(27, BigInt(this.#baseTimestamp));
    view.setBigInt64(35, BigInt(this.#maxTimestamp));
    view.setInt32(57, this.#count);
    return batch;
  }

  #header(name: Uint8Array, value: Uint8Array | null): void {
    this.#out.ensure(20 + name.length);
    this.#zigzag(name.length);
    this.#raw(name);
    this.#zigzag(value === null ? -1 : value.length);
    if (value) this.#raw(value);
  }

  #raw(bytes: Uint8Array): void {
    const out = this.#out;
    out.ensure(bytes.length + 10);
    out.buffer.set(bytes, out.position);
    out.position += bytes.length;
  }

  /** Writes a varint at the position; the caller has made room. */
  #zigzag(value: number): void {
    const out = this.#out;
    const { buffer } = out;
    let at = out.position;
    let rest = value >= 0 ? 2 * value : -2 * value - 1;
    for (; rest > 127; rest = Math.floor(rest / 128)) buffer[at++] = (rest % 128) | 128;
    buffer[at++] = rest;
    out.position = at;
  }

  /** Writes `value` into the gap of `gap` bytes at `at`, moving what follows when it needs another size; returns the size. */
  #fill(at: number, gap: number, value: number): number {
    const out = this.#out;
    let rest = value >= 0 ? 2 * value : 1;
    const size = rest < 128 ? 1 : rest < 16384 ? 2 : rest < 2097152 ? 3 : rest < 268435456 ? 4 : 5;
    if (size !== gap) {
      out.ensure(size);
      out.buffer.copyWithin(at + size, at + gap, out.position);
      out.position += size - gap;
    }
    const { buffer } = out;
    for (let i = 1; i < size; i++, rest = Math.floor(rest / 128)) buffer[at++] = (rest % 128) | 128;
    buffer[at] = rest;
    return size;
  }
}

/** Who wrote a batch, and the number of its first record among all that producer wrote to the partition. */
export interface ProducerStamp {
  readonly id: bigint;
  readonly epoch: number;
  readonly firstSequence: number;
  /** Part of a transaction: read once that is committed. */
  readonly isTransactional?: boolean;
}

const TRANSACTIONAL = 0x10;

/** Says who wrote a finished batch and seals it with its checksum; may be done again with another stamp. */
export function stampBatch(batch: Uint8Array, stamp: ProducerStamp): void {
  const view = new DataView(batch.buffer, batch.byteOffset, batch.byteLength);
  view.setInt16(21, view.getInt16(21) & ~TRANSACTIONAL | (stamp.isTransactional ? TRANSACTIONAL : 0));
  view.setBigInt64(43, stamp.id);
  view.setInt16(51, stamp.epoch);
  view.setInt32(53, stamp.firstSequence);
  view.setUint32(17, crc32c(batch, 21, batch.length));
}

/** How many records a batch holds. */
export function batchCount(batch: Uint8Array): number {
  return new DataView(batch.buffer, batch.byteOffset, batch.byteLength).getInt32(57);
}
