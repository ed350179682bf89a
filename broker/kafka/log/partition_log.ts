/**
 * One partition: an ordered list of segments in a folder, the newest of which grows.
 *
 * Appends and reads are synchronous calls to the page cache, so an append is never seen half done and needs no lock. Only putting
 * bytes on disk waits, and all who wait for the same partition share one call. Readers are shown what is on disk:
 *
 *     start ─────────── last stable offset ────────── high watermark ────────── end
 *                       nothing undecided before      all before is on disk     the next record's offset
 *
 * @module
 */
import type { WireWriter } from "../../../pipeline/log/wire.ts";
import { syncFolder } from "../../../pipeline/sync_folder.ts";
import { Producers } from "../producers.ts";
import { ErrorCode } from "../protocol/errors.ts";
import { SharedCall } from "../shared_call.ts";
import {
  type Batch,
  batchHeaderBytes,
  batchPrefixBytes,
  BatchRefused,
  readBatch,
  stampAppendTime,
  stampOffset,
} from "./batch.ts";
import type { FilePool } from "./file_pool.ts";
import { encodeMarker, type Marker, readsCommit } from "./marker.ts";
import { openSegments } from "./open_segments.ts";
import { type AbortedTransaction, PartitionTransactions, type Place } from "./partition_transactions.ts";
import { Segment } from "./segment.ts";
import { readSnapshot, writeSnapshot } from "./snapshot.ts";
import { firstRecordAtLeast } from "./timestamps.ts";

/** Bytes appended after which a flush also writes down the producers' state, so that a start has little to scan. */
const snapshotEveryBytes = 8 * 1024 * 1024;
/** Read positions remembered: one per consumer that reads in order. */
const cursorsMax = 16;
/** A segment that still grows is closed, to be removed, when all of it was passed and it has so many bytes. */
const passedBytesMin = 1024 * 1024;

/** What a partition needs to know from its topic's configuration; read at every use, so it may change. */
export interface LogSettings {
  readonly segmentBytes: number;
  /** −1: no limit. */
  readonly retentionBytes: number;
  /** −1: no limit. Counts from when a record was appended, so replayed history does not vanish for being old. */
  readonly retentionMs: number;
  readonly appendTime: boolean;
}

export interface Appended {
  readonly baseOffset: number;
  /** −1 unless the topic is LogAppendTime. */
  readonly appendTimeMs: number;
}

/** How far to read: everything written, what is on disk, or what is also decided. */
export type ReadLevel = "written" | "durable" | "committed";

export class PartitionLog {
  readonly folder: string;
  readonly #files: FilePool;
  readonly #settings: () => LogSettings;
  readonly #log: (line: string) => void;
  readonly #segments: Segment[] = [];
  /** Segments with bytes that may not be on disk, oldest first. */
  readonly #unsynced = new Set<Segment>();
  readonly #cursors = new Map<number, { segment: Segment; position: number }>();
  #producers = new Producers();
  #transactions = new PartitionTransactions();
  #bytesSinceSnapshot = 0;
  #snapshotBytes = 0;
  readonly #sync = new SharedCall(() => this.#syncAll());
  #failure: Error | null = null;
  #removed = false;
  /** Called when there is more to read, or the partition was removed. */
  readonly listeners = new Set<() => void>();

  private constructor(folder: string, files: FilePool, settings: () => LogSettings, log: (line: string) => void) {
    this.folder = folder;
    this.#files = files;
    this.#settings = settings;
    this.#log = log;
  }

  /** Opens or creates the partition in `folder`; cuts a torn tail off and says so. */
  static open(folder: string, options: {
    files: FilePool;
    settings: () => LogSettings;
    log: (line: string) => void;
    nowMs: number;
  }): PartitionLog {
    const partition = new PartitionLog(folder, options.files, options.settings, options.log);
    partition.#recover(options.nowMs);
    return partition;
  }

  get startOffset(): number {
    return this.#segments[0].baseOffset;
  }

  /** The offset the next record gets. */
  get endOffset(): number {
    return this.#active.nextOffset;
  }

  /** Everything before this offset is on disk; readers see no further, lest they have seen what a power cut takes back. */
  get highWatermark(): number {
    return this.end("durable").offset;
  }

  get isDurable(): boolean {
    return this.highWatermark === this.endOffset;
  }

