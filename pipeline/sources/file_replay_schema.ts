/**
 * Columns of a file as DuckDB sees them, to fields of an Avro record and back: what schema is inferred, and what SQL turns
 * a column into the values that the row encoder takes.
 *
 * | DuckDB                                  | Avro, always in a union with null                             |
 * |-----------------------------------------|---------------------------------------------------------------|
 * | BOOLEAN                                 | boolean                                                       |
 * | TINYINT to INTEGER, UTINYINT, USMALLINT | int                                                           |
 * | UINTEGER, BIGINT                        | long                                                          |
 * | UBIGINT, HUGEINT                        | decimal(20, 0), decimal(38, 0)                                |
 * | FLOAT, DOUBLE                           | float, double                                                 |
 * | DECIMAL(p, s)                           | decimal(p, s)                                                 |
 * | DATE, TIME                              | date, time-micros                                             |
 * | TIMESTAMP_S, TIMESTAMP_MS               | timestamp-millis, taken as UTC                                |
 * | TIMESTAMP, TIMESTAMP_NS, with time zone | timestamp-micros, without one taken as UTC; nanoseconds cut   |
 * | UUID                                    | uuid                                                          |
 * | BLOB                                    | bytes                                                         |
 * | lists, structs, maps, unions            | string: the value as JSON                                     |
 * | everything else, VARCHAR and ENUM too   | string                                                        |
 *
 * A given schema takes int, long and decimal exactly, or the row is refused: from CSV and JSON the digits that stand in the
 * file count, never a double made of them; a FLOAT or DOUBLE of Parquet counts as the shortest decimal that reads back as
 * it (0.1 is 0.1), as in JSON. Zeros at the end may go: 2.00 is an int, 1.500 a decimal of scale 2. A string's field has
 * the text of CSV as it stands. In CSV, what is empty is null; what is empty in quotes is the empty text in a string's
 * field, and null in any other.
 *
 * @module
 */
import { parseDecimal, Refused } from "../codec/decimal_text.ts";
import { columnType, type RecordType, withoutNull } from "../codec/schema.ts";
import type { FieldType } from "../columns.ts";
import type { Fault } from "../errors.ts";
import type { AvroSchema } from "../plan/plan.ts";
import type { ResultValue } from "../sinks/sink.ts";
import { identifier } from "../sql_text.ts";
import type { ColumnUse, FileFormat } from "./file_replay_source.ts";

/** A column of the file: its name, and its type as DuckDB writes it. */
export interface FileColumn {
  readonly name: string;
  readonly type: string;
}

/** A column name with what Avro forbids replaced by `_`: `Flight Date` is `Flight_Date`, `2nd` is `_2nd`. */
export function avroName(name: string): string {
  const replaced = name.replace(/[^A-Za-z0-9_]/g, "_");
  return /^[A-Za-z_]/.test(replaced) ? replaced : `_${replaced}`;
}

/** The Avro name of each column; names that become equal get a number. */
export function avroNames(columns: readonly FileColumn[]): string[] {
  const taken = new Set<string>();
  return columns.map(({ name }) => {
    const base = avroName(name);
    let unique = base;
    for (let n = 2; taken.has(unique); n++) unique = `${base}_${n}`;
    taken.add(unique);
    return unique;
  });
}

/** The schema for a file's columns; a column whose name had to change keeps it in the field's `doc`. */
export function inferSchema(columns: readonly FileColumn[], recordName: string): AvroSchema {
  const names = avroNames(columns);
  const fields = columns.map(({ name, type }, i) => ({
    name: names[i],
    type: ["null", inferType(type)],
    default: null,
    ...(names[i] === name ? {} : { doc: `column ${name}` }),
  }));
  return { type: "record", name: avroName(recordName), fields };
}

function inferType(type: string): AvroSchema {
  const decimal = (precision: number, scale: number) => ({ type: "bytes", logicalType: "decimal", precision, scale });
  const [, precision, scale] = /^DECIMAL\((\d+),(\d+)\)$/.exec(type) ?? [];
  if (precision !== undefined) return decimal(Number(precision), Number(scale));
  switch (type) {
    case "BOOLEAN":
      return "boolean";
    case "TINYINT":
    case "SMALLINT":
    case "INTEGER":
    case "UTINYINT":
    case "USMALLINT":
      return "int";
    case "UINTEGER":
    case "BIGINT":
      return "long";
    case "UBIGINT":
      return decimal(20, 0);
    case "HUGEINT":
      return decimal(38, 0);
    case "FLOAT":
      return "float";
    case "DOUBLE":
      return "double";
    case "DATE":
      return { type: "int", logicalType: "date" };
    case "TIME":
      return { type: "long", logicalType: "time-micros" };
    case "TIMESTAMP_S":
    case "TIMESTAMP_MS":
      return { type: "long", logicalType: "timestamp-millis" };
    case "TIMESTAMP":
    case "TIMESTAMP_NS":
    case "TIMESTAMP WITH TIME ZONE":
      return { type: "long", logicalType: "timestamp-micros" };
    case "UUID":
      return { type: "string", logicalType: "uuid" };
    case "BLOB":
      return "bytes";
    default:
      return "string";
  }
}

/** How the values of a field are read. */
export interface FieldValue {
  readonly sql: string;
  /** Set where `sql` gives texts or bigints of which the encoder takes whole numbers: `wholeNumber` makes them. */
  readonly whole: boolean;
}

/** The column of each field, found by name or alias, without regard to case. */
function columnsOf(record: RecordType, columns: readonly FileColumn[]): (FileColumn | undefined)[] {
  const names = avroNames(columns);
  const find = (name: string) => {
    const exact = names.indexOf(name);
    return columns[exact >= 0 ? exact : names.findIndex((known) => known.toLowerCase() === name.toLowerCase())];
  };
  return record.fields.map(({ name, aliases }) => [name, ...aliases].map(find).find((found) => found !== undefined));
}

