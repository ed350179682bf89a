import type postgres from "postgres";
import { ConfigError, type Fault } from "../../errors.ts";
import type { ResultColumn } from "../../plan/plan.ts";
import { identifier } from "../../sql_text.ts";
import { SCHEMA_LOCK } from "../postgres_table.ts";
import { tableName } from "../postgres_types.ts";
import { columnSqlType, createStatements, identityColumns } from "./statements.ts";

interface Found {
  readonly name: string;
  readonly type: string;
  /** It takes rows that say nothing of it. */
  readonly isOptional: boolean;
}

/**
 * Makes the table where it is missing; one that is there is never altered, and may have further columns, indexes and constraints.
 *
 * @throws ConfigError when what is there does not fit, with what mends it
 */
export async function ensureRawTable(
  sql: postgres.Sql,
  table: string,
  { columns, delivery, topic }: {
    readonly columns: readonly ResultColumn[];
    readonly delivery: string;
    readonly topic: string;
  },
): Promise<void> {
  if (await columnsOf(sql, table) === null) {
    // One message without parameters is one transaction.
    await sql.unsafe([
      `SELECT pg_advisory_xact_lock(${SCHEMA_LOCK})`,
      ...createStatements(table, columns, { delivery, topic }),
    ].join(";\n"));
  }
  const found = await columnsOf(sql, table) ?? [];
  const faults = [...differences(table, columns, found), ...await uniqueFault(sql, table, columns)];
  if (faults.length > 0) throw new ConfigError(faults);
}

function differences(table: string, columns: readonly ResultColumn[], found: readonly Found[]): Fault[] {
  const faults: Fault[] = [];
  const { sql } = tableName(table);
  for (const column of columns) {
    const wanted = columnSqlType(column);
    const actual = found.find(({ name }) => name === column.name)?.type;
    if (actual === wanted) continue;
    const name = identifier(column.name);
    const change = actual === undefined ? `ADD COLUMN ${name} ${wanted}` : `ALTER COLUMN ${name} TYPE ${wanted}`;
    faults.push({
      where: `${table}.${column.name}`,
      problem: `the table there has ${actual === undefined ? "no such column" : `type ${actual}`}, wanted ${wanted}: ` +
        `ALTER TABLE ${sql} ${change}, or name another table`,
    });
  }
  for (const { name, isOptional } of found) {
    if (isOptional || columns.some((column) => column.name === name)) continue;
    faults.push({
      where: `${table}.${name}`,
      problem: `the table there has this column, which is NOT NULL and no field of the topic: give it a DEFAULT`,
    });
  }
  return faults;
}

async function columnsOf(sql: postgres.Sql, table: string): Promise<Found[] | null> {
  const { schema, name } = tableName(table);
  const rows = await sql<{ name: string | null; type: string; optional: boolean }[]>`
    SELECT a.attname::text AS name, format_type(a.atttypid, a.atttypmod) AS type,
      NOT a.attnotnull OR a.atthasdef OR a.attidentity <> '' AS optional
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    LEFT JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
    WHERE n.nspname = ${schema} AND c.relname = ${name}
    ORDER BY a.attnum`;
  if (rows.length === 0) return null;
  return rows.filter(({ name }) => name !== null)
    .map(({ name, type, optional }) => ({ name: name!, type, isOptional: optional }));
}

/** What is there already is known by a unique index over exactly these columns. */
async function uniqueFault(sql: postgres.Sql, table: string, columns: readonly ResultColumn[]): Promise<Fault[]> {
  const identity = identityColumns(columns);
  const wanted = identity.map(({ name }) => name).toSorted();
  const hasNulls = identity.some(({ type }) => type.nullable);
  const rows = await sql<{ names: string; nulls_same: boolean }[]>`
    SELECT json_agg(a.attname::text)::text AS names, bool_or(i.indnullsnotdistinct) AS nulls_same
    FROM pg_index i
    JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = ANY (i.indkey)
    WHERE i.indrelid = to_regclass(${
    tableName(table).sql
  }) AND i.indisunique AND i.indpred IS NULL AND i.indexprs IS NULL
    GROUP BY i.indexrelid`;
  const fits = rows.some(({ names, nulls_same }) =>
    JSON.stringify(JSON.parse(names).toSorted()) === JSON.stringify(wanted) && (nulls_same || !hasNulls)
  );
  if (fits) return [];
  const list = identity.map(({ name }) => identifier(name)).join(", ");
  const problem = `the table there has no unique index over (${list})${hasNulls ? " with NULLS NOT DISTINCT" : ""}: ` +
    `CREATE UNIQUE INDEX ON ${tableName(table).sql} (${list})${
      hasNulls ? " NULLS NOT DISTINCT" : ""
    }, or name another table`;
  return [{ where: table, problem }];
}
