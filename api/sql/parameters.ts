/**
 * Values for a question's placeholders: from text, checked, to what DuckDB binds.
 *
 * @module
 */
import type { Parameter, ParameterType } from "./service.ts";

const INTEGER = /^[+-]?\d{1,39}$/;
const DOUBLE = /^[+-]?(?:(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?|Infinity|NaN)$/;
const DATE = /^(\d{4})-(\d\d)-(\d\d)$/;
const TIMESTAMP = /^\d{4}-\d\d-\d\d(?:[T ]\d\d:\d\d(?::\d\d(?:\.(\d{1,6}))?)?(Z|[+-]\d\d:\d\d)?)?$/;

/** A value as DuckDB is given it; `type` in its words. */
export interface BoundValue {
  readonly type: "VARCHAR" | "BIGINT" | "DOUBLE" | "BOOLEAN" | "TIMESTAMP WITH TIME ZONE" | "DATE";
  /** Microseconds and days for times and dates. */
  readonly value: string | bigint | number | boolean | null;
}

const DUCKDB_TYPES: Readonly<Record<ParameterType, BoundValue["type"]>> = {
  string: "VARCHAR",
  integer: "BIGINT",
  double: "DOUBLE",
  boolean: "BOOLEAN",
  timestamp: "TIMESTAMP WITH TIME ZONE",
  date: "DATE",
};

/** What a text of this type has to look like, for people. */
export const PARAMETER_FORMS: Readonly<Record<ParameterType, string>> = {
  string: "text",
  integer: "a whole number of 64 bits",
  double: "a number",
  boolean: "true or false",
  timestamp: "ISO 8601, such as 2026-11-21T12:00:00Z (UTC unless it says otherwise)",
  date: "a day, such as 2026-11-21",
};

/** Null when the text is none of this type. */
export function boundValue({ type, value: text }: Parameter): BoundValue | null {
  const value = text === null ? null : valueOf(type, text);
  return value === undefined ? null : { type: DUCKDB_TYPES[type], value };
}

function valueOf(type: ParameterType, text: string): BoundValue["value"] | undefined {
  switch (type) {
    case "string":
      return text.isWellFormed() && !text.includes("\0") ? text : undefined;
    case "integer": {
      if (!INTEGER.test(text)) return undefined;
      const value = BigInt(text.replace(/^\+/, ""));
      return BigInt.asIntN(64, value) === value ? value : undefined;
    }
    case "double":
      return DOUBLE.test(text) ? Number(text) : undefined;
    case "boolean":
      return text === "true" ? true : text === "false" ? false : undefined;
    case "date": {
      if (!DATE.test(text)) return undefined;
      const ms = Date.parse(`${text}T00:00:00Z`);
      // A 30th of February is none, though Date takes it for a March.
      return Number.isNaN(ms) || !new Date(ms).toISOString().startsWith(text) ? undefined : ms / 86_400_000;
    }
    case "timestamp":
      return microsOf(text);
  }
}

function microsOf(text: string): bigint | undefined {
  const found = TIMESTAMP.exec(text);
  if (found === null) return undefined;
  const [, fraction = "", zone = ""] = found;
  // Date has milliseconds only: the fraction is added by itself.
  const seconds = text.replace(/\.\d+/, "").replace(" ", "T");
  const ms = Date.parse(zone === "" && seconds.includes("T") ? `${seconds}Z` : seconds);
  return Number.isNaN(ms) ? undefined : BigInt(ms) * 1000n + BigInt(fraction.padEnd(6, "0"));
}
