import assert from "node:assert/strict";
import { avroType } from "../../pipeline/codec/avro_values.ts";
import { RowReader } from "../../pipeline/codec/row_reader.ts";
import { deliveryColumns, ORIGIN_COLUMNS } from "../../pipeline/deliveries/columns.ts";
import { Records } from "../../pipeline/log/records.ts";
import type { AvroSchema } from "../../pipeline/plan/plan.ts";
import type { ResultValue } from "../../pipeline/sinks/sink.ts";

const logical = (type: string, logicalType: string, more = {}): AvroSchema => ({ type, logicalType, ...more });
const record = (fields: readonly { name: string; type: AvroSchema; default?: unknown }[], name = "R"): AvroSchema =>
  ({ type: "record", name, fields }) as unknown as AvroSchema;

/** Rows of the values, one after the other in one buffer; a value that is bytes is taken as it is. */
function recordsOf(writer: AvroSchema, values: readonly unknown[]): Records {
  const encoder = avroType(writer);
  const parts = values.map((value) => value instanceof Uint8Array ? value : encoder.encodeFramed(1, value));
  const records = new Records(values.length);
  records.data = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  parts.forEach((part, row) => {
    records.data.set(part, at);
    records.valueStart[row] = at;
    records.valueEnd[row] = at += part.length;
  });
  records.view = new DataView(records.data.buffer);
  records.length = values.length;
  return records;
}

function read(reader: AvroSchema, writer: AvroSchema, values: readonly unknown[]) {
  const columns = deliveryColumns(reader, { key: [] }).slice(0, -ORIGIN_COLUMNS.length);
  const into: ResultValue[][] = columns.map(() => []);
  const rows = new RowReader({ writer, reader, columns, capacity: values.length });
  const { taken, bad } = rows.read(recordsOf(writer, values), { from: 0, to: values.length }, into);
  return { rows: taken.map((_, row) => into.map((list) => list[row])), taken, bad };
}

Deno.test("values of every kind come as sinks take them", () => {
  const schema = record([
    { name: "yes", type: "boolean" },
    { name: "i", type: "int" },
    { name: "l", type: "long" },
    { name: "d", type: "double" },
    { name: "s", type: "string" },
    { name: "b", type: "bytes" },
    { name: "e", type: { type: "enum", name: "E", symbols: ["A", "B"] } as unknown as AvroSchema },
    { name: "u", type: logical("string", "uuid") },
    { name: "narrow", type: logical("bytes", "decimal", { precision: 10, scale: 2 }) },
    { name: "wide", type: logical("bytes", "decimal", { precision: 30, scale: 3 }) },
    { name: "day", type: logical("int", "date") },
    { name: "at", type: logical("long", "timestamp-micros") },
    { name: "n", type: ["null", "string"] },
  ]);
  const uuid = "00112233-4455-6677-8899-aabbccddeeff";
  const value = (more: Record<string, unknown>) => ({
    ...{
      yes: true,
      i: -5,
      l: 7,
      d: 0.5,
      s: "ü and more than thirty-two bytes of it",
      b: Uint8Array.of(0, 255),
      e: "B",
    },
    ...{
      u: uuid,
      narrow: "-0.05",
      wide: "123456789012345678901234567.890",
      day: 20000,
      at: 1_700_000_000_000_001,
      n: null,
    },
    ...more,
  });
  const { rows } = read(schema, schema, [
    value({}),
    value({ l: "9007199254740993", narrow: "12345678.90", n: "x", s: "" }),
  ]);
  assert.deepEqual(rows[0], [
    ...[true, -5, 7, 0.5, "ü and more than thirty-two bytes of it", Uint8Array.of(0, 255), "B", uuid],
    ...["-0.05", "123456789012345678901234567.890", 20000, 1_700_000_000_000_001, null],
  ]);
  assert.deepEqual([rows[1][2], rows[1][4], rows[1][8], rows[1][12]], [9007199254740993n, "", "12345678.90", "x"]);
});

Deno.test("arrays, maps and records are their JSON, also where the writer has the fields in another order, or not at all", () => {
  const inner = record([{ name: "price", type: logical("bytes", "decimal", { precision: 6, scale: 2 }) }], "Inner");
  const reader = record([
    { name: "id", type: "long" },
    { name: "tags", type: { type: "array", items: "string" } as unknown as AvroSchema },
    { name: "inner", type: ["null", inner], default: null },
    { name: "more", type: { type: "map", values: "int" } as unknown as AvroSchema, default: { a: 1 } },
    { name: "note", type: "string", default: "none" },
  ]);
  const writer = record([
    { name: "inner", type: ["null", inner] },
    { name: "gone", type: "string" },
    { name: "tags", type: { type: "array", items: "string" } as unknown as AvroSchema },
    { name: "id", type: "int" },
  ]);
  const { rows } = read(reader, writer, [
    { inner: { price: "1.50" }, gone: "x", tags: ["a", `"`], id: 3 },
    { inner: null, gone: "x", tags: [], id: 4 },
  ]);
  assert.deepEqual(rows, [
    [3, `["a","\\""]`, `{"price":"1.50"}`, `{"a":1}`, "none"],
    [4, "[]", null, `{"a":1}`, "none"],
  ]);
});

Deno.test("a record that is cut, or has bytes after it, takes no row, and those around it keep theirs", () => {
  const schema = record([{ name: "s", type: "string" }, {
    name: "list",
    type: { type: "array", items: "int" } as unknown as AvroSchema,
  }]);
  const whole = avroType(schema).encodeFramed(1, { s: "abc", list: [1] });
  const { rows, taken, bad } = read(schema, schema, [
    { s: "a", list: [] },
    whole.slice(0, 7),
    { s: "b", list: [2] },
    Uint8Array.of(...whole, 9),
  ]);
  assert.deepEqual(rows, [["a", "[]"], ["b", "[2]"]]);
  assert.deepEqual(taken, [0, 2]);
  assert.deepEqual(bad.map(({ row }) => row), [1, 3]);
  assert.match(bad[1].reason, /bytes follow/);
});
