import { ArchiveThread } from "../../pipeline/runtime/archive_thread.ts";
import type { Archive } from "../../pipeline/sinks/lake/archive/archive.ts";
import type { Lake } from "../../pipeline/sinks/lake/lake.ts";
import { type LakeAddress, openLakeAt } from "../../pipeline/sinks/lake/lake_address.ts";
import type { AvroSchema } from "../../pipeline/plan/plan.ts";
import { NO_SECURITY, type Servers } from "../servers.ts";
import { SCHEMA } from "../workload.ts";

/** As definitions have it that say nothing else. */
const FLUSH = { everyMs: 60_000, rows: 2_000_000 };
/** What the engine gives an archive. */
const MEMORY_BYTES = 1.5 * 1024 ** 3;
const THREADS = 2;
const POLL_MS = 20;

/** A lake in a folder. */
export function lakeIn(
  folder: string,
  { memoryBytesMax = MEMORY_BYTES }: { readonly memoryBytesMax?: number } = {},
): LakeAddress {
  return { url: `file://${folder}`, s3: null, dataDir: folder, cacheBytes: 0, memoryBytesMax, threads: THREADS };
}

export interface RunningArchive {
  readonly archive: Archive;
  /** Resolves when so many records are in the table; seconds from now. @throws when the archive fails */
  holds(count: number): Promise<number>;
  stop(): Promise<void>;
}

/** Archives a topic as `tailrace run` does: in a thread of its own, into Parquet and Delta on disk. */
export function runArchive(servers: Servers, { topic, table, folder }: {
  readonly topic: string;
  readonly table: string;
  readonly folder: string;
}): RunningArchive {
  const archive = new ArchiveThread({
    topic,
    table,
    flush: FLUSH,
    eventTime: "event_time",
    schema: SCHEMA as AvroSchema,
    brokers: servers.brokers,
    cluster: { clientId: "tailrace-bench", ...NO_SECURITY },
    registry: { url: servers.registryUrl },
  }, {
    lake: lakeIn(folder),
    log: (level, message) => level === "info" || console.error(message),
  });
  return {
    archive,
    async holds(count) {
      const began = performance.now();
      for (;;) {
        const { state, reason, rowsArchived, rowsWaiting } = archive.status();
        if (state === "failed") throw new Error(`The archive failed: ${reason}`);
        if (rowsArchived + rowsWaiting >= count) break;
        await new Promise((resolve) => setTimeout(resolve, POLL_MS));
      }
      await archive.flush();
      return (performance.now() - began) / 1000;
    },
    stop: () => archive[Symbol.asyncDispose](),
  };
}

/** What a table has: rows, whether each place in the log is there once, files, and their bytes. */
export async function looked(folder: string, table: string): Promise<{
  readonly rows: number;
  readonly places: number;
  readonly files: number;
  readonly bytes: number;
}> {
  await using lake: Lake = openLakeAt(lakeIn(folder));
  const found = await lake.table(table);
  if (found === null) throw new Error(`${folder} has no table ${table}`);
  const { files } = await found.snapshot();
  const paths = files.map(({ path }) => `'${folder}/${table}/${decodeURIComponent(path)}'`);
  const places = "count(DISTINCT kafka_partition::BIGINT << 48 | kafka_offset)";
  const [[rows, distinct]] = await lake.database.use(async (connection) =>
    (await connection.runAndReadAll(`SELECT count(*), ${places} FROM read_parquet([${paths}])`)).getRows()
  );
  return {
    rows: Number(rows),
    places: Number(distinct),
    files: files.length,
    bytes: files.reduce((sum, { bytes }) => sum + bytes, 0),
  };
}
