/**
 * The plan as DuckDB SQL: the second back end, which says what the first must answer.
 *
 * @module
 */
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
  const keys = plan.groupBy.map(({ name, field }) => `f${field} AS ${quoted(name)}`);
  const values = plan.select.map((column) => `${aggregate(plan, column)} AS ${quoted(column.name)}`);
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
  // Like the pipeline, DuckDB divides a decimal's unscaled sum by count and scale in one step: one rounding, the same double.
  if (aggregate === "avg") return `avg(${column})`;
  return `CAST(${aggregate}(${column}) AS ${duckdbType(type)})`;
}

/** A column, or a field of a struct: `"merchant"."country"`. */
function reference(path: string): string {
  return path.split(".").map(quoted).join(".");
}

function quoted(name: string): string {
  return `"${name.replaceAll('"', '""')}"`;
}
