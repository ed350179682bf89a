/**
 * Record batches, version 2, as brokers store them and Fetch returns them.
 *
 *     at 0   base offset int64            at 27  base timestamp int64      record (all lengths are zigzag varints)
 *     at 8   batch length int32 *         at 35  largest timestamp int64     length
 *     at 12  leader epoch int32           at 43  producer id int64           attributes int8
 *     at 16  magic int8 = 2               at 51  producer epoch int16        timestamp delta
 *     at 17  CRC-32C uint32 **            at 53  first sequence int32        offset delta
 *     at 21  attributes int16             at 57  record count int32          key length (-1: null), key
 *     at 23  last offset delta int32      at 61  records                     value length (-1: null), value
 *                                                                            header count, headers
 *     *  of all that follows it            ** of all that follows it
 *
 *     attributes: bits 0-2 compression (0 none, 1 gzip, 2 snappy, 3 lz4, 4 zstd), bit 3 log append time,
 *     bit 4 transactional, bit 5 control (a marker, not data)
 *
 * @module
 */
import { crc32c } from "./crc32c.ts";
import { decompress } from "./compression.ts";
import type { Records } from "./records.ts";

export const BATCH_HEADER_BYTES = 61;
const LOG_APPEND_TIME = 0x08;
const TRANSACTIONAL = 0x10;
const CONTROL = 0x20;
const COMPRESSION = 0x07;
/** The kind of a control record: that a transaction was aborted. */
const ABORT = 0;

/** A transaction that was aborted: batches of this producer from this offset on are void, up to its end's control batch. */
export interface AbortedTransaction {
  readonly producerId: bigint;
  readonly firstOffset: number;
}

/** What a scanner is to read of a frame. */
export interface ScanRange {
  readonly start: number;
  readonly end: number;
  /** Records before this were consumed already. */
  readonly fromOffset: number;
  /** Records at or after this are not wanted: `nextOffset` stops here. */
  readonly until?: number;
  /** The transactions that the Fetch answer says were aborted. */
  readonly aborted?: readonly AbortedTransaction[];
}

/** A batch, or the rest of one, whose records cannot be told apart: it is set aside whole. */
export interface UnreadableBatch {
  /** Offset of the first record that could not be read, and how many offsets are lost with it: 0 if others took them all. */
  readonly offset: number;
  readonly count: number;
  readonly timestampMs: number;
  /** The batch as the broker sent it. */
  readonly bytes: Uint8Array;
  readonly reason: string;
}

/** A batch that arrived damaged, though the broker checked it when it was written: fetch it again. */
export class CorruptBatchError extends Error {
  override readonly name = "CorruptBatchError";
}

/**
 * Walks over the record batches of one partition's part of a Fetch answer and says where each record's fields lie.
 * Positions point into the answer itself, or into the decompressed batch; nothing is copied or allocated per record.
 */
export class BatchScanner {
  readonly #decompressedBytesMax: number;
  #frame: Uint8Array = new Uint8Array(0);
  #frameView = new DataView(this.#frame.buffer);
  /** Where the next batch starts, and where the answer's part for the partition ends. */
  #next = 0;
  #end = 0;
  /** Records before this were consumed already; a broker answers with the whole batch they are in. */
  #fromOffset = 0;
  #until = Infinity;
  /** Aborted transactions that begin later, by first offset; `#voids` has the producers of those begun and not ended. */
  #aborted: readonly AbortedTransaction[] = [];
  #abortedBegun = 0;
  readonly #voids = new Set<bigint>();

  // The batch being walked.
  #data: Uint8Array = this.#frame;
  #view = this.#frameView;
  #position = 0;
  #recordsEnd = 0;
  #remaining = 0;
  #batchStart = 0;
  #baseOffset = 0;
  /** The largest offset the batch may hold, and the offset of the record before. */
  #lastOffset = 0;
  #previousOffset = 0;
  #baseTimestamp = 0;
  #appendTime = -1;

  /** The offset after the last record or batch passed, where the next fetch starts. */
  nextOffset = 0;
  /** Filled by `scan` with what could not be read; emptied by `start`. */
  readonly unreadable: UnreadableBatch[] = [];

