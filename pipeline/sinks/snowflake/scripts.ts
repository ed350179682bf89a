/**
 * SQL that takes a delivery's files into a Snowflake table.
 *
 *     files ── PUT ──▶ stage/<load>/ ── COPY ──▶ <table>_landing ── MERGE ──▶ <table>
 *                                                  one transaction, with <table>_loads: up to where each partition is loaded
 *
 * The landing table of JSON has one VARIANT column, that of Parquet a column for each of the file's.
 *
 * @module
 */
import type { DeliveryPlan } from "../../deliveries/delivery_spec.ts";
import { ConfigError } from "../../errors.ts";
import type { ResultColumn } from "../../plan/plan.ts";
import { DELETED_FIELD } from "../files/ndjson.ts";

export type StageFormat = "json" | "parquet";

/** What is made of a delivery in Snowflake. */
export interface SnowflakeNames {
  readonly files: StageFormat;
  readonly table: string;
  readonly landing: string;
  readonly loads: string;
  readonly stage: string;
  readonly format: string;
}

type Rows = Pick<DeliveryPlan, "columns" | "key">;

/** Of offsets `[from, to)`. */
export interface LoadedRange {
  readonly topic: string;
  readonly partition: number;
  readonly to: number;
}

/** @param table `products`, `shop.products` or `warehouse.shop.products` @throws ConfigError when it is none of these */
export function snowflakeNames(table: string, files: StageFormat = "json"): SnowflakeNames {
  if (!/^[a-z_][\w$]*(\.[a-z_][\w$]*){0,2}$/i.test(table)) {
    throw new ConfigError({
      where: "--table",
      problem: `"${table}" is no table: write TABLE, SCHEMA.TABLE or DATABASE.SCHEMA.TABLE, each of a-z, 0-9 and _`,
    });
  }
  return {
    files,
    table,
    // Tables of other columns: whoever changes the format later gets one of its own.
    landing: files === "json" ? `${table}_landing` : `${table}_landing_parquet`,
    loads: `${table}_loads`,
    stage: `${table}_stage`,
    format: `${table}_${files}`,
  };
}

/** Statements that make what is not there yet. They can be run again and again. */
export function objectStatements(names: SnowflakeNames, { columns, key }: Rows): string[] {
  const lines = columns.map((column) => `${quoted(column.name)} ${snowflakeType(column)}${notNull(column, key)}`);
  if (key.length > 0) lines.push(`PRIMARY KEY (${key.map(quoted).join(", ")})`);
  return [
    `CREATE FILE FORMAT IF NOT EXISTS ${names.format} ${FILE_FORMATS[names.files]}`,
    `CREATE STAGE IF NOT EXISTS ${names.stage}`,
    `CREATE TABLE IF NOT EXISTS ${names.table} (\n  ${lines.join(",\n  ")}\n)`,
    `CREATE TABLE IF NOT EXISTS ${names.landing} (${landingColumns(names, columns)})`,
    `CREATE TABLE IF NOT EXISTS ${names.loads} (\n  TOPIC VARCHAR NOT NULL,\n  KAFKA_PARTITION NUMBER(10, 0) NOT NULL,\n` +
    "  LOADED_TO NUMBER(19, 0) NOT NULL\n)",
  ];
}

/** What makes the session so that times in Parquet, which are of UTC, are loaded as what they are. */
export function sessionStatements({ files }: SnowflakeNames): string[] {
  return files === "parquet" ? ["ALTER SESSION SET TIMEZONE = 'UTC'"] : [];
}

/** Takes all that lies in the stage's folder `load` into the landing table. */
export function copyStatement({ files, landing, stage, format }: SnowflakeNames, load: string): string {
  return `COPY INTO ${landing} FROM @${stage}/${load}/\n  FILE_FORMAT = (FORMAT_NAME = '${format}')\n` +
    (files === "parquet" ? "  MATCH_BY_COLUMN_NAME = CASE_INSENSITIVE\n" : "") +
    "  ON_ERROR = ABORT_STATEMENT\n  PURGE = TRUE";
}

/**
 * Puts what is in the landing table into the table: with a key, the newest row of each, unless a newer one is there; without, each
 * record once.
 */
export function mergeStatement({ files, table, landing }: SnowflakeNames, { columns, key }: Rows): string {
  const identity = key.length > 0 ? key : ["kafka_partition", "kafka_offset"];
  const valueOf = files === "json" ? extracted : landed;
  const source = columns.map((column) => `    ${valueOf(column)} AS ${quoted(column.name)}`);
  const by = identity.map((name) => valueOf(columns.find((column) => column.name === name)!)).join(", ");
  const offset = valueOf(columns.find(({ name }) => name === "kafka_offset")!);
  const isDeleted = files === "json" ? `RECORD:"${DELETED_FIELD}"::BOOLEAN` : quoted(DELETED_FIELD);
  const names = columns.map(({ name }) => quoted(name));
  const others = columns.map(({ name }) => name).filter((name) => !key.includes(name));
  const on = identity.map((name) => `t.${quoted(name)} = s.${quoted(name)}`).join(" AND ");
  const changes = others.map((name) => `${quoted(name)} = s.${quoted(name)}`).join(", ");
  return [
    `MERGE INTO ${table} AS t USING (`,
    `  SELECT`,
    [...source, `    COALESCE(${isDeleted}, FALSE) AS IS_DELETED`].join(",\n"),
    `  FROM ${landing}`,
    `  QUALIFY ROW_NUMBER() OVER (PARTITION BY ${by} ORDER BY ${offset} DESC) = 1`,
    `) AS s ON ${on}`,
    ...key.length === 0 ? [] : [
      `WHEN MATCHED AND s.IS_DELETED AND s."KAFKA_OFFSET" > t."KAFKA_OFFSET" THEN DELETE`,
      `WHEN MATCHED AND s."KAFKA_OFFSET" > t."KAFKA_OFFSET" THEN UPDATE SET ${changes}`,
    ],
    `WHEN NOT MATCHED AND NOT s.IS_DELETED THEN INSERT (${names.join(", ")})`,
    `  VALUES (${names.map((name) => `s.${name}`).join(", ")})`,
  ].join("\n");
}

