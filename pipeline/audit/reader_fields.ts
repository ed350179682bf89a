/**
 * A plan's fields in an archive: records are kept as they were written, and the plan reads them with a schema of its own. What
 * Avro's rules make of one or the other is done again in SQL, as far as the archive tells.
 *
 * @module
 */
import { type AvroType, parseSchema, type RecordField, withoutNull } from "../codec/schema.ts";
import type { FieldType } from "../columns.ts";
import type { Plan, PlanField } from "../plan/plan.ts";
import { duckdbType } from "../plan/sql_types.ts";
import { FIELD_METADATA } from "../sinks/lake/archive/archive_columns.ts";
import type { DeltaField, DeltaSchema, DeltaType } from "../sinks/lake/delta/table.ts";
import { identifier, literal } from "../sql_text.ts";

/** How a plan's fields are read from an archive. */
export interface ReaderFields {
  /** By index of the plan's fields, of an archive named `a`. */
  readonly expressions: readonly string[];
  /** Whether the archive keeps the event time as an instant, and not as a number. */
  readonly isInstant: boolean;
  /** Why a field cannot be read at all; null when each can. */
  readonly fault: string | null;
  /** Why what is read may not be what the pipeline read; null when it is the same. */
  readonly doubt: string | null;
}

/** Reads the plan's fields of an archive with this schema. */
export function readerFields(plan: Plan, schema: DeltaSchema): ReaderFields {
  const reader = parseSchema(plan.schema);
  const faults: string[] = [];
  const doubts: string[] = [];
  const expressions = plan.fields.map((field) => {
    const names = namesOf(reader, field.path);
    const around = names.slice(0, -1).find((name) => name.default !== undefined);
    const renamed = names.find(({ aliases }) => aliases.length > 0);
    if (renamed) doubts.push(`${field.path} may have been written under another name (${renamed.aliases.join(", ")})`);
    if (around) doubts.push(`${around.name}, around ${field.path}, has a default`);
    const fallback = defaultOf(field, names.at(-1), doubts);
    const columns = columnsOf(schema, field.path);
    if (columns.length === 0) {
      if (fallback === null) faults.push(`it has no column ${field.path}`);
      return `CAST(${fallback ?? "NULL"} AS ${duckdbType(field.type)})`;
    }
    // Of what the plan cannot read, its pipeline made dead letters.
    const readable = columns.map(({ path, type }) => readerValue(field.type, type, `a.${quoted(path)}`))
      .filter((sql) => sql !== null);
    if (readable.length === 0) {
      const [{ path, type }] = columns;
      faults.push(`its column ${path} is ${JSON.stringify(type)}, which is not read as ${field.type.type}`);
      return `CAST(NULL AS ${duckdbType(field.type)})`;
    }
    const read = readable.length === 1 ? readable[0] : `coalesce(${readable.join(", ")})`;
    const value = knownSymbol(read, names.at(-1));
    return fallback === null || fallback === "NULL" ? value : `coalesce(${value}, ${fallback})`;
  });
  const isInstant = columnOf(schema, plan.fields[plan.eventTime].path) === "timestamp";
  return { expressions, isInstant, fault: faults[0] ?? null, doubt: doubts[0] ?? null };
}

/** The type of the column at a dotted path; null when there is none. */
export function columnOf(schema: DeltaSchema, path: string): DeltaType | null {
  let type: DeltaType = schema;
  for (const name of path.split(".")) {
    if (typeof type === "string" || type.type !== "struct") return null;
    const found: DeltaType | undefined = type.fields.find((field) => field.name.toLowerCase() === name.toLowerCase())
      ?.type;
    if (found === undefined) return null;
    type = found;
  }
  return type;
}

/** The columns that an archive keeps a field in: one for each of the types it was written with that do not go into one. */
function columnsOf(schema: DeltaSchema, path: string): { readonly path: string; readonly type: DeltaType }[] {
  const own = columnOf(schema, path);
  const others: { path: string; type: DeltaType }[] = [];
  const walk = ({ fields }: { readonly fields: readonly DeltaField[] }, around: string) => {
    for (const { name, type, metadata } of fields) {
      if (metadata[FIELD_METADATA] === path) others.push({ path: `${around}${name}`, type });
      if (typeof type !== "string" && type.type === "struct") walk(type, `${around}${name}.`);
    }
  };
  walk(schema, "");
  return own === null ? others : [{ path, type: own }, ...others];
}

/** A dotted path as SQL. */
export function quoted(path: string): string {
  return path.split(".").map(identifier).join(".");
}

/** The fields along a dotted path. */
function namesOf(reader: AvroType, path: string): RecordField[] {
  const found: RecordField[] = [];
  let type = reader;
  for (const name of path.split(".")) {
    const { type: record } = withoutNull(type);
    const field = record.kind === "record" ? record.fields.find((field) => field.name === name) : undefined;
    if (!field) throw new Error(`The plan reads ${path}, which its schema does not have: this is a bug`);
    found.push(field);
    type = field.type;
  }
  return found;
}

/** What stands for a field that the writer did not have, as SQL; null when it has to be there. */
function defaultOf({ path, type }: PlanField, field: RecordField | undefined, doubts: string[]): string | null {
  const given = field?.default;
  if (given === undefined) return null;
  if (given === null) return "NULL";
  // A null may have been written, or nothing.
  if (type.nullable) doubts.push(`${path} has the default ${JSON.stringify(given)}, and may be null`);
  const simple = ["string", "enum", "uuid", "int", "long", "float", "double", "boolean"].includes(type.type);
  if (simple && (typeof given === "string" || typeof given === "number" || typeof given === "boolean")) {
    return `CAST(${literal(String(given))} AS ${duckdbType(type)})`;
  }
  doubts.push(`${path} has a default that is not written in SQL here`);
  return "NULL";
}

/** A reader's enum takes symbols it does not know for its default. */
function knownSymbol(value: string, field: RecordField | undefined): string {
  const type = field && withoutNull(field.type).type;
  if (type?.kind !== "enum" || type.default === null) return value;
  return `(CASE WHEN ${value} IS NULL OR ${value} IN (${type.symbols.map(literal).join(", ")}) THEN ${value} ` +
    `ELSE ${literal(type.default)} END)`;
}

/** A column in the reader's type: the archive keeps wider ones, and instants instead of times without a zone. Null when it cannot be. */
function readerValue(type: FieldType, column: DeltaType, sql: string): string | null {
  const is = typeof column === "string" ? column : column.type;
  const cast = `CAST(${sql} AS ${duckdbType(type)})`;
  switch (type.type) {
    case "timestamp-millis":
    case "timestamp-micros":
      // AT TIME ZONE gives the same, by a library for calendars that takes longer than all the rest.
      if (is === "timestamp") return `make_timestamp(epoch_us(${sql}))`;
      if (is !== "long") return null;
      return `make_timestamp(${type.type === "timestamp-millis" ? `${sql} * 1000` : sql})`;
    case "time-millis":
    case "time-micros":
      return is === "long" ? `(TIME '00:00:00' + to_microseconds(${sql}))` : null;
    case "int":
    case "long":
      return is === "long" ? cast : null;
    case "float":
    case "double":
      return is === "long" || is === "double" ? cast : null;
    case "decimal":
      return is.startsWith("decimal") ? cast : null;
    case "bytes":
      return is === "binary" ? sql : is === "string" ? `encode(${sql})` : null;
    case "string":
    case "enum":
    case "uuid":
      return is === "string" ? sql : is === "binary" ? `decode(${sql})` : null;
    default:
      return is === type.type ? sql : null;
  }
}
