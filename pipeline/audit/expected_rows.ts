import type { DuckDBConnection, DuckDBValue } from "@duckdb/node-api";
import { type Plan, type ResultColumn, resultColumns } from "../plan/plan.ts";
import { type ResultRows, type ResultValue, REVISIONS_PER_GENERATION } from "../sinks/sink.ts";
import { expectedSql, type ExpectedSqlOptions, inexactFields } from "./expected_sql.ts";
import { fromDuckdb } from "./result_values.ts";

/** Rows of one reading; windows that have more are not audited. */
export const ROWS_MAX = 500_000;

/** The final rows of some windows as they must be. */
export interface ExpectedRows {
  readonly rows: ResultRows;
  /** By row and column, how far an equal value may be off; null where all must be exact. */
  readonly slack: ((row: number, column: number) => number) | null;
}

/** There are more rows than are held at a time. */
export class TooManyRowsError extends Error {
  override readonly name = "TooManyRowsError";
}

/**
 * Computes the final rows of the windows in a range, all of one generation.
 *
 * @throws TooManyRowsError when there are more than `rowsMax`
 */
export async function expectedRows(
  connection: DuckDBConnection,
  plan: Plan,
  options: ExpectedSqlOptions & { readonly generation: number; readonly rowsMax?: number },
): Promise<ExpectedRows> {
  const { generation, rowsMax = ROWS_MAX } = options;
  const columns = resultColumns(plan);
  const shown = columns.slice(0, -2);
  const inexact = inexactFields(plan);
  const values: ResultValue[][] = columns.map(() => []);
  const magnitudes: number[][] = inexact.map(() => []);
  // Not as a stream: one that fails in its middle ends there without a word, and what is right would be taken for too much.
  const result = await connection.run(`SELECT * FROM (${expectedSql(plan, options)}) LIMIT ${rowsMax + 1}`);
  for (let chunk = await result.fetchChunk(); chunk && chunk.rowCount > 0; chunk = await result.fetchChunk()) {
    const read = chunk.getColumns();
    shown.forEach(({ type }, c) => values[c].push(...read[c].map((value) => fromDuckdb(type, value))));
    const counts = read[shown.length];
    values[shown.length].push(...counts.map((count) => REVISIONS_PER_GENERATION * generation + Number(count)));
    values[shown.length + 1].push(...counts.map(() => true));
    magnitudes.forEach((list, i) => list.push(...read[shown.length + 1 + i].map(size)));
    if (values[0].length > rowsMax) throw new TooManyRowsError(`there are more than ${rowsMax} rows`);
  }
  const rows: ResultRows = { columns, length: values[0].length, values };
  return { rows, slack: inexact.length === 0 ? null : slackOf(plan, rows, { inexact, magnitudes }) };
}

/** A sum of magnitudes; of nothing it is 0. */
function size(value: DuckDBValue): number {
  return value === null ? 0 : Number(value);
}

/**
 * A sum of n doubles that is rounded at each step is off by at most n·2^-53 of the sum of their magnitudes (Higham, Accuracy and
 * Stability of Numerical Algorithms, 4.2); twice that, as the sum of magnitudes is rounded too.
 */
function slackOf(
  plan: Plan,
  rows: ResultRows,
  { inexact, magnitudes }: { readonly inexact: readonly number[]; readonly magnitudes: readonly number[][] },
): (row: number, column: number) => number {
  const first = rows.columns.findIndex(({ role }) => role === "value");
  const revision = rows.values[rows.columns.findIndex(({ role }) => role === "revision")];
  const byColumn = new Map(plan.select.flatMap(({ aggregate, accumulators }, i) => {
    const at = inexact.indexOf(plan.accumulators[accumulators[0]].field ?? -1);
    return at < 0 || aggregate !== "sum" && aggregate !== "avg" ? [] : [[first + i, magnitudes[at]] as const];
  }));
  return (row, column) => {
    const magnitude = byColumn.get(column)?.[row];
    if (magnitude === undefined) return 0;
    const records = Number(revision[row]) % REVISIONS_PER_GENERATION;
    // A mean is smaller by the number of values, which may be 1 of many records.
    return 2 * (records + 2) * Number.EPSILON * magnitude;
  };
}

/** Where the columns of a role are. */
export function indexOf(columns: readonly ResultColumn[], role: ResultColumn["role"]): number {
  return columns.findIndex((column) => column.role === role);
}
