/**
 * Avro records as values, column by column, as sinks take them.
 *
 * Fields that are one value each go through the decoders of `projection.ts`, so a record is only taken when all of it is what its
 * schema says, and no object is made for it. Fields that are arrays, maps or records become their JSON text; only a schema that has
 * such fields pays for them, with an object per record.
 *
 * @module
 */
import { bigintAt, type Column, Columns, type FieldType, NARROW_DECIMAL_DIGITS, numberAt } from "../columns.ts";
import { bigintFromBytes, decimalText } from "../decimal.ts";
import { ConfigError, MalformedRecordError } from "../errors.ts";
import type { Records } from "../log/records.ts";
import type { AvroSchema, ResultColumn } from "../plan/plan.ts";
import type { ResultValue } from "../sinks/sink.ts";
import { readJson } from "./avro_json.ts";
import type { Decoder } from "./decoder.ts";
import { FRAME_BYTES } from "./framing.ts";
import { createDecoder } from "./projection.ts";
import { IncompatibleSchemaError, writerField } from "./resolve.ts";
import { type AvroType, parseSchema, type RecordField, type RecordType } from "./schema.ts";

/** Up to this many bytes of ASCII become a string without a call out of the engine, several times as fast. */
const SHORT_BYTES_MAX = 32;

export interface RowReaderOptions {
  /** What the records were written with. */
  readonly writer: AvroSchema;
  /** What the columns were made from. */
  readonly reader: AvroSchema;
  /** One for each field that is wanted, named like it. */
  readonly columns: readonly ResultColumn[];
  /** Rows read at a time, at most. */
  readonly capacity: number;
}

/** What was read: `taken` are the records whose values were added, `bad` the others. */
export interface ReadRows {
  readonly taken: readonly number[];
  readonly bad: readonly { readonly row: number; readonly reason: string }[];
}

/** Reads records of one writer schema. */
export class RowReader {
  readonly #decoder: Decoder;
  readonly #decoded: Columns;
  /** Of each column: which decoded one it is, or how its JSON text is found. */
  readonly #places: readonly (number | JsonField)[];
  readonly #json: AvroType | null;

  /**
   * @throws ConfigError when a schema is invalid
   * @throws IncompatibleSchemaError when a field can never be read from the writer's schema
   */
  constructor({ writer, reader, columns, capacity }: RowReaderOptions) {
    const fields = columns.filter(({ isJson }) => !isJson).map(({ name, type }) => ({ path: name, type }));
    this.#decoder = createDecoder({ writer, reader, fields });
    this.#decoded = new Columns(fields.map(({ type }) => type), capacity);
    const written = parseSchema(writer, "writer schema");
    const wanted = recordOf(parseSchema(reader, "reader schema"));
    let next = 0;
    this.#places = columns.map(({ name, isJson }) =>
      isJson ? jsonField(recordOf(written), wanted.fields.find((field) => field.name === name)!) : next++
    );
    this.#json = columns.some(({ isJson }) => isJson) ? written : null;
  }

  /** Adds the values of records `[from, to)` to `into`, a list for each column. */
  read(
    records: Records,
    { from, to }: { readonly from: number; readonly to: number },
    into: ResultValue[][],
  ): ReadRows {
    const decoded = this.#decoded;
    this.#decoder.decode(records, from, to, decoded);
    const bad = [...decoded.bad];
    const rows: number[] = [];
    for (let row = 0; row < decoded.length; row++) rows.push(row);
    const objects = this.#json === null ? null : this.#objects(records, rows, bad);
    this.#places.forEach((place, i) => {
      if (typeof place === "number") addValues(decoded.columns[place], objects?.rows ?? rows, into[i]);
      else for (const object of objects!.values) into[i].push(place(object));
    });
    return { taken: (objects?.rows ?? rows).map((row) => decoded.source[row]), bad };
  }

  #objects(records: Records, rows: readonly number[], bad: { row: number; reason: string }[]) {
    const kept: number[] = [];
    const values: { readonly [field: string]: unknown }[] = [];
    const { data, valueStart, valueEnd } = records;
    for (const row of rows) {
      const source = this.#decoded.source[row];
      try {
        const json = readJson(this.#json!, data.subarray(valueStart[source] + FRAME_BYTES, valueEnd[source]));
        values.push(json as { readonly [field: string]: unknown });
        kept.push(row);
      } catch (error) {
        // Values so deep inside each other that they make no JSON.
        if (!(error instanceof MalformedRecordError)) throw error;
        bad.push({ row: source, reason: error.message });
      }
    }
    return { rows: kept, values };
  }
}

