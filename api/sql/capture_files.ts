/**
 * A lake table's data files, as local ones that a question can read.
 *
 * @module
 */
import { keyOf } from "../../pipeline/sinks/lake/delta/data_path.ts";
import type { DataFile, Snapshot } from "../../pipeline/sinks/lake/delta/table.ts";
import type { LocalFiles, ObjectStore } from "../../pipeline/sinks/lake/object_store.ts";
import { QueryError } from "../deps.ts";
import type { CapturedFile, PartitionRange } from "./catalog.ts";

/** Bytes that may still be fetched for a question; Infinity where files are read where they are. */
export interface FetchBudget {
  readonly bytesMax: number;
  bytesLeft: number;
}

/** The files that can have rows in all of these ranges. */
export function filesWithin(snapshot: Snapshot, ranges: readonly PartitionRange[] = []): DataFile[] {
  const known = ranges.filter(({ column }) => snapshot.partitionColumns.includes(column));
  return snapshot.files.filter(({ partitionValues }) =>
    known.every(({ column, from, to }) => {
      const value = partitionValues[column] ?? null;
      // No comparison takes a null in.
      return value !== null && (from === undefined || value >= from) && (to === undefined || value <= to);
    })
  );
}

/**
 * Local paths of a table's files. Disposing the second lets go of them.
 *
 * @throws QueryError when they are more than may be fetched
 */
export async function localFiles(
  store: ObjectStore,
  snapshot: Snapshot,
  { files, budget, signal }: {
    readonly files: readonly DataFile[];
    readonly budget: FetchBudget;
    readonly signal: AbortSignal;
  },
): Promise<{ readonly files: CapturedFile[]; readonly held: LocalFiles }> {
  const bytes = files.reduce((sum, file) => sum + file.bytes, 0);
  if (bytes > budget.bytesLeft) throw tooMuch(snapshot, { bytes, budget });
  budget.bytesLeft -= bytes;
  const held = await store.local(files.map((file) => keyOf(snapshot.table, file)), { signal });
  const captured = files.map(({ partitionValues }, i) => ({ path: held.paths[i], partitions: partitionValues }));
  return { files: captured, held };
}

function tooMuch(
  { table }: Snapshot,
  { bytes, budget }: { readonly bytes: number; readonly budget: FetchBudget },
): QueryError {
  return new QueryError(
    "sql",
    `lake.${table} has ${megabytes(bytes)} in files that this question needs, but at most ` +
      `${megabytes(budget.bytesMax)} are fetched for one: raise TAILRACE_LAKE_CACHE, of which a question may take half`,
  );
}

function megabytes(bytes: number): string {
  return `${Math.ceil(bytes / 1e6).toLocaleString("en-US")} MB`;
}
