/**
 * Record batches in memory, given to an archive's own code as fetches bring them, until its table has the last of them; and the same
 * values as a file, for others.
 *
 * @module
 */
import { systemClock } from "../../pipeline/clock.ts";
import { ByteWriter } from "../../pipeline/codec/byte_writer.ts";
import { parseSchema } from "../../pipeline/codec/schema.ts";
import { BatchScanner } from "../../pipeline/log/record_batch.ts";
import { Records } from "../../pipeline/log/records.ts";
import type { AvroSchema } from "../../pipeline/plan/plan.ts";
import { ARCHIVE_PARTITION_COLUMN } from "../../pipeline/sinks/lake/archive/archive.ts";
import { ArchiveColumns } from "../../pipeline/sinks/lake/archive/archive_columns.ts";
import { Archiver } from "../../pipeline/sinks/lake/archive/archiver.ts";
import { BLOCK_ROWS_MAX } from "../../pipeline/sinks/lake/columns/block_column.ts";
import { Stager } from "../../pipeline/sinks/lake/archive/stager.ts";
import { openLakeAt } from "../../pipeline/sinks/lake/lake_address.ts";
import { SCHEMA } from "../workload.ts";
import { lakeIn } from "./run_archive.ts";

const TOPIC = "bench.from_log";
const TABLE = "from_log";
const SCHEMA_ID = 1;
/** As an archive asks for. */
const PART_BYTES = 2 * 1024 * 1024;
/** Others get a turn so often, as between fetches. */
const TURN_MS = 20;
const LENGTH_BYTES = 4;

/**
 * Archives record batches of `rows` records to a new table, `commits` times: as so many partitions of a topic, each a commit.
 *
 * @returns seconds until the last commit, and the folder of the table's files
 */
export async function archiveFromLog(
  frame: Uint8Array,
  options: { readonly folder: string; readonly rows: number; readonly commits: number },
): Promise<{ readonly seconds: number; readonly table: string }> {
  const { folder, rows, commits } = options;
  await using lake = openLakeAt(lakeIn(folder));
  const expected = new ArchiveColumns(null);
  expected.admit(parseSchema(SCHEMA as AvroSchema));
  const table = await lake.ensureTable(TABLE, {
    schema: expected.schema(),
    partitionColumns: [ARCHIVE_PARTITION_COLUMN],
  });
  const snapshot = await table.snapshot();
  const archive = new ArchiveColumns(snapshot.schema);
  const connection = await lake.database.connect();
  const partitions = Array.from({ length: commits }, (_, partition) => partition);
  const stager = new Stager(new Map(partitions.map((partition) => [partition, 0])), {
    clock: systemClock,
    archive,
    eventTime: "event_time",
    schemaById: (id) => Promise.resolve(id === SCHEMA_ID ? SCHEMA as AvroSchema : null),
  });
  let committed = 0;
  const archiver = new Archiver(snapshot, new Map(), {
    topic: TOPIC,
    topicId: null,
    table,
    store: lake.store,
    database: lake.database,
    connection,
    archive,
    stager,
    // By rows alone: each commit has as many as the others' appends.
    flush: { everyMs: Infinity, rows },
    clock: systemClock,
    signal: new AbortController().signal,
    onWaiting: (reason) => {
      if (reason !== null) throw new Error(reason);
    },
    onCommitted: (commit) => committed += commit.rows,
  });
  const parts = partsOf(frame);
  try {
    const began = performance.now();
    let turnedAt = began;
    for (const partition of partitions) {
      for (const { start, end } of parts) {
        const part = { partition, frame, start, end, fromOffset: stager.positionOf(partition), highWatermark: rows };
        await stager.take(part, () => archiver.keepUp());
        if (performance.now() - turnedAt < TURN_MS) continue;
        await systemClock.sleep(0);
        turnedAt = performance.now();
      }
    }
    await archiver.flush();
    const seconds = (performance.now() - began) / 1000;
    const versions = archiver.snapshot.version - snapshot.version;
    if (versions !== commits) throw new Error(`${versions} commits were made instead of ${commits}`);
    if (committed !== commits * rows) throw new Error(`${committed} rows were archived of ${commits * rows}`);
    return { seconds, table: `${folder}/${TABLE}` };
  } finally {
    await archiver.end();
    connection.closeSync();
  }
}

/** Whole batches of at most `PART_BYTES`, at least one. A batch's length is at its byte 8 and counts from byte 12. */
function partsOf(frame: Uint8Array): { readonly start: number; readonly end: number }[] {
  const view = new DataView(frame.buffer, frame.byteOffset, frame.byteLength);
  const parts: { start: number; end: number }[] = [];
  for (let at = 0; at < frame.length;) {
    const end = at + 12 + view.getInt32(at + 8);
    const last = parts.at(-1);
    if (last !== undefined && end - last.start <= PART_BYTES) last.end = end;
    else parts.push({ start: at, end });
    at = end;
  }
  return parts;
}

/** Writes the values of record batches to a file, each behind its length: int32 big-endian. */
export async function writeValues(frame: Uint8Array, path: string): Promise<void> {
  const out = new ByteWriter(frame.length);
  const length = new Uint8Array(LENGTH_BYTES);
  const lengthView = new DataView(length.buffer);
  const records = new Records(BLOCK_ROWS_MAX);
  const scanner = new BatchScanner({ decompressedBytesMax: 1 });
  scanner.start(frame, { start: 0, end: frame.length, fromOffset: 0 });
  while (scanner.scan(records)) {
    const { data, valueStart, valueEnd } = records;
    for (let row = 0; row < records.length; row++) {
      lengthView.setInt32(0, valueEnd[row] - valueStart[row]);
      out.raw(length);
      out.raw(data.subarray(valueStart[row], valueEnd[row]));
    }
  }
  await Deno.writeFile(path, out.written());
}
