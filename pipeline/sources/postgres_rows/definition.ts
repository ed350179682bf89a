/**
 * `postgresRows({ .. })`: a table of PostgreSQL, read on by a column that says when each row was last changed.
 *
 * @module
 */
import type { Duration } from "../../definition.ts";
import type { SecretReference } from "../../secrets.ts";

export interface PostgresRowsOptions {
  /** A postgres:// URL, by reference; the database of the results unless told. */
  readonly database?: SecretReference;
  /** `table` or `schema.table`. No view: what is read of a row is also which transaction wrote it. */
  readonly table: string;
  /**
   * The column that is set at every change (timestamptz, timestamp or date), then the columns that tell rows apart: those of the
   * primary key or of a unique index. An index over all of them, in this order, makes each look short.
   */
  readonly cursor: readonly [string, string, ...string[]];
  /**
   * How far the column may be behind the moment of writing, besides the time that a transaction is open, which is seen by itself:
   * clocks of other machines that differ, jobs that set an older time. 1 minute unless told.
   */
  readonly overlap?: Duration;
  /** From one look to the next; 1 second unless told. */
  readonly every?: Duration;
  /**
   * From one look at the whole table to the next, for rows that were written with a time before the overlap: they are read then,
   * and told. 1 hour unless told; "never" leaves it out.
   */
  readonly sweep?: Duration | "never";
  /** Zone of a cursor column without one, such as "Europe/Berlin"; the server's own setting unless told. */
  readonly timeZone?: string;
  /** Columns of fields that are called otherwise: `{ product_name: "name" }`. */
  readonly columns?: Readonly<Record<string, string>>;
}

/** As it was written, not checked yet. */
export interface PostgresRowsSpec extends PostgresRowsOptions {
  readonly kind: "postgresRows";
}

/** Rows of a table, each as often as it was seen changed. Deletes are not seen this way. */
export function postgresRows(options: PostgresRowsOptions): PostgresRowsSpec {
  return { kind: "postgresRows", ...options };
}
