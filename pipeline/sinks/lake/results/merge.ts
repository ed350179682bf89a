/**
 * What a flush does to the table: its rows replace older ones of the same key and window, and are left out where the table's are
 * as new.
 *
 *     batch    k1 w7 rev 5        file A  k1 w7 rev 4   ──▶ A': A without k1 w7
 *              k2 w7 rev 3        file B  k2 w7 rev 3   ──▶ stays; the batch's row is left out
 *              k3 w8 rev 9                              ──▶ new file: k1 w7 rev 5, k3 w8 rev 9
 *
 * Only files whose windows, by their statistics, can be among the batch's are looked into, and of these only the key columns and
 * the revision are read. Files are rewritten apart from the batch: put together with it, a file would grow with each flush that
 * revises one of its rows, and be rewritten whole with the next.
 *
 * @module
 */
import type { DuckDBConnection } from "@duckdb/node-api";
import type { DataFile, Snapshot } from "../delta/table.ts";
import { keyOf } from "../delta/data_path.ts";
import type { ObjectStore } from "../object_store.ts";
import { readFilesSql, writeFiles } from "../parquet_files.ts";
import { identifier } from "../../../sql_text.ts";

/** So many files of a partition are rewritten each by itself. */
export const REWRITES_MAX = 8;
/** Files are rewritten as one up to so many bytes, which compaction leaves as it is. */
const TOGETHER_BYTES_MAX = 64 * 1024 ** 2;

export interface MergeOptions {
  readonly snapshot: Snapshot;
  readonly store: ObjectStore;
  /** The table's columns that there is one row of. */
  readonly identity: readonly string[];
  readonly signal: AbortSignal;
}

/** Files to add and to remove. Neither: all that the batch has is in the table, as new or newer. */
export interface Merge {
  readonly add: readonly DataFile[];
  readonly remove: readonly DataFile[];
  /** Rows of the batch that are in `add`. */
  readonly rows: number;
}

/**
 * Writes the files of a merge of the temporary table `batch`, which has the table's columns and a row per key and window at
 * most. Nothing is committed.
 *
 * @throws MissingObjectError when a file of the snapshot is gone
 */
export async function writeMerge(connection: DuckDBConnection, options: MergeOptions): Promise<Merge> {
  const { snapshot, store, signal } = options;
  const { schema, partitionColumns, table } = snapshot;
  const write = (query: string, partitionValues?: DataFile["partitionValues"]) =>
    writeFiles(connection, query, { store, table, schema, partitionColumns, partitionValues, signal });
  const candidates = await mayHold(connection, snapshot.files);
  using files = await store.local(candidates.map((file) => keyOf(table, file)), { signal });
  const read = (place: number) => {
    const { partitionValues } = candidates[place];
    return readFilesSql([{ path: files.paths[place], partitionValues }], schema, partitionColumns);
  };
  const replaced = await meet(connection, candidates.map((_, place) => read(place)), options);

  const add: DataFile[] = [];
  const remove = Array.from(replaced.keys(), (place) => candidates[place]);
  const left = Array.from(replaced).filter(([place, rows]) => candidates[place].stats?.numRecords !== rows)
    .map(([place]) => place);
  for (const places of groupsOf(left, candidates)) {
    signal.throwIfAborted();
    const stored = places.map((place) => `SELECT ${place} AS place, * FROM (${read(place)})`).join(" UNION ALL ");
    const kept =
      `SELECT stored.* EXCLUDE (place) FROM (${stored}) stored ANTI JOIN (SELECT * FROM met WHERE NOT stays) gone ` +
      `ON stored.place = gone.place AND ${isSame(options.identity, "stored", "gone")}`;
    add.push(...await write(`${kept} ORDER BY window_start`, candidates[places[0]].partitionValues));
  }
  const fresh = candidates.length === 0
    ? "SELECT * FROM batch"
    : `SELECT batch.* FROM batch ANTI JOIN (SELECT * FROM met WHERE stays) known ON ${
      isSame(options.identity, "batch", "known")
    }`;
  const added = await write(`${fresh} ORDER BY window_start`);
  return { add: [...add, ...added], remove, rows: added.reduce((sum, { stats }) => sum + (stats?.numRecords ?? 0), 0) };
}

