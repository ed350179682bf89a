/**
 * Decoders that read only the wanted fields of Avro records, straight into columns.
 *
 * For every pair of writer schema and wanted fields a piece of JavaScript is generated (`projection_code.ts`) that walks a
 * record field by field. It makes no object, string or BigInt; fields that are not wanted are stepped over, but still
 * checked, so that a row is only kept when the whole record is what the schema says.
 *
 * @module
 */
import { type Column, columnKind, type Columns, type FieldType } from "../columns.ts";
import type { Records } from "../log/records.ts";
import type { AvroSchema, PlanField } from "../plan/plan.ts";
import { decimalLimit, decimalStart, decimalToWords } from "./decimal_bytes.ts";
import type { Decoder } from "./decoder.ts";
import { OwnedBytes } from "./owned_bytes.ts";
import { type ColumnUse, generate, isFilled, isNullByRow, isOwned } from "./projection_code.ts";
import { type Constant, IncompatibleSchemaError } from "./resolve.ts";
import { parseSchema } from "./schema.ts";
import { isUuidText } from "./uuid.ts";
import { readInt, readLong } from "./varint.ts";
import { mismatch, wantedTree } from "./wanted.ts";

export { EMPTY_ITEMS_MAX, VALUE_DEPTH_MAX } from "./projection_code.ts";
export { IncompatibleSchemaError } from "./resolve.ts";

/** Reasons are cut to this many characters. */
export const REASON_LENGTH_MAX = 300;

export interface DecoderOptions {
  /** What the records were written with. */
  readonly writer: AvroSchema;
  /** What the plan was made from. Only the wanted fields of it have to be readable from the writer's. */
  readonly reader: AvroSchema;
  /** The columns, in order; their types as `projectableField` gives them for the reader's schema. */
  readonly fields: readonly PlanField[];
}

type Rows = (
  records: Records,
  data: Uint8Array,
  from: number,
  to: number,
  out: Columns,
  explain: (row: number, fault: number, detail: number) => void,
) => number;

/**
 * Makes the decoder for records of one writer schema. Without fields it only checks the records, strictly.
 *
 * Values are resolved as the Avro specification 1.12 says: fields by name and alias, defaults of the reader for fields the
 * writer lacks, promotions, enum symbols, unions. A decimal beyond its declared precision makes the row bad; text is not
 * checked to be UTF-8.
 *
 * @throws ConfigError when a schema is invalid or a field is no column of the reader's schema
 * @throws IncompatibleSchemaError when a wanted field can never be read from the writer's schema
 */
export function createDecoder(options: DecoderOptions): Decoder {
  const writer = parseSchema(options.writer, "writer schema");
  const reader = parseSchema(options.reader, "reader schema");
  const wanted = wantedTree(reader, options.fields);
  const problem = wanted.inside.length > 0 ? mismatch(writer, wanted, "") : null;
  if (problem) throw new IncompatibleSchemaError(problem);
  const types = options.fields.map(({ type }) => type);
  return new ProjectionDecoder(types, generate(writer, wanted, types));
}

class ProjectionDecoder implements Decoder {
  readonly #types: readonly FieldType[];
  readonly #uses: readonly ColumnUse[];
  readonly #owned: readonly (OwnedBytes | null)[];
  readonly #reasons: readonly ((detail: number) => string)[];
  readonly #rows: Rows;

  constructor(types: readonly FieldType[], code: ReturnType<typeof generate>) {
    this.#types = types;
    this.#uses = code.uses;
    this.#reasons = code.reasons;
    this.#owned = code.uses.map((use, i) => isOwned(use, types[i]) ? new OwnedBytes(use.constants) : null);
    const helpers = {
      readInt,
      readLong,
      decimalToWords,
      decimalStart,
      isUuidText,
      words: new Int32Array(2),
      tables: code.tables,
      uses: code.uses,
      own: this.#owned,
      limits: types.map((type) => type.type === "decimal" ? decimalLimit(type.precision) : null),
    };
    // The source holds numbers from the schema only, never its text: see projection_code.ts.
    this.#rows = new Function(...Object.keys(helpers), code.source)(...Object.values(helpers));
  }

  decode(records: Records, from: number, to: number, out: Columns): void {
    this.#check(records, from, to, out);
    if (out.bad.length > 0) out.bad = [];
    for (const owned of this.#owned) owned?.clear();
    const { data } = records;
    // A Buffer's bytes are read as a plain Uint8Array, so that the generated code sees one kind of array only.
    const plain = Object.getPrototypeOf(data) === Uint8Array.prototype
      ? data
      : new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
    out.length = this.#rows(records, plain, from, to, out, (row, fault, detail) => {
      const reason = this.#reasons[fault](detail);
      out.bad.push({
        row,
        reason: reason.length > REASON_LENGTH_MAX ? `${reason.slice(0, REASON_LENGTH_MAX - 3)}...` : reason,
      });
    });
    for (let i = 0; i < this.#uses.length; i++) this.#finish(out.columns[i], i, out.length, data);
  }

  /** What is the same for all rows: null flags, constants, and the bytes that positions point into. */
  #finish(column: Column, i: number, length: number, data: Uint8Array): void {
    const use = this.#uses[i];
    const constant: Constant | null = isFilled(use) ? use.constants[0] : null;
    if (column.type.nullable && !isNullByRow(use)) column.nulls.fill(constant?.kind === "null" ? 1 : 0, 0, length);
    column.data = this.#owned[i]?.data ?? data;
    if (constant) fill(column, constant, length);
  }

  /** Handing over the wrong arrays is a bug of the caller, not of the data. */
  #check(records: Records, from: number, to: number, out: Columns): void {
    const { data, view } = records;
    if (from < 0 || to > records.length || to - from > out.capacity) {
      throw new RangeError(`Cannot decode rows ${from} to ${to} of ${records.length} into ${out.capacity} rows`);
    }
    if (view.buffer !== data.buffer || view.byteOffset !== data.byteOffset || view.byteLength !== data.byteLength) {
      throw new RangeError("Cannot decode: records.view does not show the bytes of records.data");
    }
    const same = out.columns.length === this.#types.length &&
      out.columns.every((column, i) => column.kind === columnKind(this.#types[i]));
    if (!same) throw new RangeError("Cannot decode: the columns are not those of the decoder's fields");
  }
}

function fill(column: Column, constant: Constant, length: number): void {
  switch (constant.kind) {
    case "null":
      return;
    case "i32":
      column.ints.fill(constant.value, 0, length);
      return;
    case "f64":
      column.floats.fill(constant.value, 0, length);
      return;
    case "i64":
    case "bytes": {
      const [even, odd] = constant.kind === "i64" ? [constant.low, constant.high] : [0, constant.bytes.length];
      for (let row = 0; row < length; row++) {
        column.ints[2 * row] = even;
        column.ints[2 * row + 1] = odd;
      }
      if (constant.kind === "bytes") column.data = constant.bytes;
    }
  }
}
