/**
 * The header of a record batch, the only part of it the broker reads. The records behind it stay as they came.
 *
 *      0  int64  base offset             set by the broker
 *      8  int32  batch length            bytes after this field
 *     12  int32  partition leader epoch  set by the broker
 *     16  int8   magic                   2
 *     17  int32  CRC-32C                 over everything from 21 to the end
 *     21  int16  attributes              bits 0-2 compression, 3 timestamp type, 4 transactional, 5 control
 *     23  int32  last offset delta       = record count - 1 in a batch fresh from a producer
 *     27  int64  base timestamp
 *     35  int64  largest timestamp
 *     43  int64  producer id             -1 when not idempotent
 *     51  int16  producer epoch
 *     53  int32  base sequence
 *     57  int32  record count
 *     61         the records, compressed or not
 *
 * Source: https://kafka.apache.org/documentation/#recordbatch
 *
 * @module
 */
import { crc32c } from "../../../pipeline/log/crc32c.ts";
import { ErrorCode } from "../protocol/errors.ts";

/** Bytes of a record batch before its records. */
export const batchHeaderBytes = 61;
/** Bytes of a batch that its length field does not count: base offset and the length itself. */
export const batchPrefixBytes = 12;

const logAppendTimeBit = 1 << 3;
const transactionalBit = 1 << 4;
const controlBit = 1 << 5;

/** What the header of one batch says, and where in its buffer the batch is. */
export interface Batch {
  readonly start: number;
  readonly end: number;
  /** The base offset as it stands in the bytes. */
  readonly baseOffset: number;
  /** The next offset is the base offset plus this. */
  readonly offsets: number;
  readonly maxTimestamp: number;
  readonly producerId: number;
  readonly producerEpoch: number;
  readonly baseSequence: number;
  readonly isTransactional: boolean;
  /** A marker rather than records. */
  readonly isControl: boolean;
}

/** A produced batch that must not be stored; `code` is the Kafka error that says why. */
export class BatchRefused extends Error {
  override readonly name = "BatchRefused";
  constructor(readonly code: number, message: string) {
    super(message);
  }
}

/** A 64-bit integer as a number. Beyond 2^53 it is rounded: good enough for timestamps that make no sense. */
export function readInt64(view: DataView, at: number): number {
  return view.getInt32(at) * 0x1_0000_0000 + view.getUint32(at + 4);
}

/** Reads the header at `at`, which must be `batchHeaderBytes` inside of the view. */
export function readBatch(view: DataView, at: number): Batch {
  const attributes = view.getInt16(at + 21);
  return {
    start: at,
    end: at + batchPrefixBytes + view.getInt32(at + 8),
    baseOffset: readInt64(view, at),
    offsets: view.getInt32(at + 23) + 1,
    maxTimestamp: readInt64(view, at + 35),
    producerId: readInt64(view, at + 43),
    producerEpoch: view.getInt16(at + 51),
    baseSequence: view.getInt32(at + 53),
    isTransactional: (attributes & transactionalBit) !== 0,
    isControl: (attributes & controlBit) !== 0,
  };
}

/** True when the batch's bytes are those its checksum was made of. */
export function checksumHolds(data: Uint8Array, view: DataView, batch: Batch): boolean {
  return view.getUint32(batch.start + 17) === crc32c(data, batch.start + 21, batch.end);
}

/**
 * Checks what a producer sent for one partition, `[start, end)` of `data`, and returns its batches.
 * Throws `BatchRefused` when any of it must not be stored; nothing is stored then.
 */
export function checkBatches(data: Uint8Array, start: number, end: number, batchBytesMax: number): Batch[] {
  const view = new DataView(data.buffer, data.byteOffset, data.byteLength);
  const batches: Batch[] = [];
  for (let at = start; at < end;) {
    if (end - at > 16 && view.getInt8(at + 16) !== 2) {
      const magic = view.getInt8(at + 16);
      throw new BatchRefused(
        ErrorCode.unsupportedForMessageFormat,
        `Message format ${magic} is not stored here, only 2`,
      );
    }
    if (end - at < batchHeaderBytes) {
      throw new BatchRefused(ErrorCode.corruptMessage, `${end - at} bytes are less than a batch header of 61`);
    }
    const batch = readBatch(view, at);
    const length = batch.end - at;
    if (length < batchHeaderBytes || batch.end > end) {
      throw new BatchRefused(ErrorCode.corruptMessage, `A batch says it has ${length} bytes; ${end - at} came`);
    }
    if (length > batchBytesMax) {
      throw new BatchRefused(ErrorCode.messageTooLarge, `A batch of ${length} bytes: ${batchBytesMax} is the limit`);
    }
    if (!checksumHolds(data, view, batch)) {
      throw new BatchRefused(ErrorCode.corruptMessage, "The CRC-32C of a batch does not match its bytes");
    }
    const attributes = view.getInt16(at + 21);
    if (batch.isControl) {
      throw new BatchRefused(ErrorCode.invalidRecord, "Control batches are the broker's to write");
    }
    if (batch.isTransactional && batch.producerId < 0) {
      throw new BatchRefused(ErrorCode.invalidRecord, "A transactional batch has no producer id");
    }
    // Taken as it is, every further one would pass for a repeat of it.
    if (batch.producerId >= 0 && (batch.producerEpoch < 0 || batch.baseSequence < 0)) {
      throw new BatchRefused(ErrorCode.invalidRecord, "A batch of a producer with an id has no epoch or no sequence");
    }
    const count = view.getInt32(at + 57);
    if (count < 1 || count !== batch.offsets || (attributes & 7) > 4) {
      throw new BatchRefused(
        ErrorCode.invalidRecord,
        `A batch of ${count} records with a last offset delta of ${batch.offsets - 1}, compression ${attributes & 7}`,
      );
    }
    batches.push(batch);
    at = batch.end;
  }
  if (batches.length === 0) throw new BatchRefused(ErrorCode.invalidRecord, "No record batch was sent");
  return batches;
}

/** Writes the offset the broker gives a batch into its bytes; neither field is under the checksum. */
export function stampOffset(view: DataView, batch: Batch, baseOffset: number): void {
  const high = Math.floor(baseOffset / 0x1_0000_0000);
  view.setInt32(batch.start, high);
  view.setUint32(batch.start + 4, baseOffset - high * 0x1_0000_0000);
  view.setInt32(batch.start + 12, 0);
}

/** Makes `nowMs` the time of all records of the batch (LogAppendTime) and renews its checksum. */
export function stampAppendTime(data: Uint8Array, view: DataView, batch: Batch, nowMs: number): Batch {
  view.setInt16(batch.start + 21, view.getInt16(batch.start + 21) | logAppendTimeBit);
  view.setBigInt64(batch.start + 35, BigInt(nowMs));
  view.setUint32(batch.start + 17, crc32c(data, batch.start + 21, batch.end));
  return { ...batch, maxTimestamp: nowMs };
}
