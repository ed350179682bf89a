import { ByteWriter } from "../pipeline/codec/byte_writer.ts";
import { RecordBatchWriter, stampBatch } from "../pipeline/log/record_batch_writer.ts";
import { Workload } from "./workload.ts";

const BATCH_RECORDS = 5_000;

/** The race's first `count` transactions as record batches in memory, one after the other, as a fetch would bring them. */
export function batchesInMemory(count: number): Uint8Array {
  const out = new ByteWriter(100 * count);
  const writer = new RecordBatchWriter(out);
  const workload = new Workload(1);
  for (let first = 0; first < count; first += BATCH_RECORDS) {
    const start = out.position;
    writer.begin();
    for (let i = first; i < Math.min(first + BATCH_RECORDS, count); i++) {
      workload.next();
      writer.beginRecord(workload.eventTimeMs, workload.keys[workload.account]);
      workload.write(out);
      writer.endRecord();
    }
    const batch = writer.finish();
    new DataView(out.buffer.buffer).setBigInt64(start, BigInt(first));
    stampBatch(batch, { id: -1n, epoch: -1, firstSequence: -1 });
  }
  return out.written();
}