  constructor(options: { decompressedBytesMax: number }) {
    this.#decompressedBytesMax = options.decompressedBytesMax;
  }

  /** Starts on `frame[start, end)`, which holds batches and perhaps a part of one at the end. */
  start(frame: Uint8Array, range: ScanRange): void {
    this.#frame = frame;
    this.#frameView = new DataView(frame.buffer, frame.byteOffset, frame.byteLength);
    this.#next = range.start;
    this.#end = range.end;
    this.#fromOffset = range.fromOffset;
    this.#until = range.until ?? Infinity;
    this.#aborted = range.aborted ?? [];
    if (this.#aborted.length > 1) this.#aborted = this.#aborted.toSorted((a, b) => a.firstOffset - b.firstOffset);
    this.#abortedBegun = 0;
    this.#voids.clear();
    this.#remaining = 0;
    this.nextOffset = range.fromOffset;
    this.unreadable.length = 0;
  }

  /**
   * Fills `records` with the next rows, all of them in one buffer; false when the answer is used up. Rows end where something
   * unreadable comes, so that what was passed over belongs to the offsets right after the rows.
   *
   * @throws CorruptBatchError when a batch's checksum does not fit its bytes
   */
  scan(records: Records): boolean {
    records.length = 0;
    const unreadable = this.unreadable.length;
    while (records.length === 0 && this.unreadable.length === unreadable) {
      if (this.#remaining === 0 && !this.#openBatch()) return false;
      records.data = this.#data;
      records.view = this.#view;
      this.#fill(records);
      // Uncompressed batches share the frame, so small ones go on in the same rows.
      while (
        records.length < records.capacity && this.#remaining === 0 && this.#data === this.#frame &&
        this.unreadable.length === unreadable && this.#peekUncompressed()
      ) {
        if (!this.#openBatch()) break;
        if (this.#data !== this.#frame || this.unreadable.length !== unreadable) break;
        this.#fill(records);
      }
    }
    return true;
  }

  /** Whether there is a next batch whose records, or marker, lie in the frame. */
  #peekUncompressed(): boolean {
    const at = this.#next;
    return at + BATCH_HEADER_BYTES <= this.#end && (this.#frameView.getInt16(at + 21) & COMPRESSION) === 0;
  }

  /** Whether a batch belongs to an aborted transaction; keeps account of which of these are open at its place. */
  #isVoid(batch: { readonly at: number; readonly end: number; readonly lastOffset: number }): boolean {
    const { at, end, lastOffset } = batch;
    const aborted = this.#aborted;
    while (this.#abortedBegun < aborted.length && aborted[this.#abortedBegun].firstOffset <= lastOffset) {
      this.#voids.add(aborted[this.#abortedBegun++].producerId);
    }
    if (this.#voids.size === 0) return false;
    const attributes = this.#frameView.getInt16(at + 21);
    const producerId = this.#frameView.getBigInt64(at + 43);
    if (attributes & CONTROL) {
      if (controlType(this.#frame, at + BATCH_HEADER_BYTES, end) === ABORT) this.#voids.delete(producerId);
      return false;
    }
    return (attributes & TRANSACTIONAL) !== 0 && this.#voids.has(producerId);
  }

  /** Moves past offsets up to and with `lastOffset`, but not beyond those wanted. */
  #pass(lastOffset: number): void {
    this.nextOffset = Math.max(this.nextOffset, Math.min(lastOffset + 1, this.#until));
  }

  /**
   * Checks the next batch's header; false when no whole batch is left. A batch that cannot be opened is set aside, and nothing
   * of it remains.
   */
  #openBatch(): boolean {
    const view = this.#frameView;
    for (;;) {
      const at = this.#next;
      if (at + BATCH_HEADER_BYTES > this.#end) return false;
      const end = at + 12 + view.getInt32(at + 8);
      if (end > this.#end) return false;
      const magic = view.getInt8(at + 16);
      if (magic !== 2 || end < at + BATCH_HEADER_BYTES) {
        throw new CorruptBatchError(
          `a batch at byte ${at} of the answer has magic ${magic} and ${end - at} bytes; only version 2 is read`,
        );
      }
      const baseOffset = Number(view.getBigInt64(at));
      if (crc32c(this.#frame, at + 21, end) !== view.getUint32(at + 17)) {
        throw new CorruptBatchError(`the batch at offset ${baseOffset} does not fit its checksum`);
      }
      this.#next = end;
      const attributes = view.getInt16(at + 21);
      const lastOffset = baseOffset + view.getInt32(at + 23);
      const count = view.getInt32(at + 57);
      if (lastOffset < baseOffset) {
        throw new CorruptBatchError(`the batch at offset ${baseOffset} ends before it starts`);
      }
      // Also of batches that are passed over: one may end an aborted transaction.
      const isVoid = this.#aborted.length > 0 && this.#isVoid({ at, end, lastOffset });
      if (lastOffset < this.#fromOffset) continue;
      if (baseOffset >= this.#until) {
        this.#pass(lastOffset);
        this.#next = this.#end;
        return false;
      }
      // A compacted batch may have lost all its records.
      if (isVoid || attributes & CONTROL || (count === 0 && end === at + BATCH_HEADER_BYTES)) {
        this.#pass(lastOffset);
        continue;
      }
      this.#batchStart = at;
      this.#baseOffset = baseOffset;
      this.#lastOffset = lastOffset;
      this.#previousOffset = baseOffset - 1;
      this.#baseTimestamp = Number(view.getBigInt64(at + 27));
      this.#appendTime = attributes & LOG_APPEND_TIME ? Number(view.getBigInt64(at + 35)) : -1;
      this.#remaining = count;
      if (count <= 0 || count > lastOffset - baseOffset + 1) {
        this.#giveUp(`its header counts ${count} records in ${lastOffset - baseOffset + 1} offsets`);
        return true;
      }
      const codec = attributes & COMPRESSION;
      if (codec === 0) {
        this.#data = this.#frame;
        this.#view = view;
        this.#position = at + BATCH_HEADER_BYTES;
        this.#recordsEnd = end;
        return true;
      }
      try {
        this.#data = decompress(codec, this.#frame.subarray(at + BATCH_HEADER_BYTES, end), this.#decompressedBytesMax);
        this.#view = new DataView(this.#data.buffer, this.#data.byteOffset, this.#data.byteLength);
        this.#position = 0;
        this.#recordsEnd = this.#data.length;
        return true;
      } catch (error) {
        this.#giveUp(`the compressed batch cannot be read: ${(error as Error).message}`);
        return true;
      }
    }
  }

  /** Sets the rest of the batch being walked aside and goes on after it. */
  #giveUp(reason: string): void {
    const start = this.#batchStart;
    const offset = Math.max(this.nextOffset, this.#baseOffset);
    const endOffset = Math.min(this.#lastOffset + 1, this.#until);
    this.unreadable.push({
      offset: Math.min(offset, this.#lastOffset),
      // Never more than there are offsets left, so that each offset is accounted for once.
      count: Math.max(0, Math.min(Math.max(1, this.#remaining), endOffset - offset)),
      timestampMs: this.#baseTimestamp,
      bytes: this.#frame.slice(start, start + 12 + this.#frameView.getInt32(start + 8)),
      reason,
    });
    this.#remaining = 0;
    this.#pass(this.#lastOffset);
  }

  #fill(records: Records): void {
    const data = this.#data;
    const end = this.#recordsEnd;
    const fromOffset = this.#fromOffset;
    const lastOffset = this.#lastOffset;
    const until = this.#until;
    let previous = this.#previousOffset;
    let row = records.length;
    const capacity = records.capacity;
    let remaining = this.#remaining;
    let at = this.#position;
    while (remaining > 0 && row < capacity) {
      let byte: number, shift: number, value: number;
      // Record length. Lengths are at most 2^31, so arithmetic on 32 bits is exact; a longer varint leaves a negative or
      // absurd number, which the bounds below refuse.
      value = (byte = data[at++]) & 127;
      for (shift = 7; byte > 127 && shift < 35; shift += 7) value |= ((byte = data[at++]) & 127) << shift;
      const length = (value >>> 1) ^ -(value & 1);
      const next = at + length;
      if (length < 6 || next > end) break;
      at++;
      // Timestamp delta: up to 64 bits.
      value = (byte = data[at++]) & 127;
      let high = 0;
      for (shift = 7; byte > 127 && shift < 28; shift += 7) value |= ((byte = data[at++]) & 127) << shift;
      if (byte > 127) {
        for (let scale = 1; byte > 127 && scale < 2 ** 35; scale *= 128) high += ((byte = data[at++]) & 127) * scale;
      }
      const zigzag = high * 268435456 + value;
      const timestampDelta = zigzag % 2 === 0 ? zigzag / 2 : -(zigzag + 1) / 2;
      // Offset delta.
      value = (byte = data[at++]) & 127;
      for (shift = 7; byte > 127 && shift < 35; shift += 7) value |= ((byte = data[at++]) & 127) << shift;
      const offset = this.#baseOffset + ((value >>> 1) ^ -(value & 1));
      // Key.
      value = (byte = data[at++]) & 127;
      for (shift = 7; byte > 127 && shift < 35; shift += 7) value |= ((byte = data[at++]) & 127) << shift;
      const keyLength = (value >>> 1) ^ -(value & 1);
      const keyStart = keyLength < 0 ? -1 : at;
      if (keyLength > 0) at += keyLength;
      if (keyLength < -1 || at >= next) break;
      // Value.
      value = (byte = data[at++]) & 127;
      for (shift = 7; byte > 127 && shift < 35; shift += 7) value |= ((byte = data[at++]) & 127) << shift;
      const valueLength = (value >>> 1) ^ -(value & 1);
      const valueStart = valueLength < 0 ? -1 : at;
      if (valueLength > 0) at += valueLength;
      if (valueLength < -1 || at >= next) break;
      if (offset <= previous || offset > lastOffset) break;
      if (offset >= until) {
        records.length = row;
        this.#remaining = 0;
        this.#next = this.#end;
        this.#pass(lastOffset);
        return;
      }
      previous = offset;
      remaining--;
      if (offset >= fromOffset) {
        records.offsets[row] = offset;
        records.timestamps[row] = this.#appendTime >= 0 ? this.#appendTime : this.#baseTimestamp + timestampDelta;
        records.keyStart[row] = keyStart;
        records.keyEnd[row] = keyStart < 0 ? -1 : keyStart + keyLength;
        records.valueStart[row] = valueStart;
        records.valueEnd[row] = valueStart < 0 ? -1 : valueStart + valueLength;
        records.headersStart[row] = at;
        records.headersEnd[row] = next;
        row++;
        this.nextOffset = offset + 1;
      }
      at = this.#position = next;
    }
    records.length = row;
    this.#previousOffset = previous;
    this.#remaining = remaining;
    if (remaining > 0) {
      if (row < capacity) {
        this.#giveUp(`record ${this.#frameView.getInt32(this.#batchStart + 57) - remaining} of the batch is malformed`);
      } else this.#position = at;
    } else if (at < end && this.nextOffset <= lastOffset) {
      this.#remaining = lastOffset + 1 - this.nextOffset;
      this.#giveUp(`${end - at} bytes follow the last of the records its header counts`);
    } else {
      // A compacted batch may end before its last offset delta.
      this.#pass(lastOffset);
    }
  }
}

/** The type of a control batch's only record, whose key is two int16: version and type. -1 where there is none. */
function controlType(data: Uint8Array, start: number, end: number): number {
  let at = start;
  const skipVarint = () => {
    while (at < end && data[at] > 127) at++;
    at++;
  };
  skipVarint(); // length
  at++; // attributes
  skipVarint(); // timestamp delta
  skipVarint(); // offset delta
  skipVarint(); // key length
  return at + 4 <= end ? data[at + 2] << 8 | data[at + 3] : -1;
}
