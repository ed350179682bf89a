import { WireReader } from "../../../pipeline/log/wire.ts";
import { batchHeaderBytes, readInt64 } from "./batch.ts";
import type { FoundBatch } from "./segment.ts";

/**
 * The first record of the batch whose timestamp is at least `timestamp`, which the batch's largest is.
 * A compressed batch is not opened: its first record is given, which may be older than asked for but loses nothing.
 *
 *     record: varint length, int8 attributes, varlong timestamp delta, varint offset delta, ...
 */
export function firstRecordAtLeast(found: FoundBatch, timestamp: number): { offset: number; timestamp: number } {
  const { batch, data, view } = found;
  const attributes = view.getInt16(batch.start + 21);
  const baseTimestamp = readInt64(view, batch.start + 27);
  const appendTime = (attributes & 8) !== 0;
  const first = { offset: batch.baseOffset, timestamp: appendTime ? batch.maxTimestamp : baseTimestamp };
  if ((attributes & 7) !== 0 || appendTime || baseTimestamp >= timestamp) return first;

  const reader = new WireReader(data, batch.start + batchHeaderBytes, batch.end);
  while (reader.remaining > 0) {
    const end = reader.varint() + reader.position;
    reader.int8();
    const at = baseTimestamp + reader.varlong();
    const offset = batch.baseOffset + reader.varint();
    if (at >= timestamp) return { offset, timestamp: at };
    reader.skip(end - reader.position);
  }
  return first;
}