/** Which columns are read as the text that stands in the file, for the fields they go to. */
export function columnUse(
  record: RecordType,
  columns: readonly FileColumn[],
  { format, typed }: { readonly format: FileFormat; /** A column that keeps its type. */ readonly typed?: FileColumn },
): ColumnUse {
  const asText = new Set<string>();
  const keepsEmpty = new Set<string>();
  const found = columnsOf(record, columns);
  for (const [i, field] of record.fields.entries()) {
    const type = columnType(field.type);
    const column = found[i];
    if (typeof type === "string" || column === undefined) continue;
    const number = type.type === "decimal" || type.type === "int" || type.type === "long";
    const text = type.type === "string" || type.type === "enum";
    const rounded = column.type === "DOUBLE" || (number && column.type === "JSON");
    const changed = format === "csv"
      ? (number && !EXACT.test(column.type)) || (text && column.type !== "VARCHAR" && column !== typed)
      : format === "json" && (number || text) && rounded;
    if (changed) asText.add(column.name);
    if ((type.type === "string" || type.type === "bytes") && (changed || column.type === "VARCHAR")) {
      keepsEmpty.add(column.name);
    }
  }
  return { asText, keepsEmpty };
}

/** Types whose values have lost nothing of what stands in a text file. */
const EXACT = /^(U?(TINY|SMALL|BIG|HUGE)?INT(EGER)?|BOOLEAN|VARCHAR)$/;

/**
 * For each field of the record the SQL that gives its values from the file's columns. A field without a column is null when
 * it may be. Problems are added to `faults`.
 */
export function fieldValues(record: RecordType, columns: readonly FileColumn[], faults: Fault[]): FieldValue[] {
  const found = columnsOf(record, columns);
  return record.fields.map((field, i) => {
    const where = `${record.name}.${field.name}`;
    const type = columnType(field.type);
    const column = found[i];
    if (typeof type === "string") {
      faults.push({ where, problem: `${type}; files are replayed into flat records` });
    } else if (column !== undefined) {
      return { sql: valueOf(column, type), whole: needsWhole(column.type, type) };
    } else if (!withoutNull(field.type).nullable) {
      faults.push({ where, problem: `the file has no such column; it has ${avroNames(columns).join(", ")}` });
    }
    return { sql: "NULL", whole: false };
  });
}

/** Columns of 32 bits at most are numbers that the encoder takes as they are. */
function needsWhole(from: string, { type }: FieldType): boolean {
  return (type === "int" || type === "long") && !NARROW.test(from);
}

/** A text or bigint as the encoder takes it. What is no whole number of 64 bits stays, for the encoder to refuse. */
export function wholeNumber(value: ResultValue): ResultValue {
  const whole = typeof value === "string" ? parseDecimal(value, LONG_DIGITS_MAX, 0) : value;
  if (whole instanceof Refused) return value;
  return typeof whole === "bigint" && Number.isSafeInteger(Number(whole)) ? Number(whole) : whole;
}

const LONG_DIGITS_MAX = 19;
/** Types whose values all fit an INTEGER. */
const NARROW = /^(U?(TINY|SMALL)INT|INTEGER|BOOLEAN)$/;

/** SQL for a column's value as a `ResultValue` of this type. */
function valueOf({ name, type: from }: FileColumn, to: FieldType): string {
  const value = identifier(name);
  const whole = /^U?(TINY|SMALL|BIG|HUGE)?INT(EGER)?$/.test(from);
  const instant = from === "TIMESTAMP WITH TIME ZONE" ? value : `CAST(${value} AS TIMESTAMP)`;
  switch (to.type) {
    case "boolean":
      return `CAST(${value} AS BOOLEAN)`;
    case "int":
    case "long":
      if (NARROW.test(from)) return `CAST(${value} AS INTEGER)`;
      // A cast that fails would not say in which row, and one of a fraction rounds.
      return from === "BIGINT" || from === "UINTEGER" ? `CAST(${value} AS BIGINT)` : `CAST(${value} AS VARCHAR)`;
    case "float":
      return `CAST(${value} AS FLOAT)`;
    case "double":
      return `CAST(${value} AS DOUBLE)`;
    case "bytes":
      return `CAST(${value} AS BLOB)`;
    case "date":
      return whole ? `CAST(${value} AS INTEGER)` : `CAST(CAST(${value} AS DATE) - DATE '1970-01-01' AS INTEGER)`;
    // Numbers are taken to be in the field's own unit already.
    case "time-millis":
      return whole ? `CAST(${value} AS INTEGER)` : `CAST(epoch_ms(CAST(${value} AS TIME)) AS INTEGER)`;
    case "time-micros":
      return whole ? `CAST(${value} AS BIGINT)` : `epoch_us(CAST(${value} AS TIME))`;
    case "timestamp-millis":
      return whole ? `CAST(${value} AS BIGINT)` : `epoch_ms(${instant})`;
    case "timestamp-micros":
      return whole ? `CAST(${value} AS BIGINT)` : `epoch_us(${instant})`;
    case "uuid":
      return `CAST(CAST(${value} AS UUID) AS VARCHAR)`;
    case "decimal":
    case "enum":
      return `CAST(${value} AS VARCHAR)`;
    case "string":
      return /^(STRUCT|MAP|UNION)\(|\]$/.test(from)
        ? `CAST(to_json(${value}) AS VARCHAR)`
        : `CAST(${value} AS VARCHAR)`;
  }
}