  /** No transaction before this offset is open; readers of committed records see no further. */
  get lastStableOffset(): number {
    return this.end("committed").offset;
  }

  /** Where reading at this level ends. */
  end(level: ReadLevel): Place {
    const { nextOffset, baseOffset, sizeBytes } = this.#active;
    let end: Place = { offset: nextOffset, segment: baseOffset, position: sizeBytes };
    if (level === "written") return end;
    for (const segment of this.#unsynced) {
      if (segment.syncedBytes === segment.sizeBytes) continue;
      end = { offset: segment.syncedOffset, segment: segment.baseOffset, position: segment.syncedBytes };
      break;
    }
    if (level === "durable") return end;
    const undecided = this.#transactions.firstUndecided();
    if (undecided !== null && undecided.offset < end.offset) end = undecided;
    // Retention does not wait for a transaction to end.
    return end.offset >= this.startOffset ? end : { offset: this.startOffset, segment: this.startOffset, position: 0 };
  }

  /** Whether the producer's transaction has records here and no marker yet. */
  hasOpenTransaction(producerId: number): boolean {
    return this.#transactions.has(producerId);
  }

  openTransactions(): { producerId: number; epoch: number }[] {
    return this.#transactions.open();
  }

  /** The aborted transactions a reader of `bytesMax` bytes from `offset` on may meet, by their first offsets. */
  abortedTransactions(offset: number, bytesMax: number): AbortedTransaction[] {
    const end = this.lastStableOffset;
    if (offset >= end || !this.#transactions.hasAborted) return [];
    const { segment, position } = this.#locate(offset);
    // A reader may get one batch even when it asked for no bytes.
    const behind = segment.offsetBehind(position + Math.max(bytesMax, 1));
    return this.#transactions.aborted(offset, Math.min(end, behind));
  }

  get sizeBytes(): number {
    return this.#segments.reduce((sum, segment) => sum + segment.sizeBytes, 0);
  }

  /** True once the topic was deleted: nothing can be read or written any more. */
  get isRemoved(): boolean {
    return this.#removed;
  }

  /** When the oldest segment was appended to last, milliseconds since the epoch. */
  get oldestAppendMs(): number {
    return this.#segments[0].lastAppendMs;
  }

  get segmentCount(): number {
    return this.#segments.length;
  }

  get maxTimestamp(): number {
    return this.#segments.reduce((max, segment) => Math.max(max, segment.maxTimestamp), -1);
  }

  get #active(): Segment {
    return this.#segments[this.#segments.length - 1];
  }

