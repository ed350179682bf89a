/**
 * The plan as DuckDB SQL: the second back end, which says what the first must answer.
 *
 * @module
 */
import type { FieldType } from "../columns.ts";
import { identifier } from "../sql_text.ts";
import type { Plan, Selected } from "./plan.ts";
import { duckdbType } from "./sql_types.ts";

/**
 * A query over `relation` (a table name or a parenthesized query with the topic's columns; nested records as structs; timestamps and times as
 * TIMESTAMP and TIME in UTC, enums and uuids as VARCHAR) that gives the keys, `window_start` and `window_end` (TIMESTAMP), and the selected values:
 * the final results of the plan, if no record came late.
 */
export function duckdbSql(plan: Plan, relation: string): string {
  const columns = plan.fields.map(({ path }, i) => `${reference(path)} AS f${i}`);
  const { sizeMs, offsetMs } = plan.window;
  const time = plan.fields[plan.eventTime];
  const millis = time.type.type === "long" ? `f${plan.eventTime}` : `epoch_ms(CAST(f${plan.eventTime} AS TIMESTAMP))`;
  // % keeps the dividend's sign, so once more around makes it the distance from the window's start also before 1970.
  const start = `ms - (((ms - ${offsetMs}) % ${sizeMs}) + ${sizeMs}) % ${sizeMs}`;
  const keys = plan.groupBy.map(({ name, field }) => `f${field} AS ${identifier(name)}`);
  const values = plan.select.map((column) => `${aggregate(plan, column)} AS ${identifier(column.name)}`);
  const grouped = [...plan.groupBy.map(({ field }) => `f${field}`), "window_ms"];
  return `WITH records AS (
  SELECT ${columns.join(", ")}
  FROM ${relation} AS source
${plan.where ? `  WHERE (${plan.where.sql}\n  )\n` : ""}), timed AS (
  SELECT *, ${millis} AS ms FROM records
), windowed AS (
  SELECT *, ${start} AS window_ms FROM timed WHERE ms IS NOT NULL
)
SELECT ${
    [
      ...keys,
      "make_timestamp_ms(window_ms) AS window_start",
      `make_timestamp_ms(window_ms + ${sizeMs}) AS window_end`,
      ...values,
    ].join(",\n  ")
  }
FROM windowed
GROUP BY ${grouped.join(", ")}`;
}

function aggregate(plan: Plan, { aggregate, accumulators, type }: Selected): string {
  const { field } = plan.accumulators[accumulators[0]];
  const column = field === null ? "*" : `f${field}`;
  if (aggregate === "avg") return mean(column, plan.fields[field!].type);
  return `CAST(${aggregate}(${column}) AS ${duckdbType(type)})`;
}

/**
 * The mean as the pipeline defines it: the exact unscaled sum and its divisor as doubles, divided once. DuckDB's own `avg` divides in
 * long double and rounds again, which differs in the last bit for one mean in some ten thousand, and by machine.
 */
function mean(column: string, type: FieldType): string {
  if (type.type === "double" || type.type === "float") return `sum(${column}) / nullif(count(${column}), 0)`;
  const scale = type.type === "decimal" ? type.scale : 0;
  // Text becomes the nearest double, whatever its length.
  return `CAST(replace(CAST(sum(${column}) AS VARCHAR), '.', '') AS DOUBLE) / nullif(count(${column}) * 1e${scale}, 0)`;
}

/** A column, or a field of a struct: `"merchant"."country"`. */
function reference(path: string): string {
  return path.split(".").map(identifier).join(".");
}
