/**
 * What there is to know of a table before it is read.
 *
 * @module
 */
import type postgres from "postgres";
import { type RecordType, withoutNull } from "../../codec/schema.ts";
import { ConfigError, type Fault } from "../../errors.ts";
import { identifier } from "../../sql_text.ts";
import { textValues } from "../text_values.ts";
import type { PostgresRowsSpec } from "./definition.ts";

/** Rows of a batch, and about how many bytes of the table they may take. */
const BATCH_ROWS_MAX = 2_000;
const BATCH_BYTES_MAX = 4 * 1024 * 1024;
const BATCH_ROWS_MIN = 10;

export interface Column {
  readonly name: string;
  /** As SQL has it, such as `numeric(10,2)`. */
  readonly type: string;
  readonly isNullable: boolean;
}

/** A field of the record, and where its values come from. */
export interface FieldSource {
  readonly field: string;
  /** Gives the value as text. */
  readonly sql: string;
  readonly fromText: (text: string) => unknown;
}

export interface Table {
  readonly oid: string;
  /** Quoted, with its schema. */
  readonly sql: string;
  readonly changed: Column;
  readonly key: readonly Column[];
  readonly fields: readonly FieldSource[];
  /** Whether an index begins with the cursor's first column. */
  readonly isIndexed: boolean;
  /** Rows for one batch, by what the rows there are take. */
  readonly batchRows: number;
}

const CHANGED_TYPES = /^(timestamp(\(\d\))? with(out)? time zone|date)$/;

/** @throws ConfigError with all that keeps the table from being read */
export async function inspectTable(sql: postgres.Sql, spec: PostgresRowsSpec, record: RecordType): Promise<Table> {
  const { table, cursor } = spec;
  const parts = table.split(".");
  const quoted = parts.map(identifier).join(".");
  const [found] = await sql.unsafe(
    `SELECT c.oid::text AS oid, c.relkind, n.nspname, c.relname, has_table_privilege(c.oid, 'SELECT') AS readable,
       CASE WHEN c.reltuples > 0 THEN pg_table_size(c.oid) / c.reltuples ELSE 1000 END AS row_bytes
     FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.oid = to_regclass($1)`,
    [quoted],
  );
  const where = `from.table ${table}`;
  if (!found) {
    throw new ConfigError({ where, problem: "there is no such table in the database, or its schema may not be used" });
  }
  if (found.relkind !== "r" && found.relkind !== "p") {
    throw new ConfigError({
      where,
      problem: "is no table: rows of a view do not say which transaction wrote them. Name the table it is made of",
    });
  }
  if (!found.readable) {
    throw new ConfigError({
      where,
      problem: `may not be read: GRANT SELECT ON ${table} TO the user of the database URL`,
    });
  }
  const columns = await columnsOf(sql, found.oid);
  const faults: Fault[] = [];
  const column = (name: string, at: string): Column | null => {
    const known = columns.find((column) => column.name === name);
    if (known !== undefined) return known;
    faults.push({
      where: at,
      problem: `${table} has no column ${name}; it has ${columns.map(({ name }) => name).join(", ")}`,
    });
    return null;
  };
  const [changed, ...key] = cursor.map((name, i) => column(name, `from.cursor[${i}]`));
  if (changed !== null && !CHANGED_TYPES.test(changed.type)) {
    faults.push({
      where: "from.cursor[0]",
      problem: `${changed.name} is ${changed.type}, not a time: timestamptz, timestamp or date`,
    });
  }
  const isUnique = key.includes(null) || await hasUniqueIndex(sql, found.oid, cursor.slice(1));
  if (!isUnique) {
    faults.push({
      where: "from.cursor",
      problem: `${cursor.slice(1).join(", ")} does not tell rows of ${table} apart: name the primary key's columns, ` +
        "or those of a unique index without a condition",
    });
  }
  const fields = fieldSources(record, { columns, spec, faults });
  if (faults.length > 0) throw new ConfigError(faults);
  const rows = Math.floor(BATCH_BYTES_MAX / Math.max(1, Number(found.row_bytes)));
  return {
    oid: found.oid,
    sql: `${identifier(found.nspname)}.${identifier(found.relname)}`,
    changed: changed!,
    key: key as Column[],
    fields,
    isIndexed: await hasCursorIndex(sql, found.oid, cursor[0]),
    batchRows: Math.min(BATCH_ROWS_MAX, Math.max(BATCH_ROWS_MIN, rows)),
  };
}

