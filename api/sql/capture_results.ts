/**
 * A pipeline's results at one moment: what is in its table, what is durable and on its way there, and what is not durable yet.
 *
 *     table at a version ──┐
 *     journal ─────────────┤  of each key and window the row with the highest revision, a final one before an early one
 *     final rows under way ┤
 *     open windows ────────┘
 *
 * Rows move from the bottom to the top, and are in two of these places on their way. Where the table has an older row than the
 * others, which only happens after a rewind or when records came back, its file is copied without that row.
 *
 * @module
 */
import type { DuckDBConnection } from "@duckdb/node-api";
import { UnavailableError } from "../../pipeline/errors.ts";
import { type Plan, type ResultColumn, resultColumns } from "../../pipeline/plan/plan.ts";
import type { DataFile, Snapshot } from "../../pipeline/sinks/lake/delta/table.ts";
import type { PendingRows } from "../../pipeline/sinks/lake/results/lake_sink.ts";
import { readFilesSql } from "../../pipeline/sinks/lake/parquet_files.ts";
import { identityOf } from "../../pipeline/sinks/lake/results/results_schema.ts";
import { identifier } from "../../pipeline/sql_text.ts";
import type { ResultRows } from "../../pipeline/sinks/sink.ts";
import { copy, stage, stagedSql } from "./capture_rows.ts";
import type { CapturedFile } from "./catalog.ts";

/** Files of the table with so many bytes are copied at most, to leave out rows that were replaced. */
const COPY_BYTES_MAX = 2 * 1024 ** 3;

export interface ResultParts {
  /** The table as of the moment, with the local path of each of its snapshot's files. */
  readonly table: { readonly snapshot: Snapshot; readonly paths: readonly string[] };
  /** Durable rows that are not in it. */
  readonly pending: Pick<PendingRows, "length" | "rows">;
  /** Rows that are not durable: final ones under way, and those of open windows, of each key and window one. */
  readonly underWay: ResultRows | null;
  readonly open: ResultRows;
}

export interface CaptureResultsOptions {
  readonly plan: Plan;
  /** Where files are written. */
  readonly folder: string;
  readonly signal: AbortSignal;
  /** Instead of `COPY_BYTES_MAX`. */
  readonly copyBytesMax?: number;
}

/** Only the final ones of these rows. */
export function finalRows(rows: ResultRows): ResultRows {
  const at = rows.columns.findIndex(({ role }) => role === "final");
  const final = Array.from(rows.values[at].keys()).filter((row) => rows.values[at][row] === true);
  if (final.length === rows.length) return rows;
  return {
    columns: rows.columns,
    length: final.length,
    values: rows.values.map((column) => final.map((row) => column[row])),
  };
}

/**
 * Local files that hold one row of each key and window, the newest.
 *
 * @throws UnavailableError when too much of the table is being replaced just now
 */
export async function captureResults(
  connection: DuckDBConnection,
  { table, pending, underWay, open }: ResultParts,
  options: CaptureResultsOptions,
): Promise<CapturedFile[]> {
  const { plan, folder, signal } = options;
  const paths = [...table.paths];
  const isOpenOnly = pending.length === 0 && (underWay?.length ?? 0) === 0;
  if (!isOpenOnly || open.length > 0) {
    const columns = resultColumns(plan);
    const fresh = async function* () {
      yield* pending.rows();
      if (underWay !== null) yield underWay;
      yield open;
    };
    await stage(connection, fresh(), { table: "staged", columns, signal });
    const isPlain = isOpenOnly && paths.length === 0;
    if (!isPlain) {
      await keepNewest(connection, columns);
      for (const [place, path] of await replaced(connection, table, options)) paths[place] = path;
    }
    const path = `${folder}/fresh.parquet`;
    await copy(connection, isPlain ? stagedSql("staged", columns) : "SELECT * FROM fresh", path);
    paths.push(path);
  }
  return paths.map((path) => ({ path, partitions: {} }));
}

