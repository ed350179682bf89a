/**
 * Results, or a table of the lake, as one file for other tools: Parquet or CSV, whole and exact, or not at all.
 *
 *     PostgreSQL ──COPY, one snapshot──▶ CSV as text ─┐
 *                                                     ├─▶ DuckDB, typed and in order ──▶ the file
 *     lake ──the files of one version─────────────────┘
 *
 * What is in the file is counted, and compared with what there was to be written. Memory is that of DuckDB: larger results are sorted on
 * the disk.
 *
 * @module
 */
import { once } from "node:events";
import { createWriteStream } from "node:fs";
import { pipeline as joined } from "node:stream/promises";
import type postgres from "postgres";
import { ConfigError, UnavailableError } from "../errors.ts";
import { type Plan, type ResultColumn, resultColumns } from "../plan/plan.ts";
import { duckdbType } from "../plan/sql_types.ts";
import type { LakeDatabase } from "../sinks/lake/database.ts";
import { keyOf } from "../sinks/lake/delta/data_path.ts";
import type { Snapshot } from "../sinks/lake/delta/table.ts";
import type { Lake } from "../sinks/lake/lake.ts";
import { readFilesSql } from "../sinks/lake/parquet_files.ts";
import { RESULTS_PARTITION_COLUMN, ROLE } from "../sinks/lake/results/results_schema.ts";
import { sortedError } from "../sinks/postgres_errors.ts";
import { onOwnConnection } from "../sinks/postgres_own_connection.ts";
import { tableName } from "../sinks/postgres_types.ts";
import { identifier, literal } from "../sql_text.ts";

export const EXPORT_FORMATS = ["parquet", "csv"] as const;
export type ExportFormat = (typeof EXPORT_FORMATS)[number];

/** What takes the table for itself, such as a change of its columns, is short, or the export has to be asked for again. */
const LOCK_MS_MAX = 5_000;
const SILENT_MS_MAX = 60_000;

/** Times are milliseconds since the epoch. */
export interface ExportOptions {
  readonly format: ExportFormat;
  /** Windows that start in `[fromMs, toMs)`; of raw records those with a Kafka timestamp in it. */
  readonly fromMs?: number;
  readonly toMs?: number;
  /** How long a lock on the table is waited for, milliseconds. Default 5,000. */
  readonly lockMsMax?: number;
  /** How long PostgreSQL may say nothing before it is taken to be away, milliseconds. Default 60,000. */
  readonly silentMsMax?: number;
  /** Where the file is made; what is needed on the way lies beside it, and is gone at the end. */
  readonly path: string;
  readonly database: LakeDatabase;
  readonly signal: AbortSignal;
}

/** How many rows a file has, and its size. */
export interface Exported {
  readonly rows: number;
  readonly bytes: number;
}

/**
 * The final rows of a pipeline from its table in PostgreSQL, as of one moment.
 *
 * @throws UnavailableError when the database is away, breaks off, falls silent, or has the table locked
 */
export async function exportPostgres(
  plan: Plan,
  { sql, table, ...options }: ExportOptions & { readonly sql: postgres.Sql; readonly table: string },
): Promise<Exported> {
  const columns = resultColumns(plan);
  const start = identifier(columns.find(({ role }) => role === "window_start")!.name);
  const final = identifier(columns.find(({ role }) => role === "final")!.name);
  const { fromMs, toMs } = options;
  const bounds = [
    ...fromMs === undefined ? [] : [`${start} >= to_timestamp(${fromMs}::double precision / 1000)`],
    ...toMs === undefined ? [] : [`${start} < to_timestamp(${toMs}::double precision / 1000)`],
  ];
  const from = `FROM ${tableName(table).sql} WHERE ${[final, ...bounds].join(" AND ")}`;
  const copied = `${options.path}.rows`;
  try {
    const rows = await copyOut(sql, { ...options, columns, from, path: copied });
    const names = columns.map(({ name }) => `${literal(name)}: 'VARCHAR'`);
    const read =
      // Nothing is guessed from the rows: there may be none.
      `read_csv(${literal(copied)}, columns = {${
        names.join(", ")
      }}, auto_detect = false, header = false, delim = ',', quote = '"', ` +
      `escape = '"', nullstr = '', allow_quoted_nulls = false, parallel = false, max_line_size = 16777216)`;
    const typed = columns.map((column) => `${fromTextSql(column)} AS ${identifier(column.name)}`);
    const written = await writeFile(`SELECT ${typed.join(", ")} FROM ${read} ORDER BY ${orderOf(columns)}`, options);
    if (written.rows !== rows) {
      throw new Error(`PostgreSQL gave ${rows} rows, and ${written.rows} were written: this is a bug`);
    }
    return written;
  } finally {
    await Deno.remove(copied).catch(() => {});
  }
}

