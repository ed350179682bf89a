import { ByteWriter } from "../codec/byte_writer.ts";
import type { FetchedPart } from "../log/fetcher.ts";
import { type HeaderList, RecordBatchWriter, stampBatch } from "../log/record_batch_writer.ts";

/** A record as it goes into a log. */
export interface LogRecord {
  readonly timestampMs: number;
  readonly key: Uint8Array | null;
  readonly value: Uint8Array | null;
  readonly headers: HeaderList;
}

/** Bytes answered at a time: some batches, as a broker does. */
const FETCH_BYTES = 1024 * 1024;

/** One partition in memory: sealed record batches one after the other, readable from any offset. */
export class PartitionLog {
  readonly #batches: { readonly to: number; readonly bytes: Uint8Array }[] = [];
  /** The offset after the last record. */
  end = 0;

  /** Appends the records as one batch; nothing when there are none. */
  append(records: readonly LogRecord[]): void {
    if (records.length === 0) return;
    const out = new ByteWriter(1024);
    const writer = new RecordBatchWriter(out);
    writer.begin();
    for (const record of records) writer.append(record.timestampMs, record);
    const bytes = writer.finish().slice();
    stampBatch(bytes, { id: -1n, epoch: -1, firstSequence: -1 });
    this.appendBatch(bytes, records.length);
  }

  /** Appends a sealed batch of `count` records; its base offset is written here, as a broker does (no checksum covers it). */
  appendBatch(bytes: Uint8Array, count: number): void {
    new DataView(bytes.buffer, bytes.byteOffset).setBigInt64(0, BigInt(this.end));
    this.end += count;
    this.#batches.push({ to: this.end, bytes });
  }

  /** What a broker answers to a fetch: batches from the one that holds `offset` on, nothing at the end. */
  fetch(partition: number, offset: number): FetchedPart {
    const found: Uint8Array[] = [];
    let size = 0;
    for (const { to, bytes } of this.#batches) {
      if (to <= offset) continue;
      if (size > 0 && size + bytes.length > FETCH_BYTES) break;
      found.push(bytes);
      size += bytes.length;
    }
    const frame = new Uint8Array(size);
    let at = 0;
    for (const bytes of found) {
      frame.set(bytes, at);
      at += bytes.length;
    }
    return { partition, frame, start: 0, end: size, fromOffset: offset, highWatermark: this.end };
  }
}
