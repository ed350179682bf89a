/**
 * What columns become in Avro, by the number of their type, and how PostgreSQL's text of a value is written as that. Text,
 * because every type has one: the binary forms of types that others made are known to nobody.
 *
 * | PostgreSQL | Avro |
 * |---|---|
 * | boolean | boolean |
 * | smallint, integer | int |
 * | bigint, oid | long |
 * | real, double precision | float, double |
 * | numeric(p, s), at most 38 digits | decimal(p, s) |
 * | date | date |
 * | time | time-micros |
 * | timestamp | local-timestamp-micros |
 * | timestamptz | timestamp-micros |
 * | uuid | uuid |
 * | bytea | bytes |
 * | arrays of built-in types | string: JSON |
 * | json, jsonb | string: as it is |
 * | all others, numeric without precision, enums and domains among them | string: PostgreSQL's text |
 *
 * @module
 */
import type { ByteWriter } from "../../codec/byte_writer.ts";
import type { AvroSchema } from "../../plan/plan.ts";
import { arrayToJson, type ElementKind } from "./array_text.ts";
import { bytea, date, decimal, floating, integer, textBytes, time, timestamp } from "./text_values.ts";

/** Writes the text in `data[start, end)`; false when Avro's type has no such value. */
export type WriteValue = (data: Uint8Array, start: number, end: number, out: ByteWriter) => boolean;

export interface ColumnType {
  readonly schema: AvroSchema;
  readonly write: WriteValue;
  /** Its text is JSON as it stands: a number, or true and false from t and f. */
  readonly json: "number" | "boolean" | "string";
}

const DECIMAL_DIGITS_MAX = 38;
const NUMERIC = 1700;

const STRING: ColumnType = { schema: "string", write: textBytes, json: "string" };

const TYPES: Readonly<Record<number, ColumnType>> = {
  16: {
    schema: "boolean",
    write: (data, start, _, out) => (out.byte(data[start] === 0x74 ? 1 : 0), true),
    json: "boolean",
  },
  20: { schema: "long", write: integer, json: "number" },
  21: { schema: "int", write: integer, json: "number" },
  23: { schema: "int", write: integer, json: "number" },
  26: { schema: "long", write: integer, json: "number" },
  700: { schema: "float", write: floating((value, out) => out.float(value)), json: "string" },
  701: { schema: "double", write: floating((value, out) => out.double(value)), json: "string" },
  1082: { schema: { type: "int", logicalType: "date" }, write: date, json: "string" },
  1083: { schema: { type: "long", logicalType: "time-micros" }, write: time, json: "string" },
  1114: { schema: { type: "long", logicalType: "local-timestamp-micros" }, write: timestamp, json: "string" },
  1184: { schema: { type: "long", logicalType: "timestamp-micros" }, write: timestamp, json: "string" },
  2950: { schema: { type: "string", logicalType: "uuid" }, write: textBytes, json: "string" },
  17: { schema: "bytes", write: bytea, json: "string" },
};

/** Of bool, int2, int4, int8, oid, float4, float8, json, jsonb; then those whose elements are texts. */
const ARRAYS: ReadonlyMap<number, ElementKind> = new Map<number, ElementKind>([
  [1000, "boolean"],
  ...[1005, 1007, 1016, 1028, 1021, 1022].map((oid) => [oid, "number"] as const),
  ...[199, 3807].map((oid) => [oid, "json"] as const),
  // bytea, char, name, text, bpchar, varchar, cidr, inet, macaddr, timestamp, date, time, timestamptz, interval, numeric,
  // timetz, uuid, xml, money
  ...[1001, 1002, 1003, 1009, 1014, 1015, 651, 1041, 1040, 1115, 1182, 1183, 1185, 1187, 1231, 1270, 2951, 143, 791]
    .map((oid) => [oid, "string"] as const),
]);

/** @param modifier the column's own, such as the precision of a numeric; -1 for none */
export function columnType(type: number, modifier: number): ColumnType {
  if (type === NUMERIC) return numeric(modifier);
  const element = ARRAYS.get(type);
  if (element !== undefined) return { schema: "string", write: array(element), json: "string" };
  return TYPES[type] ?? STRING;
}

/** The modifier is `precision << 16 | scale`, plus 4; the scale has eleven bits and a sign. */
function numeric(modifier: number): ColumnType {
  if (modifier < 4) return STRING;
  const precision = (modifier - 4) >> 16 & 0xffff;
  const scale = ((modifier - 4 & 0x7ff) ^ 1024) - 1024;
  if (precision > DECIMAL_DIGITS_MAX || scale < 0 || scale > precision) return STRING;
  return { schema: { type: "bytes", logicalType: "decimal", precision, scale }, write: decimal(scale), json: "string" };
}

function array(element: ElementKind): WriteValue {
  const text = new TextDecoder();
  return (data, start, end, out) => {
    const json = arrayToJson(text.decode(data.subarray(start, end)), element);
    if (json === null) return false;
    out.string(json);
    return true;
  };
}
