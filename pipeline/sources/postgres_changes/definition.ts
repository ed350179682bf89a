/**
 * How reading a PostgreSQL's changes is written down.
 *
 * @module
 */
import type { Duration } from "../../definition.ts";
import type { SecretReference } from "../../secrets.ts";

export interface PostgresChangesOptions {
  /**
   * `postgres://user:password@host:port/database`, with `?sslmode=disable` or `verify-full` and `&sslrootcert=` as needed; the
   * PostgreSQL of the results unless told.
   */
  readonly database?: SecretReference;
  /** `schema.table`, or `table` in `public`; each has a primary key. */
  readonly tables: readonly string[];
  /** The replication slot, made where it is missing; `tailrace_<name of the source>` unless told. */
  readonly slot?: string;
  /**
   * The publication. Without this one of the source's own, `tailrace_<name of the source>`, is made, and tables are added to it.
   * One that is named here is used as it is, with its column lists and row filters, and only made where it is missing.
   */
  readonly publication?: string;
  /** The rows that are there at first are read, too; true unless told. */
  readonly snapshot?: boolean;
  /** A record without a value follows that of a deleted row, so that a compacted topic forgets it; true unless told. */
  readonly tombstones?: boolean;
  /** How often the slot is moved past what is not of these tables; 10 seconds unless told. */
  readonly heartbeat?: Duration;
  /**
   * When the slot is gone or its WAL was removed, changes are lost. `"stop"`, unless told: the source stops and says so.
   * `"snapshot"`: it empties every table for its readers (a truncate record), and reads all rows again.
   */
  readonly lostSlot?: "stop" | "snapshot";
  /**
   * What becomes of a row that is larger than its topic takes (`max.message.bytes`). `"stop"`, unless told: the source stops, says
   * whose row it is and what to set, and goes on with it. `"reject"`: its key, place and size go to `<prefix>.rejected` instead.
   */
  readonly tooLarge?: "stop" | "reject";
}

/** What the builder makes: plain data. */
export interface PostgresChangesSpec extends PostgresChangesOptions {
  readonly kind: "postgresChanges";
}

/**
 * Every insert, update, delete and truncate of some tables, in the order of their commits, each once: to a topic for each table,
 * `<prefix>.<schema>.<table>`, as records of what was before and after.
 */
export function postgresChanges(options: PostgresChangesOptions): PostgresChangesSpec {
  return { kind: "postgresChanges", ...options };
}
