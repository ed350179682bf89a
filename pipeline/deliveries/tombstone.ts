/**
 * The key of a record without a value, as values of the key's columns.
 *
 * @module
 */
import type { ResultColumn } from "../plan/plan.ts";
import type { ResultValue } from "../sinks/sink.ts";

const utf8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/**
 * One value for each of the columns, or in words why the key gives none. A key of one column is its text, as sources write it; one
 * of several is a JSON object with their names.
 */
export function tombstoneKey(key: Uint8Array | null, columns: readonly ResultColumn[]): ResultValue[] | string {
  if (key === null) return "a record without key and value says of nothing that it is gone";
  let text: string;
  try {
    text = utf8.decode(key);
  } catch {
    return "the key of a record without a value is not UTF-8";
  }
  const texts = columns.length === 1 ? [text] : fieldsOf(text, columns);
  if (typeof texts === "string") return texts;
  const values: ResultValue[] = [];
  for (const [i, column] of columns.entries()) {
    const value = valueOf(texts[i], column);
    if (value === undefined) {
      return `the key of a record without a value is ${
        JSON.stringify(texts[i].slice(0, 60))
      }, no ${column.type.type} for ${column.name}`;
    }
    values.push(value);
  }
  return values;
}

function fieldsOf(text: string, columns: readonly ResultColumn[]): string[] | string {
  const names = columns.map(({ name }) => name).join(", ");
  try {
    const object = JSON.parse(text) as Record<string, unknown> | null;
    const found = columns.map(({ name }) => object?.[name]);
    if (found.every((value) => value !== undefined && value !== null)) return found.map(String);
  } catch {
    // Said below.
  }
  return `the key of a record without a value is no JSON object with ${names}`;
}

function valueOf(text: string, { type }: ResultColumn): ResultValue | undefined {
  switch (type.type) {
    case "string":
    case "uuid":
    case "decimal":
      return text;
    case "enum":
      return type.symbols.includes(text) ? text : undefined;
    case "boolean":
      return text === "true" ? true : text === "false" ? false : undefined;
    case "bytes":
    case "float":
    case "double":
      return undefined;
    default: {
      if (!/^-?\d{1,19}$/.test(text)) return undefined;
      return Number.isSafeInteger(Number(text)) ? Number(text) : BigInt(text);
    }
  }
}