type JsonField = (record: { readonly [field: string]: unknown }) => string | null;

function jsonField(writer: RecordType, field: RecordField): JsonField {
  const written = writerField(writer, field);
  if (written !== undefined) return (record) => jsonText(record[written.name]);
  if (field.default === undefined) {
    throw new IncompatibleSchemaError(
      `the writer's schema has no ${field.name}, and the reader's ${field.name} has no default`,
    );
  }
  const text = jsonText(field.default);
  return () => text;
}

function jsonText(value: unknown): string | null {
  return value === null || value === undefined ? null : JSON.stringify(value);
}

function recordOf(type: AvroType): RecordType {
  if (type.kind === "record") return type;
  throw new ConfigError({ where: "schema", problem: `is an Avro ${type.kind}; rows are read from a record` });
}

function addValues(column: Column, rows: readonly number[], into: ResultValue[]): void {
  const { nulls, type } = column;
  const value = valueOf(column);
  if (!type.nullable) { for (const row of rows) into.push(value(row)); }
  else for (const row of rows) into.push(nulls[row] === 1 ? null : value(row));
}

/** How a row's value is found in a column. */
function valueOf(column: Column): (row: number) => ResultValue {
  const { ints, floats, data, type } = column;
  switch (type.type) {
    case "boolean":
      return (row) => ints[row] !== 0;
    case "int":
    case "date":
    case "time-millis":
      return (row) => ints[row];
    case "enum":
      return (row) => type.symbols[ints[row]];
    case "long":
    case "time-micros":
    case "timestamp-millis":
    case "timestamp-micros":
      return (row) => {
        const value = numberAt(ints, row);
        return Number.isSafeInteger(value) ? value : bigintAt(ints, row);
      };
    case "float":
    case "double":
      return (row) => floats[row];
    case "decimal":
      return decimalAt(column, type);
    case "string":
    case "uuid":
      return (row) => textAt(data, ints[2 * row], ints[2 * row + 1]);
    case "bytes":
      return (row) => data.slice(ints[2 * row], ints[2 * row + 1]);
  }
}

function decimalAt(
  { ints, data }: Column,
  { precision, scale }: Extract<FieldType, { type: "decimal" }>,
): (row: number) => string {
  if (precision > NARROW_DECIMAL_DIGITS) {
    return (row) => decimalText(bigintFromBytes(data, ints[2 * row], ints[2 * row + 1]), scale);
  }
  return (row) => {
    const unscaled = numberAt(ints, row);
    if (!Number.isSafeInteger(unscaled)) return decimalText(bigintAt(ints, row), scale);
    if (scale === 0) return String(unscaled);
    const digits = String(Math.abs(unscaled)).padStart(scale + 1, "0");
    const point = digits.length - scale;
    return `${unscaled < 0 ? "-" : ""}${digits.slice(0, point)}.${digits.slice(point)}`;
  };
}

const utf8 = new TextDecoder("utf-8", { ignoreBOM: true });

function textAt(data: Uint8Array, start: number, end: number): string {
  if (end - start <= SHORT_BYTES_MAX) {
    let text = "";
    let at = start;
    while (at < end && data[at] < 0x80) text += String.fromCharCode(data[at++]);
    if (at === end) return text;
  }
  return utf8.decode(data.subarray(start, end));
}