  /**
   * Gives the batches their offsets, in place, and appends them. A batch an idempotent producer sent before is not stored again;
   * the answer is its first offset. Throws `BatchRefused` when nothing was stored, because of a sequence or of the disk.
   */
  append(data: Uint8Array, batches: readonly Batch[], nowMs: number): Appended {
    if (this.#failure !== null) throw new BatchRefused(ErrorCode.kafkaStorageError, this.#failure.message);
    if (this.#removed) throw new BatchRefused(ErrorCode.unknownTopicOrPartition, "The topic was deleted");
    for (const batch of batches) {
      const verdict = this.#producers.check(batch);
      if ("duplicateOf" in verdict) {
        if (batches.length === 1) return { baseOffset: verdict.duplicateOf, appendTimeMs: -1 };
        throw new BatchRefused(ErrorCode.invalidRecord, "Only one of several batches in one request was sent before");
      }
      if ("refuse" in verdict) {
        const { producerId, baseSequence } = batch;
        throw new BatchRefused(verdict.refuse, `Producer ${producerId} sent sequence ${baseSequence} out of turn`);
      }
      if (batch.producerId >= 0 && batches.length > 1) {
        throw new BatchRefused(
          ErrorCode.invalidRecord,
          "An idempotent producer sends one batch a partition and request",
        );
      }
    }

    return this.#store(data, batches, nowMs);
  }

  /** Ends the producer's transaction here. Throws `BatchRefused` when the disk refuses. */
  appendMarker(marker: Marker, nowMs: number): void {
    if (this.#failure !== null) throw new BatchRefused(ErrorCode.kafkaStorageError, this.#failure.message);
    const { data, batch } = encodeMarker(marker, nowMs);
    this.#store(data, [batch], nowMs);
  }

  #store(data: Uint8Array, batches: readonly Batch[], nowMs: number): Appended {
    const settings = this.#settings();
    const view = new DataView(data.buffer, data.byteOffset, data.byteLength);
    const start = batches[0].start;
    const end = batches[batches.length - 1].end;
    const segment = this.#segmentFor(end - start, settings, nowMs);
    const baseOffset = segment.nextOffset;
    let nextOffset = baseOffset;
    const stamped: Batch[] = [];
    for (const batch of batches) {
      stampOffset(view, batch, nextOffset);
      stamped.push(settings.appendTime ? stampAppendTime(data, view, batch, nowMs) : batch);
      nextOffset += batch.offsets;
    }
    try {
      segment.write(data, start, end);
    } catch (error) {
      this.#log(`Cannot append ${end - start} bytes to ${segment.logPath}: ${message(error)}; nothing was stored`);
      if (segment.torn) this.#failure = new Error(`${segment.logPath} ends in an unfinished write; restart the broker`);
      throw new BatchRefused(ErrorCode.kafkaStorageError, `Cannot append to the log: ${message(error)}`);
    }

    this.#unsynced.add(segment);
    segment.lastAppendMs = nowMs;
    for (const batch of stamped) {
      const place = { offset: segment.nextOffset, segment: segment.baseOffset, position: segment.sizeBytes };
      this.#remark(batch, place, { data, nowMs });
      segment.add(batch, place.offset, place.position);
    }
    this.#bytesSinceSnapshot += end - start;
    if (this.listeners.size > 0) this.syncSoon();
    return { baseOffset, appendTimeMs: settings.appendTime ? nowMs : -1 };
  }

  /**
   * Writes whole batches from the one that holds `offset` on, at most `bytesMax` of them together; with `atLeastOne` the first may be
   * larger, so that a reader always gets ahead. Returns the bytes written. `offset` must be in [startOffset, endOffset].
   */
  read(
    offset: number,
    bytesMax: number,
    writer: WireWriter,
    options: { atLeastOne: boolean; level?: ReadLevel },
  ): number {
    const limit = this.end(options.level ?? "written");
    if (offset >= limit.offset) return 0;
    const { segment, position } = this.#locate(offset);
    const endPosition = segment.baseOffset === limit.segment ? limit.position : segment.sizeBytes;
    const wanted = Math.min(Math.max(bytesMax, batchHeaderBytes), endPosition - position);
    const start = writer.reserve(wanted);
    segment.read(writer.data.subarray(start, start + wanted), position);

    let end = start;
    let nextOffset = offset;
    while (start + wanted - end >= batchHeaderBytes) {
      const batch = readBatch(writer.view, end);
      if (batch.end > start + wanted) break;
      nextOffset = batch.baseOffset + batch.offsets;
      end = batch.end;
    }
    if (end - start > bytesMax && !options.atLeastOne) end = start;
    if (end === start && options.atLeastOne) {
      const length = batchPrefixBytes + writer.view.getInt32(start + 8);
      writer.reserve(length - wanted);
      segment.read(writer.data.subarray(start + wanted, start + length), position + wanted);
      nextOffset = readBatch(writer.view, start).baseOffset + readBatch(writer.view, start).offsets;
      end = start + length;
    }
    writer.position = end;
    if (end > start) this.#remember(offset, nextOffset, segment, position + end - start);
    return end - start;
  }

  /** How many bytes can be read from `offset` on, as far as that is known cheaply: never less than there are in one batch. */
  bytesFrom(offset: number, bytesMax: number, level: ReadLevel): number {
    const limit = this.end(level);
    if (offset >= limit.offset) return 0;
    const { segment, position } = this.#locate(offset);
    const endPosition = segment.baseOffset === limit.segment ? limit.position : segment.sizeBytes;
    return Math.min(bytesMax, endPosition - position);
  }

  /** The first record with a timestamp of at least `timestamp`; null when there is none. */
  offsetAt(timestamp: number): { offset: number; timestamp: number } | null {
    for (const segment of this.#segments) {
      if (segment.maxTimestamp < timestamp) continue;
      for (const header of segment.headers(segment.index.positionBefore(timestamp))) {
        if (header.maxTimestamp < timestamp) continue;
        const found = segment.batches(header.position).next();
        if (!found.done) return firstRecordAtLeast(found.value, timestamp);
      }
    }
    return null;
  }

  /** Resolves when everything appended so far is on disk. */
  sync(): Promise<void> {
    return this.#failure === null ? this.#sync.run() : Promise.reject(this.#failure);
  }

  /** Puts on disk what is not there yet, without waiting: somebody wants to read it. */
  syncSoon(): void {
    // A call that is under way may have begun before the newest bytes; the one behind it covers them. A failure tells of itself.
    if (!this.isDurable) this.sync().catch(() => {});
  }

  /** As `sync`, and now and then a snapshot of the producers; called in the background. */
  async flush(options: { complete?: boolean } = {}): Promise<void> {
    if (this.#unsynced.size > 0) await this.sync();
    if (this.#removed) return;
    if (options.complete) { for (const segment of this.#segments.slice(-1)) await segment.sync({ complete: true }); }
    // One that has grown large is written less often, so that it stays a small part of all that is written.
    const every = Math.max(snapshotEveryBytes, 16 * this.#snapshotBytes);
    if (this.#bytesSinceSnapshot >= (options.complete ? 1 : every)) this.#writeSnapshot();
  }

  /** Removes whole segments that are too old or too much. Returns how many. */
  retain(nowMs: number): number {
    this.#producers.expire(nowMs);
    const { retentionBytes, retentionMs } = this.#settings();
    const tooOld = (segment: Segment) => retentionMs >= 0 && segment.lastAppendMs < nowMs - retentionMs;
    if (this.#segments.length === 1 && this.#active.sizeBytes > 0 && tooOld(this.#active)) this.#roll(nowMs);
    for (const segment of this.#segments.slice(0, -1)) segment.dropIndex();
    let { sizeBytes } = this;
    let removed = 0;
    while (this.#segments.length > 1) {
      const [oldest] = this.#segments;
      const tooMuch = retentionBytes >= 0 && sizeBytes - oldest.sizeBytes >= retentionBytes;
      if (!tooMuch && !tooOld(oldest)) break;
      sizeBytes -= oldest.sizeBytes;
      this.#removeOldest();
      removed++;
    }
    if (removed > 0) this.#forgetRemoved();
    return removed;
  }

  /** Removes the whole segments before an offset that is on disk. The newest one goes, too, when all of it lies before and it is worth it. */
  removeBefore(offset: number, nowMs: number): void {
    const { sizeBytes, nextOffset } = this.#active;
    const worth = Math.min(passedBytesMin, this.#settings().segmentBytes / 4);
    if (nextOffset <= offset && sizeBytes >= worth) this.#roll(nowMs);
    let removed = 0;
    while (this.#segments.length > 1 && this.#segments[1].baseOffset <= offset) {
      this.#removeOldest();
      removed++;
    }
    if (removed > 0) this.#forgetRemoved();
  }

  /** Removes the oldest segment, whoever has not read it, and gives its size. */
  dropOldest(nowMs: number): number {
    const [{ sizeBytes }] = this.#segments;
    if (this.#segments.length === 1 && sizeBytes > 0) this.#roll(nowMs);
    if (this.#segments.length === 1) return 0;
    this.#removeOldest();
    this.#forgetRemoved();
    return sizeBytes;
  }

  #removeOldest(): void {
    const oldest = this.#segments.shift()!;
    this.#unsynced.delete(oldest);
    oldest.remove();
  }

  #forgetRemoved(): void {
    this.#transactions.forgetBefore(this.startOffset);
    for (const [offset, cursor] of this.#cursors) {
      if (!this.#segments.includes(cursor.segment)) this.#cursors.delete(offset);
    }
  }

  async close(): Promise<void> {
    await this.flush({ complete: true });
    for (const segment of this.#segments) this.#files.forget(segment.logPath);
  }

  /** Lets go of the folder, which the caller then removes; wakes who waits for it. */
  remove(): void {
    this.#removed = true;
    this.#unsynced.clear();
    for (const segment of this.#segments) this.#files.forget(segment.logPath);
    this.#tellListeners();
  }

  get #snapshotPath(): string {
    return `${this.folder}/producers.json`;
  }

  async #syncAll(): Promise<void> {
    for (const segment of [...this.#unsynced]) {
      const complete = segment !== this.#active;
      try {
        if (segment.syncedBytes === 0) await syncFolder(this.folder);
        await segment.sync({ complete });
      } catch (error) {
        if (this.#removed || !this.#segments.includes(segment)) continue;
        // After a failed fsync the kernel may have dropped the pages: nothing more can be promised for this partition.
        this.#failure = new Error(`Cannot put ${segment.logPath} on disk: ${message(error)}; restart the broker`);
        this.#log(this.#failure.message);
        throw this.#failure;
      }
      if (complete) segment.dropIndex();
      if (segment.syncedBytes === segment.sizeBytes) this.#unsynced.delete(segment);
    }
    this.#tellListeners();
  }

  #tellListeners(): void {
    for (const listener of [...this.listeners]) listener();
  }

  /** Counts a batch in with its producer and its transaction. */
  #remark(batch: Batch, place: Place, { data, nowMs }: { data: Uint8Array; nowMs: number }): void {
    this.#producers.add(batch, place.offset, nowMs);
    if (batch.isControl) {
      this.#transactions.end(batch.producerId, place.offset, { commit: readsCommit(data, batch) });
    } else {
      this.#transactions.add(batch, place);
    }
  }

  #writeSnapshot(): void {
    this.#snapshotBytes = writeSnapshot(this.#snapshotPath, {
      endOffset: this.endOffset,
      producers: this.#producers.save(),
      transactions: this.#transactions.save(),
    });
    this.#bytesSinceSnapshot = 0;
  }

  #segmentFor(bytes: number, settings: LogSettings, nowMs: number): Segment {
    const active = this.#active;
    const full = active.sizeBytes > 0 && active.sizeBytes + bytes > settings.segmentBytes;
    // An index entry holds an offset of 32 bits.
    const wide = active.nextOffset - active.baseOffset > 0x7fff_ffff;
    if (full || wide) this.#roll(nowMs);
    return this.#active;
  }

  #roll(nowMs: number): void {
    this.#active.seal();
    this.#unsynced.add(this.#active);
    const segment = new Segment(this.folder, this.endOffset, this.#files, nowMs);
    // The file is there from now on: its name is what remembers the end offset once everything before it has been removed.
    this.#files.get(segment.logPath);
    this.#segments.push(segment);
  }

  #locate(offset: number): { segment: Segment; position: number } {
    const cursor = this.#cursors.get(offset);
    if (cursor !== undefined && cursor.position < cursor.segment.sizeBytes) return cursor;
    let low = 0;
    for (let high = this.#segments.length; high - low > 1;) {
      const middle = (low + high) >>> 1;
      if (this.#segments[middle].baseOffset <= offset) low = middle;
      else high = middle;
    }
    const segment = this.#segments[low];
    return { segment, position: segment.locate(offset) };
  }

  #remember(offset: number, nextOffset: number, segment: Segment, position: number): void {
    this.#cursors.delete(offset);
    this.#cursors.set(nextOffset, { segment, position });
    if (this.#cursors.size > cursorsMax) this.#cursors.delete(this.#cursors.keys().next().value!);
  }

  #recover(nowMs: number): void {
    this.#segments.push(...openSegments(this.folder, { files: this.#files, log: this.#log, nowMs }));
    for (const segment of this.#segments) {
      if (segment.syncedBytes < segment.sizeBytes) this.#unsynced.add(segment);
    }
    this.#recoverProducers(nowMs);
  }

  /** Takes the newest snapshot, if it fits the log, and adds what was appended since. */
  #recoverProducers(nowMs: number): void {
    let from = this.startOffset;
    const snapshot = readSnapshot(this.#snapshotPath);
    if (snapshot !== null && snapshot.endOffset >= from && snapshot.endOffset <= this.endOffset) {
      this.#producers = Producers.restore(snapshot.producers);
      this.#transactions = new PartitionTransactions(snapshot.transactions);
      this.#transactions.forgetBefore(from);
      from = snapshot.endOffset;
    } else if (snapshot !== null) {
      // What came between it and the log has been removed, or it tells of records that a power cut took back: once the log had
      // grown again it would seem to fit.
      Deno.removeSync(this.#snapshotPath);
    }
    for (const segment of this.#segments) {
      if (segment.nextOffset <= from || segment.sizeBytes === 0) continue;
      const position = from <= segment.baseOffset ? 0 : segment.locate(from);
      for (const { batch, position: at, data } of segment.batches(position)) {
        this.#remark(batch, { offset: batch.baseOffset, segment: segment.baseOffset, position: at }, { data, nowMs });
        this.#bytesSinceSnapshot += batch.end - batch.start;
      }
    }
  }
}

function message(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
