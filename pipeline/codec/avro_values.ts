/**
 * JSON values to Avro and back, for where people and other programs hand in single records: validated with the place and
 * the problem in words, and shown again as JSON.
 *
 * | type                | JSON                                                                           |
 * |---------------------|--------------------------------------------------------------------------------|
 * | long                | number; beyond 2^53 its digits as a string                                     |
 * | float, double       | number, or "NaN", "Infinity", "-Infinity"                                      |
 * | bytes, fixed        | string whose code points 0 to 255 are the bytes, as Avro's own JSON encoding    |
 * | decimal             | its exact text, "12.50"; a number is taken by its shortest text                |
 * | date                | "2026-01-31", or days                                                          |
 * | time-*              | "12:30:00.250", or milli- or microseconds since midnight                       |
 * | timestamp-*         | "2026-01-31T12:30:00.250Z", or milli- or microseconds since 1970               |
 * | local-timestamp-*   | the same without a zone                                                        |
 * | uuid                | its text                                                                       |
 * | union               | the bare value, of the first branch that takes it                              |
 *
 * Encoding also takes Uint8Array for bytes and fixed, and bigint for long, timestamps and whole decimals.
 *
 * @module
 */
import { MalformedRecordError } from "../errors.ts";
import type { AvroSchema } from "../plan/plan.ts";
import {
  type Json,
  type JsonPrefix,
  type JsonSequence,
  readJson,
  readJsonPrefix,
  readJsonSequence,
} from "./avro_json.ts";
import { ByteWriter } from "./byte_writer.ts";
import { quote, Refused } from "./decimal_text.ts";
import { FRAME_BYTES, writeFrame } from "./framing.ts";
import { writeFitting } from "./fitting_values.ts";
import { leafFrom, writeLeaf } from "./leaf_values.ts";
import { type AvroType, describe, parseSchema, type RecordField, type RecordType } from "./schema.ts";

export type { Json, JsonPrefix, JsonSequence } from "./avro_json.ts";

/** A writer that grew beyond this for one value is not kept for the next. */
const KEPT_BYTES_MAX = 1024 * 1024;
/** Validation stops after this many faults. */
export const FAULTS_MAX = 20;
/** Values nested deeper than this are refused. */
export const JSON_DEPTH_MAX = 64;

/** One thing wrong with a value: `path` as in `items[3].price`, empty for the value itself. */
export interface ValueFault {
  readonly path: string;
  readonly problem: string;
}

/** Reads and writes values of one schema. */
export interface AvroValues {
  /** What keeps the value from being encoded, at most `FAULTS_MAX`; empty when nothing does. */
  validate(value: unknown): ValueFault[];
  /** Writes the value without framing. @throws MalformedRecordError naming the faults; nothing is then left in `into` */
  encode(value: unknown, into: ByteWriter): void;
  /** The value in Confluent's framing. @throws MalformedRecordError naming the faults */
  encodeFramed(schemaId: number, value: unknown): Uint8Array<ArrayBuffer>;
  /** Avro bytes without framing as JSON. Time and memory bounded by the bytes. @throws MalformedRecordError */
  decodeToJson(bytes: Uint8Array): Json;
  /** The same as far as the bytes go: a record keeps the fields before the fault. */
  decodePrefix(bytes: Uint8Array): JsonPrefix;
  /** Values one after the other. */
  decodeSequence(bytes: Uint8Array): JsonSequence;
}

/** @throws ConfigError when the schema is invalid */
export function avroType(schema: AvroSchema): AvroValues {
  const type = parseSchema(schema);
  const fitting = writeFitting(type);
  let framed = new ByteWriter();
  const check = (value: unknown): ValueFault[] => {
    const faults: ValueFault[] = [];
    validate(type, value, { path: "", depth: 0, raw: false, faults });
    return faults;
  };
  const encode = (value: unknown, into: ByteWriter): void => {
    const start = into.position;
    if (fitting !== null && fitting(value, into)) return;
    into.position = start;
    const faults = check(value);
    if (faults.length > 0) {
      throw new MalformedRecordError(faults.map(({ path, problem }) => `${path || "the value"} ${problem}`).join("; "));
    }
    write(type, value, { into, raw: false });
  };
  return {
    validate: check,
    encode,
    encodeFramed(schemaId, value) {
      const into = framed;
      into.clear();
      into.ensure(FRAME_BYTES);
      writeFrame(into.buffer, 0, schemaId);
      into.position = FRAME_BYTES;
      encode(value, into);
      const bytes = into.written().slice();
      if (into.buffer.length > KEPT_BYTES_MAX) framed = new ByteWriter();
      return bytes;
    },
    decodeToJson: (bytes) => readJson(type, bytes),
    decodePrefix: (bytes) => readJsonPrefix(type, bytes),
    decodeSequence: (bytes) => readJsonSequence(type, bytes),
  };
}

