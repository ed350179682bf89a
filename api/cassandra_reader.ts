/**
 * What the application asks of whoever reads Cassandra's tables.
 *
 * @module
 */
import type { ResultColumn } from "../pipeline/plan/plan.ts";
import type { ResultRows, ResultValue } from "../pipeline/sinks/sink.ts";

/** A table that a definition names. */
export interface CassandraTableInfo {
  /** As the definition has it: `table`, or `keyspace.table`. */
  readonly name: string;
  readonly columns: readonly ResultColumn[];
}

export interface CassandraPageQuery {
  readonly key: readonly NonNullable<ResultValue>[];
  readonly fromMs: number | null;
  readonly toMs: number | null;
  readonly limit: number;
  readonly beforeMs: number | null;
}

export interface CassandraReader {
  readonly tables: readonly CassandraTableInfo[];
  /**
   * Newest window first.
   *
   * @throws QueryError when the table cannot be asked so
   * @throws ProblemException when there is none
   * @throws UnavailableError when Cassandra is away, or refuses
   */
  read(table: string, query: CassandraPageQuery): Promise<ResultRows>;
}
