/**
 * The rows as they are at one place of the log: all transactions committed before it, none after.
 *
 * A slot of its own, which goes with the connection, names the place: only PostgreSQL's own reading of the log knows which
 * transactions a snapshot has (the order in which they become visible is not that of their commits).
 *
 * @module
 */
import { UnavailableError } from "../../errors.ts";
import { identifier, literal } from "../../sql_text.ts";
import { sqlName, type TableInfo } from "./catalog.ts";
import { Message, type PgConnection } from "./connection.ts";
import { parseLsn } from "./lsn.ts";

/** How often a snapshot is tried of which a table was written anew while it was taken. */
const TRIES_MAX = 5;

export class Snapshot implements Disposable {
  readonly connection: PgConnection;
  readonly lsn: number;
  readonly #began = performance.now();

  private constructor(connection: PgConnection, lsn: number) {
    this.connection = connection;
    this.lsn = lsn;
  }

  /**
   * Takes one. Waits for the transactions that are under way on the server.
   *
   * @throws PgError, UnavailableError
   */
  static async take(connect: () => Promise<PgConnection>, tables: readonly TableInfo[]): Promise<Snapshot> {
    for (let tries = 1;; tries++) {
      const connection = await connect();
      try {
        const name = `tailrace_snapshot_${crypto.randomUUID().slice(0, 8)}`;
        await connection.query("BEGIN READ ONLY ISOLATION LEVEL REPEATABLE READ");
        const [[, lsn]] = await connection.query(
          `CREATE_REPLICATION_SLOT ${identifier(name)} TEMPORARY LOGICAL pgoutput (SNAPSHOT 'use')`,
        );
        // The main slot holds the log from here on.
        await connection.query(`DROP_REPLICATION_SLOT ${identifier(name)}`);
        const names = tables.map(sqlName).join(", ");
        await connection.query(`LOCK TABLE ${names} IN ACCESS SHARE MODE`);
        // A table that was written anew (ALTER TABLE) between the snapshot and the lock looks empty in it.
        const oids = `unnest(ARRAY[${tables.map(({ oid }) => oid).join(", ")}]::oid[]) t`;
        const [[rewritten]] = await connection.query(`
          SELECT count(*) FROM pg_class c
          WHERE c.relkind = 'r' AND c.relfilenode <> coalesce(pg_relation_filenode(c.oid), 0) AND c.oid IN (
            SELECT t FROM ${oids} UNION SELECT p.relid FROM ${oids}, pg_partition_tree(t::regclass) p)`);
        if (rewritten === "0") return new Snapshot(connection, parseLsn(lsn!));
        if (tries >= TRIES_MAX) {
          throw new UnavailableError(`${connection.where}: tables are written anew (ALTER TABLE) again and again`);
        }
        connection.close();
      } catch (error) {
        connection.close();
        throw error;
      }
    }
  }

  get ageMs(): number {
    return performance.now() - this.#began;
  }

  /** Asks for the rows after a key, in the order of keys; they are read from the connection. */
  async ask(table: TableInfo, after: readonly string[] | null): Promise<void> {
    const columns = table.columns.map(({ name }) => identifier(name)).join(", ");
    const key = table.key.map(({ name }) => identifier(name)).join(", ");
    const where = [
      ...table.filter === null ? [] : [`(${table.filter})`],
      ...after === null ? [] : [`ROW(${key}) > ROW(${values(table, after)})`],
    ];
    // The parts of an inheriting table are published by themselves, those of a partitioned one with it.
    await this.connection.send(
      `SELECT ${columns} FROM ${table.kind === "p" ? "" : "ONLY "}${sqlName(table)}` +
        `${where.length > 0 ? ` WHERE ${where.join(" AND ")}` : ""} ORDER BY ${key}`,
    );
  }

  /** Goes on to the next row; false after the last. @throws PgError */
  async nextRow(): Promise<boolean> {
    for (;;) {
      const type = await this.connection.next();
      if (type === Message.dataRow) return true;
      if (type === Message.readyForQuery) return false;
    }
  }

  /** Which of the keys come after `after`, by their place: PostgreSQL alone knows its order of texts. */
  async comeAfter(
    table: TableInfo,
    keys: readonly (readonly string[])[],
    after: readonly string[],
  ): Promise<Set<number>> {
    const lists = table.key.map((_, part) => `ARRAY[${keys.map((key) => escaped(key[part])).join(", ")}]::text[]`);
    const names = table.key.map((_, part) => `k${part}`);
    const given = table.key.map(({ type, collation }, part) =>
      `${names[part]}::${type}${collation === null ? "" : ` COLLATE ${collation}`}`
    );
    const rows = await this.connection.query(
      `SELECT place - 1 FROM unnest(${lists.join(", ")}) WITH ORDINALITY u(${names.join(", ")}, place) ` +
        `WHERE ROW(${given.join(", ")}) > ROW(${values(table, after)})`,
    );
    return new Set(rows.map(([place]) => Number(place)));
  }

  [Symbol.dispose](): void {
    this.connection.close();
  }
}

function values(table: TableInfo, texts: readonly string[]): string {
  return table.key.map(({ type, collation }, part) =>
    `${escaped(texts[part])}::${type}${collation === null ? "" : ` COLLATE ${collation}`}`
  ).join(", ");
}

/** A text that may hold backslashes, whatever standard_conforming_strings says. */
function escaped(value: string): string {
  return value.includes("\\") ? `E${literal(value.replaceAll("\\", "\\\\"))}` : literal(value);
}
