/**
 * The view of a result table for BI tools and spreadsheets: `bi.<table>`, with types that every tool reads.
 * Numbers stay numbers and times times; uuid and bytes become text, since many tools refuse them.
 *
 * @module
 */
import type { ResultColumn } from "../plan/plan.ts";
import { identifier, literal } from "../sql_text.ts";
import { sqlType, type TableName } from "./postgres_types.ts";

/** Where the views are. */
export const BI_SCHEMA = "bi";

/** `bi.<table>`, or `bi.<schema>_<table>` for a table outside `public`. */
export function viewName(table: TableName): TableName {
  const name = table.schema === "public" ? table.name : `${table.schema}_${table.name}`;
  return { schema: BI_SCHEMA, name, sql: `${identifier(BI_SCHEMA)}.${identifier(name)}` };
}

/** Name to SQL type of the view's columns, in order. */
export function viewColumns(columns: readonly ResultColumn[]): Map<string, string> {
  return new Map(viewExpressions(columns).map(({ name, type }) => [name, type]));
}

/** What makes the view and describes it. */
export function viewStatements(table: TableName, columns: readonly ResultColumn[], pipeline: string): string[] {
  const view = viewName(table);
  const list = viewExpressions(columns).map(({ name, sql }) => `  ${sql} AS ${identifier(name)}`).join(",\n");
  const comment =
    `Results of the pipeline ${pipeline} for BI tools: one row per key and window. window_date is the UTC day ` +
    `of window_start; rows with is_final = false may still change.`;
  return [
    `CREATE SCHEMA IF NOT EXISTS ${identifier(BI_SCHEMA)}`,
    `CREATE OR REPLACE VIEW ${view.sql} AS SELECT\n${list}\nFROM ${table.sql}`,
    `COMMENT ON VIEW ${view.sql} IS ${literal(comment)}`,
  ];
}

interface ViewColumn {
  readonly name: string;
  readonly type: string;
  readonly sql: string;
}

function viewExpressions(columns: readonly ResultColumn[]): ViewColumn[] {
  return columns.flatMap((column): ViewColumn[] => {
    const { name, role } = column;
    const sql = identifier(name);
    const plain = { name, type: sqlType(column.type), sql };
    if (role === "window_start") {
      return [plain, { name: "window_date", type: "date", sql: `(${sql} AT TIME ZONE 'UTC')::date` }];
    }
    if (role === "final") return [{ name: "is_final", type: "boolean", sql }];
    if (column.type.type === "uuid") return [{ name, type: "text", sql: `${sql}::text` }];
    if (column.type.type === "bytes") return [{ name, type: "text", sql: `encode(${sql}, 'hex')` }];
    return [plain];
  }).concat({ name: "updated_at", type: "timestamp with time zone", sql: "updated_at" });
}