/** Where each partition is loaded to. */
export function loadedStatement({ loads }: SnowflakeNames): string {
  return `SELECT TOPIC, KAFKA_PARTITION, MAX(LOADED_TO) AS LOADED_TO FROM ${loads} GROUP BY TOPIC, KAFKA_PARTITION`;
}

/** One load, whole or not at all. */
export function loadStatements(
  names: SnowflakeNames,
  { rows, load, ranges }: { readonly rows: Rows; readonly load: string; readonly ranges: readonly LoadedRange[] },
): string[] {
  const values = ranges.map(({ topic, partition, to }) => `(${text(topic)}, ${partition}, ${to})`);
  const where = ranges.map(({ topic, partition }) => `(TOPIC = ${text(topic)} AND KAFKA_PARTITION = ${partition})`);
  return [
    "BEGIN",
    copyStatement(names, load),
    mergeStatement(names, rows),
    `DELETE FROM ${names.landing}`,
    `DELETE FROM ${names.loads} WHERE ${where.join(" OR ")}`,
    `INSERT INTO ${names.loads} VALUES ${values.join(", ")}`,
    "COMMIT",
  ];
}

/** For people: all statements, to be run by hand or by a task of Snowflake's own. */
export function snowflakeScript(names: SnowflakeNames, rows: Rows, { files }: { readonly files: string }): string {
  const statements = (list: readonly string[]) => list.map((statement) => `${statement};`).join("\n\n");
  return `-- Once: what is needed. Everything is made only where it is not there yet.
${statements([...objectStatements(names, rows), ...sessionStatements(names)])}

-- Each load: files that the manifests in ${files}/_manifest name, and no others, into a folder of the stage.
-- \`tailrace snowflake --upload\` does this, and remembers in ${names.loads} how far it came.
--   PUT 'file:///..${files}/consumer-0/*' @${names.stage}/by_hand/ AUTO_COMPRESS = FALSE;

-- Then, in one transaction:
BEGIN;

${statements([copyStatement(names, "by_hand"), mergeStatement(names, rows), `DELETE FROM ${names.landing}`])}

COMMIT;
`;
}

/** Upper case, as Snowflake has names that are not quoted; quoted, as some of them are words of its own. */
function quoted(name: string): string {
  return `"${name.toUpperCase()}"`;
}

function text(value: string): string {
  return `'${value.replaceAll("'", "''")}'`;
}

function notNull({ name, type }: ResultColumn, key: readonly string[]): string {
  return key.includes(name) || (name.startsWith("kafka_") && !type.nullable) ? " NOT NULL" : "";
}

/** The options of each: Parquet's bytes are no text, and its dates and times are not their numbers. */
const FILE_FORMATS: Readonly<Record<StageFormat, string>> = {
  json: "TYPE = JSON COMPRESSION = AUTO",
  parquet: "TYPE = PARQUET COMPRESSION = AUTO BINARY_AS_TEXT = FALSE USE_LOGICAL_TYPE = TRUE",
};

function landingColumns({ files }: SnowflakeNames, columns: readonly ResultColumn[]): string {
  if (files === "json") return "RECORD VARIANT";
  const own = columns.map((column) => `${quoted(column.name)} ${column.isJson ? "VARCHAR" : snowflakeType(column)}`);
  return `\n  ${[...own, `${quoted(DELETED_FIELD)} BOOLEAN`].join(",\n  ")}\n`;
}

/** A value out of the landing table of JSON. */
function extracted(column: ResultColumn): string {
  const path = `RECORD:"${column.name}"`;
  // JSON's null is a VARIANT of its own there, no NULL.
  if (column.isJson) return `CASE WHEN ${path}::VARCHAR IS NOT NULL THEN ${path} END`;
  switch (column.type.type) {
    case "bytes":
      return `TO_BINARY(${path}::VARCHAR, 'BASE64')`;
    case "float":
    case "double":
      // JSON has no such numbers: they are text there, and their names are others here.
      return `CASE ${path}::VARCHAR WHEN 'Infinity' THEN 'inf'::FLOAT WHEN '-Infinity' THEN '-inf'::FLOAT ` +
        `ELSE ${path}::FLOAT END`;
    default:
      return `${path}::${snowflakeType(column)}`;
  }
}

/** A value out of the landing table of Parquet. */
function landed({ name, isJson }: ResultColumn): string {
  return isJson ? `PARSE_JSON(${quoted(name)})` : quoted(name);
}

/** Times are of UTC. */
export function snowflakeType({ type, isJson }: ResultColumn): string {
  if (isJson) return "VARIANT";
  switch (type.type) {
    case "boolean":
      return "BOOLEAN";
    case "int":
      return "NUMBER(10, 0)";
    case "long":
      return "NUMBER(19, 0)";
    case "float":
    case "double":
      return "FLOAT";
    case "decimal":
      return `NUMBER(${type.precision}, ${type.scale})`;
    case "bytes":
      return "BINARY";
    case "date":
      return "DATE";
    case "time-millis":
      return "TIME(3)";
    case "time-micros":
      return "TIME(6)";
    case "timestamp-millis":
      return "TIMESTAMP_NTZ(3)";
    case "timestamp-micros":
      return "TIMESTAMP_NTZ(6)";
    default:
      return "VARCHAR";
  }
}
