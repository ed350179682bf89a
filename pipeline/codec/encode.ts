/**
 * Rows of plain values to Avro records, by code made for the schema: published results and replayed files.
 *
 * @module
 */
import { ConfigError, type Fault, MalformedRecordError } from "../errors.ts";
import type { AvroSchema } from "../plan/plan.ts";
import type { ResultValue } from "../sinks/sink.ts";
import type { ByteWriter } from "./byte_writer.ts";
import { parseDecimal, parseShortDecimal, quote, Refused, unscaledBytes } from "./decimal_text.ts";
import { type AvroType, columnType, describe, parseSchema, type RecordType, withoutNull } from "./schema.ts";
import { isUuidString, uuidBytes } from "./uuid.ts";

/** Writes rows of a flat record. Values are as `ResultValue` says; a decimal may also be a number, whose text counts. */
export interface RowEncoder {
  /** Names of the fields, in the order of the values. */
  readonly fields: readonly string[];
  /**
   * Writes one row, without framing.
   *
   * @throws MalformedRecordError naming the field whose value does not fit; nothing of the row is then left in `out`
   */
  encodeRow(values: readonly ResultValue[], out: ByteWriter): void;
  /** The same from columns: `columns[field][row]`. */
  encodeAt(columns: readonly (readonly ResultValue[])[], row: number, out: ByteWriter): void;
}

/**
 * Makes the encoder of a record whose fields are of types that columns can hold, or unions of one with null.
 *
 * @throws ConfigError naming every field that is not
 */
export function createRowEncoder(schema: AvroSchema): RowEncoder {
  const record = parseSchema(schema);
  if (record.kind !== "record") throw new ConfigError({ where: "schema", problem: "rows are written as a record" });
  const types = record.fields.map(({ type }) => withoutNull(type).type);
  const steps = stepsOf(record);
  const body = (value: (i: number) => string) =>
    `const start = out.position; try { let v;
${steps.map((step, i) => `v = ${value(i)}; ${step}`).join("\n")}
} catch (error) { out.position = start; throw error; }`;
  const helpers = {
    fail: (i: number, value: ResultValue | undefined): never => {
      const { name, type } = record.fields[i];
      const problem = `field ${name} is ${value === undefined ? "missing" : quote(value)}, not ${describe(type)}`;
      throw new MalformedRecordError(problem);
    },
    symbols: types.map((type) => type.kind === "enum" ? new Map(type.symbols.map((symbol, i) => [symbol, i])) : null),
    decimals: types.map(decimalWriter),
    isUuidString,
    uuidBytes,
  };
  // The source holds positions and sizes only, no text of the schema.
  const source = `"use strict"; return {
encodeRow(values, out) { ${body((i) => `values[${i}]`)} },
encodeAt(columns, row, out) { ${body((i) => `columns[${i}][row]`)} },
};`;
  const made = new Function(...Object.keys(helpers), source)(...Object.values(helpers));
  return { fields: record.fields.map(({ name }) => name), ...made };
}

/** The code that writes `v`, for each field. */
function stepsOf(record: RecordType): string[] {
  const faults: Fault[] = [];
  const steps = record.fields.map(({ name, type }, i) => {
    const column = columnType(type);
    if (typeof column === "string") faults.push({ where: `${record.name}.${name}`, problem: column });
    const write = writeCode(withoutNull(type).type, i);
    if (type.kind !== "union") return write;
    const nothing = type.branches.findIndex((branch) => branch.kind === "null");
    const branch = type.branches.findIndex((branch) => branch.kind !== "null");
    if (nothing < 0) return `out.byte(0); ${write}`;
    return `if (v === null) out.byte(${2 * nothing}); else { out.byte(${2 * branch}); ${write} }`;
  });
  if (faults.length > 0) throw new ConfigError(faults);
  return steps;
}

function writeCode(type: AvroType, i: number): string {
  const fail = `fail(${i}, v);`;
  if ("logical" in type && type.logical?.kind === "decimal") return `if (!decimals[${i}].write(v, out)) ${fail}`;
  const uuid = "logical" in type && type.logical?.kind === "uuid";
  switch (type.kind) {
    case "boolean":
      return `if (v === true) out.byte(1); else if (v === false) out.byte(0); else ${fail}`;
    case "int":
      return `if ((v | 0) === v) out.long(v); else ${fail}`;
    case "long":
      return `if (Number.isSafeInteger(v)) out.long(v);
else if (typeof v === "bigint" && BigInt.asIntN(64, v) === v) out.bigLong(v); else ${fail}`;
    case "float":
    case "double":
      return `if (typeof v === "number") out.${type.kind}(v); else ${fail}`;
    case "string":
      return `if (typeof v === "string"${uuid ? " && isUuidString(v)" : ""}) out.string(v); else ${fail}`;
    case "bytes":
      return `if (v instanceof Uint8Array) out.bytes(v); else ${fail}`;
    case "fixed":
      if (uuid) return `{ const b = typeof v === "string" ? uuidBytes(v) : null; if (b) out.raw(b); else ${fail} }`;
      return `if (v instanceof Uint8Array && v.length === ${type.size}) out.raw(v); else ${fail}`;
    case "enum":
      return `{ const s = symbols[${i}].get(v); if (s === undefined) ${fail} out.long(s); }`;
    default:
      return "";
  }
}

interface DecimalWriter {
  /** False when the value does not fit. */
  write(value: ResultValue, out: ByteWriter): boolean;
}

function decimalWriter(type: AvroType): DecimalWriter | null {
  if (!("logical" in type) || type.logical?.kind !== "decimal") return null;
  const { precision, scale } = type.logical;
  const size = type.kind === "fixed" ? type.size : -1;
  return {
    write(value, out) {
      const text = typeof value === "number" ? String(value) : value;
      if (typeof text !== "string") return false;
      const short = parseShortDecimal(text, precision, scale);
      if (!Number.isNaN(short)) {
        if (size < 0) out.unscaled(short);
        else out.unscaledFixed(short, size);
        return true;
      }
      const unscaled = parseDecimal(text, precision, scale);
      if (unscaled instanceof Refused) return false;
      if (size < 0) out.bytes(unscaledBytes(unscaled));
      else out.raw(unscaledBytes(unscaled, size));
      return true;
    },
  };
}
