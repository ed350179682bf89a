/**
 * One statement that writes any number of rows, each replacing what is there unless that is newer.
 *
 * @module
 */
import type { ResultColumn } from "../plan/plan.ts";
import { identifier } from "../sql_text.ts";
import { arrayLiteral, travel } from "./postgres_array.ts";
import { keyColumns, UPDATED_AT } from "./postgres_table.ts";
import { tableName } from "./postgres_types.ts";
import type { ResultRows } from "./sink.ts";

/**
 * The upsert, for one text parameter per column: an array literal of that column's values.
 *
 * Rows compare as (revision, final): a row of fewer records never replaces one of more, and an update never replaces the
 * final row of the same records.
 *
 * With `isFenced` two further parameters follow, pipeline and token, and the statement fails when the token is not the
 * newest.
 */
export function upsertStatement(
  table: string,
  columns: readonly ResultColumn[],
  { isFenced = false }: { readonly isFenced?: boolean } = {},
): string {
  const key = new Set(keyColumns(columns).map(({ name }) => name));
  const names = columns.map(({ name }) => identifier(name));
  const revision = identifier(columns.find(({ role }) => role === "revision")!.name);
  const final = identifier(columns.find(({ role }) => role === "final")!.name);
  const parameters = columns.map(({ type }, i) => `$${i + 1}::${travel(type).arrayType}`);
  const values = columns.map(({ type }, i) => travel(type).expression(`u.c${i}`));
  const updates = columns.filter(({ name }) => !key.has(name))
    .map(({ name }) => `${identifier(name)} = excluded.${identifier(name)}`);
  const fence = isFenced ? `tailrace.hold_ownership($${columns.length + 1}, $${columns.length + 2}::bigint), ` : "";
  return `INSERT INTO ${tableName(table).sql} AS t (${names.join(", ")}, ${UPDATED_AT})
SELECT ${values.join(", ")}, now()
FROM ${fence}unnest(${parameters.join(", ")}) AS u(${columns.map((_, i) => `c${i}`).join(", ")})
ON CONFLICT (${[...key].map(identifier).join(", ")}) DO UPDATE
SET ${updates.join(", ")}, ${UPDATED_AT} = excluded.${UPDATED_AT}
WHERE (excluded.${revision}, excluded.${final}) >= (t.${revision}, t.${final})`;
}

/** The parameters of {@linkcode upsertStatement} for rows `[from, to)`. */
export function upsertParameters(rows: ResultRows, from: number, to: number): string[] {
  return rows.columns.map(({ type }, column) => arrayLiteral(type, rows.values[column], from, to));
}
