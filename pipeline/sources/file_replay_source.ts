/**
 * The tables that DuckDB reads a file as: its columns with the types found in it, and some of them as the text that stands
 * in the file, for fields that take a value exactly or not at all.
 *
 * @module
 */
import { ConfigError } from "../errors.ts";
import { identifier, literal } from "../sql_text.ts";
import type { FileColumn } from "./file_replay_schema.ts";

export type FileFormat = "csv" | "json" | "parquet";

/** A file that is there. */
export interface FileSource {
  readonly format: FileFormat;
  /** Its path, as a literal of SQL. */
  readonly path: string;
  /** SQL of the table with the types that DuckDB finds; a quoted empty text is null there. */
  readonly typed: string;
}

/** How columns are read when their type is not the one that DuckDB finds. */
export interface ColumnUse {
  /** Names of columns that come as the text in the file. */
  readonly asText: ReadonlySet<string>;
  /** Names of columns where a quoted empty text is one, and not null. */
  readonly keepsEmpty: ReadonlySet<string>;
}

/**
 * Tells the format by the name: `.csv`, `.tsv`, `.ndjson`, `.jsonl`, `.json`, each also `.gz`, or `.parquet`.
 *
 * @throws ConfigError when the file is missing, cannot be opened, or is of no known format
 */
export async function fileSource(file: string): Promise<FileSource> {
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
  if (/\.(csv|tsv)$/.test(name)) return { format: "csv", path, typed: `read_csv(${path}, sample_size = -1)` };
  if (/\.(ndjson|jsonl|json)$/.test(name)) {
    return { format: "json", path, typed: `read_json(${path}, sample_size = -1)` };
  }
  if (name.endsWith(".parquet") && !file.toLowerCase().endsWith(".gz")) {
    return { format: "parquet", path, typed: `read_parquet(${path})` };
  }
  throw new ConfigError({
    where: file,
    problem: "is of no known format: .csv, .tsv, .ndjson, .jsonl or .json, each also with .gz, or .parquet",
  });
}

/** What DuckDB finds in a CSV file while a quoted empty text is null: read otherwise, it may find something else. */
export interface CsvFound {
  readonly header: boolean;
  /** How dates and timestamps are written, for `strptime`; null as ISO 8601 has them. */
  readonly dateFormat: string | null;
  readonly timestampFormat: string | null;
}

/** SQL that gives the values of `CsvFound`, in its order. */
export function csvFoundSql({ path }: FileSource): string {
  return `SELECT HasHeader, DateFormat, TimestampFormat FROM sniff_csv(${path}, sample_size = -1)`;
}

/** CSV in which a quoted empty text is one: a column of numbers with such texts in it is then a column of texts. */
export function csvKeepingEmpty({ path }: FileSource, { header }: CsvFound, asText: Iterable<string> = []): string {
  const types = [...asText].map((name) => `${literal(name)}: 'VARCHAR'`).join(", ");
  return `read_csv(${path}, sample_size = -1, header = ${header}, allow_quoted_nulls = false` +
    `${types ? `, types = {${types}}` : ""})`;
}

/**
 * SQL of a CSV file's rows. `columns` are those of `typed`, `keeping` the same of `csvKeepingEmpty`. What is no text takes a
 * quoted empty text for null.
 */
export function csvTable(
  source: FileSource,
  { asText, keepsEmpty, found, columns, keeping }: ColumnUse & {
    readonly found: CsvFound;
    readonly columns: readonly FileColumn[];
    readonly keeping: readonly FileColumn[];
  },
): string {
  const replaced = columns.flatMap(({ name, type }, i) => {
    const column = identifier(name);
    const text = `NULLIF(trim(${column}), '')`;
    if (keepsEmpty.has(name)) return [];
    if (asText.has(name) || type === "VARCHAR") return [`${text} AS ${column}`];
    if (keeping[i].type === type) return [];
    const format = type === "DATE" ? found.dateFormat : type === "TIMESTAMP" ? found.timestampFormat : null;
    return [`CAST(${format === null ? text : `strptime(${text}, ${literal(format)})`} AS ${type}) AS ${column}`];
  });
  return selectReplacing("*", replaced, csvKeepingEmpty(source, found, asText));
}

/**
 * An object's text with each number in quotes. One match is all that comes before a number, texts as a whole, and the number;
 * the last match is what comes after the last one, with two quotes that are cut off again.
 */
const NUMBERS = String.raw`((?:"(?:[^"\\]|\\.)*"|[^"0-9-])*)(-?[0-9][0-9.eE+-]*|$)`;

/**
 * SQL of a JSON file's rows. DuckDB's parser makes a double of every number with a point, whatever type is asked for: the
 * columns read as text come from the objects' own text, beside the row that was made of it.
 */
export function jsonTable({ path, typed }: FileSource, { asText }: ColumnUse): string {
  if (asText.size === 0) return typed;
  const texts = `SELECT left(regexp_replace(CAST(json AS VARCHAR), '${NUMBERS}', '\\1"\\2"', 'g'), -2) AS text ` +
    `FROM read_json_objects(${path})`;
  const replaced = [...asText].map((name) => {
    const pointer = literal(`/${name.replaceAll("~", "~0").replaceAll("/", "~1")}`);
    return `json_extract_string(texts.text, ${pointer}) AS ${identifier(name)}`;
  });
  return selectReplacing("typed.*", replaced, `${typed} typed POSITIONAL JOIN (${texts}) texts`);
}

function selectReplacing(columns: string, replaced: readonly string[], from: string): string {
  if (replaced.length === 0) return from;
  return `(SELECT ${columns} REPLACE (${replaced.join(", ")}) FROM ${from})`;
}