/** Makes the table `fresh` of the table `staged`. */
async function keepNewest(connection: DuckDBConnection, columns: readonly ResultColumn[]): Promise<void> {
  const same = identityOf(columns).map(identifier).join(", ");
  await connection.run(
    `CREATE TEMP TABLE fresh AS SELECT * FROM (${stagedSql("staged", columns)})
     QUALIFY row_number() OVER (PARTITION BY ${same} ORDER BY revision DESC, final DESC) = 1`,
  );
}

/**
 * Takes out of `fresh` what the table has as new; and copies the table's files that have older rows than `fresh`, without these.
 *
 * @returns the copies, by the place of the file among the table's
 */
async function replaced(
  connection: DuckDBConnection,
  { snapshot, paths }: ResultParts["table"],
  { plan, folder, copyBytesMax = COPY_BYTES_MAX }: CaptureResultsOptions,
): Promise<Map<number, string>> {
  const { schema, partitionColumns, files } = snapshot;
  const copies = new Map<number, string>();
  const names = identityOf(resultColumns(plan));
  const range = await connection.runAndReadAll(
    "SELECT epoch_ms(min(window_start))::DOUBLE, epoch_ms(max(window_start))::DOUBLE FROM fresh",
  );
  const [fromMs, toMs] = range.getRows()[0] as [number | null, number | null];
  if (fromMs === null || toMs === null) return copies;
  const read = (place: number) =>
    readFilesSql([{ path: paths[place], partitionValues: files[place].partitionValues }], schema, partitionColumns);
  const candidates = Array.from(files.keys()).filter((place) => mayHold(files[place], { fromMs, toMs }));
  if (candidates.length === 0) return copies;

  const wanted = [...names, "revision", "final"].map(identifier).join(", ");
  const stored = candidates.map((place) =>
    `SELECT ${place} AS place, ${wanted} FROM (${read(place)})
     WHERE window_start BETWEEN make_timestamptz(${fromMs * 1000}::BIGINT) AND make_timestamptz(${toMs * 1000}::BIGINT)`
  );
  await connection.run(
    `CREATE TEMP TABLE met AS
     SELECT stored.place, ${names.map((name) => `fresh.${identifier(name)}`).join(", ")},
       stored.revision > fresh.revision OR (stored.revision = fresh.revision AND stored.final >= fresh.final) AS stays
     FROM (${stored.join(" UNION ALL ")}) stored JOIN fresh ON ${isSame(names, "stored", "fresh")}`,
  );
  await connection.run(`DELETE FROM fresh USING met WHERE met.stays AND ${isSame(names, "met", "fresh")}`);
  const older = await connection.runAndReadAll("SELECT DISTINCT place FROM met WHERE NOT stays ORDER BY place");
  const places = older.getRows().map(([place]) => Number(place));
  const bytes = places.reduce((sum, place) => sum + files[place].bytes, 0);
  if (bytes > copyBytesMax) {
    throw new UnavailableError(
      `results.${plan.name}: so many rows of lake.${snapshot.table} are being computed again that ${places.length} of its files ` +
        "would have to be copied to answer. Ask again after the next flush, or ask lake." + snapshot.table,
    );
  }
  for (const place of places) {
    const path = `${folder}/replaced-${place}.parquet`;
    const gone = `SELECT * FROM met WHERE place = ${place} AND NOT stays`;
    const query = `SELECT stored.* FROM (${read(place)}) stored ANTI JOIN (${gone}) gone ON ${
      isSame(names, "stored", "gone")
    }`;
    await copy(connection, query, path);
    copies.set(place, path);
  }
  return copies;
}

function isSame(names: readonly string[], a: string, b: string): string {
  return names.map((name) => `${a}.${identifier(name)} IS NOT DISTINCT FROM ${b}.${identifier(name)}`).join(" AND ");
}

/** Whether a file can have rows of windows that start in this range, by what the table's log says of it. */
function mayHold(
  { stats }: DataFile,
  { fromMs, toMs }: { readonly fromMs: number; readonly toMs: number },
): boolean {
  const bound = (values: Readonly<Record<string, unknown>> | undefined) => Date.parse(String(values?.window_start));
  // Bounds may be cut to milliseconds. Without any, the comparisons are false.
  return !(bound(stats?.maxValues) + 1 < fromMs) && !(bound(stats?.minValues) - 1 > toMs);
}
