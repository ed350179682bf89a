/**
 * Schemas of Delta tables: as the log has them, as DuckDB names their types, and what Tailrace's own types become.
 *
 *     {"type":"struct","fields":[{"name":"id","type":"long","nullable":true,"metadata":{}}, ...]}
 *
 * @module
 */
import type { FieldType } from "../../../columns.ts";
import { ConfigError } from "../../../errors.ts";
import { identifier } from "../../../sql_text.ts";
import type { DeltaField, DeltaSchema, DeltaType, SimpleType } from "./table.ts";

/** The simple types but for decimals, by their name in the log: what DuckDB calls them. */
const DUCKDB_TYPES = {
  string: "VARCHAR",
  long: "BIGINT",
  integer: "INTEGER",
  short: "SMALLINT",
  byte: "TINYINT",
  float: "FLOAT",
  double: "DOUBLE",
  boolean: "BOOLEAN",
  binary: "BLOB",
  date: "DATE",
  timestamp: "TIMESTAMP WITH TIME ZONE",
} as const;

/** A schema from a log nested deeper than this is refused. */
const DEPTH_MAX = 64;

/** A column that may be null, without remarks. */
export function deltaField(name: string, type: DeltaType): DeltaField {
  return { name, type, nullable: true, metadata: {} };
}

export function deltaSchema(fields: readonly DeltaField[]): DeltaSchema {
  return { type: "struct", fields };
}

/** What a field of a topic or a result is in a table: see {@linkcode FieldType}; times of day are microseconds since midnight. */
export function deltaTypeOf(type: FieldType): SimpleType {
  switch (type.type) {
    case "boolean":
      return "boolean";
    case "float":
    case "double":
      return "double";
    case "int":
    case "long":
    case "time-millis":
    case "time-micros":
      return "long";
    case "decimal":
      return `decimal(${type.precision},${type.scale})`;
    case "string":
    case "enum":
    case "uuid":
      return "string";
    case "bytes":
      return "binary";
    case "date":
      return "date";
    case "timestamp-millis":
    case "timestamp-micros":
      return "timestamp";
  }
}

/** The type's name in DuckDB's SQL. */
export function duckdbType(type: DeltaType): string {
  if (typeof type === "string") {
    return decimalOf(type) === null ? DUCKDB_TYPES[type as keyof typeof DUCKDB_TYPES] : type.toUpperCase();
  }
  switch (type.type) {
    case "struct":
      return `STRUCT(${type.fields.map((field) => `${identifier(field.name)} ${duckdbType(field.type)}`).join(", ")})`;
    case "array":
      return `${duckdbType(type.elementType)}[]`;
    case "map":
      return `MAP(${duckdbType(type.keyType)}, ${duckdbType(type.valueType)})`;
  }
}

/** Precision and scale of a decimal type; null of all others. */
export function decimalOf(type: DeltaType): { readonly precision: number; readonly scale: number } | null {
  const found = typeof type === "string" ? /^decimal\((\d{1,2}),(\d{1,2})\)$/.exec(type) : null;
  return found === null ? null : { precision: Number(found[1]), scale: Number(found[2]) };
}

/** What is wrong with the names in a schema, for Parquet and for readers that ignore case; null when nothing is. */
export function schemaFault(schema: DeltaSchema, partitionColumns: readonly string[]): string | null {
  const names = schema.fields.map((field) => field.name);
  const missing = partitionColumns.find((name) => !names.includes(name));
  if (missing !== undefined) return `the partition column ${missing} is not among its columns`;
  if (partitionColumns.length === names.length) return "it has no column beside those of its partitions";
  const wrong = schema.fields.find(({ name, type }) => partitionColumns.includes(name) && !canPartition(type));
  if (wrong !== undefined) {
    return `its partition column ${wrong.name} is neither text, whole number, decimal, boolean nor date`;
  }
  return namesFault(schema);
}

