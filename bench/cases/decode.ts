import { createDecoder } from "../../pipeline/codec/projection.ts";
import { Columns } from "../../pipeline/columns.ts";
import { BatchScanner } from "../../pipeline/log/record_batch.ts";
import { Records } from "../../pipeline/log/records.ts";
import { CHUNK_ROWS } from "../../pipeline/runtime/shard.ts";
import { batchesInMemory } from "../memory.ts";
import { type Measured, Meter } from "../measure.ts";
import { racePlan } from "../plan.ts";
import { SCHEMA } from "../workload.ts";

const RECORDS = 500_000;
const ROUNDS = 10;

/** One thread: record batches in memory, checksum, scan, Avro to three columns. */
export function decode(): Measured {
  const frame = batchesInMemory(RECORDS);
  const { fields } = racePlan("memory", "memory");
  const decoder = createDecoder({ writer: SCHEMA, reader: SCHEMA, fields });
  const records = new Records(CHUNK_ROWS);
  const columns = new Columns(fields.map(({ type }) => type), CHUNK_ROWS);
  const scanner = new BatchScanner({ decompressedBytesMax: 1 });
  let decoded = 0;
  const round = () => {
    scanner.start(frame, { start: 0, end: frame.length, fromOffset: 0 });
    while (scanner.scan(records)) {
      decoder.decode(records, 0, records.length, columns);
      decoded += columns.length;
    }
  };
  round();
  decoded = 0;
  const meter = new Meter();
  for (let i = 0; i < ROUNDS; i++) round();
  return meter.stop("decode", decoded);
}
