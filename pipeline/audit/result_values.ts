/**
 * Results as DuckDB and PostgreSQL give them, as the values that sinks take; and when two of them are the same.
 *
 * | type | from DuckDB | from PostgreSQL |
 * |---|---|---|
 * | int, long | BIGINT | its text |
 * | float, double | DOUBLE | float8 |
 * | decimal | its text | its text |
 * | date | days since 1970 | days since 1970 |
 * | times, timestamps | microseconds | microseconds |
 * | all others | themselves | themselves |
 *
 * @module
 */
import { DuckDBBlobValue, type DuckDBValue } from "@duckdb/node-api";
import type { FieldType } from "../columns.ts";
import { storableText } from "../sinks/postgres_text.ts";
import type { ResultRows, ResultValue } from "../sinks/sink.ts";

/** An expression in DuckDB's SQL that gives a column so that `fromDuckdb` reads it. */
export function duckdbExpression({ type }: FieldType, column: string): string {
  switch (type) {
    case "int":
    case "long":
      return `CAST(${column} AS BIGINT)`;
    case "float":
    case "double":
      return `CAST(${column} AS DOUBLE)`;
    case "decimal":
      return `CAST(${column} AS VARCHAR)`;
    case "date":
      return `CAST(date_diff('day', DATE '1970-01-01', ${column}) AS BIGINT)`;
    case "time-millis":
    case "time-micros":
    case "timestamp-millis":
    case "timestamp-micros":
      return `epoch_us(${column})`;
    default:
      return column;
  }
}

/** A value of `duckdbExpression`'s column. */
export function fromDuckdb({ type }: FieldType, value: DuckDBValue): ResultValue {
  if (value === null) return null;
  if (value instanceof DuckDBBlobValue) return Uint8Array.from(value.bytes);
  if (typeof value === "bigint") return inUnit(type, value);
  // Boundary: the expressions above give no other types.
  return value as string | number | boolean;
}

/** The same for PostgreSQL. */
export function postgresExpression({ type }: FieldType, column: string): string {
  switch (type) {
    case "float":
    case "double":
      return `${column}::float8`;
    case "boolean":
    case "bytes":
      return column;
    case "date":
      return `(${column} - DATE '1970-01-01')::text`;
    case "time-millis":
    case "time-micros":
    case "timestamp-millis":
    case "timestamp-micros":
      return `(extract(epoch FROM ${column}) * 1000000)::bigint::text`;
    default:
      return `${column}::text`;
  }
}

/** A value of `postgresExpression`'s column, as postgres.js gives it. */
export function fromPostgres({ type }: FieldType, value: unknown): ResultValue {
  if (value === null) return null;
  switch (type) {
    case "int":
    case "long":
    case "date":
    case "time-millis":
    case "time-micros":
    case "timestamp-millis":
    case "timestamp-micros":
      return inUnit(type, BigInt(value as string));
    default:
      // Boundary: text, number, boolean or bytes, by the expressions above.
      return value as ResultValue;
  }
}

function inUnit(type: FieldType["type"], value: bigint): number | bigint {
  const isMillis = type === "time-millis" || type === "timestamp-millis";
  const scaled = isMillis ? Number(value) / 1000 : Number(value);
  return Number.isSafeInteger(Number(value)) || isMillis ? scaled : value;
}

/** Rows as PostgreSQL keeps them: U+0000 and its pictures escaped, uuids in small letters. */
export function asPostgresKeeps(rows: ResultRows): ResultRows {
  const values = rows.columns.map(({ type: { type } }, c) => {
    const change = type === "string" || type === "enum"
      ? storableText
      : type === "uuid"
      ? (text: string) => text.toLowerCase()
      : null;
    if (change === null) return rows.values[c];
    return rows.values[c].map((value) => value === null ? null : change(value as string));
  });
  return { ...rows, values };
}

/** Whether two values of a column are the same; of numbers that DuckDB adds up with rounding, as far as `slack` tells them apart. */
export function isSame(a: ResultValue, b: ResultValue, slack = 0): boolean {
  if (a instanceof Uint8Array && b instanceof Uint8Array) {
    return a.length === b.length && a.every((byte, i) => byte === b[i]);
  }
  // 2 and 2n are the same long.
  if (typeof a === "bigint" || typeof b === "bigint") {
    return a !== null && b !== null && BigInt(a as number) === BigInt(b as number);
  }
  if (Object.is(a, b)) return true;
  if (slack === 0 || typeof a !== "number" || typeof b !== "number") return false;
  // What left the range of doubles on its way says nothing.
  return !Number.isFinite(slack) || Math.abs(a - b) <= slack;
}