/** Types whose text in DuckDB is the one that the log wants of a partition's value. */
function canPartition(type: DeltaType): boolean {
  if (typeof type !== "string") return false;
  return ["string", "long", "integer", "short", "byte", "boolean", "date"].includes(type) || decimalOf(type) !== null;
}

function namesFault(type: DeltaType): string | null {
  if (typeof type === "string") return null;
  if (type.type === "array") return namesFault(type.elementType);
  if (type.type === "map") return namesFault(type.keyType) ?? namesFault(type.valueType);
  if (type.fields.length === 0) return "a struct has no fields";
  const seen = new Set<string>();
  for (const { name, type: inner } of type.fields) {
    if (name === "" || /[ ,;{}()\n\t=]/.test(name)) {
      return `${
        JSON.stringify(name)
      } cannot name a column of a Delta table: none of " ,;{}()=", tabs and line ends may be in it`;
    }
    if (seen.has(name.toLowerCase())) return `two columns are called ${name}, but for upper and lower case`;
    seen.add(name.toLowerCase());
    const fault = namesFault(inner);
    if (fault !== null) return fault;
  }
  return null;
}

export function schemaText(schema: DeltaSchema): string {
  return JSON.stringify(schema);
}

/**
 * A schema out of a log.
 *
 * @throws ConfigError when it has a type that this protocol version does not, `where` being the table
 */
export function parseSchema(text: string, where: string): DeltaSchema {
  const type = readType(JSON.parse(text), where, 0);
  if (typeof type === "string" || type.type !== "struct") throw unknown(where, text);
  return type;
}

function readType(value: unknown, where: string, depth: number): DeltaType {
  if (depth > DEPTH_MAX) throw unknown(where, `a type nested more than ${DEPTH_MAX} deep`);
  if (typeof value === "string") {
    const type = value as DeltaType;
    if (value in DUCKDB_TYPES || decimalOf(type) !== null) return type;
    throw unknown(where, value);
  }
  const parts = (value ?? {}) as Record<string, unknown>;
  if (parts.type === "struct" && Array.isArray(parts.fields)) {
    const fields = parts.fields.map((field: Record<string, unknown>): DeltaField => ({
      name: String(field.name),
      type: readType(field.type, where, depth + 1),
      nullable: field.nullable !== false,
      metadata: (field.metadata ?? {}) as Record<string, string>,
    }));
    return { type: "struct", fields };
  }
  if (parts.type === "array") {
    const elementType = readType(parts.elementType, where, depth + 1);
    return { type: "array", elementType, containsNull: parts.containsNull !== false };
  }
  if (parts.type === "map") {
    const keyType = readType(parts.keyType, where, depth + 1);
    const valueType = readType(parts.valueType, where, depth + 1);
    return { type: "map", keyType, valueType, valueContainsNull: parts.valueContainsNull !== false };
  }
  throw unknown(where, JSON.stringify(value));
}

function unknown(where: string, type: string): ConfigError {
  return new ConfigError({ where, problem: `its schema has a type that Tailrace does not read: ${type}` });
}

/** Whether a column that both have, or a field within one, is of another type in the second: files of the first cannot be read as it. */
export function changesTypes(before: DeltaSchema, after: DeltaSchema): boolean {
  return differs(before, after);
}

function differs(before: DeltaType, after: DeltaType): boolean {
  if (typeof before === "string" || typeof after === "string") return before !== after;
  if (before.type === "struct" && after.type === "struct") {
    const fields = new Map(after.fields.map(({ name, type }) => [name, type]));
    return before.fields.some(({ name, type }) => fields.has(name) && differs(type, fields.get(name)!));
  }
  if (before.type === "array" && after.type === "array") return differs(before.elementType, after.elementType);
  if (before.type === "map" && after.type === "map") {
    return differs(before.keyType, after.keyType) || differs(before.valueType, after.valueType);
  }
  return true;
}
