/** A lake with an archive and a table of results, as the API shows it. */
import { createLakeDesk, type LakeDesk, type LakeDeskOptions } from "../../api/lake_desk.ts";
import type { LakeFlow } from "../../api/lake_desk.ts";
import { systemClock } from "../../pipeline/clock.ts";
import { createLakeKeeper } from "../../pipeline/runtime/lake_keeper.ts";
import type { ArchiveStatus } from "../../pipeline/sinks/lake/archive/archive.ts";
import { LakeDatabase } from "../../pipeline/sinks/lake/database.ts";
import { deltaField, deltaSchema } from "../../pipeline/sinks/lake/delta/schema.ts";
import { createDiskStore } from "../../pipeline/sinks/lake/disk_store.ts";
import { createMaintenance, type Maintenance } from "../../pipeline/sinks/lake/maintenance/maintenance.ts";
import { openLake } from "../../pipeline/sinks/lake/open_lake.ts";
import { writeFiles } from "../../pipeline/sinks/lake/parquet_files.ts";

const SCHEMA = deltaSchema([
  deltaField("kafka_offset", "long"),
  deltaField("amount", "decimal(12,2)"),
  deltaField("merchant", deltaSchema([deltaField("country", "string")])),
  deltaField("ingest_date", "date"),
]);

export interface LakeWorld extends AsyncDisposable {
  readonly desk: LakeDesk;
  /** Of the archive of `transactions`; a test changes it. */
  archive: ArchiveStatus;
  /** State of the pipeline whose results go to the table `account_minute`, which nothing was written to yet. */
  pipeline: LakeFlow["state"];
  /** Commits a file of ten rows to the archive's table. */
  write(): Promise<void>;
}

/** `changes.maintenance` works instead of the real one; `wrap` stands between the API and the lake. */
export async function lakeWorld(
  { maintenance, wrap = (lake) => lake }: {
    readonly maintenance?: Maintenance;
    readonly wrap?: (lake: LakeDeskOptions["lake"]) => LakeDeskOptions["lake"];
  } = {},
): Promise<LakeWorld> {
  const folder = await Deno.makeTempDir({ prefix: "tailrace_lake_" });
  const database = new LakeDatabase({ scratch: `${folder}/scratch`, memoryBytesMax: 256 * 1024 ** 2, threads: 1 });
  const lake = openLake({ store: createDiskStore({ folder: `${folder}/lake` }), database });
  const table = await lake.ensureTable("transactions", { schema: SCHEMA, partitionColumns: ["ingest_date"] });
  const ended = new AbortController();
  const keeper = createLakeKeeper({
    lake,
    maintenance: maintenance ?? createMaintenance({ lake }),
    clock: systemClock,
    log: () => {},
    signal: ended.signal,
  });
  const sink = {
    table: "account_minute",
    reason: null as string | null,
    version: null,
    committedMs: null,
    rowsWaiting: 7,
    bytesWaiting: 700,
    rowsCommitted: 0,
  };
  const world: LakeWorld = {
    desk: createLakeDesk({
      lake: wrap(lake),
      archives: [{ topic: "transactions", table: "transactions", status: () => world.archive }],
      results: [{
        plan: { name: "account_minute" },
        sink: { table: "account_minute", status: () => sink },
        state: () => world.pipeline,
      }],
      keeper,
    }),
    archive: {
      topic: "transactions",
      table: "transactions",
      state: "running",
      reason: null,
      version: 0,
      rowsArchived: 30,
      rowsWaiting: 12,
      bytesWritten: 999,
      committedMs: Date.parse("2026-11-20T21:00:00Z"),
      inPerSecond: 3_000,
      lagRecords: 4,
    },
    pipeline: "running",
    async write() {
      const query = `SELECT range AS kafka_offset, 1.5 AS amount, {country: 'NL'} AS merchant, DATE '2026-11-20' AS
        ingest_date FROM range(10)`;
      const to = { store: lake.store, table: "transactions", schema: SCHEMA, partitionColumns: ["ingest_date"] };
      const add = await database.use((connection) => writeFiles(connection, query, to));
      await table.commit({ operation: "WRITE", add }, { base: await table.snapshot() });
    },
    async [Symbol.asyncDispose]() {
      ended.abort();
      await lake[Symbol.asyncDispose]();
      await Deno.remove(folder, { recursive: true });
    },
  };
  return world;
}
