/**
 * The table of a pipeline's results: made when missing, checked when there.
 *
 *     keys ..., window_start, window_end, values ..., revision, final, updated_at
 *
 * Primary key: the keys and window_start. A primary key forbids nulls, so a pipeline with a nullable key has a unique
 * index with NULLS NOT DISTINCT instead, under which all rows of the null key and one window are the same row.
 *
 * @module
 */
import type postgres from "postgres";
import { ConfigError, type Fault } from "../errors.ts";
import type { ResultColumn } from "../plan/plan.ts";
import { identifier, literal } from "../sql_text.ts";
import { IDENTIFIER_BYTES_MAX, sqlType, tableName } from "./postgres_types.ts";
import { viewColumns, viewName, viewStatements } from "./postgres_view.ts";

/** The advisory lock held while tables are made, so that two processes starting at once take turns. Any number of our own will do. */
export const SCHEMA_LOCK = "7449344722";

/** Column that every row has besides the result columns. */
export const UPDATED_AT = "updated_at";

/** Columns that identify a row, in the index's order. */
export function keyColumns(columns: readonly ResultColumn[]): ResultColumn[] {
  return [...columns.filter(({ role }) => role === "key"), ...columns.filter(({ role }) => role === "window_start")];
}

/**
 * Makes table, index, comments and BI view where missing. A table that is there is never altered.
 *
 * @throws ConfigError when names cannot be used, or the table or view there has other columns
 */
export async function ensureTable(
  sql: postgres.Sql,
  options: { readonly table: string; readonly columns: readonly ResultColumn[]; readonly pipeline: string },
): Promise<void> {
  const { columns, pipeline } = options;
  const faults = nameFaults(options.table, columns);
  if (faults.length > 0) throw new ConfigError(faults);
  const table = tableName(options.table);
  const view = viewName(table);

  if (await columnsOf(sql, table) === null) {
    // One message without parameters is one transaction for the server: all of it or nothing, whatever the connection does.
    await sql.unsafe([
      `SELECT pg_advisory_xact_lock(${SCHEMA_LOCK})`,
      ...tableStatements(options.table, columns, pipeline),
    ].join(";\n"));
  }
  const found = await columnsOf(sql, table) ?? new Map();
  const wanted = new Map([
    ...columns.map(({ name, type }) => [name, sqlType(type)] as const),
    [UPDATED_AT, "timestamp with time zone"] as const,
  ]);
  const differences = differenceFaults(options.table, found, wanted);
  if (differences.length > 0) throw new ConfigError(differences);
  await checkUnique(sql, options.table, columns);

  const viewFound = await columnsOf(sql, view);
  if (viewFound === null) {
    await sql.unsafe([
      `SELECT pg_advisory_xact_lock(${SCHEMA_LOCK})`,
      ...viewStatements(table, columns, pipeline),
    ].join(";\n"));
  } else if (differenceFaults(view.sql, viewFound, viewColumns(columns)).length > 0) {
    throw new ConfigError({
      where: `${view.schema}.${view.name}`,
      problem:
        `the view is of an earlier shape of the pipeline. Drop it (DROP VIEW ${view.sql}); it is made again at the next start`,
    });
  }
}

/** What makes the table, its index on window_start, and what describes them. */
export function tableStatements(text: string, columns: readonly ResultColumn[], pipeline: string): string[] {
  const table = tableName(text);
  const key = keyColumns(columns);
  const keyList = key.map(({ name }) => identifier(name)).join(", ");
  const nullableKey = key.some(({ type }) => type.nullable);
  const windowStart = identifier(columns.find(({ role }) => role === "window_start")!.name);
  const definitions = columns.map(({ name, type }) =>
    `  ${identifier(name)} ${sqlType(type)}${type.nullable ? "" : " NOT NULL"}`
  );
  definitions.push(`  ${identifier(UPDATED_AT)} timestamptz NOT NULL DEFAULT now()`);
  if (!nullableKey) definitions.push(`  PRIMARY KEY (${keyList})`);
  return [
    `CREATE TABLE IF NOT EXISTS ${table.sql} (\n${definitions.join(",\n")}\n)`,
    ...(nullableKey
      ? [
        `CREATE UNIQUE INDEX IF NOT EXISTS ${identifier(indexName(table.name, "key"))} ON ${table.sql} (${keyList}) ` +
        `NULLS NOT DISTINCT`,
      ]
      : []),
    // Alone it would repeat the primary key of a pipeline without keys.
    ...(key.length > 1
      ? [
        `CREATE INDEX IF NOT EXISTS ${
          identifier(indexName(table.name, "window_start"))
        } ON ${table.sql} (${windowStart})`,
      ]
      : []),
    `COMMENT ON TABLE ${table.sql} IS ${literal(`Results of the pipeline ${pipeline}: one row per key and window.`)}`,
    ...columns.map((column) =>
      `COMMENT ON COLUMN ${table.sql}.${identifier(column.name)} IS ${literal(describeColumn(column))}`
    ),
    `COMMENT ON COLUMN ${table.sql}.${identifier(UPDATED_AT)} IS ${literal("When this row was last written.")}`,
  ];
}

