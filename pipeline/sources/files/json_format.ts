/**
 * NDJSON: an object on each line. Numbers that a double has no room for keep their digits where the field takes them.
 *
 * @module
 */
import { type AvroType, type RecordType, withoutNull } from "../../codec/schema.ts";
import { timestamp } from "../text_values.ts";
import type { TextFormat } from "./text_reader.ts";

/** Where one of these is, a number may have more digits than a double. */
const LONG_NUMBER = /\d[\d.]{15}/;

/** A number and the digits that stood there. */
class Digits {
  readonly text: string;
  constructor(text: string) {
    this.text = text;
  }
}

export function jsonFormat(record: RecordType, onIgnored: (fields: readonly string[]) => void): TextFormat {
  const names = new Set(record.fields.map(({ name }) => name));
  const absent = record.fields.filter(({ type, default: fallback }) =>
    fallback === undefined && withoutNull(type).nullable
  );
  const times = record.fields.flatMap(({ name, type }) => timesOf(name, type));
  const read = (text: string): Record<string, unknown> | string => {
    let value: unknown;
    try {
      value = parse(text);
    } catch (error) {
      return `is not JSON: ${(error as Error).message.slice(0, 200)}`;
    }
    if (typeof value !== "object" || value === null || Array.isArray(value) || value instanceof Digits) {
      return "is not a JSON object";
    }
    const given = value as Record<string, unknown>;
    const row: Record<string, unknown> = {};
    let ignored: string[] | null = null;
    for (const name of Object.keys(given)) {
      if (names.has(name)) row[name] = given[name];
      else (ignored ??= []).push(name);
    }
    if (ignored !== null) onIgnored(ignored);
    for (const { name } of absent) row[name] ??= null;
    for (const { name, digits, local } of times) {
      if (typeof row[name] === "string") row[name] = timestamp(row[name], { digits, local });
    }
    if (LONG_NUMBER.test(text)) {
      for (const { name, type } of record.fields) if (name in row) row[name] = withDigits(type, row[name]);
    }
    return row;
  };
  return { csv: null, hasHeader: false, recordReader: () => read };
}

function timesOf(name: string, type: AvroType): { name: string; digits: 3 | 6; local: boolean }[] {
  const { type: bare } = withoutNull(type);
  const logical = "logical" in bare ? bare.logical?.kind ?? "" : "";
  const [, local, unit] = /^(local-)?timestamp-(millis|micros)$/.exec(logical) ?? [];
  return unit === undefined ? [] : [{ name, digits: unit === "millis" ? 3 : 6, local: local !== undefined }];
}

function parse(text: string): unknown {
  if (!LONG_NUMBER.test(text)) return JSON.parse(text);
  // The third argument is in the language since 2025, and not in the compiler's types yet.
  const reviver = (_: string, value: unknown, context?: { readonly source?: string }) =>
    typeof value === "number" && context?.source !== undefined && context.source.length > 15
      ? new Digits(context.source)
      : value;
  return JSON.parse(text, reviver as (key: string, value: unknown) => unknown);
}

function withDigits(type: AvroType, value: unknown): unknown {
  const { type: bare } = withoutNull(type);
  if (value instanceof Digits) {
    const isExact = bare.kind === "long" || ("logical" in bare && bare.logical?.kind === "decimal");
    return isExact ? value.text : Number(value.text);
  }
  if (typeof value !== "object" || value === null) return value;
  if (Array.isArray(value)) {
    const items = bare.kind === "array" ? bare.items : bare;
    return value.map((item) => withDigits(items, item));
  }
  const inner = (name: string) =>
    bare.kind === "record"
      ? bare.fields.find((field) => field.name === name)?.type ?? bare
      : bare.kind === "map"
      ? bare.values
      : bare;
  return Object.fromEntries(Object.entries(value).map(([name, item]) => [name, withDigits(inner(name), item)]));
}
