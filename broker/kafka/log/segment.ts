/**
 * One append-only file of record batches, named by the offset of its first, with a sparse index beside it.
 *
 *     <folder>/00000000000000012345.log      batches, one after the other, as they came
 *     <folder>/00000000000000012345.index    see offset_index.ts
 *     <folder>/00000000000000012345.damaged-12400    from offset 12400 on the log could not be read, see damage.ts; for people
 *
 * @module
 */
import { type Batch, batchHeaderBytes, batchPrefixBytes, checksumHolds, readBatch } from "./batch.ts";
import { wholeBatchesBehind } from "./damage.ts";
import type { FilePool } from "./file_pool.ts";
import { OffsetIndex } from "./offset_index.ts";

/** Log bytes between two index entries, at least. */
export const indexIntervalBytes = 64 * 1024;
/** Index entries that may wait in memory until they are written; recovery scans what they would have covered. */
const indexEntriesPendingMax = 16;
/** Bytes read at a time when batches are walked. */
const scanBytes = 1024 * 1024;

/** A batch found by a walk; `data` and `view` are good until the walk goes on. */
export interface FoundBatch {
  readonly batch: Batch;
  /** Where in the segment file the batch starts. */
  readonly position: number;
  readonly data: Uint8Array;
  readonly view: DataView;
}

/** What `recover` did. */
export interface Recovered {
  readonly cutBytes: number;
  /** Set when whole batches followed what could not be read: these may have been acknowledged. */
  readonly damage: { readonly wholeBatches: number; readonly keptIn: string } | null;
}

export function segmentName(baseOffset: number): string {
  return String(baseOffset).padStart(20, "0");
}

export class Segment {
  readonly baseOffset: number;
  readonly path: string;
  readonly #files: FilePool;
  /** Size of the file: all batches in it are whole. */
  sizeBytes = 0;
  nextOffset: number;
  maxTimestamp = -1;
  /** Wall clock of the last append, which retention by time counts from. */
  lastAppendMs: number;
  /** True when an append failed half-way and what it left could not be cut off. */
  torn = false;
  /** Bytes known to be on disk, and the offset after the last record in them. */
  syncedBytes = 0;
  syncedOffset: number;
  #index: OffsetIndex | null = new OffsetIndex();
  #nextIndexPosition = 0;

  constructor(folder: string, baseOffset: number, files: FilePool, nowMs: number) {
    this.baseOffset = baseOffset;
    this.nextOffset = this.syncedOffset = baseOffset;
    this.path = `${folder}/${segmentName(baseOffset)}`;
    this.#files = files;
    this.lastAppendMs = nowMs;
  }

  get logPath(): string {
    return `${this.path}.log`;
  }

  get indexPath(): string {
    return `${this.path}.index`;
  }

  get index(): OffsetIndex {
    this.#index ??= readIndex(this.indexPath, this.sizeBytes);
    return this.#index;
  }

