/**
 * The rows of journal files as one table in DuckDB, ready to be merged.
 *
 * @module
 */
import type { DuckDBConnection } from "@duckdb/node-api";
import type { FieldType } from "../../../columns.ts";
import type { ResultColumn } from "../../../plan/plan.ts";
import { identifier } from "../../../sql_text.ts";
import { decimalOf, duckdbType } from "../delta/schema.ts";
import type { DeltaSchema, DeltaType } from "../delta/table.ts";
import type { Journal, JournalFile } from "./journal.ts";
import { RESULTS_PARTITION_COLUMN } from "./results_schema.ts";
import { StagedRows } from "./stage_rows.ts";

/**
 * Makes the temporary tables `staged_0`, `staged_1`, ...: one for each set of columns that the files have, as a definition that
 * was changed leaves files of both.
 *
 * @returns the sets of columns, and the files that are gone
 */
export async function stageFiles(
  connection: DuckDBConnection,
  files: readonly JournalFile[],
  { journal, signal }: { readonly journal: Journal; readonly signal: AbortSignal },
): Promise<{ readonly sets: readonly (readonly ResultColumn[])[]; readonly gone: readonly JournalFile[] }> {
  const byColumns = Map.groupBy(files, ({ columns }) => JSON.stringify(columns));
  const gone: JournalFile[] = [];
  const sets: (readonly ResultColumn[])[] = [];
  for (const alike of byColumns.values()) {
    const { columns } = alike[0];
    using staged = await StagedRows.create(connection, `staged_${sets.length}`, columns);
    for (const file of alike) {
      const rows = await journal.read(file);
      if (rows === null) gone.push(file);
      else for (const some of rows) await staged.append(some, { signal });
    }
    staged.finish();
    sets.push(columns);
  }
  return { sets, gone };
}

/** Makes the temporary table `batch` of what was staged: the table's columns, and of each key and window the newest row. */
export async function makeBatch(
  connection: DuckDBConnection,
  sets: readonly (readonly ResultColumn[])[],
  { schema, identity }: { readonly schema: DeltaSchema; readonly identity: readonly string[] },
): Promise<void> {
  const parts = sets.map((columns, number) => {
    const values = schema.fields.map(({ name, type }) => {
      const column = columns.find((column) => column.name === name);
      const value = name === RESULTS_PARTITION_COLUMN
        ? `CAST(window_start AT TIME ZONE 'UTC' AS DATE)`
        : column === undefined
        ? `CAST(NULL AS ${duckdbType(type)})`
        : cast(identifier(name), column.type, type);
      return `${value} AS ${identifier(name)}`;
    });
    return `SELECT ${values.join(", ")} FROM ${identifier(`staged_${number}`)}`;
  });
  const same = identity.map(identifier).join(", ");
  await connection.run(
    `CREATE OR REPLACE TEMP TABLE batch AS SELECT * FROM (${parts.join(" UNION ALL ")})
     QUALIFY row_number() OVER (PARTITION BY ${same} ORDER BY revision DESC) = 1`,
  );
}

/** Text of so many digits becomes a number of 64 bits, which is fifteen times as fast as one of 128. */
const FAST_DECIMAL_DIGITS = 18;

/** A staged value as the table's type. */
function cast(value: string, from: FieldType, to: DeltaType): string {
  const plain = `CAST(${value} AS ${duckdbType(to)})`;
  const decimal = decimalOf(to);
  if (from.type !== "decimal" || decimal === null) return plain;
  if (decimal.precision <= FAST_DECIMAL_DIGITS || decimal.scale > FAST_DECIMAL_DIGITS) return plain;
  const narrow = `TRY_CAST(${value} AS DECIMAL(${FAST_DECIMAL_DIGITS},${decimal.scale}))`;
  return `COALESCE(CAST(${narrow} AS ${duckdbType(to)}), ${plain})`;
}
