/**
 * What a server says of the tables, the publication and the slot.
 *
 * @module
 */
import { identifier, literal } from "../../sql_text.ts";
import type { PgConnection } from "./connection.ts";
import type { RelationColumn } from "./relation.ts";

/** A column of what names a row. */
export interface KeyColumn {
  readonly name: string;
  /** As SQL writes it. */
  readonly type: string;
  /** In whose order texts are; null for what has none. */
  readonly collation: string | null;
}

export interface TableInfo {
  /** `schema.table`. */
  readonly name: string;
  readonly schema: string;
  readonly table: string;
  readonly oid: number;
  /** Of the table and of its membership in the publication. */
  readonly id: string;
  /** `p` for a partitioned table. */
  readonly kind: string;
  /** REPLICA IDENTITY: `d`efault, `f`ull, `i`ndex, `n`othing. */
  readonly identity: string;
  readonly isPublished: boolean;
  /** Rows that are published, as SQL; null for all. */
  readonly filter: string | null;
  /** Those that are published. */
  readonly columns: readonly RelationColumn[];
  /** In the order of the table's columns; none when nothing names its rows. */
  readonly key: readonly KeyColumn[];
}

export interface ServerInfo {
  readonly system: string;
  readonly version: number;
  readonly walLevel: string;
  readonly isStandby: boolean;
  readonly database: string;
  /** The end of the log. */
  readonly lsn: string;
}

export interface SlotInfo {
  readonly plugin: string | null;
  readonly database: string | null;
  readonly temporary: boolean;
  readonly active: boolean;
  readonly confirmed_flush_lsn: string | null;
  /** `lost` when the log that it needs is gone. */
  readonly wal_status: string | null;
  readonly invalidation_reason?: string | null;
}

export async function readServer(connection: PgConnection): Promise<ServerInfo> {
  const [[system, , lsn, database]] = await connection.query("IDENTIFY_SYSTEM");
  const [[version, walLevel, isStandby]] = await connection.query(
    "SELECT current_setting('server_version_num'), current_setting('wal_level'), pg_is_in_recovery()",
  );
  return {
    system: system!,
    version: Number(version),
    walLevel: walLevel!,
    isStandby: isStandby === "t",
    database: database!,
    lsn: lsn!,
  };
}

/** Null where there is none. */
export async function readSlot(connection: PgConnection, slot: string): Promise<SlotInfo | null> {
  const rows = await connection.query(
    `SELECT to_jsonb(s) FROM pg_replication_slots s WHERE slot_name = ${literal(slot)}`,
  );
  return rows.length === 0 ? null : JSON.parse(rows[0][0]!);
}

/** The publication's number; null where there is none. */
export async function readPublication(connection: PgConnection, publication: string): Promise<string | null> {
  const rows = await connection.query(`SELECT oid FROM pg_publication WHERE pubname = ${literal(publication)}`);
  return rows[0]?.[0] ?? null;
}

/** Those of the tables that are there. */
export async function readTables(
  connection: PgConnection,
  tables: readonly { readonly schema: string; readonly table: string }[],
  publication: string,
): Promise<TableInfo[]> {
  const wanted = tables.map(({ schema, table }) => `(${literal(schema)}, ${literal(table)})`).join(", ");
  const rows = await connection.query(`
    SELECT json_build_object(
      'schema', n.nspname, 'table', c.relname, 'oid', c.oid::bigint, 'kind', c.relkind, 'identity', c.relreplident,
      'member', (
        SELECT r.oid::bigint FROM pg_publication_rel r JOIN pg_publication p ON p.oid = r.prpubid
        WHERE p.pubname = ${literal(publication)} AND r.prrelid = c.oid
      ),
      'isPublished', t.pubname IS NOT NULL,
      'filter', t.rowfilter,
      'columns', (
        SELECT json_agg(json_build_object('name', a.attname, 'type', a.atttypid::bigint, 'modifier', a.atttypmod)
          ORDER BY a.attnum)
        FROM pg_attribute a
        WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped AND a.attname = ANY (t.attnames)
      ),
      'key', (
        SELECT json_agg(json_build_object('name', a.attname, 'type', format_type(a.atttypid, a.atttypmod), 'collation',
            (SELECT quote_ident(cn.nspname) || '.' || quote_ident(co.collname)
             FROM pg_collation co JOIN pg_namespace cn ON cn.oid = co.collnamespace WHERE co.oid = a.attcollation))
          ORDER BY a.attnum)
        FROM pg_index i
        CROSS JOIN unnest(i.indkey) WITH ORDINALITY k(number, place)
        JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = k.number
        WHERE i.indrelid = c.oid AND k.place <= i.indnkeyatts
          AND CASE c.relreplident WHEN 'i' THEN i.indisreplident WHEN 'n' THEN false ELSE i.indisprimary END
      ))
    FROM pg_class c
    JOIN pg_namespace n ON n.oid = c.relnamespace
    LEFT JOIN pg_publication_tables t
      ON t.pubname = ${literal(publication)} AND t.schemaname = n.nspname AND t.tablename = c.relname
    WHERE (n.nspname, c.relname) IN (${wanted}) AND c.relkind IN ('r', 'p')`);
  return rows.map(([json]) => {
    const { member, columns, key, ...table } = JSON.parse(json!);
    const names = new Set((key ?? []).map(({ name }: KeyColumn) => name));
    return {
      ...table,
      name: `${table.schema}.${table.table}`,
      id: `${table.oid}.${member ?? 0}`,
      key: key ?? [],
      columns: (columns ?? []).map((column: RelationColumn) => ({ ...column, isKey: names.has(column.name) })),
    };
  });
}

/** `"shop"."products"` */
export function sqlName({ schema, table }: { readonly schema: string; readonly table: string }): string {
  return `${identifier(schema)}.${identifier(table)}`;
}
