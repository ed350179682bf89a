/**
 * How a PostgreSQL table of a topic's records is written down as a destination.
 *
 * @module
 */
import type { SecretReference } from "../../secrets.ts";

export interface PostgresTableOptions {
  /** The URL of the database (`postgres://..`), by reference; Tailrace's own unless told. */
  readonly database?: SecretReference;
}

export interface PostgresTableSpec {
  readonly kind: "postgresTable";
  readonly table: string;
  readonly database: SecretReference | null;
}

/**
 * A table with a column for each field. Without a `key` in the delivery it has every record, by partition and offset; with one it has the
 * newest record of each key.
 *
 * @param table `table` or `schema.table`; made where it is missing
 */
export function postgresTable(table: string, options: PostgresTableOptions = {}): PostgresTableSpec {
  // What is no option is told when this is checked.
  return { ...options, kind: "postgresTable", table, database: options.database ?? null };
}
