/**
 * Which values of a writer's schema can be read as which of the reader's (Avro specification 1.12, "Schema Resolution"),
 * for the types that columns hold.
 *
 * Where the specification looks at the underlying types only, this is stricter: when both sides name a logical type and the
 * two differ, the schemas do not match. Microseconds read as milliseconds would be wrong without a word.
 *
 * @module
 */
import { columnKind, type FieldType } from "../columns.ts";
import { decimalLimit, decimalStart, decimalToWords } from "./decimal_bytes.ts";
import { type AvroType, columnType, describe, type RecordField, type RecordType } from "./schema.ts";
import { uuidBytes, writeUuidText } from "./uuid.ts";

/** The writer's schema cannot be read as the reader's: every record written with it is a dead letter. */
export class IncompatibleSchemaError extends Error {
  override readonly name = "IncompatibleSchemaError";
}

/** A default in the form its column holds it. */
export type Constant =
  | { readonly kind: "null" }
  | { readonly kind: "i32"; readonly value: number }
  | { readonly kind: "i64"; readonly low: number; readonly high: number }
  | { readonly kind: "f64"; readonly value: number }
  | { readonly kind: "bytes"; readonly bytes: Uint8Array };

const PROMOTIONS: Readonly<Record<string, readonly string[]>> = {
  int: ["long", "float", "double"],
  long: ["float", "double"],
  float: ["double"],
  string: ["bytes"],
  bytes: ["string"],
};

/** Whether values of `writer` (no union, no record) can be read as `reader` (neither). */
export function leafMatches(writer: AvroType, reader: AvroType): boolean {
  const written = logicalOf(writer);
  const read = logicalOf(reader);
  if (written?.kind === "decimal" && read?.kind === "decimal") return written.scale === read.scale;
  // Text is no number: an unscaled value may come from bytes only, and may be read as bytes only.
  if (read?.kind === "decimal" && writer.kind === "string") return false;
  if (written?.kind === "decimal" && reader.kind === "string") return false;
  if (written && read && written.kind.replace("local-", "") !== read.kind.replace("local-", "")) return false;
  if (writer.kind === "fixed" && reader.kind === "fixed") {
    return writer.size === reader.size && namesMatch(writer, reader);
  }
  if (writer.kind === "enum" && reader.kind === "enum") return namesMatch(writer, reader);
  return kindMatches(writer, reader);
}

/** Whether one kind is the other, or one that Avro promotes to it; names, sizes and logical types aside. */
export function kindMatches(writer: AvroType, reader: AvroType): boolean {
  return writer.kind === reader.kind || (PROMOTIONS[writer.kind]?.includes(reader.kind) ?? false);
}

/** Whether the unqualified names are the same, or an alias of the reader's is the writer's name. */
export function namesMatch(
  writer: { readonly name: string },
  reader: { readonly name: string; readonly aliases: readonly string[] },
): boolean {
  const name = unqualified(writer.name);
  return [reader.name, ...reader.aliases].some((known) => unqualified(known) === name);
}

/** The writer's field that the reader's field reads, by name and then by alias. */
export function writerField(writer: RecordType, field: RecordField): RecordField | undefined {
  return writer.fields.find(({ name }) => name === field.name) ??
    writer.fields.find(({ name }) => field.aliases.includes(name));
}

/** For each of the writer's symbols the reader's index, or -1 where the reader knows neither it nor a default. */
export function symbolMap(writer: readonly string[], reader: readonly string[], fallback: string | null): Int32Array {
  const other = fallback === null ? -1 : reader.indexOf(fallback);
  return Int32Array.from(writer, (symbol) => {
    const index = reader.indexOf(symbol);
    return index < 0 ? other : index;
  });
}

/**
 * A default of a field that a column holds. For a union the first branch that accepts the value counts.
 * Returns, as a string, what is wrong with the default when it does not fit its type.
 */
export function constantOf(type: AvroType, json: unknown): Constant | string {
  if (type.kind === "union") {
    for (const branch of type.branches) {
      const constant = constantOf(branch, json);
      if (typeof constant !== "string") return constant;
    }
  } else if (type.kind === "null") {
    if (json === null) return { kind: "null" };
  } else {
    const column = columnType(type);
    const constant = typeof column === "string" ? null : valueConstant(type, column, json);
    if (constant) return constant;
  }
  return `the default ${JSON.stringify(json)?.slice(0, 60)} is not a value of ${describe(type)}`;
}

function valueConstant(type: AvroType, column: FieldType, json: unknown): Constant | null {
  switch (type.kind) {
    case "boolean":
      return typeof json === "boolean" ? { kind: "i32", value: json ? 1 : 0 } : null;
    case "int":
      return typeof json === "number" && (json | 0) === json ? { kind: "i32", value: json } : null;
    case "long":
      if (typeof json !== "number" || !Number.isInteger(json) || json < -(2 ** 63) || json >= 2 ** 63) return null;
      return { kind: "i64", low: json | 0, high: Math.floor(json / 4294967296) | 0 };
    case "float":
      return typeof json === "number" ? { kind: "f64", value: Math.fround(json) } : null;
    case "double":
      return typeof json === "number" ? { kind: "f64", value: json } : null;
    case "enum": {
      const value = typeof json === "string" ? type.symbols.indexOf(json) : -1;
      return value < 0 ? null : { kind: "i32", value };
    }
    case "string":
      if (typeof json !== "string" || (column.type === "uuid" && uuidBytes(json) === null)) return null;
      return { kind: "bytes", bytes: new TextEncoder().encode(json) };
    case "bytes":
    case "fixed":
      return bytesConstant(type, column, json);
    default:
      return null;
  }
}

/** Defaults of bytes are strings whose code points 0 to 255 are the bytes. */
function bytesConstant(type: AvroType, column: FieldType, json: unknown): Constant | null {
  // deno-lint-ignore no-control-regex -- all 256 byte values are meant
  if (typeof json !== "string" || !/^[\x00-\xff]*$/.test(json)) return null;
  const bytes = Uint8Array.from(json, (character) => character.charCodeAt(0));
  if (type.kind === "fixed" && bytes.length !== type.size) return null;
  if (column.type === "uuid") {
    const text = new Uint8Array(36);
    writeUuidText(bytes, 0, text, 0);
    return { kind: "bytes", bytes: text };
  }
  if (column.type !== "decimal") return { kind: "bytes", bytes };
  const limit = decimalLimit(column.precision);
  if (columnKind(column) === "i64") {
    const words = new Int32Array(2);
    const fits = decimalToWords(bytes, 0, bytes.length, words, 0, limit);
    return fits ? { kind: "i64", low: words[0], high: words[1] } : null;
  }
  const start = decimalStart(bytes, 0, bytes.length, limit);
  return start < 0 ? null : { kind: "bytes", bytes: bytes.subarray(start) };
}

function logicalOf(type: AvroType) {
  return "logical" in type ? type.logical : null;
}

function unqualified(name: string): string {
  return name.slice(name.lastIndexOf(".") + 1);
}
