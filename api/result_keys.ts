/**
 * Key values as people type them and as a cursor keeps them: the text of their JSON form. Checked here, so that PostgreSQL is
 * never asked to read something that is not of the column's type.
 *
 * @module
 */
import type { FieldType } from "../pipeline/columns.ts";

const INTEGER = /^-?\d{1,19}$/;
const DECIMAL = /^-?\d{1,40}(\.\d{1,40})?$/;
const UUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i;
const DATE = /^\d{4}-\d\d-\d\d$/;
const TIME = /^([01]\d|2[0-3]):[0-5]\d:[0-5]\d(\.\d{1,6})?$/;
const TIMESTAMP = /^\d{4}-\d\d-\d\dT([01]\d|2[0-3]):[0-5]\d:[0-5]\d(\.\d{1,6})?Z$/;
const LONG_MIN = -(2n ** 63n);
const LONG_MAX = 2n ** 63n - 1n;

/** Why `text` is not a value of `type`, in words that follow its name; null when it is one. */
export function keyFault(type: FieldType, text: string): string | null {
  switch (type.type) {
    case "boolean":
      return text === "true" || text === "false" ? null : "is neither true nor false";
    case "int":
    case "long":
      return isLong(text) ? null : "is not a whole number of 64 bits";
    case "float":
    case "double":
      return ["NaN", "Infinity", "-Infinity"].includes(text) || isFiniteNumber(text) ? null : "is not a number";
    case "decimal":
      return DECIMAL.test(text) ? null : "is not a decimal number such as 12.50";
    case "enum":
      return type.symbols.includes(text) ? null : `is none of ${type.symbols.join(", ")}`;
    case "uuid":
      return UUID.test(text) ? null : "is not a UUID";
    case "bytes":
      return base64ToHex(text) === null ? "is not base64" : null;
    case "date":
      return DATE.test(text) && isDay(text) ? null : "is not a date such as 2026-11-20";
    case "time-millis":
    case "time-micros":
      return TIME.test(text) ? null : "is not a time such as 21:04:00";
    case "timestamp-millis":
    case "timestamp-micros":
      return TIMESTAMP.test(text) && isDay(text.slice(0, 10)) ? null : "is not a time such as 2026-11-20T21:04:00Z";
    case "string":
      return text.includes("\0") ? "has a zero character, which PostgreSQL cannot hold" : null;
  }
}

/** SQL that reads parameter `$n`, which holds {@linkcode keyText}, as a value that compares with a column of `type`. */
export function keyParameter(type: FieldType, n: number): string {
  switch (type.type) {
    case "int":
    case "long":
      return `$${n}::text::bigint`;
    case "float":
      return `$${n}::text::float8::real`;
    case "double":
      return `$${n}::text::float8`;
    case "decimal":
      return `$${n}::text::numeric`; // without the scale, which would round what was asked for
    case "bytes":
      return `decode($${n}::text, 'hex')`;
    case "boolean":
    case "uuid":
    case "date":
      return `$${n}::text::${type.type}`;
    case "time-millis":
    case "time-micros":
      return `$${n}::text::time`;
    case "timestamp-millis":
    case "timestamp-micros":
      return `$${n}::text::timestamptz`;
    case "string":
    case "enum":
      return `$${n}::text`;
  }
}

/** The parameter's text for a value without {@linkcode keyFault}. */
export function keyText(type: FieldType, text: string): string {
  return type.type === "bytes" ? base64ToHex(text)! : text;
}

function isLong(text: string): boolean {
  return INTEGER.test(text) && BigInt(text) >= LONG_MIN && BigInt(text) <= LONG_MAX;
}

function isFiniteNumber(text: string): boolean {
  return /^-?\d+(\.\d+)?(e[+-]?\d+)?$/i.test(text) && text.length <= 64 && Number.isFinite(Number(text));
}

/** True for a day of the calendar; Date alone would turn 30 February into 2 March. */
function isDay(text: string): boolean {
  const ms = Date.parse(`${text}T00:00:00Z`);
  return !Number.isNaN(ms) && text > "0000" && new Date(ms).toISOString().startsWith(text);
}

function base64ToHex(text: string): string | null {
  try {
    return [...atob(text)].map((character) => character.charCodeAt(0).toString(16).padStart(2, "0")).join("");
  } catch {
    return null;
  }
}
