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
 * @module
 */
import { columnType, type RecordType, withoutNull } from "../codec/schema.ts";
import type { FieldType } from "../columns.ts";
import type { Fault } from "../errors.ts";
import type { AvroSchema } from "../plan/plan.ts";
import { identifier } from "../sql_text.ts";

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

/**
 * For each field of the record the SQL that gives its values from the file's columns. A field without a column is null when
 * it may be. Problems are added to `faults`.
 */
export function fieldValues(record: RecordType, columns: readonly FileColumn[], faults: Fault[]): string[] {
  const names = avroNames(columns);
  const find = (name: string) => {
    const exact = names.indexOf(name);
    return columns[exact >= 0 ? exact : names.findIndex((known) => known.toLowerCase() === name.toLowerCase())];
  };
  return record.fields.map((field) => {
    const where = `${record.name}.${field.name}`;
    const type = columnType(field.type);
    const column = [field.name, ...field.aliases].map(find).find((found) => found !== undefined);
    if (typeof type === "string") {
      faults.push({ where, problem: `${type}; files are replayed into flat records` });
    } else if (column !== undefined) {
      return valueOf(column, type);
    } else if (!withoutNull(field.type).nullable) {
      faults.push({ where, problem: `the file has no such column; it has ${names.join(", ")}` });
    }
    return "NULL";
  });
}

/** SQL for a column's value as a `ResultValue` of this type. */
function valueOf({ name, type: from }: FileColumn, to: FieldType): string {
  const value = identifier(name);
  const whole = /^U?(TINY|SMALL|BIG|HUGE)?INT(EGER)?$/.test(from);
  const instant = from === "TIMESTAMP WITH TIME ZONE" ? value : `CAST(${value} AS TIMESTAMP)`;
  switch (to.type) {
    case "boolean":
      return `CAST(${value} AS BOOLEAN)`;
    case "int":
      return `CAST(${value} AS INTEGER)`;
    case "long":
      return `CAST(${value} AS BIGINT)`;
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
    case "decimal": {
      // A binary float has no exact decimal to keep; any other value keeps its digits, and is refused when they do not fit.
      const rounded = from === "DOUBLE" || from === "FLOAT";
      return `CAST(${rounded ? `CAST(${value} AS DECIMAL(${to.precision}, ${to.scale}))` : value} AS VARCHAR)`;
    }
    case "enum":
      return `CAST(${value} AS VARCHAR)`;
    case "string":
      return /^(STRUCT|MAP|UNION)\(|\]$/.test(from)
        ? `CAST(to_json(${value}) AS VARCHAR)`
        : `CAST(${value} AS VARCHAR)`;
  }
}
