/**
 * The SQL of a table of records.
 *
 *     fields ..., kafka_partition, kafka_offset, kafka_timestamp
 *
 * Every record is there by (kafka_partition, kafka_offset), or the newest of each key; a record without a value takes its key's row
 * away.
 *
 * @module
 */
import type { ResultColumn } from "../../plan/plan.ts";
import { identifier, literal } from "../../sql_text.ts";
import { arrayLiteral, travel } from "../postgres_array.ts";
import { storableJson } from "../postgres_text.ts";
import { sqlType, tableName } from "../postgres_types.ts";
import type { ResultRows } from "../sink.ts";

const PARTITION = "kafka_partition";
const OFFSET = "kafka_offset";
const TIMESTAMP = "kafka_timestamp";

export function columnSqlType({ type, isJson }: ResultColumn): string {
  return isJson ? "jsonb" : sqlType(type);
}

/** The columns that are unique together: those of the key, or what says where a record was. */
export function identityColumns(columns: readonly ResultColumn[]): readonly ResultColumn[] {
  const key = columns.filter(({ role }) => role === "key");
  return key.length > 0 ? key : columns.filter(({ name }) => name === PARTITION || name === OFFSET);
}

export function isKeyed(columns: readonly ResultColumn[]): boolean {
  return columns.some(({ role }) => role === "key");
}

/** What makes the table and describes it. */
export function createStatements(
  text: string,
  columns: readonly ResultColumn[],
  { delivery, topic }: { readonly delivery: string; readonly topic: string },
): string[] {
  const { sql } = tableName(text);
  const identity = identityColumns(columns);
  const list = identity.map(({ name }) => identifier(name)).join(", ");
  const hasNulls = identity.some(({ type }) => type.nullable);
  const definitions = columns.map((column) =>
    `  ${identifier(column.name)} ${columnSqlType(column)}${column.type.nullable ? "" : " NOT NULL"}`
  );
  // A primary key takes no nulls.
  definitions.push(hasNulls ? `  UNIQUE NULLS NOT DISTINCT (${list})` : `  PRIMARY KEY (${list})`);
  const what = isKeyed(columns) ? "the newest record of each key" : "every record";
  return [
    `CREATE TABLE IF NOT EXISTS ${sql} (\n${definitions.join(",\n")}\n)`,
    `COMMENT ON TABLE ${sql} IS ${literal(`Topic ${topic}, ${what}; written by the delivery ${delivery}.`)}`,
  ];
}

/**
 * Writes rows, one text parameter for each column: an array literal. What is there already stays, unless it has a key and is older.
 *
 * Offsets compare within a partition. A key that moved to another one, because the topic got more of them, goes by time.
 */
export function insertStatement(text: string, columns: readonly ResultColumn[]): string {
  const names = columns.map(({ name }) => identifier(name));
  const identity = identityColumns(columns).map(({ name }) => identifier(name));
  const parameters = columns.map(({ type }, i) => `$${i + 1}::${travel(type).arrayType}`);
  const values = columns.map((column, i) =>
    column.isJson ? `u.c${i}::jsonb` : travel(column.type).expression(`u.c${i}`)
  );
  const updates = names.filter((name) => !identity.includes(name)).map((name) => `${name} = excluded.${name}`);
  const onConflict = isKeyed(columns)
    ? `DO UPDATE
SET ${updates.join(", ")}
WHERE ${isNotOlder((name) => `excluded.${name}`)}`
    : "DO NOTHING";
  return `INSERT INTO ${tableName(text).sql} AS t (${names.join(", ")})
SELECT ${values.join(", ")}
FROM unnest(${parameters.join(", ")}) AS u(${columns.map((_, i) => `c${i}`).join(", ")})
ON CONFLICT (${identity.join(", ")}) ${onConflict}`;
}

/** The parameters of {@linkcode insertStatement}. */
export function insertParameters(rows: ResultRows): string[] {
  return rows.columns.map(({ type, isJson }, column) => {
    const values = rows.values[column];
    if (!isJson) return arrayLiteral(type, values, 0, rows.length);
    return `{${values.map((value) => value === null ? "NULL" : jsonElement(value as string)).join(",")}}`;
  });
}

/**
 * Takes the rows of keys away that are gone, unless what is there is newer.
 *
 * Nothing says afterwards that the key was there: an older record that comes again is followed by this again, as all of a partition
 * comes again in its order.
 */
export function deleteStatement(text: string, columns: readonly ResultColumn[]): string {
  const told = deleteColumns(columns);
  const parameters = told.map(({ type }, i) => `$${i + 1}::${travel(type).arrayType}`);
  const values = new Map(told.map(({ name, type }, i) => [name, travel(type).expression(`u.c${i}`)]));
  const isSame = identityColumns(columns).map(({ name }) => `t.${identifier(name)} = ${values.get(name)}`);
  return `DELETE FROM ${tableName(text).sql} AS t
USING unnest(${parameters.join(", ")}) AS u(${told.map((_, i) => `c${i}`).join(", ")})
WHERE ${isSame.join(" AND ")} AND ${isNotOlder((name) => values.get(name)!)}`;
}

/** The parameters of {@linkcode deleteStatement}. */
export function deleteParameters({ columns, values, length }: ResultRows): string[] {
  return deleteColumns(columns).map((column) => arrayLiteral(column.type, values[columns.indexOf(column)], 0, length));
}

function deleteColumns(columns: readonly ResultColumn[]): readonly ResultColumn[] {
  const origin = [PARTITION, OFFSET, TIMESTAMP];
  return [...identityColumns(columns), ...columns.filter(({ name }) => origin.includes(name))];
}

/** Whether a record is as new as the row `t`; `of` is an expression of where it was. */
function isNotOlder(of: (name: string) => string): string {
  return `CASE WHEN ${of(PARTITION)} = t.${PARTITION} THEN ${of(OFFSET)} >= t.${OFFSET}
  ELSE ${of(TIMESTAMP)} >= t.${TIMESTAMP} END`;
}

function jsonElement(text: string): string {
  return `"${storableJson(text).replace(/["\\]/g, "\\$&")}"`;
}