async function columnsOf(sql: postgres.Sql, oid: string): Promise<Column[]> {
  const rows = await sql.unsafe(
    `SELECT attname AS name, format_type(atttypid, atttypmod) AS type, NOT attnotnull AS nullable
     FROM pg_attribute WHERE attrelid = $1::oid AND attnum > 0 AND NOT attisdropped ORDER BY attnum`,
    [oid],
  );
  return rows.map(({ name, type, nullable }) => ({ name, type, isNullable: nullable }));
}

async function hasUniqueIndex(sql: postgres.Sql, oid: string, key: readonly string[]): Promise<boolean> {
  const rows = await sql.unsafe(
    `SELECT 1 FROM pg_index i WHERE indrelid = $1::oid AND indisunique AND indisvalid AND indpred IS NULL
       AND NOT EXISTS (
         SELECT FROM unnest(indkey::int2[]) WITH ORDINALITY AS k(attnum, place)
         WHERE place <= indnkeyatts AND NOT EXISTS (
           SELECT FROM pg_attribute a WHERE a.attrelid = indrelid AND a.attnum = k.attnum AND a.attnotnull
             AND a.attname = ANY(ARRAY(SELECT json_array_elements_text($2::text::json)))))`,
    [oid, JSON.stringify(key)],
  );
  return rows.length > 0;
}

async function hasCursorIndex(sql: postgres.Sql, oid: string, column: string): Promise<boolean> {
  const rows = await sql.unsafe(
    `SELECT 1 FROM pg_index i JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = (i.indkey::int2[])[0]
     WHERE i.indrelid = $1::oid AND i.indisvalid AND i.indpred IS NULL AND a.attname = $2`,
    [oid, column],
  );
  return rows.length > 0;
}

/** The column of each field: named by `columns`, or by the field, or by an alias of it. */
function fieldSources(
  record: RecordType,
  { columns, spec, faults }: {
    readonly columns: readonly Column[];
    readonly spec: PostgresRowsSpec;
    readonly faults: Fault[];
  },
): FieldSource[] {
  const renamed = spec.columns ?? {};
  for (const field of Object.keys(renamed)) {
    if (record.fields.some(({ name }) => name === field)) continue;
    faults.push({ where: `from.columns.${field}`, problem: `is no field of ${record.name}` });
  }
  return record.fields.flatMap(({ name, aliases, type, default: fallback }) => {
    const names = renamed[name] === undefined ? [name, ...aliases] : [renamed[name]];
    const column = names.map((wanted) => columns.find((column) => column.name === wanted)).find(Boolean);
    if (column !== undefined) return [{ field: name, sql: textOf(column, type), fromText: fromColumn(column, type) }];
    if (fallback === undefined || renamed[name] !== undefined) {
      faults.push({
        where: `${record.name}.${name}`,
        problem: `${spec.table} has no column ${names[0]}; it has ${columns.map(({ name }) => name).join(", ")}` +
          ". Name another in from.columns, or give the field a default",
      });
    }
    return [];
  });
}

function textOf({ name, type }: Column, to: RecordType["fields"][number]["type"]): string {
  const { kind } = withoutNull(to).type;
  const column = `t.${identifier(name)}`;
  if (kind === "array" || kind === "map" || kind === "record") return `to_json(${column})::text`;
  // The session's zone may be any.
  if (/^timestamp(\(\d\))? with time zone$/.test(type)) return `(${column} AT TIME ZONE 'UTC')::text || '+00'`;
  return type === "bytea" ? `encode(${column}, 'hex')` : `${column}::text`;
}

function fromColumn({ type }: Column, to: RecordType["fields"][number]["type"]): (text: string) => unknown {
  if (type !== "bytea") return textValues(to);
  const { kind } = withoutNull(to).type;
  return kind === "string" ? (text) => text : (text) => Uint8Array.fromHex(text);
}
