/**
 * Rows that are in memory, written as a Parquet file that a question can read.
 *
 * @module
 */
import type { DuckDBConnection } from "@duckdb/node-api";
import type { FieldType } from "../../pipeline/columns.ts";
import type { ResultColumn } from "../../pipeline/plan/plan.ts";
import { deltaTypeOf, duckdbType } from "../../pipeline/sinks/lake/delta/schema.ts";
import { StagedRows } from "../../pipeline/sinks/lake/results/stage_rows.ts";
import type { ResultRows } from "../../pipeline/sinks/sink.ts";
import { identifier, literal } from "../../pipeline/sql_text.ts";
import type { RelationColumn } from "./catalog.ts";

/** Text of so many digits is read as a number of 64 bits, forty times as fast as one of 128. */
const FAST_DECIMAL_DIGITS = 18;

/** A column as questions see it: of the type that the lake's tables have for it. */
export function relationColumn({ name, type }: Pick<ResultColumn, "name" | "type">): RelationColumn {
  return { name, type: duckdbType(deltaTypeOf(type)) };
}

/** Makes a temporary table and puts all rows into it, which have these columns. @throws the signal's reason */
export async function stage(
  connection: DuckDBConnection,
  parts: Iterable<ResultRows> | AsyncIterable<ResultRows>,
  { table, columns, signal }: {
    readonly table: string;
    readonly columns: readonly ResultColumn[];
    readonly signal: AbortSignal;
  },
): Promise<void> {
  using staged = await StagedRows.create(connection, table, columns);
  for await (const rows of parts) await staged.append(rows, { signal });
  staged.finish();
}

/** A query of a table that `stage` made, with the columns' own types. */
export function stagedSql(table: string, columns: readonly ResultColumn[]): string {
  const shown = columns.map(({ name, type }) => `${valueSql(identifier(name), type)} AS ${identifier(name)}`);
  return `SELECT ${shown.join(", ")} FROM ${identifier(table)}`;
}

/** Decimals come as text. */
function valueSql(column: string, type: FieldType): string {
  if (type.type !== "decimal") return column;
  const { precision, scale } = type;
  const exact = `CAST(${column} AS DECIMAL(${precision},${scale}))`;
  if (precision <= FAST_DECIMAL_DIGITS || scale > FAST_DECIMAL_DIGITS) return exact;
  const fast = `TRY_CAST(${column} AS DECIMAL(${FAST_DECIMAL_DIGITS},${scale}))`;
  return `COALESCE(CAST(${fast} AS DECIMAL(${precision},${scale})), ${exact})`;
}

/** Writes the rows of a query as a Parquet file that is read once or twice. */
export async function copy(connection: DuckDBConnection, query: string, path: string): Promise<void> {
  await connection.run(`COPY (${query}) TO ${literal(path)} (FORMAT parquet, COMPRESSION lz4_raw)`);
}
