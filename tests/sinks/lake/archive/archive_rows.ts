/** Records in, rows of an archive out: for tests of what is staged. */
import {
  DuckDBBlobValue,
  type DuckDBConnection,
  DuckDBDateValue,
  DuckDBDecimalValue,
  DuckDBTimestampTZValue,
  type DuckDBValue,
} from "@duckdb/node-api";
import { ByteWriter } from "../../../../pipeline/codec/byte_writer.ts";
import { FRAME_BYTES, writeFrame } from "../../../../pipeline/codec/framing.ts";
import { systemClock } from "../../../../pipeline/clock.ts";
import { RecordBatchWriter, stampBatch } from "../../../../pipeline/log/record_batch_writer.ts";
import type { AvroSchema } from "../../../../pipeline/plan/plan.ts";
import { ArchiveColumns } from "../../../../pipeline/sinks/lake/archive/archive_columns.ts";
import { Stager } from "../../../../pipeline/sinks/lake/archive/stager.ts";
import { LakeDatabase } from "../../../../pipeline/sinks/lake/database.ts";
import { temporaryFolder } from "../../../e2e/harness.ts";

export interface SampleRecord {
  readonly timestampMs: number;
  readonly key: Uint8Array | null;
  readonly value: Uint8Array | null;
  readonly headers?: readonly (readonly [string, Uint8Array | null])[];
}

/** A value in Confluent's framing. */
export function framed(schemaId: number, avro: Uint8Array): Uint8Array {
  const bytes = new Uint8Array(FRAME_BYTES + avro.length);
  writeFrame(bytes, 0, schemaId);
  bytes.set(avro, FRAME_BYTES);
  return bytes;
}

/** Record batches as a fetch would bring them, of at most `batch` records. */
export function frameOf(records: readonly SampleRecord[], { batch = 7 } = {}): Uint8Array {
  const out = new ByteWriter(4096);
  const writer = new RecordBatchWriter(out);
  for (let first = 0; first < records.length; first += batch) {
    const start = out.position;
    writer.begin();
    for (const { timestampMs, key, value, headers } of records.slice(first, first + batch)) {
      writer.append(timestampMs, { key, value, headers: headers ?? [] });
    }
    const bytes = writer.finish();
    new DataView(out.buffer.buffer).setBigInt64(start, BigInt(first));
    stampBatch(bytes, { id: -1n, epoch: -1, firstSequence: -1 });
  }
  return out.written().slice();
}

/** What the table would hold of the records, ordered by offset, with the columns' names. */
export async function archived(
  records: readonly SampleRecord[],
  schemas: ReadonlyMap<number, AvroSchema>,
  options: { readonly archive?: ArchiveColumns; readonly eventTime?: string; readonly batch?: number } = {},
): Promise<{ rows: Record<string, DuckDBValue>[]; archive: ArchiveColumns; maxEventTimeMs: number | undefined }> {
  await using folder = temporaryFolder();
  await using database = new LakeDatabase({
    scratch: folder.path,
    memoryBytesMax: 256 * 1024 * 1024,
    threads: 1,
  });
  return await database.use(async (connection) => {
    const archive = options.archive ?? new ArchiveColumns(null);
    const stager = new Stager(new Map([[3, 0]]), {
      clock: systemClock,
      archive,
      eventTime: options.eventTime ?? null,
      schemaById: (id) => Promise.resolve(schemas.get(id) ?? null),
    });
    const frame = frameOf(records, options);
    const part = { partition: 3, frame, start: 0, end: frame.length, fromOffset: 0, highWatermark: records.length };
    await stager.take(part, () => null);
    const { stages } = stager.handOver();
    const scans = stages.map((stage) => stage.scan(database));
    const sql = scans.map((scan) => scan.sql("a topic", archive.columns)).join(" UNION ALL BY NAME ");
    const rows = await rowsOf(connection, `SELECT * FROM (${sql}) ORDER BY kafka_offset`);
    return { rows, archive, maxEventTimeMs: stager.maxEventTimes().get(3) };
  });
}

export async function rowsOf(connection: DuckDBConnection, sql: string): Promise<Record<string, DuckDBValue>[]> {
  return await (await connection.runAndReadAll(sql)).getRowObjects();
}

/** A value in the plain form of `tests/codec/rows.ts`. */
export function plainValue(value: DuckDBValue): null | number | bigint | string | boolean {
  if (value instanceof DuckDBDecimalValue) return value.value;
  if (value instanceof DuckDBTimestampTZValue) return value.micros;
  if (value instanceof DuckDBDateValue) return value.days;
  if (value instanceof DuckDBBlobValue) return String.fromCharCode(...value.bytes);
  return value as null | number | bigint | string | boolean;
}
