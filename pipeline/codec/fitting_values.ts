/**
 * Writing JSON values that fit their schema, fast: one function for each type, put together once. Whatever is not plainly right
 * is left to `avro_values.ts`, which looks at it with care and says what is wrong.
 *
 * @module
 */
import type { ByteWriter } from "./byte_writer.ts";
import { parseShortDecimal } from "./decimal_text.ts";
import type { AvroType, RecordType } from "./schema.ts";
import { isUuidString } from "./uuid.ts";

/** Writes the value; false when it has to be looked at with care, and then anything may have been written after the position. */
export type WriteFitting = (value: unknown, into: ByteWriter) => boolean;

/** Types inside each other beyond this are not put together: recursive ones have no end. */
const DEPTH_MAX = 16;
/** Days that every month has need no calendar. */
const TIMESTAMP = /^\d{4}-(?:0\d|1[0-2])-(?:[01]\d|2[0-8])T(?:[01]\d|2[0-3]):[0-5]\d:[0-5]\d(?:\.\d{1,3})?Z$/;

/** Null for types whose values are always looked at with care. */
export function writeFitting(type: AvroType, depth = 0): WriteFitting | null {
  if (depth > DEPTH_MAX) return null;
  switch (type.kind) {
    case "boolean":
      return (value, into) => {
        if (typeof value !== "boolean") return false;
        into.byte(value ? 1 : 0);
        return true;
      };
    case "int":
      return (value, into) => {
        if (typeof value !== "number" || (value | 0) !== value) return false;
        into.long(value);
        return true;
      };
    case "long":
      return longWriter(type.logical?.kind ?? null);
    case "float":
    case "double":
      return type.kind === "float"
        ? (value, into) => typeof value === "number" && (into.float(value), true)
        : (value, into) => typeof value === "number" && (into.double(value), true);
    case "string":
      if (type.logical?.kind === "uuid") {
        return (value, into) => typeof value === "string" && isUuidString(value) && (into.string(value), true);
      }
      return (value, into) => typeof value === "string" && (into.string(value), true);
    case "enum": {
      const indexes = new Map<unknown, number>(type.symbols.map((symbol, index) => [symbol, index]));
      return (value, into) => {
        const index = indexes.get(value);
        if (index === undefined) return false;
        into.long(index);
        return true;
      };
    }
    case "bytes":
    case "fixed":
      return decimalWriter(type);
    case "union":
      return optionalWriter(type.branches, depth);
    case "array": {
      const item = writeFitting(type.items, depth + 1);
      return item && ((value, into) => {
        if (!Array.isArray(value)) return false;
        if (value.length > 0) into.long(value.length);
        for (const one of value) if (!item(one, into)) return false;
        into.byte(0);
        return true;
      });
    }
    case "record":
      return recordWriter(type, depth);
    default:
      return null;
  }
}

function longWriter(logical: string | null): WriteFitting {
  const perMilli = logical === "timestamp-millis" ? 1 : logical === "timestamp-micros" ? 1_000 : null;
  return (value, into) => {
    if (typeof value === "number") {
      if (!Number.isSafeInteger(value)) return false;
      into.long(value);
      return true;
    }
    if (perMilli === null || typeof value !== "string" || !TIMESTAMP.test(value)) return false;
    const units = Date.parse(value) * perMilli;
    // Microseconds after the year 2255 are no exact numbers.
    if (!Number.isSafeInteger(units)) return false;
    into.long(units);
    return true;
  };
}

function decimalWriter(type: AvroType): WriteFitting | null {
  if (!("logical" in type) || type.logical?.kind !== "decimal") return null;
  const { precision, scale } = type.logical;
  const size = type.kind === "fixed" ? type.size : null;
  return (value, into) => {
    const text = typeof value === "number" ? String(value) : value;
    if (typeof text !== "string") return false;
    const unscaled = parseShortDecimal(text, precision, scale);
    if (Number.isNaN(unscaled)) return false;
    if (size === null) into.unscaled(unscaled);
    else into.unscaledFixed(unscaled, size);
    return true;
  };
}

/** Of a union of null and one other type. */
function optionalWriter(branches: readonly AvroType[], depth: number): WriteFitting | null {
  const nothing = branches.findIndex(({ kind }) => kind === "null");
  if (branches.length !== 2 || nothing < 0) return null;
  const other = 1 - nothing;
  const write = writeFitting(branches[other], depth + 1);
  return write && ((value, into) => {
    into.long(value === null ? nothing : other);
    return value === null || write(value, into);
  });
}

function recordWriter({ fields }: RecordType, depth: number): WriteFitting | null {
  // A plain object has these without having them.
  if (fields.some(({ name }) => name in Object.prototype)) return null;
  const names = fields.map(({ name }) => name);
  const writers = fields.map(({ type }) => writeFitting(type, depth + 1));
  if (!writers.every((write): write is WriteFitting => write !== null)) return null;
  return (value, into) => {
    if (typeof value !== "object" || value === null || Array.isArray(value)) return false;
    const record = value as Record<string, unknown>;
    // A field that is missing, or one too many.
    if (Object.keys(record).length !== names.length) return false;
    for (let i = 0; i < names.length; i++) {
      const field = record[names[i]];
      if (field === undefined || !writers[i](field, into)) return false;
    }
    return true;
  };
}