/** All rows that were final at one moment, as CSV without a head; how many there are. */
async function copyOut(
  sql: postgres.Sql,
  { columns, from, path, signal, lockMsMax = LOCK_MS_MAX, silentMsMax = SILENT_MS_MAX }: {
    readonly columns: readonly ResultColumn[];
    readonly from: string;
    readonly path: string;
    readonly signal: AbortSignal;
    readonly lockMsMax?: number;
    readonly silentMsMax?: number;
  },
): Promise<number> {
  const begin = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; SET LOCAL timezone = 'UTC'; " +
    "SET LOCAL datestyle = 'ISO, YMD'; SET LOCAL bytea_output = 'hex'; " +
    // Nothing comes while the rows are counted: who has gone meanwhile is not counted for.
    `SET LOCAL lock_timeout = ${lockMsMax}; SET LOCAL statement_timeout = ${silentMsMax}`;
  const names = columns.map(({ name }) => identifier(name)).join(", ");
  const file = createWriteStream(path, { flags: "wx" });
  await once(file, "open");
  try {
    return await onOwnConnection(sql, async (own) => {
      const [{ n }] = await own.unsafe<{ n: string }[]>(`SELECT count(*)::text AS n ${from}`);
      await own.unsafe("SET LOCAL statement_timeout = 0");
      const rows = await own.unsafe(`COPY (SELECT ${names} ${from}) TO STDOUT (FORMAT csv)`).readable();
      await joined(rows, file, { signal });
      return Number(n);
    }, { begin, signal, silentMsMax, progress: () => file.bytesWritten });
  } catch (error) {
    if (signal.aborted) throw signal.reason;
    throw error instanceof UnavailableError ? error : sortedError(error, "results");
  } finally {
    file.destroy();
  }
}

/** A column as PostgreSQL writes it in CSV, in DuckDB's type. */
function fromTextSql({ name, type }: ResultColumn): string {
  const column = identifier(name);
  switch (type.type) {
    case "bytes":
      return `from_hex(substr(${column}, 3))`;
    case "timestamp-millis":
    case "timestamp-micros":
      return `CAST(${column} AS TIMESTAMP WITH TIME ZONE)`;
    default:
      return `CAST(${column} AS ${duckdbType(type)})`;
  }
}

/**
 * The rows of a table of the lake, as of a snapshot. Of results the partition column is left out: it says nothing new.
 *
 * @throws ConfigError when a time is named and the table has none to go by
 */
