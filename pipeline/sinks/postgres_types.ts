/**
 * Which SQL type each field type becomes, and how tables are named.
 *
 * | field type | PostgreSQL |
 * |---|---|
 * | string, enum | text |
 * | uuid | uuid |
 * | boolean | boolean |
 * | int | integer |
 * | long | bigint |
 * | float | real |
 * | double | double precision |
 * | decimal(p, s) | numeric(p, s) |
 * | bytes | bytea |
 * | date | date |
 * | time-millis, time-micros | time |
 * | timestamp-millis, timestamp-micros | timestamptz |
 *
 * @module
 */
import type { FieldType } from "../columns.ts";
import { identifier } from "../sql_text.ts";

/** PostgreSQL cuts longer identifiers without an error, so two names could become one. */
export const IDENTIFIER_BYTES_MAX = 63;

/** The SQL type of a field, spelled as PostgreSQL's own `format_type` spells it, so that both can be compared as text. */
export function sqlType(type: FieldType): string {
  switch (type.type) {
    case "string":
    case "enum":
      return "text";
    case "uuid":
    case "boolean":
    case "date":
      return type.type;
    case "int":
      return "integer";
    case "long":
      return "bigint";
    case "float":
      return "real";
    case "double":
      return "double precision";
    case "decimal":
      return `numeric(${type.precision},${type.scale})`;
    case "bytes":
      return "bytea";
    case "time-millis":
    case "time-micros":
      return "time without time zone";
    case "timestamp-millis":
    case "timestamp-micros":
      return "timestamp with time zone";
  }
}

/** `account_minute` or `schema.account_minute`, taken apart. */
export interface TableName {
  readonly schema: string;
  readonly name: string;
  /** Quoted, for SQL. */
  readonly sql: string;
}

/** Takes `table` or `schema.table` apart; without a schema it is in `public`. */
export function tableName(text: string): TableName {
  const dot = text.indexOf(".");
  const schema = dot < 0 ? "public" : text.slice(0, dot);
  const name = text.slice(dot + 1);
  return { schema, name, sql: `${identifier(schema)}.${identifier(name)}` };
}