/**
 * Which files are rewritten as one. Each by itself, unless they are many: then neighbours in time go together, so that rows of all
 * history that are revised at once do not cost a file for each flush there ever was.
 */
export function groupsOf(places: readonly number[], files: readonly DataFile[]): number[][] {
  const partitions = Map.groupBy(
    places,
    (place) => JSON.stringify(Object.entries(files[place].partitionValues).sort()),
  );
  return [...partitions.values()].flatMap((inPartition) => {
    const size = Math.ceil(inPartition.length / REWRITES_MAX);
    const inTime = inPartition.toSorted((a, b) =>
      (bound(files[a].stats?.minValues) - bound(files[b].stats?.minValues)) || 0
    );
    const groups: number[][] = [];
    let bytes = Infinity;
    for (const place of inTime) {
      const group = groups.at(-1);
      if (group !== undefined && group.length < size && bytes + files[place].bytes <= TOGETHER_BYTES_MAX) {
        group.push(place);
        bytes += files[place].bytes;
      } else {
        groups.push([place]);
        bytes = files[place].bytes;
      }
    }
    return groups;
  });
}

/**
 * Makes the table `met` of the batch's rows that the files have: in which place, and whether the file's row stays.
 *
 * @returns by place, how many rows of the file are older than the batch's
 */
async function meet(
  connection: DuckDBConnection,
  files: readonly string[],
  { identity }: MergeOptions,
): Promise<Map<number, number>> {
  if (files.length === 0) return new Map();
  const columns = [...identity, "revision"].map(identifier).join(", ");
  const stored = files.map((sql, place) => `SELECT ${place} AS place, ${columns} FROM (${sql})`);
  await connection.run(
    `CREATE OR REPLACE TEMP TABLE met AS
     SELECT stored.place, ${identity.map((name) => `batch.${identifier(name)}`).join(", ")},
       stored.revision >= batch.revision AS stays
     FROM (${stored.join(" UNION ALL ")}) stored JOIN batch ON ${isSame(identity, "stored", "batch")}`,
  );
  const older = await connection.runAndReadAll(
    "SELECT place, count(*)::INTEGER FROM met WHERE NOT stays GROUP BY place ORDER BY place",
  );
  return new Map(older.getRows() as [number, number][]);
}

/** The files that can have a window of the batch. */
async function mayHold(connection: DuckDBConnection, files: readonly DataFile[]): Promise<DataFile[]> {
  if (files.length === 0) return [];
  const windows = await connection.runAndReadAll(
    "SELECT DISTINCT epoch_ms(window_start)::DOUBLE AS ms FROM batch WHERE window_start IS NOT NULL ORDER BY ms",
  );
  const starts = Float64Array.from(windows.getRows() as [number][], ([ms]) => ms);
  return files.filter(({ stats }) => {
    // Without bounds it may have any. Others may have cut them to milliseconds.
    const least = bound(stats?.minValues) - 1;
    const most = bound(stats?.maxValues) + 1;
    if (Number.isNaN(least) || Number.isNaN(most)) return true;
    return starts[firstFrom(starts, least)] <= most;
  });
}

function bound(values: Readonly<Record<string, unknown>> | undefined): number {
  return Date.parse(String(values?.window_start));
}

/** The place of the first value that is not less. */
function firstFrom(sorted: Float64Array, least: number): number {
  let [low, high] = [0, sorted.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (sorted[middle] < least) low = middle + 1;
    else high = middle;
  }
  return low;
}

function isSame(names: readonly string[], a: string, b: string): string {
  return names.map((name) => `${a}.${identifier(name)} IS NOT DISTINCT FROM ${b}.${identifier(name)}`).join(" AND ");
}
