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
import { avroNames, columnUse, fieldValues, type FileColumn, inferSchema, wholeNumber } from "./file_replay_schema.ts";
import {
  type CsvFound,
  csvFoundSql,
  csvKeepingEmpty,
  csvTable,
  type FileSource,
  fileSource,
  jsonTable,
} from "./file_replay_source.ts";

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
 * One without rows has no columns to speak of either: it opens, whatever the schema.
 *
 * @throws ConfigError when it is missing or unreadable, of no known format, or lacks a column
 */
export async function openReplayFile(options: FileOptions): Promise<ReplayFile> {
  const { file } = options;
  const source = await fileSource(file);
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
    const columns = await describeColumns(connection, source.typed, file);
    const schema = options.schema ?? inferSchema(columns, options.recordName);
    const rows = await numberOf(connection, `SELECT count(*) FROM ${source.typed}`, file);
    if (rows === 0) return { schema, rows, renamed: [], read: noRows, [Symbol.asyncDispose]: close };
    const csv = source.format === "csv" ? await describeCsv(connection, source, file) : null;
    const query = queryFor(options, { schema, columns, source, csv });
    const names = avroNames(columns);
    const renamed = columns.map(({ name }, i) => ({ column: name, field: names[i] }));
    return {
      schema,
      rows,
      renamed: options.schema ? [] : renamed.filter(({ column, field }) => column !== field),
      read: () => readRows(connection, { ...query, file, rows }),
      [Symbol.asyncDispose]: close,
    };
  } catch (error) {
    await close();
    throw error;
  }
}

async function* noRows(): AsyncGenerator<FileRows> {}

async function describeColumns(connection: DuckDBConnection, source: string, file: string): Promise<FileColumn[]> {
  const described = await asConfigError(file, () => connection.runAndReadAll(`DESCRIBE SELECT * FROM ${source}`));
  return described.getRows().map(([name, type]) => ({ name: String(name), type: String(type) }));
}

/** How a CSV file is read with quoted empty texts kept. */
interface Csv {
  readonly found: CsvFound;
  /** Its columns are then these. */
  readonly keeping: readonly FileColumn[];
}

async function describeCsv(connection: DuckDBConnection, source: FileSource, file: string): Promise<Csv> {
  const sniffed = await asConfigError(file, () => connection.runAndReadAll(csvFoundSql(source)));
  const [header, date, timestamp] = sniffed.getRows()[0];
  const found = {
    header: header === true,
    dateFormat: date ? String(date) : null,
    timestampFormat: timestamp ? String(timestamp) : null,
  };
  return { found, keeping: await describeColumns(connection, csvKeepingEmpty(source, found), file) };
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
  /** For each field, whether its values go through `wholeNumber`. */
  readonly whole: readonly boolean[];
  readonly hasKey: boolean;
  readonly hasTime: boolean;
}

interface Found {
  readonly schema: AvroSchema;
  readonly columns: readonly FileColumn[];
  readonly source: FileSource;
  /** Null when the file is no CSV. */
  readonly csv: Csv | null;
}

/** One column for each field, then the key's text, then the event time in milliseconds. */
function queryFor({ key, eventTime, file }: FileOptions, { schema, columns, source, csv }: Found): Query {
  const faults: Fault[] = [];
  const record = parseSchema(schema);
  if (record.kind !== "record") {
    throw new ConfigError({ where: "schema", problem: "rows of a file are written as a record" });
  }
  const keySql = key === undefined ? null : columnNamed(columns, key, { where: "--key", faults });
  const time = eventTime === undefined ? null : columnNamed(columns, eventTime, { where: "--event-time", faults });
  const use = columnUse(record, columns, { format: source.format, typed: time ?? undefined });
  const read = columns.map((column) => use.asText.has(column.name) ? { ...column, type: "VARCHAR" } : column);
  const values = fieldValues(record, read, faults);
  if (faults.length > 0) {
    throw new ConfigError(faults.map(({ where, problem }) => ({ where, problem: `${problem} (${file})` })));
  }
  const table = csv !== null
    ? csvTable(source, { ...use, ...csv, columns })
    : source.format === "json"
    ? jsonTable(source, use)
    : source.typed;
  const timeSql = time === null
    ? null
    : /INT/.test(time.type)
    ? `CAST(${identifier(time.name)} AS DOUBLE)`
    : `epoch_us(CAST(${identifier(time.name)} AS TIMESTAMP)) / 1000.0`;
  const selected = [
    ...values.map(({ sql }) => sql),
    ...(keySql ? [`CAST(${identifier(keySql.name)} AS VARCHAR)`] : []),
    ...(timeSql ? [timeSql] : []),
  ].map((sql, i) => `${sql} AS c${i}`).join(", ");
  // A sort alone may swap rows of the same time: the row's number keeps them in the file's order.
  const sql = timeSql === null
    ? `SELECT ${selected} FROM ${table}`
    : `SELECT * EXCLUDE (n) FROM (SELECT ${selected}, row_number() OVER () AS n FROM ${table}) ` +
      `ORDER BY c${values.length + (keySql ? 1 : 0)} NULLS FIRST, n`;
  // Refuses what cannot be encoded before anything is read.
  createRowEncoder(schema);
  return { sql, whole: values.map(({ whole }) => whole), hasKey: keySql !== null, hasTime: timeSql !== null };
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

async function* readRows(
  connection: DuckDBConnection,
  query: Query & { file: string; rows: number },
): AsyncGenerator<FileRows> {
  const { sql, whole, hasKey, hasTime, file, rows } = query;
  let read = 0;
  const fields = whole.length;
  const result = await asConfigError(file, () => connection.stream(sql));
  for (;;) {
    const chunk = await asConfigError(file, () => result.fetchChunk());
    if (chunk === null || chunk.rowCount === 0) {
      if (read < rows) await failOf(connection, { sql, file, problem: `ends after ${read} of ${rows} rows` });
      return;
    }
    read += chunk.rowCount;
    const columns = chunk.getColumns() as unknown[][];
    for (let i = 0; i < fields; i++) {
      if (columns[i].some((value) => value instanceof DuckDBBlobValue)) {
        columns[i] = columns[i].map((value) => value instanceof DuckDBBlobValue ? value.bytes : value);
      }
      if (whole[i]) columns[i] = (columns[i] as ResultValue[]).map(wholeNumber);
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

/** A stream that fails in its middle ends there without a word: what it failed of is told by the same query, not streamed. */
async function failOf(
  connection: DuckDBConnection,
  { sql, file, problem }: { sql: string; file: string; problem: string },
): Promise<never> {
  await asConfigError(file, () => connection.runAndReadAll(`SELECT count(COLUMNS(*)) FROM (${sql})`));
  throw new ConfigError({ where: file, problem });
}
