import fc from "fast-check";
import { ByteWriter } from "../../pipeline/codec/byte_writer.ts";
import { crc32c } from "../../pipeline/log/crc32c.ts";
import { type AbortedTransaction, BatchScanner, type UnreadableBatch } from "../../pipeline/log/record_batch.ts";
import { readHeaders } from "../../pipeline/log/record_headers.ts";
import { RecordBatchWriter, stampBatch } from "../../pipeline/log/record_batch_writer.ts";
import { Records } from "../../pipeline/log/records.ts";

/** A record as tests write and read it. */
export interface TestRecord {
  readonly timestampMs: number;
  readonly key: Uint8Array | null;
  readonly value: Uint8Array | null;
  readonly headers: readonly (readonly [string, Uint8Array | null])[];
}

export interface ScannedRecord extends TestRecord {
  readonly offset: number;
}

const text = new TextEncoder();

/** Records with a value and nothing else. */
export function plain(...values: (string | Uint8Array | null)[]): TestRecord[] {
  return values.map((value, i) => ({
    timestampMs: 1_700_000_000_000 + i,
    key: null,
    value: typeof value === "string" ? text.encode(value) : value,
    headers: [],
  }));
}

const blob = fc.option(fc.uint8Array({ maxLength: 300, size: "max" }), { freq: 6 });
const header: fc.Arbitrary<[string, Uint8Array | null]> = fc.tuple(
  fc.string({ unit: "grapheme", maxLength: 6 }),
  fc.option(fc.uint8Array({ maxLength: 200 })),
);

export const anyRecord: fc.Arbitrary<TestRecord> = fc.record({
  timestampMs: fc.integer({ min: -(2 ** 45), max: 2 ** 45 }),
  key: blob,
  value: blob,
  headers: fc.array(header, { maxLength: 3 }),
});

/** A sealed, uncompressed batch as a broker holds it. */
export function batchOf(records: readonly TestRecord[], baseOffset = 0): Uint8Array<ArrayBuffer> {
  const out = new ByteWriter(64);
  const writer = new RecordBatchWriter(out);
  writer.begin();
  for (const record of records) writer.append(record.timestampMs, record);
  const batch = writer.finish().slice();
  stampBatch(batch, { id: -1n, epoch: -1, firstSequence: -1 });
  new DataView(batch.buffer).setBigInt64(0, BigInt(baseOffset));
  return batch;
}

/** The batch as a part of a producer's transaction. */
export function inTransaction(batch: Uint8Array, producerId: bigint): Uint8Array {
  stampBatch(batch, { id: producerId, epoch: 0, firstSequence: 0, isTransactional: true });
  return batch;
}

/** A transaction's end, as a broker writes it: a control batch of one record whose key tells how it ended. */
export function marker(producerId: bigint, ended: "commit" | "abort", offset: number): Uint8Array {
  const key = Uint8Array.of(0, 0, 0, ended === "abort" ? 0 : 1);
  const batch = batchOf([{ timestampMs: 1_700_000_000_000, key, value: new Uint8Array(6), headers: [] }], offset);
  inTransaction(batch, producerId);
  new DataView(batch.buffer).setInt16(21, 0x30);
  return reseal(batch);
}

/** Makes the checksum fit again after the batch was changed. */
export function reseal(batch: Uint8Array): Uint8Array {
  new DataView(batch.buffer, batch.byteOffset).setUint32(17, crc32c(batch, 21, batch.length));
  return batch;
}

/** The batch with its records replaced by their compressed form. */
export function withRecords(batch: Uint8Array, codec: number, records: Uint8Array): Uint8Array {
  const made = concat([batch.subarray(0, 61), records]);
  const view = new DataView(made.buffer);
  view.setInt32(8, made.length - 12);
  view.setInt16(21, codec);
  return reseal(made);
}

export function concat(parts: readonly Uint8Array[]): Uint8Array<ArrayBuffer> {
  const whole = new Uint8Array(parts.reduce((sum, { length }) => sum + length, 0));
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}

export interface Scanned {
  readonly records: ScannedRecord[];
  readonly unreadable: UnreadableBatch[];
  readonly nextOffset: number;
}

/** Scans all of `frame`, with bytes around it that belong to nobody. */
export function scanAll(
  frame: Uint8Array,
  { fromOffset = 0, capacity = 7, decompressedBytesMax = 1 << 20, until, aborted }: {
    fromOffset?: number;
    capacity?: number;
    decompressedBytesMax?: number;
    until?: number;
    aborted?: readonly AbortedTransaction[];
  } = {},
): Scanned {
  const padded = concat([new Uint8Array(13).fill(0x55), frame, new Uint8Array(17).fill(0x55)]);
  const scanner = new BatchScanner({ decompressedBytesMax });
  scanner.start(padded, { start: 13, end: 13 + frame.length, fromOffset, until, aborted });
  const rows = new Records(capacity);
  const records: ScannedRecord[] = [];
  const bytes = (start: number, end: number) => start < 0 ? null : rows.data.slice(start, end);
  while (scanner.scan(rows)) {
    for (let row = 0; row < rows.length; row++) {
      const positions = [rows.keyStart, rows.keyEnd, rows.valueStart, rows.valueEnd].map((list) => list[row]);
      const [least, most] = rows.data === padded ? [13, 13 + frame.length] : [0, rows.data.length];
      if (positions.some((at) => at !== -1 && !(at >= least && at <= most)) || rows.headersEnd[row] > most) {
        throw new Error(`row ${row} points outside of the batches: ${positions}`);
      }
      records.push({
        offset: rows.offsets[row],
        timestampMs: rows.timestamps[row],
        key: bytes(rows.keyStart[row], rows.keyEnd[row]),
        value: bytes(rows.valueStart[row], rows.valueEnd[row]),
        headers: readHeaders(rows.data, rows.headersStart[row], rows.headersEnd[row]) ?? [],
      });
    }
  }
  return { records, unreadable: [...scanner.unreadable], nextOffset: scanner.nextOffset };
}