/** `raw` values are a schema's defaults: their bytes are bytes even where the schema means a decimal. */
interface Place {
  readonly path: string;
  readonly depth: number;
  readonly raw: boolean;
  readonly faults: ValueFault[];
}

function validate(type: AvroType, value: unknown, place: Place): void {
  const { path, faults } = place;
  if (faults.length >= FAULTS_MAX) return;
  const fault = (problem: string, at = path) => faults.length < FAULTS_MAX && faults.push({ path: at, problem });
  if (place.depth > JSON_DEPTH_MAX) return void fault(`is nested more than ${JSON_DEPTH_MAX} deep`);
  const inside = (name: string): Place => ({ ...place, path: name, depth: place.depth + 1 });
  switch (type.kind) {
    case "union": {
      const branch = branchFor(type.branches, value, place.raw);
      if (branch >= 0) return validate(type.branches[branch], value, place);
      const others = type.branches.filter(({ kind }) => kind !== "null");
      // With one other branch its own complaint says more than that nothing fits.
      if (others.length === 1) return validate(others[0], value, place);
      return void fault(`is ${quote(value)}, not a ${describe(type)}`);
    }
    case "array":
      if (!Array.isArray(value)) return void fault(`is ${quote(value)}, not an ${describe(type)}`);
      for (let i = 0; i < value.length && faults.length < FAULTS_MAX; i++) {
        validate(type.items, value[i], inside(`${path}[${i}]`));
      }
      return;
    case "map":
      if (!isObject(value)) return void fault(`is ${quote(value)}, not a ${describe(type)}`);
      for (const [key, item] of Object.entries(value)) validate(type.values, item, inside(`${path}[${quote(key)}]`));
      return;
    case "record": {
      if (!isObject(value)) return void fault(`is ${quote(value)}, not an object with the fields of ${type.name}`);
      const dotted = (name: string) => (path === "" ? name : `${path}.${name}`);
      for (const name of Object.keys(value)) {
        if (!type.fields.some((field) => field.name === name)) {
          fault(`is no field of ${type.name}`, dotted(name.slice(0, 60)));
        }
      }
      for (const field of type.fields) {
        const at = inside(dotted(field.name));
        const given = fieldValue(field, value, place.raw);
        if (given === undefined) fault("is missing", at.path);
        else validate(field.type, given.value, { ...at, raw: given.raw });
      }
      return;
    }
    default: {
      const leaf = leafFrom(type, value, place.raw);
      if (leaf instanceof Refused) fault(leaf.problem);
    }
  }
}

/** Writes a value that `validate` found no fault with. */
function write(type: AvroType, value: unknown, place: { readonly into: ByteWriter; readonly raw: boolean }): void {
  const { into, raw } = place;
  switch (type.kind) {
    case "union": {
      const branch = branchFor(type.branches, value, raw);
      into.long(branch);
      return write(type.branches[branch], value, place);
    }
    case "array": {
      const items = value as readonly unknown[];
      if (items.length > 0) into.long(items.length);
      for (const item of items) write(type.items, item, place);
      return into.byte(0);
    }
    case "map": {
      const entries = Object.entries(value as Record<string, unknown>);
      if (entries.length > 0) into.long(entries.length);
      for (const [key, item] of entries) {
        into.string(key);
        write(type.values, item, place);
      }
      return into.byte(0);
    }
    case "record":
      for (const field of type.fields) {
        const given = fieldValue(field, value as Record<string, unknown>, raw)!;
        write(field.type, given.value, { into, raw: given.raw });
      }
      return;
    default: {
      const leaf = leafFrom(type, value, raw);
      if (leaf instanceof Refused) throw new TypeError(`A value changed while it was written: ${leaf.problem}`);
      writeLeaf(type, leaf, into);
    }
  }
}

function fieldValue(
  field: RecordField,
  record: Record<string, unknown>,
  raw: boolean,
): { value: unknown; raw: boolean } | undefined {
  const value = Object.hasOwn(record, field.name) ? record[field.name] : undefined;
  if (value !== undefined) return { value, raw };
  return field.default === undefined ? undefined : { value: field.default, raw: true };
}

/**
 * The first branch that the value looks like, or -1. Records, arrays and maps are only looked at from outside: trying
 * everything inside, branch after branch, would take exponential time where records contain themselves.
 */
function branchFor(branches: readonly AvroType[], value: unknown, raw: boolean): number {
  return branches.findIndex((branch) => {
    switch (branch.kind) {
      case "array":
        return Array.isArray(value);
      case "map":
        return isObject(value);
      case "record":
        return isObject(value) && looksLike(branch, value);
      default:
        return !(leafFrom(branch, value, raw) instanceof Refused);
    }
  });
}

function looksLike(record: RecordType, value: Record<string, unknown>): boolean {
  return Object.keys(value).every((name) => record.fields.some((field) => field.name === name)) &&
    record.fields.every((field) => field.default !== undefined || Object.hasOwn(value, field.name));
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value) && !(value instanceof Uint8Array);
}
