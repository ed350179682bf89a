/**
 * The table of a pipeline's results.
 *
 * Its columns are those of the results, in their order, all nullable, then the partition column `window_date`, the UTC day of
 * `window_start`. A column says what it is for in its metadata, `tailrace.role`: by that a table knows its own key.
 *
 * @module
 */
import type { ResultColumn } from "../../../plan/plan.ts";
import { deltaTypeOf } from "../delta/schema.ts";
import type { DeltaField, DeltaSchema } from "../delta/table.ts";

export const RESULTS_PARTITION_COLUMN = "window_date";
/** The key in a field's metadata that has its role. */
export const ROLE = "tailrace.role";

/** The schema of a table of these results. */
export function resultsSchema(columns: readonly ResultColumn[]): DeltaSchema {
  const fields = columns.map(({ name, type, role }): DeltaField => ({
    name,
    type: deltaTypeOf(type),
    nullable: true,
    metadata: { [ROLE]: role },
  }));
  return {
    type: "struct",
    fields: [...fields, { name: RESULTS_PARTITION_COLUMN, type: "date", nullable: true, metadata: {} }],
  };
}

/** The columns that there is one row of: the keys and `window_start`. */
export function identityOf(columns: readonly ResultColumn[]): string[] {
  return columns.filter(({ role }) => role === "key" || role === "window_start").map(({ name }) => name);
}
