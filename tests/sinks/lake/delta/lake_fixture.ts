/** A lake in a temporary folder, and a small table to try things on. @module */
import { join } from "node:path";
import { LakeDatabase } from "../../../../pipeline/sinks/lake/database.ts";
import { createDiskStore } from "../../../../pipeline/sinks/lake/disk_store.ts";
import { keyOf } from "../../../../pipeline/sinks/lake/delta/data_path.ts";
import { deltaField, deltaSchema } from "../../../../pipeline/sinks/lake/delta/schema.ts";
import type { DataFile, DeltaSchema, Snapshot } from "../../../../pipeline/sinks/lake/delta/table.ts";
import type { Lake } from "../../../../pipeline/sinks/lake/lake.ts";
import type { ObjectStore } from "../../../../pipeline/sinks/lake/object_store.ts";
import { openLake } from "../../../../pipeline/sinks/lake/open_lake.ts";
import { readFilesSql, writeFiles } from "../../../../pipeline/sinks/lake/parquet_files.ts";

/** `id` counts, `note` is some text, `day` is the partition. */
export const SCHEMA: DeltaSchema = deltaSchema([
  deltaField("id", "long"),
  deltaField("note", "string"),
  deltaField("day", "date"),
]);
export const PARTITIONED = { schema: SCHEMA, partitionColumns: ["day"] } as const;

export interface LakeFixture extends AsyncDisposable {
  readonly folder: string;
  readonly lake: Lake;
  /** Another lake over the same folder, as another process has it. */
  reopen(options?: { readonly wrap?: (store: ObjectStore) => ObjectStore }): Lake;
}

export interface LakeFixtureOptions {
  readonly now?: () => number;
  /** Whose DuckDB to use; one of its own unless told. */
  readonly database?: LakeDatabase;
}

export async function temporaryLake(options: LakeFixtureOptions = {}): Promise<LakeFixture> {
  const parent = await Deno.makeTempDir();
  const folder = join(parent, "lake");
  const database = options.database ?? smallDatabase(parent);
  // All lakes share a DuckDB, which only writes files and reads them: to open one takes longer than most tests.
  const reopen = ({ wrap = (store: ObjectStore) => store } = {}) =>
    openLake({ store: wrap(createDiskStore({ folder })), database, now: options.now });
  return {
    folder,
    lake: reopen(),
    reopen,
    async [Symbol.asyncDispose]() {
      if (options.database === undefined) await database[Symbol.asyncDispose]();
      await Deno.remove(parent, { recursive: true });
    },
  };
}

export function smallDatabase(folder: string): LakeDatabase {
  return new LakeDatabase({ scratch: join(folder, "duckdb"), memoryBytesMax: 256 * 1024 ** 2, threads: 1 });
}

/** Writes the rows of a query as files of a table, uncommitted. */
export async function write(
  lake: Lake,
  query: string,
  options: {
    readonly table?: string;
    readonly schema?: DeltaSchema;
    readonly partitionColumns?: readonly string[];
    readonly fileBytes?: number;
  } = {},
): Promise<DataFile[]> {
  const { table = "t", schema = SCHEMA, partitionColumns = ["day"], fileBytes } = options;
  return await lake.database.use((connection) =>
    writeFiles(connection, query, { store: lake.store, table, schema, partitionColumns, fileBytes })
  );
}

/** Rows `from` to before `to` of the small table, all of one day. */
export function rowsSql(from: number, to: number, day = "2026-11-21"): string {
  return `SELECT i AS id, 'row ' || i AS note, DATE '${day}' AS "day" FROM range(${from}, ${to}) r(i)`;
}

/** Asks about a snapshot: `sql` sees it as `t`. Values as JSON has them. */
export async function ask(lake: Lake, snapshot: Snapshot, sql: string): Promise<unknown[][]> {
  using local = await lake.store.local(snapshot.files.map((file) => keyOf(snapshot.table, file)));
  const files = snapshot.files.map(({ partitionValues }, i) => ({ path: local.paths[i], partitionValues }));
  const rows = readFilesSql(files, snapshot.schema, snapshot.partitionColumns);
  return await lake.database.use(async (connection) =>
    (await connection.runAndReadAll(`WITH t AS (${rows}) ${sql}`)).getRowsJson()
  );
}

/** The ids in a snapshot, in order. */
export async function idsOf(lake: Lake, snapshot: Snapshot): Promise<number[]> {
  return (await ask(lake, snapshot, "SELECT id FROM t ORDER BY id")).map(([id]) => Number(id));
}

export function range(from: number, to: number): number[] {
  return Array.from({ length: to - from }, (_, i) => from + i);
}