/** A result column's meaning in a sentence, for COMMENT ON. */
export function describeColumn({ role, type }: ResultColumn): string {
  switch (role) {
    case "key":
      return `Group key${type.nullable ? "; null is a group of its own" : ""}.`;
    case "window_start":
      return "First instant of the window (inclusive).";
    case "window_end":
      return "End of the window (exclusive).";
    case "value":
      return type.type === "decimal"
        ? `Result, exact to ${type.scale} digits after the point.`
        : `Result (${type.type}${type.nullable ? ", null when nothing was aggregated" : ""}).`;
    case "revision":
      return "How many records the row was computed from; grows with every update.";
    case "final":
      return "True when the window is closed: no further update will come.";
  }
}

/** Index names within the identifier limit, ending in what tells them apart. */
function indexName(table: string, what: string): string {
  return `${cut(table, IDENTIFIER_BYTES_MAX - what.length - 1)}_${what}`;
}

function cut(text: string, bytesMax: number): string {
  const { read } = new TextEncoder().encodeInto(text, new Uint8Array(bytesMax));
  return text.slice(0, read);
}

function nameFaults(text: string, columns: readonly ResultColumn[]): Fault[] {
  const faults: Fault[] = [];
  const parts = text.split(".");
  if (parts.length > 2 || parts.some((part) => !usable(part))) {
    faults.push({
      where: text,
      problem: `cannot be a table's name: wanted "table" or "schema.table", each of 1 to ${IDENTIFIER_BYTES_MAX} bytes`,
    });
  }
  const seen = new Set([UPDATED_AT, "window_date", "is_final"]);
  for (const { name } of columns) {
    const where = `${text}.${name}`;
    if (!usable(name)) {
      faults.push({ where, problem: `cannot be a column's name: wanted 1 to ${IDENTIFIER_BYTES_MAX} bytes` });
    } else if (seen.has(name)) {
      faults.push({
        where,
        problem: `the name is taken by another column of the table or its view. Select it under another`,
      });
    }
    seen.add(name);
  }
  return faults;
}

function usable(name: string): boolean {
  return name !== "" && !name.includes("\0") && new TextEncoder().encode(name).length <= IDENTIFIER_BYTES_MAX;
}

/** Column name to SQL type, in order; null when there is no such table or view. */
async function columnsOf(
  sql: postgres.Sql,
  { schema, name }: { readonly schema: string; readonly name: string },
): Promise<Map<string, string> | null> {
  const rows = await sql<{ name: string | null; type: string }[]>`
    SELECT a.attname::text AS name, format_type(a.atttypid, a.atttypmod) AS type
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    LEFT JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
    WHERE n.nspname = ${schema} AND c.relname = ${name}
    ORDER BY a.attnum`;
  if (rows.length === 0) return null;
  return new Map(rows.filter((row) => row.name !== null).map((row) => [row.name!, row.type]));
}

function differenceFaults(table: string, found: Map<string, string>, wanted: Map<string, string>): Fault[] {
  const faults: Fault[] = [];
  const remedy = `Move the table away (ALTER TABLE ... RENAME TO ...) or name another in the pipeline's definition`;
  for (const [name, type] of wanted) {
    const actual = found.get(name);
    if (actual === type) continue;
    faults.push({
      where: `${table}.${name}`,
      problem: `the table there has ${
        actual === undefined ? "no such column" : `type ${actual}`
      }, wanted ${type}. ${remedy}`,
    });
  }
  for (const [name, type] of found) {
    if (wanted.has(name)) continue;
    faults.push({
      where: `${table}.${name}`,
      problem: `the table there has this column (${type}), which the pipeline does not select. ${remedy}`,
    });
  }
  return faults;
}

/** The upsert needs a unique index over exactly the key columns. */
async function checkUnique(sql: postgres.Sql, text: string, columns: readonly ResultColumn[]): Promise<void> {
  const table = tableName(text);
  const key = keyColumns(columns);
  const wanted = key.map(({ name }) => name).sort();
  const nullable = key.some(({ type }) => type.nullable);
  const rows = await sql<{ names: string; nulls_same: boolean }[]>`
    SELECT json_agg(a.attname::text)::text AS names, bool_or(i.indnullsnotdistinct) AS nulls_same
    FROM pg_index i
    JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = ANY (i.indkey)
    WHERE i.indrelid = to_regclass(${table.sql}) AND i.indisunique AND i.indpred IS NULL AND i.indexprs IS NULL
    GROUP BY i.indexrelid`;
  const fits = rows.some(({ names, nulls_same }) =>
    JSON.stringify(JSON.parse(names).sort()) === JSON.stringify(wanted) && (nulls_same || !nullable)
  );
  if (fits) return;
  throw new ConfigError({
    where: text,
    problem: `the table there has no unique index over (${key.map(({ name }) => name).join(", ")})` +
      `${nullable ? " with NULLS NOT DISTINCT" : ""}. Add one, or name another table in the pipeline's definition`,
  });
}
