/**
 * A table of many archived records, made once and kept: record batches in memory, held and written by the archive's own code.
 *
 * @module
 */
import { systemClock } from "../../pipeline/clock.ts";
import type { AvroSchema } from "../../pipeline/plan/plan.ts";
import { ARCHIVE_PARTITION_COLUMN, archiveAppId } from "../../pipeline/sinks/lake/archive/archive.ts";
import { ArchiveColumns } from "../../pipeline/sinks/lake/archive/archive_columns.ts";
import { Stager } from "../../pipeline/sinks/lake/archive/stager.ts";
import { fitTable } from "../../pipeline/sinks/lake/delta/widen_table.ts";
import type { Lake } from "../../pipeline/sinks/lake/lake.ts";
import { writeFiles } from "../../pipeline/sinks/lake/parquet_files.ts";
import { batchesInMemory } from "../memory.ts";
import { SCHEMA } from "../workload.ts";

/** Rows of one commit, all of one partition of the topic. */
const ROWS_PER_COMMIT = 1_000_000;
const TOPIC = "bench.archived";
const SCHEMA_ID = 1;

/** Makes the table of so many rows, or goes on making it. Calls `onProgress` with the rows that are there. */
export async function archivedRows(
  lake: Lake,
  options: { readonly table: string; readonly rows: number; readonly onProgress: (rows: number) => void },
): Promise<void> {
  const { table: name, rows, onProgress } = options;
  const partitionColumns = [ARCHIVE_PARTITION_COLUMN];
  const table = await lake.ensureTable(name, { schema: new ArchiveColumns(null).schema(), partitionColumns });
  const { applications } = await table.snapshot();
  const connection = await lake.database.connect();
  let frame: Uint8Array | null = null;
  try {
    for (let partition = 0; partition * ROWS_PER_COMMIT < rows; partition++) {
      const appId = archiveAppId(TOPIC, null, partition);
      const count = Math.min(ROWS_PER_COMMIT, rows - partition * ROWS_PER_COMMIT);
      if (applications.has(appId)) continue;
      frame ??= batchesInMemory(ROWS_PER_COMMIT);
      const archive = new ArchiveColumns((await table.snapshot()).schema);
      const stager = new Stager(new Map([[partition, 0]]), {
        clock: systemClock,
        archive,
        eventTime: "event_time",
        schemaById: (id) => Promise.resolve(id === SCHEMA_ID ? SCHEMA as AvroSchema : null),
      });
      const part = { partition, frame, start: 0, end: frame.length, fromOffset: 0, highWatermark: count };
      await stager.take(part, () => null);
      const { stages: [stage] } = stager.handOver();
      const base = await fitTable(table, archive.schema(), { store: lake.store, connection });
      using scan = stage.scan(lake.database);
      const sql = `${scan.sql(TOPIC, archive.columns)} WHERE "offset" < ${count}`;
      const add = await writeFiles(connection, sql, {
        store: lake.store,
        table: name,
        schema: base.schema,
        partitionColumns,
      });
      await table.commit({ operation: "WRITE", add, applications: [{ appId, version: count, after: null }] }, { base });
      onProgress(partition * ROWS_PER_COMMIT + count);
    }
  } finally {
    connection.closeSync();
  }
}
