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
 * @module
 */
import type { FieldType } from "../pipeline/columns.ts";
import type { ResultColumn } from "../pipeline/plan/plan.ts";
import type { ResultValue } from "../pipeline/sinks/sink.ts";
import type { ResultJson } from "./deps.ts";

type JsonValue = ResultJson[string];

const DAY_MS = 86_400_000;

/** A type in words, as the API shows it: `long`, `decimal(18, 2)`, `enum(approved, declined)`. */
export function typeName(type: FieldType): string {
  if (type.type === "decimal") return `decimal(${type.precision}, ${type.scale})`;
  if (type.type === "enum") return `enum(${type.symbols.join(", ")})`;
  return type.type;
}

/** The JSON form of one value of a column of type `type`; see the table above. */
export function valueToJson(type: FieldType, value: ResultValue): JsonValue {
  if (value === null) return null;
  switch (type.type) {
    case "timestamp-millis":
      return new Date(Number(value)).toISOString();
    case "timestamp-micros":
      return microsToIso(value);
    case "date":
      return new Date(Number(value) * DAY_MS).toISOString().slice(0, 10);
    case "time-millis":
      return new Date(Number(value)).toISOString().slice(11, 23);
    case "time-micros":
      return microsToIso(value).slice(11, 26);
  }
  if (typeof value === "bigint") {
    return Number.isSafeInteger(Number(value)) ? Number(value) : value.toString();
  }
  if (typeof value === "number") return Number.isFinite(value) ? value : String(value);
  if (value instanceof Uint8Array) return base64(value);
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

/** Microseconds since the epoch as ISO 8601 with six digits; a Date alone would cut them to three. */
function microsToIso(value: ResultValue): string {
  const micros = BigInt(value as number | bigint);
  const below = ((micros % 1000n) + 1000n) % 1000n;
  const iso = new Date(Number((micros - below) / 1000n)).toISOString();
  return `${iso.slice(0, -1)}${String(below).padStart(3, "0")}Z`;
}

function base64(bytes: Uint8Array): string {
  let binary = "";
  for (let i = 0; i < bytes.length; i++) binary += String.fromCharCode(bytes[i]);
  return btoa(binary);
}
