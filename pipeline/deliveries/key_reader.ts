/**
 * Keys that are framed Avro, as Debezium and Kafka Connect write them: a record with the key's fields, or a value alone where the key
 * is one field.
 *
 * @module
 */
import { RowReader } from "../codec/row_reader.ts";
import { IncompatibleSchemaError } from "../codec/resolve.ts";
import { parseSchema } from "../codec/schema.ts";
import { Records } from "../log/records.ts";
import type { AvroSchema } from "../plan/plan.ts";
import type { ResultValue } from "../sinks/sink.ts";
import type { DeliveryPlan } from "./delivery_spec.ts";

/** What was read: of each record the values of the key's columns, in the key's order, or why there are none. */
export type KeyRows = readonly { readonly row: number; readonly found: readonly ResultValue[] | string }[];

/** Reads keys of one writer schema. */
export class KeyReader {
  readonly #key: readonly string[];
  readonly #rows: RowReader;
  /** The same records, their keys in the place of their values. */
  readonly #keys: Records;

  /**
   * @throws ConfigError when a schema is invalid
   * @throws IncompatibleSchemaError when the key's fields can never be read from the writer's schema
   */
  constructor(
    writer: AvroSchema,
    { plan: { schema, key, columns }, capacity }: {
      readonly plan: Pick<DeliveryPlan, "schema" | "key" | "columns">;
      readonly capacity: number;
    },
  ) {
    this.#key = key;
    this.#keys = new Records(capacity);
    const parsed = parseSchema(writer, "the key's schema");
    const isRecord = parsed.kind === "record";
    if (!isRecord && key.length > 1) {
      throw new IncompatibleSchemaError(`the key's schema is no record with ${key.join(", ")}`);
    }
    // A record of one field is written like that field alone.
    const whole = isRecord ? writer : { type: "record", name: "Key", fields: [{ name: key[0], type: writer }] };
    this.#rows = new RowReader({
      writer: whole,
      reader: keyOnly(schema, { key, alias: isRecord ? parsed.name : "Key" }),
      columns: key.map((name) => columns.find((column) => column.name === name)!),
      capacity,
    });
  }

  read(records: Records, { from, to }: { readonly from: number; readonly to: number }): KeyRows {
    const keys = this.#keys;
    keys.data = records.data;
    keys.view = records.view;
    keys.length = records.length;
    keys.valueStart.set(records.keyStart.subarray(from, to), from);
    keys.valueEnd.set(records.keyEnd.subarray(from, to), from);
    const values: ResultValue[][] = this.#key.map(() => []);
    const { taken, bad } = this.#rows.read(keys, { from, to }, values);
    const found = [
      ...taken.map((row, i) => ({ row, found: this.#whole(values.map((list) => list[i])) })),
      ...bad.map(({ row, reason }) => ({ row, found: `the key of a record without a value: ${reason}` })),
    ];
    return found.sort((a, b) => a.row - b.row);
  }

  #whole(values: readonly ResultValue[]): readonly ResultValue[] | string {
    const missing = this.#key.find((_, i) => values[i] === null);
    return missing === undefined ? values : `the key of a record without a value has no ${missing}: it is null`;
  }
}

/** The schema, in which a record of another name without the other fields is one too; they stay, as they may define types that the key's have. */
function keyOnly(
  schema: AvroSchema,
  { key, alias }: { readonly key: readonly string[]; readonly alias: string },
): AvroSchema {
  const record = schema as unknown as {
    readonly fields: readonly { readonly name: string; readonly type: AvroSchema }[];
  };
  const fields = record.fields.map((field) => {
    if (key.includes(field.name)) return field;
    const types: readonly AvroSchema[] = Array.isArray(field.type) ? field.type : [field.type];
    return { ...field, type: ["null", ...types.filter((type) => type !== "null")], default: null };
  });
  return { ...record, aliases: [alias], fields } as unknown as AvroSchema;
}
