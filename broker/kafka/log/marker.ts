/**
 * Markers: control batches of one record, by which a partition remembers how a transaction ended.
 *
 *     batch header with attributes 0x30 (transactional, control), producer id and epoch, base sequence −1
 *     record: key    int16 version = 0, int16 type: 0 abort, 1 commit
 *             value  int16 version = 0, int32 coordinator epoch
 *
 * Source: https://kafka.apache.org/documentation/#controlbatch
 *
 * @module
 */
import { crc32c } from "../../../pipeline/log/crc32c.ts";
import { WireReader, WireWriter } from "../../../pipeline/log/wire.ts";
import { type Batch, batchHeaderBytes, readBatch } from "./batch.ts";

export interface Marker {
  readonly producerId: number;
  readonly epoch: number;
  readonly commit: boolean;
}

/** The bytes of a marker, its base offset not set yet. */
export function encodeMarker({ producerId, epoch, commit }: Marker, nowMs: number): { data: Uint8Array; batch: Batch } {
  const writer = new WireWriter(128);
  writer.int64(0);
  const length = writer.reserveInt32();
  writer.int32(0).int8(2);
  const checksum = writer.reserveInt32();
  writer.int16(0x30).int32(0).int64(nowMs).int64(nowMs).int64(producerId).int16(epoch).int32(-1).int32(1);
  const record = new WireWriter(32).int8(0).varlong(0).varint(0);
  record.varint(4).int16(0).int16(commit ? 1 : 0);
  record.varint(6).int16(0).int32(0);
  record.varint(0);
  writer.varint(record.position).raw(record.bytes());
  writer.patchLength(length);
  writer.view.setUint32(checksum, crc32c(writer.data, checksum + 4, writer.position));
  return { data: writer.data, batch: readBatch(writer.view, 0) };
}

/** Whether the control batch is a commit. */
export function readsCommit(data: Uint8Array, batch: Batch): boolean {
  const reader = new WireReader(data, batch.start + batchHeaderBytes, batch.end);
  reader.varint();
  reader.int8();
  reader.varlong();
  reader.varint();
  reader.varint();
  reader.int16();
  return reader.int16() === 1;
}
