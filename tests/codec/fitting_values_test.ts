import assert from "node:assert/strict";
import fc from "fast-check";
import { avroType } from "../../pipeline/codec/avro_values.ts";
import { ByteWriter } from "../../pipeline/codec/byte_writer.ts";
import { writeFitting } from "../../pipeline/codec/fitting_values.ts";
import { parseSchema } from "../../pipeline/codec/schema.ts";
import type { AvroSchema } from "../../pipeline/plan/plan.ts";

const LEAVES: readonly AvroSchema[] = [
  "boolean",
  "int",
  "long",
  "float",
  "double",
  "string",
  { type: "string", logicalType: "uuid" },
  { type: "enum", name: "E", symbols: ["a", "b"] },
  { type: "bytes", logicalType: "decimal", precision: 12, scale: 2 },
  { type: "fixed", name: "F", size: 8, logicalType: "decimal", precision: 15, scale: 0 },
  { type: "long", logicalType: "timestamp-millis" },
  { type: "long", logicalType: "timestamp-micros" },
  { type: "int", logicalType: "date" },
  { type: "int", logicalType: "time-millis" },
  "bytes",
];

/** Values that fit some of them, and values that look as if they did. */
const anything = fc.oneof(
  fc.jsonValue({ maxDepth: 2 }),
  fc.integer(),
  fc.double(),
  fc.maxSafeInteger(),
  fc.bigInt(),
  fc.constantFrom("a", "b", "c", "12.50", "-0.01", "1e3", "99999999999.99", "123456789012345", "", " 1", "0x10", "--1"),
  fc.uuid(),
  fc.date({ noInvalidDate: true }).map((date) => date.toISOString()),
  fc.constantFrom(
    "2026-02-30T00:00:00Z",
    "2024-02-29T12:00:00.250Z",
    "2026-01-28T23:59:60Z",
    "2026-13-01T00:00:00Z",
    "2026-01-01T00:00:00+02:00",
    "2026-01-01T00:00:00.123456Z",
    "0000-01-01T00:00:00Z",
    "2026-01-01",
    "12:30:00.250",
    "1700000000000",
  ),
  fc.constantFrom(null, undefined, true, NaN, Infinity, -0, 2 ** 53, 2 ** 31, 1.5),
);

function tried(write: () => Uint8Array): string {
  try {
    return write().toHex();
  } catch (error) {
    return (error as Error).message;
  }
}

Deno.test("whatever is written fast is written as with care, and what does not fit is never written", () => {
  let fast = 0;
  const one = (schema: AvroSchema, value: unknown) => {
    const values = avroType(schema);
    const write = writeFitting(parseSchema(schema));
    const faults = values.validate(value);
    const into = new ByteWriter();
    if (write === null || !write(value, into)) {
      // The other way is taken, and knows what to say.
      const told = tried(() => {
        const out = new ByteWriter();
        values.encode(value, out);
        return out.written();
      });
      assert.equal(faults.length > 0, /\bis\b|missing|no field/.test(told), `${JSON.stringify(schema)}: ${told}`);
      return;
    }
    fast++;
    assert.deepEqual(faults, [], `${JSON.stringify(schema)} took ${String(value)}`);
    // A map of one is always written with care.
    const careful = new ByteWriter();
    avroType({ type: "map", values: schema }).encode({ k: value }, careful);
    assert.equal(into.written().toHex(), careful.written().slice(3, -1).toHex(), JSON.stringify(schema));
  };
  for (const year of ["1600", "2255", "2256", "6155", "9999"]) {
    one({ type: "long", logicalType: "timestamp-micros" }, `${year}-01-04T21:52:07.325Z`);
  }
  fc.assert(
    fc.property(fc.constantFrom(...LEAVES), anything, fc.boolean(), (leaf, value, isOptional) => {
      one(leaf, value);
      one(isOptional ? ["null", leaf] : [leaf, "null"], value);
      one({ type: "array", items: leaf }, [value, value]);
      const record = {
        type: "record",
        name: "R",
        fields: [{ name: "x", type: leaf }, { name: "y", type: ["null", "string"] }],
      };
      one(record, { x: value, y: null });
      one(record, { x: value, y: value });
      one(record, { x: value });
      one(record, { x: value, y: null, z: 1 });
    }),
    { numRuns: 3_000 },
  );
  assert.ok(fast > 1_000, `${fast} were written fast`);
});

Deno.test("a field with the name of something that every object has, and a schema inside itself, are written with care", () => {
  const inherited: AvroSchema = { type: "record", name: "R", fields: [{ name: "toString", type: "string" }] };
  assert.equal(writeFitting(parseSchema(inherited)), null);
  const list: AvroSchema = {
    type: "record",
    name: "L",
    fields: [{ name: "v", type: "int" }, { name: "next", type: ["null", "L"] }],
  };
  assert.equal(writeFitting(parseSchema(list)), null);
  const out = new ByteWriter();
  avroType(list).encode({ v: 1, next: { v: 2, next: null } }, out);
  assert.equal(out.written().toHex(), "02020400");
});
