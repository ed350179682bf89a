/**
 * Writes Parquet through DuckDB and takes the files into the lake, with the statistics that the table's log keeps.
 *
 * @module
 */
import type { DuckDBConnection } from "@duckdb/node-api";
import { join } from "node:path";
import { keyOf, newDataPath } from "./delta/data_path.ts";
import { type ColumnFigures, fileStats } from "./delta/file_stats.ts";
import { duckdbType } from "./delta/schema.ts";
import type { DataFile, DeltaSchema } from "./delta/table.ts";
import { duckdbFailure } from "./duckdb_failure.ts";
import type { ObjectStore, StoreOptions } from "./object_store.ts";
import { identifier, literal } from "../../sql_text.ts";

export interface WriteFilesOptions extends StoreOptions {
  readonly store: ObjectStore;
  readonly table: string;
  readonly schema: DeltaSchema;
  readonly partitionColumns: readonly string[];
  /** Files are cut at about so many bytes; one per partition where not told. */
  readonly fileBytes?: number;
  /** The partition of all rows, where it is known: the query is then run once, and need not have its columns. */
  readonly partitionValues?: DataFile["partitionValues"];
  /** Text columns that are ENUMs in the query. They are text in the files, and written as the dictionaries that they are. */
  readonly coded?: readonly CodedColumn[];
  /** How hard zstd tries, 1 to 22; 3 unless told. */
  readonly zstdLevel?: number;
}

/** DuckDB does not say the bounds of an ENUM's texts. */
export interface CodedColumn {
  readonly name: string;
  /** In the order of their bytes. */
  readonly least: string;
  readonly most: string;
}

/** A file that DuckDB wrote, in the scratch folder. */
interface WrittenFile {
  readonly path: string;
  readonly rows: number;
  readonly bytes: number;
  readonly columns: ReadonlyMap<string, ColumnFigures>;
  readonly partitionValues: Readonly<Record<string, string | null>>;
}

/**
 * Writes the rows of a query as data files of a table: zstd, a folder per partition. The query's columns must be the schema's, by
 * name; they are cast to its types. Rows keep the query's order where it has an ORDER BY. No rows, no files. Nothing is committed;
 * a crash leaves files that the table's log does not name.
 *
 * With `fileBytes` and partitions the query runs once to name the partitions and once for each of them.
 *
 * @throws UnavailableError when the disk is full, memory is short or the store is away
 * @throws the signal's reason; whatever else the connection is at ends, too
 */
export async function writeFiles(
  connection: DuckDBConnection,
  query: string,
  options: WriteFilesOptions,
): Promise<DataFile[]> {
  const { store, signal } = options;
  signal?.throwIfAborted();
  const folder = join(store.scratch, crypto.randomUUID());
  await Deno.mkdir(folder, { recursive: true });
  const interrupt = () => connection.interrupt();
  signal?.addEventListener("abort", interrupt, { once: true });
  try {
    const written = await writeParts(connection, query, { ...options, folder });
    const files: DataFile[] = [];
    for (const file of written) if (file.rows > 0) files.push(await take(file, options));
    return files;
  } catch (error) {
    signal?.throwIfAborted();
    throw error;
  } finally {
    signal?.removeEventListener("abort", interrupt);
    await Deno.remove(folder, { recursive: true });
  }
}

async function writeParts(
  connection: DuckDBConnection,
  query: string,
  options: WriteFilesOptions & { readonly folder: string },
): Promise<WrittenFile[]> {
  const { folder, schema, partitionColumns, partitionValues, fileBytes, zstdLevel, coded = [] } = options;
  const isApart = (name: string) => partitionValues !== undefined && partitionColumns.includes(name);
  const isCoded = (name: string) => coded.some((column) => column.name === name) && !partitionColumns.includes(name);
  const columns = schema.fields.filter(({ name }) => !isApart(name)).map(({ name, type }) => {
    const column = identifier(name);
    return isCoded(name) ? column : `CAST(${column} AS ${duckdbType(type)}) AS ${column}`;
  });
  const select = `SELECT ${columns.join(", ")} FROM (${query})`;
  const copyPart = async (part: string, into: string, values: DataFile["partitionValues"]) =>
    (await copy(connection, part, { folder: into, partitionColumns: [], fileBytes, zstdLevel }))
      .map((file) => ({ ...file, partitionValues: values }));

  if (partitionValues !== undefined) return await copyPart(select, folder, partitionValues);
  if (partitionColumns.length === 0) return await copyPart(select, folder, {});
  if (fileBytes === undefined) {
    return await copy(connection, select, { folder, partitionColumns, fileBytes, zstdLevel });
  }
  const written: WrittenFile[] = [];
  for (const values of await partitionsOf(connection, select, partitionColumns)) {
    const into = join(folder, String(written.length));
    await Deno.mkdir(into);
    const where = partitionColumns.map((name) => {
      const value = values[name];
      return `${partitionText(name)} IS NOT DISTINCT FROM ${value === null ? "NULL" : literal(value)}`;
    }).join(" AND ");
    const part = `SELECT * EXCLUDE (${partitionColumns.map(identifier).join(", ")}) FROM (${select}) WHERE ${where}`;
    written.push(...await copyPart(part, into, values));
  }
  return written;
}

