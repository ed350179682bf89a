/**
 * PostgreSQL array literals, the fastest way to hand a column of values to one statement as a text parameter:
 *
 *     {1,2,NULL}    {"plain","with \"quotes\" and \\ backslash",NULL}    {"\\x00ff"}
 *
 * Times travel as integers, since PostgreSQL parses those several times faster than dates in words, and become times in
 * SQL. Source: PostgreSQL documentation, "Array Input and Output Syntax".
 *
 * @module
 */
import type { FieldType } from "../columns.ts";
import type { ResultValue } from "./sink.ts";
import { storableText } from "./postgres_text.ts";
import { sqlType } from "./postgres_types.ts";

const ESCAPED = /["\\]/;
const HEX = Array.from({ length: 256 }, (_, byte) => byte.toString(16).padStart(2, "0"));

/** How a column travels: the parameter's array type, and the expression that makes the column's type of one element. */
export interface Travel {
  readonly arrayType: string;
  readonly expression: (element: string) => string;
}

/** How values of a type travel in an array parameter. */
export function travel(type: FieldType): Travel {
  switch (type.type) {
    case "date":
      return { arrayType: "integer[]", expression: (element) => `DATE '1970-01-01' + ${element}` };
    case "time-millis":
    case "time-micros":
      return { arrayType: "bigint[]", expression: (element) => `TIME '00:00' + ${element} * INTERVAL '1 microsecond'` };
    case "timestamp-millis":
    case "timestamp-micros":
      // Microseconds times an interval is floating point, exact only for 285 years; hours and the rest of an hour are exact.
      return {
        arrayType: "bigint[]",
        expression: (element) =>
          `TIMESTAMPTZ '1970-01-01 00:00Z' + ${element} / 3600000000 * INTERVAL '1 hour' + ` +
          `${element} % 3600000000 * INTERVAL '1 microsecond'`,
      };
    case "decimal":
      return { arrayType: "numeric[]", expression: (element) => element };
    default:
      return { arrayType: `${sqlType(type)}[]`, expression: (element) => element };
  }
}

/** Rows `[from, to)` of a column as one array literal. */
export function arrayLiteral(type: FieldType, values: readonly ResultValue[], from: number, to: number): string {
  const element = elementOf(type);
  let text = "{";
  for (let row = from; row < to; row++) {
    const value = values[row];
    if (row > from) text += ",";
    text += value === null ? "NULL" : element(value);
  }
  return text + "}";
}

function elementOf(type: FieldType): (value: Exclude<ResultValue, null>) => string {
  switch (type.type) {
    case "string":
    case "enum":
      return (value) => quoted(storableText(value as string));
    case "uuid":
      return (value) => quoted(value as string);
    case "bytes":
      return (value) => `"\\\\x${hex(value as Uint8Array)}"`;
    case "time-millis":
    case "timestamp-millis":
      return (value) => value === 0 ? "0" : `${value}000`;
    case "float":
    case "double":
      return (value) => Object.is(value, -0) ? "-0" : `${value}`;
    default:
      return (value) => `${value}`;
  }
}

function quoted(text: string): string {
  return ESCAPED.test(text) ? `"${text.replace(/["\\]/g, "\\$&")}"` : `"${text}"`;
}

function hex(bytes: Uint8Array): string {
  let text = "";
  for (let i = 0; i < bytes.length; i++) text += HEX[bytes[i]];
  return text;
}
