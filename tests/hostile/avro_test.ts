import assert from "node:assert/strict";
import fc from "fast-check";
import { avroType } from "../../pipeline/codec/avro_values.ts";
import { parseSchema } from "../../pipeline/codec/parse_schema.ts";
import { fieldTypes } from "../../pipeline/codec/schema.ts";
import { ConfigError, MalformedRecordError } from "../../pipeline/errors.ts";
import type { AvroSchema } from "../../pipeline/plan/plan.ts";
import { nasty, nastyJson, runs } from "./support.ts";

const KEYWORDS = ["type", "name", "namespace", "fields", "items", "values", "symbols", "size", "default", "aliases"];
const NAMES = ["R", "a.b", "record", "enum", "fixed", "array", "map", "long", "string", "decimal", "uuid", "bytes"];

/** JSON that looks like a schema, wrong in every way. */
const schemas: fc.Arbitrary<unknown> = fc.letrec((tie) => ({
  schema: fc.oneof(
    { depthSize: "small" },
    fc.constantFrom<unknown[]>(...NAMES),
    nastyJson,
    fc.array(tie("schema"), { maxLength: 4 }),
    fc.array(
      fc.tuple(
        fc.constantFrom(...KEYWORDS, "logicalType", "precision", "scale", "__proto__"),
        fc.oneof(tie("schema"), fc.constantFrom<unknown[]>(...NAMES), fc.integer({ min: -2, max: 2 ** 40 }), nasty),
      ),
      { maxLength: 6 },
    ).map((entries) => Object.fromEntries(entries)),
  ),
})).schema;

Deno.test("whatever is given as an Avro schema is parsed, or refused with its faults", () => {
  fc.assert(
    fc.property(schemas, (schema) => {
      for (const read of [parseSchema, fieldTypes, avroType]) {
        try {
          read(schema as AvroSchema);
        } catch (error) {
          assert.ok(error instanceof ConfigError, `${(error as Error).stack}`);
          assert.ok(error.faults.length > 0 && error.message.length < 100_000);
        }
      }
    }),
    runs(700),
  );
});

Deno.test("a schema of great depth or breadth is refused in bounded time", () => {
  const deep = (depth: number): AvroSchema => {
    let schema: unknown = "int";
    for (let i = 0; i < depth; i++) schema = { type: "array", items: schema };
    return schema as AvroSchema;
  };
  const wide = {
    type: "record",
    name: "R",
    fields: Array.from({ length: 50_000 }, (_, i) => ({ name: `f${i}`, type: "int" })),
  };
  // Each level names the one before twice: two to the power of its depth, were it written out.
  let fan: unknown = "int";
  for (let i = 0; i < 40; i++) {
    fan = {
      type: "record",
      name: `R${i}`,
      fields: [{ name: "a", type: fan }, { name: "b", type: i === 0 ? "int" : `R${i - 1}` }],
    };
  }
  const began = performance.now();
  for (const schema of [deep(1_000), deep(5_000), wide, fan]) {
    try {
      parseSchema(schema as AvroSchema);
      fieldTypes(schema as AvroSchema);
    } catch (error) {
      assert.ok(error instanceof ConfigError, String((error as Error).stack).slice(0, 500));
    }
  }
  assert.ok(performance.now() - began < 3_000);
});

Deno.test("random bytes are a value of a schema, or refused in words", () => {
  const types = [
    {
      type: "record",
      name: "R",
      fields: [{ name: "a", type: "string" }, { name: "b", type: ["null", "R"], default: null }],
    },
    { type: "array", items: { type: "map", values: "bytes" } },
    { type: "array", items: "null" },
    { type: "bytes", logicalType: "decimal", precision: 38, scale: 2 },
    { type: "enum", name: "E", symbols: ["A", "B"] },
    ["null", "long", { type: "fixed", name: "F", size: 3 }],
  ].map((schema) => avroType(schema as AvroSchema));
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 64 }), fc.nat(types.length - 1), (bytes, i) => {
      try {
        JSON.stringify(types[i].decodeToJson(bytes));
      } catch (error) {
        assert.ok(error instanceof MalformedRecordError, `${(error as Error).stack}`);
      }
    }),
    runs(1_000),
  );
});