async function copy(
  connection: DuckDBConnection,
  select: string,
  options: {
    readonly folder: string;
    readonly partitionColumns: readonly string[];
    readonly fileBytes: number | undefined;
    readonly zstdLevel: number | undefined;
  },
): Promise<WrittenFile[]> {
  const { folder, partitionColumns, fileBytes, zstdLevel } = options;
  const how = ["FORMAT parquet", "COMPRESSION zstd", "RETURN_STATS"];
  if (zstdLevel !== undefined) how.push(`COMPRESSION_LEVEL ${zstdLevel}`);
  let target = folder;
  if (partitionColumns.length > 0) {
    how.push(`PARTITION_BY (${partitionColumns.map(identifier).join(", ")})`, "FILENAME_PATTERN 'part-{uuid}'");
    how.push("OVERWRITE_OR_IGNORE");
  } else if (fileBytes !== undefined) {
    how.push(`FILE_SIZE_BYTES ${Math.ceil(fileBytes)}`, "FILENAME_PATTERN 'part-{uuid}'", "OVERWRITE_OR_IGNORE");
  } else {
    target = join(folder, "part.parquet");
  }
  const result = await connection.run(`COPY (${select}) TO ${literal(target)} (${how.join(", ")})`).catch((error) => {
    throw duckdbFailure(error, `write into ${folder}`);
  });
  const written: WrittenFile[] = [];
  for (const [path, rows, bytes, , columns, keys] of await result.getRowsJS() as unknown as readonly StatsRow[]) {
    const partitionValues: Record<string, string | null> = {};
    for (const { key, value } of entriesOf(keys)) partitionValues[key] = value === "" ? null : value;
    written.push({
      path,
      rows: Number(rows),
      bytes: Number(bytes),
      columns: new Map(
        entriesOf(columns).map(({ key, value }) => [
          key,
          new Map(entriesOf(value).map((figure) => [figure.key, figure.value])),
        ]),
      ),
      partitionValues,
    });
  }
  return written;
}

/** A row of what COPY with RETURN_STATS says: path, rows, bytes, the footer's bytes, figures by column, the partition's values. */
type StatsRow = readonly [
  string,
  bigint,
  bigint,
  bigint,
  MapRows<MapRows<string>> | null,
  MapRows<string | null> | null,
];
type MapRows<T> = readonly { readonly key: string; readonly value: T }[];

function entriesOf<T>(rows: MapRows<T> | null): MapRows<T> {
  return rows ?? [];
}

async function partitionsOf(
  connection: DuckDBConnection,
  select: string,
  partitionColumns: readonly string[],
): Promise<Record<string, string | null>[]> {
  const names = partitionColumns.map(partitionText).join(", ");
  const rows = await (await connection.run(`SELECT DISTINCT ${names} FROM (${select}) ORDER BY ALL`)).getRowsJS();
  return rows.map((row) => Object.fromEntries(partitionColumns.map((name, i) => [name, row[i] as string | null])));
}

/** A partition's value as the log has it, which cannot tell an empty text from null. */
function partitionText(name: string): string {
  return `NULLIF(CAST(${identifier(name)} AS VARCHAR), '')`;
}

async function take(file: WrittenFile, options: WriteFilesOptions): Promise<DataFile> {
  const { store, table, schema, partitionColumns, coded, signal } = options;
  const path = newDataPath(partitionColumns, file.partitionValues);
  await store.take(file.path, keyOf(table, { path }), { signal });
  return {
    path,
    partitionValues: file.partitionValues,
    bytes: file.bytes,
    modifiedMs: Date.now(),
    stats: fileStats(file.rows, bounded(file, coded ?? []), schema),
  };
}

/** The figures with the bounds of coded texts, which are those of all files together. */
function bounded({ rows, columns }: WrittenFile, coded: readonly CodedColumn[]): WrittenFile["columns"] {
  const figures = new Map(columns);
  for (const { name, least, most } of coded) {
    const known = figures.get(identifier(name));
    if (known === undefined || known.get("null_count") === String(rows)) continue;
    figures.set(identifier(name), new Map([...known, ["min", least], ["max", most]]));
  }
  return figures;
}

/** A data file where DuckDB finds it. */
export interface LocalDataFile {
  readonly path: string;
  readonly partitionValues: DataFile["partitionValues"];
}

/**
 * SQL that reads data files of a table, given as local paths, with all of the schema's columns in its order; null where a file
 * lacks one. Files of a partition are one scan, so that a filter on the partition's columns leaves out the others' scans.
 */
export function readFilesSql(
  files: readonly LocalDataFile[],
  schema: DeltaSchema,
  partitionColumns: readonly string[],
): string {
  const empty = schema.fields.map(({ name, type }) => `NULL::${duckdbType(type)} AS ${identifier(name)}`).join(", ");
  const types = new Map(schema.fields.map(({ name, type }) => [name, duckdbType(type)]));
  const partitions = new Map<string, { readonly values: DataFile["partitionValues"]; readonly paths: string[] }>();
  for (const { path, partitionValues } of files) {
    const id = JSON.stringify(partitionColumns.map((name) => partitionValues[name] ?? null));
    const found = partitions.get(id);
    if (found === undefined) partitions.set(id, { values: partitionValues, paths: [path] });
    else found.paths.push(path);
  }
  // The part without rows gives every column its type, also one that no file has yet.
  const scans = [`SELECT ${empty} WHERE false`];
  for (const { values, paths } of partitions.values()) {
    const constants = partitionColumns.map((name) => {
      const value = values[name] ?? null;
      return `, ${value === null ? "NULL" : literal(value)}::${types.get(name)} AS ${identifier(name)}`;
    }).join("");
    scans.push(
      `SELECT *${constants} FROM read_parquet([${paths.map(literal).join(", ")}], union_by_name = true, ` +
        `hive_partitioning = false)`,
    );
  }
  const columns = schema.fields.map(({ name, type }) => {
    return `CAST(${identifier(name)} AS ${duckdbType(type)}) AS ${identifier(name)}`;
  });
  return `SELECT ${columns.join(", ")} FROM (${scans.join(" UNION ALL BY NAME ")})`;
}
