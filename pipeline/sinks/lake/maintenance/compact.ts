/**
 * Makes few large files of many small ones, while others write.
 *
 *     a partition's small files, oldest first    3 5 2 | 4 6 1 | 2         bins of about the target
 *     after                                      10      11      (with the one before)
 *
 * Each bin is one commit that changes no rows; when somebody removed one of its files meanwhile (a merge, say) the bin is given up,
 * and the next compaction sees to what is left.
 *
 * @module
 */
import { ConflictError } from "../../../errors.ts";
import type { LakeDatabase } from "../database.ts";
import { keyOf } from "../delta/data_path.ts";
import type { DataFile, DeltaTable, Snapshot } from "../delta/table.ts";
import type { ObjectStore, StoreOptions } from "../object_store.ts";
import { readFilesSql, writeFiles } from "../parquet_files.ts";
import { identifier } from "../../../sql_text.ts";

/** Files below this are small. One that is made larger is not touched again, so that no row is written anew for ever. */
export const SMALL_FILE_BYTES = 64 * 1024 ** 2;
/** About what compaction makes; half of it more when little is left over. */
export const TARGET_FILE_BYTES = 256 * 1024 ** 2;
/** No more are read at once; what comes of them may be small still, and is then a file of the next compaction. */
const BIN_FILES_MAX = 1_000;

/** Rows of a made file are in this order, of the columns that the table has: bounds of its parts then tell readers something. */
const ORDERS: readonly (readonly string[])[] = [["kafka_partition", "kafka_offset"], ["window_start"]];

export interface CompactOptions extends StoreOptions {
  readonly store: ObjectStore;
  readonly database: LakeDatabase;
  /** Instead of {@linkcode SMALL_FILE_BYTES} and {@linkcode TARGET_FILE_BYTES}. */
  readonly smallBytes?: number;
  readonly targetBytes?: number;
}

export interface CompactReport {
  readonly filesRemoved: number;
  readonly filesAdded: number;
  readonly bytesRemoved: number;
  readonly bytesAdded: number;
  /** Bins given up because others changed their files meanwhile. */
  readonly binsGivenUp: number;
}

/**
 * Compacts what is small in a table as it is now. Memory is what the database may take; what sorting needs beyond goes to its
 * scratch folder.
 *
 * @throws UnavailableError when the store is away; bins committed until then stay so
 */
export async function compact(table: DeltaTable, options: CompactOptions): Promise<CompactReport> {
  const { signal, smallBytes = SMALL_FILE_BYTES, targetBytes = TARGET_FILE_BYTES } = options;
  const base = await table.snapshot({ signal });
  const report = { filesRemoved: 0, filesAdded: 0, bytesRemoved: 0, bytesAdded: 0, binsGivenUp: 0 };
  for (const bin of binsOf(base, { smallBytes, targetBytes })) {
    signal?.throwIfAborted();
    const made = await compactBin(table, bin, { ...options, base });
    if (made === null) {
      report.binsGivenUp++;
      continue;
    }
    report.filesRemoved += bin.length;
    report.filesAdded += made.length;
    report.bytesRemoved += bytesOf(bin);
    report.bytesAdded += bytesOf(made);
  }
  return report;
}

/** Which files become one. */
export function binsOf(
  { files }: Pick<Snapshot, "files">,
  { smallBytes, targetBytes }: { readonly smallBytes: number; readonly targetBytes: number },
): DataFile[][] {
  const small = files.filter(({ bytes }) => bytes < smallBytes);
  const partitions = Map.groupBy(
    small,
    ({ partitionValues }) => JSON.stringify(Object.entries(partitionValues).sort()),
  );
  return [...partitions.values()].flatMap((inPartition) => {
    const bins: DataFile[][] = [];
    let bin: DataFile[] = [];
    let bytes = 0;
    for (const file of inPartition) {
      bin.push(file);
      bytes += file.bytes;
      if (bytes < targetBytes && bin.length < BIN_FILES_MAX) continue;
      bins.push(bin);
      [bin, bytes] = [[], 0];
    }
    const before = bins.at(-1);
    if (before !== undefined && bytes < targetBytes / 2 && before.length < BIN_FILES_MAX) before.push(...bin);
    else bins.push(bin);
    return bins.filter(({ length }) => length > 1);
  });
}

/** Null when others changed the files meanwhile. */
async function compactBin(
  table: DeltaTable,
  bin: readonly DataFile[],
  options: CompactOptions & { readonly base: Snapshot },
): Promise<readonly DataFile[] | null> {
  const { store, database, base, signal } = options;
  using local = await store.local(bin.map((file) => keyOf(table.name, file)), { signal });
  const sources = bin.map(({ partitionValues }, i) => ({ path: local.paths[i], partitionValues }));
  const rows = readFilesSql(sources, base.schema, base.partitionColumns);
  const names = new Set(base.schema.fields.map(({ name }) => name));
  const order = ORDERS.find((columns) => columns.every((name) => names.has(name)));
  const sorted = order === undefined ? rows : `${rows} ORDER BY ${order.map(identifier).join(", ")}`;
  const made = await database.use((connection) =>
    writeFiles(connection, sorted, {
      store,
      table: table.name,
      schema: base.schema,
      partitionColumns: base.partitionColumns,
      partitionValues: bin[0].partitionValues,
      signal,
    })
  );
  const [before, after] = [rowsOf(bin), rowsOf(made)];
  if (before !== null && before !== after) {
    throw new Error(`${table.name}: ${before} rows became ${after} in a compaction; nothing was committed`);
  }
  try {
    await table.commit({ operation: "OPTIMIZE", add: made, remove: bin, dataChange: false }, { base, signal });
    return made;
  } catch (error) {
    if (!(error instanceof ConflictError)) throw error;
    // It is known that they were not committed, so nobody reads them.
    await store.remove(made.map((file) => keyOf(table.name, file)), { signal });
    return null;
  }
}

function bytesOf(files: readonly DataFile[]): number {
  return files.reduce((sum, { bytes }) => sum + bytes, 0);
}

/** Null when one of the files does not say. */
function rowsOf(files: readonly DataFile[]): number | null {
  let rows = 0;
  for (const { stats } of files) {
    if (stats === null) return null;
    rows += stats.numRecords;
  }
  return rows;
}
