/**
 * From an answer's text to its records, and from each to a value of the schema.
 *
 * @module
 */
import { type AvroType, parseSchema } from "../../codec/schema.ts";
import { MalformedRecordError } from "../../errors.ts";
import type { AvroSchema } from "../../plan/plan.ts";
import type { HttpPollOptions } from "./definition.ts";
import { jsonPath, valueAt } from "./json_path.ts";

/** Sixteen digits in a row, which a number of JavaScript may not hold. */
const LONG_DIGITS = /\d{16}/;

/** JSON in which whole numbers beyond 2^53 are their digits as texts. @throws MalformedRecordError */
export function parseExact(text: string): unknown {
  try {
    if (!LONG_DIGITS.test(text)) return JSON.parse(text);
    const revive = (_key: string, value: unknown, context?: { readonly source?: string }) => {
      if (typeof value !== "number" || Number.isSafeInteger(value)) return value;
      return context?.source !== undefined && /^-?\d+$/.test(context.source) ? context.source : value;
    };
    return JSON.parse(text, revive as (key: string, value: unknown) => unknown);
  } catch (error) {
    // Too deep for the reviver is a RangeError.
    throw new MalformedRecordError(`the answer is no JSON: ${(error as Error).message.slice(0, 200)}`);
  }
}

/** The records of a body. @throws MalformedRecordError when there is nothing where they should be */
export function recordsOf(body: unknown, records: string | undefined): readonly unknown[] {
  const isOptional = records?.endsWith("?") ?? false;
  const path = (records ?? "").replace(/\?$/, "");
  const found = valueAt(body, jsonPath(path));
  if (found === null || (found === undefined && isOptional)) return [];
  if (Array.isArray(found)) return found;
  if (typeof found === "object") return [found];
  const where = path === "" ? "the answer" : path;
  throw new MalformedRecordError(
    found === undefined
      ? `${where}, where the records are, is missing`
      : `${where}, where the records are, is neither an array nor an object`,
  );
}

/** What a record becomes before it is written. */
export function shaper(schema: AvroSchema, map: HttpPollOptions["map"]): (record: unknown) => unknown {
  if (map === undefined) {
    const type = parseSchema(schema);
    return (record) => known(type, record, 0);
  }
  const fields = Object.entries(map).map(([name, from]) => ({
    name,
    path: typeof from === "string" ? jsonPath(from) : null,
    constant: typeof from === "string" ? null : from.constant,
  }));
  return (record) => {
    const shaped: Record<string, unknown> = {};
    for (const { name, path, constant } of fields) {
      const value = path === null ? constant : valueAt(record, path);
      // What is missing stays so: the schema's default is taken, or the record is refused.
      if (value !== undefined) shaped[name] = value;
    }
    return shaped;
  };
}

/** Deeper than this nothing is left out; what is that deep is refused anyway. */
const DEPTH_MAX = 64;

/** A value without the fields that its schema does not have. */
function known(type: AvroType, value: unknown, depth: number): unknown {
  if (typeof value !== "object" || value === null || depth > DEPTH_MAX) return value;
  switch (type.kind) {
    case "union": {
      const others = type.branches.filter(({ kind }) => kind !== "null");
      return others.length === 1 ? known(others[0], value, depth) : value;
    }
    case "array":
      return Array.isArray(value) ? value.map((item) => known(type.items, item, depth + 1)) : value;
    case "map":
      if (Array.isArray(value)) return value;
      return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, known(type.values, item, depth + 1)]));
    case "record": {
      if (Array.isArray(value)) return value;
      const kept: Record<string, unknown> = {};
      for (const field of type.fields) {
        if (Object.hasOwn(value, field.name)) {
          kept[field.name] = known(field.type, (value as Record<string, unknown>)[field.name], depth + 1);
        }
      }
      return kept;
    }
    default:
      return value;
  }
}
