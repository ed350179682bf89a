/**
 * Reads a results topic as somebody else would: avsc decodes the registered schema, the reader's guard picks the newest row.
 *
 * @module
 */
import avro from "avsc";
import type { SchemaRegistrar } from "../../pipeline/sinks/kafka.ts";
import type { AvroSchema, ResultColumn } from "../../pipeline/plan/plan.ts";
import type { ResultValue } from "../../pipeline/sinks/sink.ts";
import { MemorySink } from "./memory_sink.ts";

/** A registry that gives the same id for the same schema. */
export class MemoryRegistry implements SchemaRegistrar {
  readonly subjects = new Map<string, AvroSchema[]>();

  register(subject: string, schema: AvroSchema): Promise<number> {
    const versions = this.subjects.get(subject) ?? [];
    this.subjects.set(subject, versions);
    const text = JSON.stringify(schema);
    const index = versions.findIndex((version) => JSON.stringify(version) === text);
    return Promise.resolve(index < 0 ? versions.push(schema) : index + 1);
  }
}

/** longs that leave 2^53 behind. */
const longType = avro.types.LongType.__with({
  fromBuffer: (buffer: Uint8Array) => new DataView(buffer.buffer, buffer.byteOffset).getBigInt64(0, true),
  toBuffer: () => {
    throw new Error("only read here");
  },
  fromJSON: BigInt,
  toJSON: String,
  isValid: (value: unknown) => typeof value === "bigint",
  compare: (a: bigint, b: bigint) => a === b ? 0 : a < b ? -1 : 1,
});

interface Framed {
  readonly schema: AvroSchema;
  readonly values: Iterable<Uint8Array>;
}

/** Decodes the framed values and folds them: for each key and window the row with the highest (revision, final). */
export function foldResults(columns: readonly ResultColumn[], options: Framed): ResultValue[][] {
  const fold = new MemorySink(columns);
  for (const row of resultValues(columns, options)) fold.put(row);
  return fold.rows();
}

/** Decodes the framed values, each to a row. */
export function resultValues(columns: readonly ResultColumn[], options: Framed): ResultValue[][] {
  const type = avro.Type.forSchema(options.schema as avro.Schema, {
    // The registry of names has no say over a long with a logical type.
    typeHook: (schema) => schema === "long" || (schema as { type?: unknown }).type === "long" ? longType : undefined,
    wrapUnions: false,
  });
  return Array.from(options.values, (value) => {
    if (value[0] !== 0) throw new Error("not Confluent's framing");
    const record = type.fromBuffer(Buffer.from(value.subarray(5))) as Record<string, unknown>;
    return columns.map((column) => resultValue(record[column.name], column));
  });
}

function resultValue(value: unknown, { type }: ResultColumn): ResultValue {
  if (value === null) return null;
  if (type.type === "decimal") return decimalText(value as Uint8Array, type.scale);
  if (value instanceof Uint8Array) return new Uint8Array(value);
  if (typeof value === "bigint") return Number.isSafeInteger(Number(value)) ? Number(value) : value;
  return value as ResultValue;
}

function decimalText(bytes: Uint8Array, scale: number): string {
  const unscaled = BigInt.asIntN(8 * bytes.length, bytes.reduce((sum, byte) => sum << 8n | BigInt(byte), 0n));
  const digits = (unscaled < 0n ? -unscaled : unscaled).toString().padStart(scale + 1, "0");
  const sign = unscaled < 0n ? "-" : "";
  return scale === 0 ? sign + digits : `${sign}${digits.slice(0, -scale)}.${digits.slice(-scale)}`;
}
