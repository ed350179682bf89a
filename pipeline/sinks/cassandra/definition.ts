/**
 * How a definition names a table of Cassandra.
 *
 * @module
 */
import type { Duration } from "../../definition.ts";
import { parseDuration } from "../../plan/durations.ts";

/** A table of Cassandra, in a pipeline's `to` or a delivery's. */
export interface CassandraTable {
  readonly kind: "cassandra";
  readonly table: string;
  readonly options: CassandraTableOptions;
}

export interface CassandraTableOptions {
  /** The keyspace of `TAILRACE_CASSANDRA_KEYSPACE` unless told. It has to be there. */
  readonly keyspace?: string;
  /** Rows vanish so long after they were last written; never unless told. Whole seconds. */
  readonly ttl?: Duration;
}

/** A table in Cassandra: one row per key and window of a pipeline, or per key of a delivery; a newer one replaces an older. */
export function cassandra(table: string, options: CassandraTableOptions = {}): CassandraTable {
  return { kind: "cassandra", table, options };
}

/** As `cassandra(..)` names it: with its keyspace where that was told. */
export function cassandraTarget(
  { table, keyspace }: { readonly table: string; readonly keyspace?: string | null },
): string {
  return keyspace ? `${keyspace}.${table}` : table;
}

/** What is wrong with a name; Cassandra takes 48 characters. */
export function cassandraNameFault(name: unknown): string | null {
  if (typeof name === "string" && /^[a-z][a-z0-9_]{0,47}$/.test(name)) return null;
  return `${
    JSON.stringify(name) ?? String(name)
  } is not a name of Cassandra's: 1 to 48 of a-z, 0-9 and _, a letter first`;
}

/** Seconds that rows stay, null for ever; or, as text, what is wrong. Cassandra counts whole seconds. */
export function ttlSecondsOf(ttl: unknown): number | string | null {
  if (ttl === undefined || ttl === null) return null;
  const ms = parseDuration(ttl);
  if (typeof ms === "string") return ms;
  return ms >= 1_000 && ms % 1_000 === 0 ? ms / 1_000 : `"${ttl}" is not whole seconds, one at least`;
}
