/**
 * Tells an unfinished write from damage. Both end what can be read of a log; but behind an unfinished write there is nothing,
 * and behind a damaged batch there are others that are whole.
 *
 * @module
 */
import { batchHeaderBytes, checksumHolds, readBatch } from "./batch.ts";

/** As much is looked through; a log's last segment has no more that is not covered by its index, unless that is gone. */
const lookBytesMax = 64 * 1024 * 1024;

/** How many whole batches there are behind the first byte of `data`, wherever they start. */
export function wholeBatchesBehind(data: Uint8Array): number {
  const view = new DataView(data.buffer, data.byteOffset, data.byteLength);
  const end = Math.min(data.length, lookBytesMax);
  let found = 0;
  for (let at = 1; at + batchHeaderBytes <= end;) {
    const batch = view.getInt8(at + 16) === 2 ? readBatch(view, at) : null;
    const isWhole = batch !== null && batch.end - at >= batchHeaderBytes && batch.end <= end && batch.offsets >= 1 &&
      checksumHolds(data, view, batch);
    if (isWhole) found++;
    at = isWhole ? batch.end : at + 1;
  }
  return found;
}