  /** Lets go of a complete segment's index, which is read again when needed. */
  dropIndex(): void {
    if (this.#index !== null && this.#index.persisted === this.#index.length) this.#index = null;
  }

  /**
   * Appends `[start, end)` of `data`. Either all of it is in the file afterwards or, when the disk refuses, none of it is and the
   * error is thrown.
   */
  write(data: Uint8Array, start: number, end: number): void {
    const file = this.#files.get(this.logPath);
    try {
      for (let at = start; at < end;) {
        const written = file.writeSync(data.subarray(at, end));
        if (written === 0) throw new Error("the file took no bytes");
        at += written;
      }
    } catch (error) {
      try {
        file.truncateSync(this.sizeBytes);
      } catch {
        this.torn = true;
      }
      throw error;
    }
  }

  /** Counts in a batch that is in the file at `position`. */
  add(batch: Batch, baseOffset: number, position: number): void {
    if (position >= this.#nextIndexPosition) {
      this.index.append(baseOffset - this.baseOffset, position, this.maxTimestamp);
      this.#nextIndexPosition = position + indexIntervalBytes;
    }
    this.sizeBytes = position + (batch.end - batch.start);
    this.nextOffset = baseOffset + batch.offsets;
    if (batch.maxTimestamp > this.maxTimestamp) this.maxTimestamp = batch.maxTimestamp;
  }

  /** Fills `target` from `position` on; throws when the file is shorter than it should be. */
  read(target: Uint8Array, position: number): void {
    const file = this.#files.get(this.logPath);
    file.seekSync(position, Deno.SeekMode.Start);
    for (let at = 0; at < target.length;) {
      const count = file.readSync(at === 0 ? target : target.subarray(at));
      if (count === null) {
        throw new Error(`Cannot read ${target.length} bytes at ${position} of ${this.logPath}: the file ends before`);
      }
      at += count;
    }
  }

  /** All batches from `position` (the start of one) to the end, or to the first that is not whole. */
  *batches(position: number): Generator<FoundBatch> {
    let data = new Uint8Array(Math.min(scanBytes, this.sizeBytes - position));
    let base = position;
    while (this.sizeBytes - base >= batchHeaderBytes) {
      let length = Math.min(data.length, this.sizeBytes - base);
      this.read(data.subarray(0, length), base);
      const view = new DataView(data.buffer);
      let at = 0;
      while (length - at >= batchHeaderBytes) {
        const batch = readBatch(view, at);
        if (batch.end - at < batchHeaderBytes || batch.end - at > this.sizeBytes - base - at) return;
        if (batch.end > length) break;
        yield { batch, position: base + at, data, view };
        at = batch.end;
      }
      if (at === 0) {
        length = view.getInt32(8) + batchPrefixBytes;
        data = new Uint8Array(length);
      }
      base += at;
    }
  }

  /** The position of the batch that holds `offset`, which must be inside of the segment. */
  locate(offset: number): number {
    const entry = this.index.floor(offset - this.baseOffset);
    let position = entry < 0 ? 0 : this.index.position(entry);
    for (const found of this.headers(position)) {
      if (found.baseOffset + found.offsets > offset) return found.position;
      position = found.position;
    }
    throw new Error(`Cannot find offset ${offset} in ${this.logPath}: its last batch is at ${position}`);
  }

  /** An offset that no batch starting before `position` reaches, as close as the index tells. */
  offsetBehind(position: number): number {
    const entry = this.index.ceiling(position);
    return entry === this.index.length ? this.nextOffset : this.baseOffset + this.index.offset(entry);
  }

  /** The headers of the batches from `position` on, without reading what is behind large ones. */
  *headers(
    position: number,
  ): Generator<{ position: number; baseOffset: number; offsets: number; maxTimestamp: number }> {
    const data = new Uint8Array(Math.min(4096, this.sizeBytes - position));
    const view = new DataView(data.buffer);
    while (this.sizeBytes - position >= batchHeaderBytes) {
      const length = Math.min(data.length, this.sizeBytes - position);
      this.read(data.subarray(0, length), position);
      let at = 0;
      while (length - at >= batchHeaderBytes) {
        const batch = readBatch(view, at);
        if (batch.end - at < batchHeaderBytes) {
          throw new Error(`Cannot read ${this.logPath}: no record batch at ${position + at}; was the file changed?`);
        }
        yield {
          position: position + at,
          baseOffset: batch.baseOffset,
          offsets: batch.offsets,
          maxTimestamp: batch.maxTimestamp,
        };
        at = batch.end;
      }
      position += at;
    }
  }

  /** Puts what was written so far on disk, then the index entries that cover it. */
  async sync(options: { complete?: boolean } = {}): Promise<void> {
    const { sizeBytes, nextOffset } = this;
    const entries = this.index.length;
    if (sizeBytes > this.syncedBytes) {
      await this.#files.get(this.logPath).syncData();
      this.syncedBytes = Math.max(this.syncedBytes, sizeBytes);
      this.syncedOffset = Math.max(this.syncedOffset, nextOffset);
    }
    const pending = entries - this.index.persisted;
    if (pending >= (options.complete ? 1 : indexEntriesPendingMax)) this.#persistIndex(entries);
  }

  /** Marks the end in the index of a segment that will not grow any more. */
  seal(): void {
    const { index } = this;
    if (this.sizeBytes > 0 && (index.length === 0 || index.position(index.length - 1) < this.sizeBytes)) {
      index.append(this.nextOffset - this.baseOffset, this.sizeBytes, this.maxTimestamp);
    }
  }

  remove(): void {
    this.#files.forget(this.logPath);
    for (const path of [this.logPath, this.indexPath]) {
      try {
        Deno.removeSync(path);
      } catch (error) {
        if (!(error instanceof Deno.errors.NotFound)) throw error;
      }
    }
  }

  /**
   * Takes over a segment file found at start. A complete one is believed; otherwise the batches behind the last index entry are read
   * and checked, and whatever follows the last good one is cut off. Where that is more than an unfinished write it is kept in a
   * file beside.
   */
  recover(modifiedMs: number, fileBytes: number): Recovered {
    this.sizeBytes = fileBytes;
    this.lastAppendMs = modifiedMs;
    const index = this.#index = readIndex(this.indexPath, fileBytes);
    const last = index.length - 1;
    if (last >= 0 && index.position(last) === fileBytes) {
      this.nextOffset = this.baseOffset + index.offset(last);
      this.maxTimestamp = index.timestampBefore(last);
      this.syncedBytes = fileBytes;
      this.syncedOffset = this.nextOffset;
      this.#nextIndexPosition = fileBytes + indexIntervalBytes;
      return { cutBytes: 0, damage: null };
    }
    const from = last < 0 ? 0 : index.position(last);
    this.nextOffset = this.baseOffset + (last < 0 ? 0 : index.offset(last));
    this.syncedOffset = this.nextOffset;
    this.maxTimestamp = last < 0 ? -1 : index.timestampBefore(last);
    this.#nextIndexPosition = last < 0 ? 0 : from + indexIntervalBytes;
    let end = from;
    for (const { batch, position, data, view } of this.batches(from)) {
      const follows = batch.baseOffset === this.nextOffset || (position === 0 && batch.baseOffset === this.baseOffset);
      if (!follows || batch.offsets < 1 || !checksumHolds(data, view, batch)) break;
      const { sizeBytes } = this;
      this.add(batch, batch.baseOffset, position);
      end = this.sizeBytes;
      this.sizeBytes = sizeBytes;
    }
    this.sizeBytes = end;
    this.syncedBytes = from;
    const cutBytes = fileBytes - end;
    if (cutBytes === 0) return { cutBytes, damage: null };
    const damage = this.#keepDamaged(end, cutBytes);
    this.#files.get(this.logPath).truncateSync(end);
    return { cutBytes, damage };
  }

  /** Null when what begins at `position` is an unfinished write. */
  #keepDamaged(position: number, bytes: number): Recovered["damage"] {
    const data = new Uint8Array(bytes);
    const file = this.#files.get(this.logPath);
    file.seekSync(position, Deno.SeekMode.Start);
    for (let at = 0; at < bytes;) at += file.readSync(data.subarray(at)) ?? bytes;
    const wholeBatches = wholeBatchesBehind(data);
    if (wholeBatches === 0) return null;
    const keptIn = `${this.path}.damaged-${this.nextOffset}`;
    Deno.writeFileSync(keptIn, data);
    return { wholeBatches, keptIn };
  }

  #persistIndex(entries: number): void {
    const { index } = this;
    const file = Deno.openSync(this.indexPath, { append: true, create: true });
    try {
      // The file may end in an entry cut short or refused by a recovery: go on from the last good one.
      file.truncateSync(index.persisted * 16);
      const bytes = index.encode(index.persisted, entries);
      for (let at = 0; at < bytes.length;) at += file.writeSync(bytes.subarray(at));
      index.persisted = entries;
    } finally {
      file.close();
    }
  }
}

/** Reads the index and cuts off what does not fit the segment, lest it fit by chance once the segment has grown. */
function readIndex(path: string, segmentBytes: number): OffsetIndex {
  try {
    const bytes = Deno.readFileSync(path);
    const index = OffsetIndex.decode(bytes, segmentBytes);
    if (index.length * 16 < bytes.length) Deno.truncateSync(path, index.length * 16);
    return index;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return new OffsetIndex();
    throw error;
  }
}
