/** Decoders against avsc, on random schemas, values and damage. fast-check prints seed and path of a failure. */
import fc from "fast-check";
import { deepStrictEqual, ok } from "node:assert/strict";
import { Buffer } from "node:buffer";
import { fieldTypes } from "../../pipeline/codec/schema.ts";
import { oracle, recordSchema, type SchemaJson, valueOf, wideRecordSchema } from "./arbitrary_schemas.ts";
import { type DecodedRow, decodeRows, expected, valueAt } from "./rows.ts";

const sample = (schemas: fc.Arbitrary<SchemaJson>) =>
  schemas.chain((schema: SchemaJson) =>
    fc.record({
      schema: fc.constant(schema),
      values: fc.array(valueOf(schema), { minLength: 1, maxLength: 4 }),
      paths: fc.subarray([...fieldTypes(schema).keys()]),
      after: fc.constantFrom(0, 0, 3, 20),
    })
  );
const damage = fc.array(
  fc.record({ at: fc.nat(), byte: fc.nat(255), how: fc.constantFrom("flip", "set", "insert", "remove") }),
  { minLength: 1, maxLength: 3 },
);

const schemaAndRows = sample(recordSchema);
const wideSchemaAndRows = sample(wideRecordSchema);

for (const [kind, samples, numRuns] of [["any", schemaAndRows, 1000], ["any wide", wideSchemaAndRows, 40]] as const) {
  Deno.test(`columns hold what avsc reads, for ${kind} schema, values and choice of fields`, () => {
    let good = 0;
    fc.assert(
      fc.property(samples, ({ schema, values, paths, after }) => {
        const type = oracle(schema);
        const encoded = values.map((value) => new Uint8Array(type.toBuffer(value)));
        decodeRows({ writer: schema, paths }, encoded, { after }).forEach((row, i) => {
          const want = expectedRow(schema, paths, type.fromBuffer(Buffer.from(encoded[i])));
          if (want === "bad") ok("bad" in row, `row ${i} should be bad`);
          else deepStrictEqual(row, { values: want }), good++;
        });
      }),
      { numRuns },
    );
    ok(good > numRuns / 3, `only ${good} good rows compared`);
  });
}

Deno.test("a damaged value of a wide schema is a bad row or reads as avsc reads it", () => {
  fc.assert(
    fc.property(wideSchemaAndRows, fc.array(damage, { minLength: 8, maxLength: 8 }), (sample, damages) => {
      const { schema, values, paths, after } = sample;
      const encoded = new Uint8Array(oracle(schema).toBuffer(values[0]));
      const damaged = damages.map((changes) => changes.reduce(change, encoded));
      compare(schema, paths, damaged, decodeRows({ writer: schema, paths }, damaged, { after }), { good: 0, bad: 0 });
    }),
    { numRuns: 30 },
  );
});

Deno.test("every truncation of a valid value is a bad row", () => {
  fc.assert(
    fc.property(schemaAndRows, ({ schema, values, paths, after }) => {
      const encoded = new Uint8Array(oracle(schema).toBuffer(values[0]));
      const cuts = Array.from({ length: Math.min(encoded.length, 300) }, (_, i) => encoded.subarray(0, i));
      decodeRows({ writer: schema, paths }, cuts, { after }).forEach((row) =>
        ok("bad" in row, "a truncated value decoded")
      );
    }),
    { numRuns: 300 },
  );
});

Deno.test("a damaged value is a bad row or reads as avsc reads it", () => {
  const count = { good: 0, bad: 0 };
  fc.assert(
    fc.property(schemaAndRows, fc.array(damage, { minLength: 8, maxLength: 8 }), (sample, damages) => {
      const { schema, values, paths, after } = sample;
      const encoded = new Uint8Array(oracle(schema).toBuffer(values[0]));
      const damaged = damages.map((changes) => changes.reduce(change, encoded));
      compare(schema, paths, damaged, decodeRows({ writer: schema, paths }, damaged, { after }), count);
    }),
    { numRuns: 700 },
  );
  ok(count.good > 300 && count.bad > 300, `lopsided: ${JSON.stringify(count)}`);
});

Deno.test("random bytes are bad rows or read as avsc reads them", () => {
  const bytes = fc.array(fc.uint8Array({ maxLength: 40 }), { minLength: 10, maxLength: 10 });
  fc.assert(
    fc.property(schemaAndRows, bytes, ({ schema, paths, after }, values) => {
      compare(schema, paths, values, decodeRows({ writer: schema, paths }, values, { after }), { good: 0, bad: 0 });
    }),
    { numRuns: 500 },
  );
});

/** Rows that decoded must be what avsc reads. avsc is only shown bytes that passed, as it trusts block counts. */
function compare(
  schema: SchemaJson,
  paths: readonly string[],
  values: readonly Uint8Array[],
  rows: readonly DecodedRow[],
  count: { good: number; bad: number },
): void {
  const type = oracle(schema);
  rows.forEach((row, i) => {
    if ("bad" in row) {
      ok(row.bad.length > 0 && row.bad.length <= 300);
      count.bad++;
      return;
    }
    count.good++;
    deepStrictEqual(row, { values: expectedRow(schema, paths, type.fromBuffer(Buffer.from(values[i]))) });
  });
}

function expectedRow(schema: SchemaJson, paths: readonly string[], record: unknown) {
  const types = fieldTypes(schema);
  const values = paths.map((path) => expected(types.get(path)!, valueAt(record, path)));
  return values.includes("bad") ? "bad" : values;
}

function change(bytes: Uint8Array, { at, byte, how }: { at: number; byte: number; how: string }): Uint8Array {
  const list = Array.from(bytes);
  const place = list.length === 0 ? 0 : at % list.length;
  if (how === "flip" && list.length > 0) list[place] ^= 1 << (byte & 7);
  else if (how === "set" && list.length > 0) list[place] = byte;
  else if (how === "insert") list.splice(place, 0, byte);
  else list.splice(place, 1);
  return Uint8Array.from(list);
}
