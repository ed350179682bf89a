/**
 * A CSV, NDJSON or Parquet file as a stream of columns of values, read by DuckDB.
 *
 * @module
 */
import { DuckDBBlobValue, type DuckDBConnection, DuckDBInstance } from "@duckdb/node-api";
import { createRowEncoder } from "../codec/encode.ts";
import { parseSchema } from "../codec/schema.ts";
import { ConfigError, type Fault } from "../errors.ts";
import type { AvroSchema } from "../plan/plan.ts";
import type { ResultValue } from "../sinks/sink.ts";
import { identifier, literal } from "../sql_text.ts";
import { avroNames, fieldValues, type FileColumn, inferSchema } from "./file_replay_schema.ts";

/** What DuckDB may hold in memory; sorting more goes to a temporary folder. */
const MEMORY_LIMIT = "512MB";

export interface FileOptions {
  readonly file: string;
  /** Record name of an inferred schema. */
  readonly recordName: string;
  /** Fields are found by name, without regard to case; inferred from the columns when absent. */
  readonly schema?: AvroSchema;
  /** Column whose text is the record's key. */
  readonly key?: string;
  /** Column to order by, of a date or timestamp type, or a number of milliseconds since the epoch. */
  readonly eventTime?: string;
}

/** Rows of the file: `values[field][row]` in the order of the schema's fields. */
export interface FileRows {
  readonly length: number;
  readonly values: readonly (readonly ResultValue[])[];
  readonly keys: readonly (string | null)[] | null;
  /** Milliseconds since the epoch, null where the file has none. */
  readonly eventTimes: readonly (number | null)[] | null;
}

/** An opened file. */
export interface ReplayFile extends AsyncDisposable {
  readonly schema: AvroSchema;
  readonly rows: number;
  /** Column names that Avro forbids, and what they became. */
  readonly renamed: readonly { readonly column: string; readonly field: string }[];
  /** All rows, ordered by event time where there is one (equal times in the file's order), a few thousand at a time. */
  read(): AsyncGenerator<FileRows>;
}

/**
 * Opens a file: `.csv`, `.tsv`, `.ndjson`, `.jsonl`, `.json`, each also `.gz`, or `.parquet`.
 *
 * @throws ConfigError when it is missing or unreadable, of no known format, or lacks a column
 */
export async function openReplayFile(options: FileOptions): Promise<ReplayFile> {
  const { file } = options;
  const source = await sourceOf(file);
  const instance = await DuckDBInstance.create(":memory:", {
    memory_limit: MEMORY_LIMIT,
    autoinstall_known_extensions: "false",
  });
  const spill = await Deno.makeTempDir({ prefix: "tailrace-replay-" });
  const connection = await instance.connect();
  const close = async () => {
    connection.closeSync();
    instance.closeSync();
    await Deno.remove(spill, { recursive: true }).catch(() => {});
  };
  try {
    await connection.run(`SET temp_directory = ${literal(spill)}; SET TimeZone = 'UTC'`);
    const columns = await describeColumns(connection, source, file);
    const schema = options.schema ?? inferSchema(columns, options.recordName);
    const query = queryFor(options, { schema, columns, source });
    const rows = await numberOf(connection, `SELECT count(*) FROM ${source}`, file);
    const names = avroNames(columns);
    const renamed = columns.map(({ name }, i) => ({ column: name, field: names[i] }));
    return {
      schema,
      rows,
      renamed: options.schema ? [] : renamed.filter(({ column, field }) => column !== field),
      read: () => readRows(connection, { ...query, file }),
      [Symbol.asyncDispose]: close,
    };
  } catch (error) {
    await close();
    throw error;
  }
}