export async function exportTable(
  snapshot: Snapshot,
  { lake, ...options }: ExportOptions & { readonly lake: Pick<Lake, "store"> },
): Promise<Exported> {
  const { table, schema, partitionColumns } = snapshot;
  const { fromMs, toMs, signal } = options;
  const ofRole = (role: string) =>
    schema.fields.filter(({ metadata }) => metadata[ROLE] === role).map(({ name }) => name);
  const [start] = ofRole("window_start");
  const time = start ?? schema.fields.find(({ name }) => name === "kafka_timestamp")?.name;
  if (time === undefined && (fromMs !== undefined || toMs !== undefined)) {
    throw new ConfigError({
      where: `export lake.${table}`,
      problem: "has neither windows nor Kafka timestamps: leave --from and --to out",
    });
  }
  const instant = (ms: number) => `make_timestamptz(${Math.round(ms * 1000)})`;
  const bounds = [
    ...fromMs === undefined ? [] : [`${identifier(time!)} >= ${instant(fromMs)}`],
    ...toMs === undefined ? [] : [`${identifier(time!)} < ${instant(toMs)}`],
  ];
  const isResults = start !== undefined;
  const files = snapshot.files.filter(({ partitionValues }) =>
    !isResults || mayHold(partitionValues[RESULTS_PARTITION_COLUMN], { fromMs, toMs })
  );
  using local = await lake.store.local(files.map((file) => keyOf(table, file)), { signal });
  const found = files.map(({ partitionValues }, i) => ({ path: local.paths[i], partitionValues }));
  const shown = schema.fields.filter(({ name }) => !isResults || name !== RESULTS_PARTITION_COLUMN);
  const order = isResults ? ` ORDER BY ${[start, ...ofRole("key")].map(identifier).join(", ")}` : "";
  const where = bounds.length > 0 ? ` WHERE ${bounds.join(" AND ")}` : "";
  const query = `SELECT ${shown.map(({ name }) => identifier(name)).join(", ")} FROM (${
    readFilesSql(found, schema, partitionColumns)
  })${where}${order}`;
  const written = await writeFile(query, options);
  // What every file says of itself adds up to the table.
  const known = files.every(({ stats }) => stats !== null);
  const all = files.reduce((sum, { stats }) => sum + (stats?.numRecords ?? 0), 0);
  if (known && bounds.length === 0 && written.rows !== all) {
    throw new Error(`lake.${table} has ${all} rows, and ${written.rows} were written: this is a bug`);
  }
  return written;
}

function mayHold(
  day: string | null | undefined,
  { fromMs, toMs }: { readonly fromMs?: number; readonly toMs?: number },
): boolean {
  if (day === null || day === undefined) return true;
  const dayMs = Date.parse(day);
  return (fromMs === undefined || dayMs + 86_400_000 > fromMs) && (toMs === undefined || dayMs < toMs);
}

function orderOf(columns: readonly ResultColumn[]): string {
  const start = columns.filter(({ role }) => role === "window_start");
  return [...start, ...columns.filter(({ role }) => role === "key")].map(({ name }) => identifier(name)).join(", ");
}

/** Instants in CSV as ISO 8601, in UTC. */
const CSV = "FORMAT csv, HEADER, TIMESTAMPFORMAT '%Y-%m-%dT%H:%M:%S.%fZ', DATEFORMAT '%Y-%m-%d'";

async function writeFile(query: string, { format, path, database, signal }: ExportOptions): Promise<Exported> {
  const connection = await database.connect();
  const onAbort = () => connection.interrupt();
  signal.addEventListener("abort", onAbort, { once: true });
  try {
    signal.throwIfAborted();
    const how = format === "csv" ? CSV : "FORMAT parquet, COMPRESSION zstd";
    const reader = await connection.runAndReadAll(`COPY (${query}) TO ${literal(path)} (${how}, PRESERVE_ORDER true)`);
    const { size } = await Deno.stat(path);
    return { rows: Number(reader.getRows()[0][0]), bytes: size };
  } catch (error) {
    await Deno.remove(path).catch(() => {});
    if (signal.aborted) throw signal.reason;
    throw failure(error as Error);
  } finally {
    signal.removeEventListener("abort", onAbort);
    connection.closeSync();
  }
}

/** A full disk, or too little memory, is for whoever runs this to mend. */
function failure(error: Error): Error {
  const [line] = error.message.split("\n");
  return /^(IO|Out of Memory) Error/.test(line)
    ? new UnavailableError(`the file could not be made: ${line}`, { cause: error })
    : error;
}
