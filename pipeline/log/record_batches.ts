import type { OutgoingRecord } from "./publisher.ts";

/** Brokers refuse a batch over 1 MiB unless told otherwise (message.max.bytes); this leaves room for framing. */
export const BATCH_BYTES_MAX = 900 * 1024;

/** Records in one batch. */
export const BATCH_RECORDS_MAX = 10_000;

/** Lengths, deltas and attributes of a record, at most. */
const RECORD_OVERHEAD_BYTES = 32;
const HEADER_OVERHEAD_BYTES = 8;

/** Cuts records into runs of bounded size, in order; a record larger than the bound goes alone. */
export function* recordBatches(
  records: readonly OutgoingRecord[],
  { bytesMax = BATCH_BYTES_MAX, recordsMax = BATCH_RECORDS_MAX }: {
    readonly bytesMax?: number;
    readonly recordsMax?: number;
  } = {},
): Generator<readonly OutgoingRecord[]> {
  let from = 0;
  let bytes = 0;
  for (let i = 0; i < records.length; i++) {
    const size = recordBytes(records[i]);
    if (i > from && (i - from >= recordsMax || bytes + size > bytesMax)) {
      yield records.slice(from, i);
      from = i;
      bytes = 0;
    }
    bytes += size;
  }
  if (from < records.length) yield records.slice(from);
}

/** About what a record takes in a batch, uncompressed; never less. */
function recordBytes({ key, value, headers }: OutgoingRecord): number {
  let bytes = RECORD_OVERHEAD_BYTES + (key?.length ?? 0) + (value?.length ?? 0);
  // A UTF-16 unit takes at most three bytes of UTF-8.
  for (const [name, content] of headers) bytes += HEADER_OVERHEAD_BYTES + 3 * name.length + (content?.length ?? 0);
  return bytes;
}