/** The table function that reads the file. */
async function sourceOf(file: string): Promise<string> {
  try {
    if (!(await Deno.stat(file)).isFile) throw new ConfigError({ where: file, problem: "is a folder, not a file" });
    (await Deno.open(file)).close();
  } catch (error) {
    if (error instanceof ConfigError) throw error;
    const problem = error instanceof Deno.errors.NotFound ? "there is no such file" : (error as Error).message;
    throw new ConfigError({ where: file, problem });
  }
  // In DuckDB's paths these stand for other characters; a bracket makes a set of one.
  const path = literal(file.replace(/[*?[]/g, (character) => `[${character}]`));
  const name = file.toLowerCase().replace(/\.gz$/, "");
  if (/\.(csv|tsv)$/.test(name)) return `read_csv(${path}, sample_size = -1)`;
  if (/\.(ndjson|jsonl|json)$/.test(name)) return `read_json(${path}, sample_size = -1)`;
  if (name.endsWith(".parquet") && !file.toLowerCase().endsWith(".gz")) return `read_parquet(${path})`;
  throw new ConfigError({
    where: file,
    problem: "is of no known format: .csv, .tsv, .ndjson, .jsonl or .json, each also with .gz, or .parquet",
  });
}

async function describeColumns(connection: DuckDBConnection, source: string, file: string): Promise<FileColumn[]> {
  const described = await asConfigError(file, () => connection.runAndReadAll(`DESCRIBE SELECT * FROM ${source}`));
  return described.getRows().map(([name, type]) => ({ name: String(name), type: String(type) }));
}

async function numberOf(connection: DuckDBConnection, sql: string, file: string): Promise<number> {
  return Number((await asConfigError(file, () => connection.runAndReadAll(sql))).getRows()[0][0]);
}

/** DuckDB's own words for what is wrong with the file, without its hints about SQL. */
async function asConfigError<T>(file: string, act: () => Promise<T>): Promise<T> {
  try {
    return await act();
  } catch (error) {
    const [first] = (error as Error).message.split("\n\n");
    throw new ConfigError({ where: file, problem: `cannot be read: ${first.replaceAll(/\s+/g, " ").slice(0, 500)}` });
  }
}

interface Query {
  readonly sql: string;
  readonly fields: number;
  readonly hasKey: boolean;
  readonly hasTime: boolean;
}

interface Found {
  readonly schema: AvroSchema;
  readonly columns: readonly FileColumn[];
  readonly source: string;
}

/** One column for each field, then the key's text, then the event time in milliseconds. */
function queryFor({ key, eventTime, file }: FileOptions, { schema, columns, source }: Found): Query {
  const faults: Fault[] = [];
  const record = parseSchema(schema);
  if (record.kind !== "record") {
    throw new ConfigError({ where: "schema", problem: "rows of a file are written as a record" });
  }
  const values = fieldValues(record, columns, faults);
  const keySql = key === undefined ? null : columnNamed(columns, key, { where: "--key", faults });
  const time = eventTime === undefined ? null : columnNamed(columns, eventTime, { where: "--event-time", faults });
  if (faults.length > 0) {
    throw new ConfigError(faults.map(({ where, problem }) => ({ where, problem: `${problem} (${file})` })));
  }
  const timeSql = time === null
    ? null
    : /INT/.test(time.type)
    ? `CAST(${identifier(time.name)} AS DOUBLE)`
    : `epoch_us(CAST(${identifier(time.name)} AS TIMESTAMP)) / 1000.0`;
  const selected = [
    ...values,
    ...(keySql ? [`CAST(${identifier(keySql.name)} AS VARCHAR)`] : []),
    ...(timeSql ? [timeSql] : []),
  ].map((sql, i) => `${sql} AS c${i}`).join(", ");
  // A sort alone may swap rows of the same time: the row's number keeps them in the file's order.
  const sql = timeSql === null
    ? `SELECT ${selected} FROM ${source}`
    : `SELECT * EXCLUDE (n) FROM (SELECT ${selected}, row_number() OVER () AS n FROM ${source}) ` +
      `ORDER BY c${values.length + (keySql ? 1 : 0)} NULLS FIRST, n`;
  // Refuses what cannot be encoded before anything is read.
  createRowEncoder(schema);
  return { sql, fields: values.length, hasKey: keySql !== null, hasTime: timeSql !== null };
}

function columnNamed(
  columns: readonly FileColumn[],
  name: string,
  { where, faults }: { where: string; faults: Fault[] },
): FileColumn | null {
  const found = columns.find((column) => column.name === name) ??
    columns.find((column) => column.name.toLowerCase() === name.toLowerCase());
  if (found !== undefined) return found;
  faults.push({
    where,
    problem: `there is no column ${name}; the file has ${columns.map(({ name }) => name).join(", ")}`,
  });
  return null;
}

async function* readRows(connection: DuckDBConnection, query: Query & { file: string }): AsyncGenerator<FileRows> {
  const { sql, fields, hasKey, hasTime, file } = query;
  const result = await asConfigError(file, () => connection.stream(sql));
  for (;;) {
    const chunk = await asConfigError(file, () => result.fetchChunk());
    if (chunk === null || chunk.rowCount === 0) return;
    const columns = chunk.getColumns() as unknown[][];
    for (let i = 0; i < fields; i++) {
      if (columns[i].some((value) => value instanceof DuckDBBlobValue)) {
        columns[i] = columns[i].map((value) => value instanceof DuckDBBlobValue ? value.bytes : value);
      }
    }
    yield {
      length: chunk.rowCount,
      // The SQL has made every value a boolean, number, bigint, string or blob.
      values: columns.slice(0, fields) as ResultValue[][],
      keys: hasKey ? columns[fields] as (string | null)[] : null,
      eventTimes: hasTime ? columns[fields + (hasKey ? 1 : 0)] as (number | null)[] : null,
    };
  }
}
