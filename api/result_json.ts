/**
 * How a result value looks in JSON, the same over REST and over SSE:
 *
 * | type                             | JSON                                                                     |
 * | -------------------------------- | ------------------------------------------------------------------------ |
 * | boolean                          | `true`, `false`                                                          |
 * | int, long                        | number; a string of digits beyond ±(2^53 - 1), where numbers lose digits |
 * | float, double                    | number; `"NaN"`, `"Infinity"`, `"-Infinity"`                             |
 * | decimal                          | string with every digit, `"12.50"`                                       |
 * | timestamp-millis, -micros        | ISO 8601 in UTC, `"2026-11-20T21:04:00.000Z"`, six digits for micros     |
 * | date, time-millis, time-micros   | `"2026-11-20"`, `"21:04:00.000"`, `"21:04:00.000000"`                    |
 * | string, enum, uuid               | string                                                                   |
 * | bytes                            | base64                                                                   |
 *
 * A date or time that no calendar of ours reaches is shown as the text of its number: it may be a producer's mistake, and must not
 * keep the rows around it from being shown.
 *
 * @module
 */
import { timeText } from "../pipeline/codec/time_text.ts";
import type { FieldType } from "../pipeline/columns.ts";
import type { ResultColumn } from "../pipeline/plan/plan.ts";
import type { ResultValue } from "../pipeline/sinks/sink.ts";
import type { ResultJson } from "./deps.ts";

type JsonValue = ResultJson[string];

/** A type in words, as the API shows it: `long`, `decimal(18, 2)`, `enum(approved, declined)`. */
export function typeName(type: FieldType): string {
  if (type.type === "decimal") return `decimal(${type.precision}, ${type.scale})`;
  if (type.type === "enum") return `enum(${type.symbols.join(", ")})`;
  return type.type;
}

/** The JSON form of one value of a column of type `type`; see the table above. */
export function valueToJson(type: FieldType, value: ResultValue): JsonValue {
  if (value === null) return null;
  const time = timeText(type.type, value as number | bigint);
  if (time !== undefined) return time ?? String(value);
  if (typeof value === "bigint") {
    return Number.isSafeInteger(Number(value)) ? Number(value) : value.toString();
  }
  if (typeof value === "number") return Number.isFinite(value) ? value : String(value);
  if (value instanceof Uint8Array) return value.toBase64();
  return value;
}

/** Row `row` of `values` (one array per column) as an object with the columns' names. */
export function rowToJson(
  columns: readonly ResultColumn[],
  values: readonly (readonly ResultValue[])[],
  row: number,
): ResultJson {
  const object: ResultJson = {};
  for (let c = 0; c < columns.length; c++) object[columns[c].name] = valueToJson(columns[c].type, values[c][row]);
  return object;
}
