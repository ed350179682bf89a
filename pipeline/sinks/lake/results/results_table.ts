/**
 * Opens the table of a pipeline's results, made where it is missing and given the columns that the definition has gained.
 *
 * @module
 */
import { ConfigError, ConflictError, type Fault } from "../../../errors.ts";
import type { ResultColumn } from "../../../plan/plan.ts";
import { evolve } from "../delta/evolve.ts";
import type { DeltaTable, Snapshot } from "../delta/table.ts";
import { fitTable } from "../delta/widen_table.ts";
import type { Lake } from "../lake.ts";
import { identityOf, RESULTS_PARTITION_COLUMN, resultsSchema, ROLE } from "./results_schema.ts";

export interface ResultsTableOptions {
  readonly lake: Lake;
  readonly table: string;
  readonly columns: readonly ResultColumn[];
  readonly signal: AbortSignal;
}

/**
 * The table, and a snapshot of it that has all of the columns. Columns that the definition lost stay, and are null in new rows.
 *
 * @throws ConfigError where the table is of something else, has another key, or a column of a type that cannot become the new one
 * @throws UnavailableError when the lake is away
 */
export async function openResultsTable(
  options: ResultsTableOptions,
): Promise<{ readonly table: DeltaTable; readonly snapshot: Snapshot }> {
  const { lake, table: name, columns, signal } = options;
  const schema = resultsSchema(columns);
  const partitionColumns = [RESULTS_PARTITION_COLUMN];
  const table = await lake.ensureTable(name, { schema, partitionColumns, signal });
  return { table, snapshot: await fitted(table, options) };
}

/** How often others may change the schema at the same time. */
const TRIES_MAX = 10;

/** A snapshot that has all of the columns, at least as wide. */
async function fitted(
  table: DeltaTable,
  { lake, columns, signal }: ResultsTableOptions,
): Promise<Snapshot> {
  const wanted = resultsSchema(columns);
  for (let tries = 1;; tries++) {
    const snapshot = await table.snapshot({ signal });
    checkTable(snapshot, columns);
    if (evolve(snapshot.schema, wanted).kind === "same") return snapshot;
    const { store, database } = lake;
    try {
      return await database.use((connection) => fitTable(table, wanted, { store, connection, signal }));
    } catch (error) {
      if (!(error instanceof ConflictError) || tries === TRIES_MAX) throw error;
    }
  }
}

/** @throws ConfigError when the table is not one of these results, whatever its columns' types */
function checkTable({ table, schema, partitionColumns }: Snapshot, columns: readonly ResultColumn[]): void {
  const faults: Fault[] = [];
  const fault = (problem: string) => faults.push({ where: `lake("${table}")`, problem });
  const other = `. Name another table: lake("${table}_2")`;
  const key = schema.fields.filter(({ metadata }) => ["key", "window_start"].includes(metadata[ROLE]));
  const [is, was] = [identityOf(columns), key.map(({ name }) => name)];
  if (key.length === 0 || partitionColumns.join() !== RESULTS_PARTITION_COLUMN) {
    fault(`the lake has such a table, and it is not one of a pipeline's results${other}`);
  } else if (is.toSorted().join() !== was.toSorted().join()) {
    fault(`its rows are told apart by (${was.join(", ")}), and the definition's by (${is.join(", ")})${other}`);
  }
  for (const { name } of columns) {
    const found = schema.fields.find((field) => field.name.toLowerCase() === name.toLowerCase());
    if (found === undefined || found.name === name) continue;
    fault(`its column ${found.name} and the result ${name} differ in upper and lower case only: rename the result`);
  }
  if (faults.length > 0) throw new ConfigError(faults);
}
