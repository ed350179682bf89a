/**
 * Random Avro schemas and values for property tests. Values have the form avsc reads and writes with wrapped unions and
 * longs as BigInt.
 *
 * @module
 */
import avro from "avsc";
import fc from "fast-check";
import { Buffer } from "node:buffer";
import type { AvroSchema } from "../../pipeline/plan/plan.ts";

// deno-lint-ignore no-explicit-any -- a schema as JSON: its shape is what the tests are about
export type SchemaJson = any;

/** avsc's type for a schema: logical types off, longs as BigInt, unions wrapped. */
export function oracle(schema: AvroSchema): avro.Type {
  const long = avro.types.LongType.__with({
    fromBuffer: (bytes: Buffer) => bytes.readBigInt64LE(),
    toBuffer: (value: bigint) => {
      const bytes = Buffer.alloc(8);
      bytes.writeBigInt64LE(value);
      return bytes;
    },
    fromJSON: BigInt,
    toJSON: String,
    isValid: (value: unknown) => typeof value === "bigint",
    compare: (a: bigint, b: bigint) => (a < b ? -1 : a > b ? 1 : 0),
  });
  return avro.Type.forSchema(bare(schema) as avro.Schema, { registry: { long }, wrapUnions: true });
}

/** avsc takes its own long wherever a logical type is named, even one it does not know. */
function bare(schema: SchemaJson): SchemaJson {
  if (Array.isArray(schema)) return schema.map(bare);
  if (typeof schema !== "object") return schema;
  if (["int", "long", "string", "bytes"].includes(schema.type)) return schema.type;
  const copy = { ...schema };
  if (schema.items) copy.items = bare(schema.items);
  if (schema.values) copy.values = bare(schema.values);
  if (schema.fields) copy.fields = schema.fields.map((field: SchemaJson) => ({ ...field, type: bare(field.type) }));
  return copy;
}

const DECIMAL = (bytes: string, precision: number, scale: number) =>
  ({ type: bytes, logicalType: "decimal", precision, scale }) as SchemaJson;

const leaf: fc.Arbitrary<SchemaJson> = fc.constantFrom<SchemaJson[]>(
  "boolean",
  "int",
  "long",
  "float",
  "double",
  "bytes",
  "string",
  "null",
  { type: "int", logicalType: "date" },
  { type: "int", logicalType: "time-millis" },
  { type: "long", logicalType: "time-micros" },
  { type: "long", logicalType: "timestamp-millis" },
  { type: "long", logicalType: "timestamp-micros" },
  { type: "long", logicalType: "local-timestamp-millis" },
  { type: "string", logicalType: "uuid" },
  { type: "string", logicalType: "no-such-thing" },
  DECIMAL("bytes", 9, 2),
  DECIMAL("bytes", 18, 4),
  DECIMAL("bytes", 38, 10),
);

const named: fc.Arbitrary<SchemaJson> = fc.oneof(
  fc.integer({ min: 1, max: 100 }).map((n) => ({
    type: "enum",
    symbols: Array.from({ length: n }, (_, i) => `S${i}`),
  })),
  fc.integer({ min: 0, max: 20 }).map((size) => ({ type: "fixed", size })),
  fc.constantFrom(
    { type: "fixed", size: 8, logicalType: "decimal", precision: 17, scale: 3 },
    { type: "fixed", size: 16, logicalType: "decimal", precision: 30, scale: 3 },
    { type: "fixed", size: 16, logicalType: "uuid" },
  ),
);

const { any } = fc.letrec<{ any: SchemaJson; branch: SchemaJson; record: SchemaJson }>((tie) => ({
  record: fc.array(tie("any"), { minLength: 0, maxLength: 5 }).map((types) => ({
    type: "record",
    fields: types.map((type, i) => ({ name: `f${i}`, type })),
  })),
  branch: fc.oneof(
    { maxDepth: 3 },
    leaf,
    named,
    tie("record"),
    tie("any").filter((type) => !Array.isArray(type)).map((items) => ({ type: "array", items })),
    tie("any").filter((type) => !Array.isArray(type)).map((values) => ({ type: "map", values })),
  ),
  any: fc.oneof(
    { maxDepth: 3 },
    leaf,
    tie("branch"),
    tie("branch").filter((type) => type !== "null").map((type) => ["null", type]),
    tie("branch").filter((type) => type !== "null").map((type) => [type, "null"]),
    fc.uniqueArray(tie("branch"), { minLength: 1, maxLength: 4, selector: unionKey }),
  ),
}));

function unionKey(type: SchemaJson): string {
  return typeof type === "string" ? type : ["record", "enum", "fixed"].includes(type.type) ? "named" : type.type;
}

/** A random record schema; every named type has its own name. */
export const recordSchema = recordOf(fc.array(any, { minLength: 1, maxLength: 6 }));

/** So many fields that decoders are generated in their compact form, with functions. */
export const wideRecordSchema = recordOf(fc.array(any, { minLength: 66, maxLength: 80 }));

function recordOf(types: fc.Arbitrary<SchemaJson[]>): fc.Arbitrary<SchemaJson> {
  return types.map(numbered);
}

function numbered(types: SchemaJson[]): SchemaJson {
  let names = 0;
  const name = (type: SchemaJson): SchemaJson => {
    if (Array.isArray(type)) return type.map(name);
    if (typeof type === "string") return type;
    const copy = { ...type };
    if (["record", "enum", "fixed"].includes(type.type)) copy.name = `test.T${names++}`;
    if (type.items) copy.items = name(type.items);
    if (type.values) copy.values = name(type.values);
    if (type.fields) copy.fields = type.fields.map((field: SchemaJson) => ({ ...field, type: name(field.type) }));
    return copy;
  };
  return name({ type: "record", fields: types.map((type, i) => ({ name: `f${i}`, type })) });
}

const anyLong = fc.oneof(
  fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }),
  fc.bigInt({ min: -300n, max: 300n }),
  fc.integer({ min: 0, max: 63 }).map((bit) => BigInt.asIntN(64, 1n << BigInt(bit))),
  fc.integer({ min: 0, max: 63 }).map((bit) => BigInt.asIntN(64, -(1n << BigInt(bit)) - 1n)),
);

/** Values of a schema for avsc. `depth` ends values of schemas that contain themselves. */
export function valueOf(
  schema: SchemaJson,
  names: Map<string, SchemaJson> = new Map(),
  depth = 6,
): fc.Arbitrary<unknown> {
  if (Array.isArray(schema)) {
    const branches = depth > 0 ? schema : schema.filter((branch) => branch === "null");
    return fc.oneof(...branches.map((branch: SchemaJson) => {
      const value = valueOf(branch, names, depth - 1);
      return branch === "null" ? value : value.map((value) => ({ [branchName(branch)]: value }));
    }));
  }
  if (typeof schema === "string" && names.has(schema)) return valueOf(names.get(schema), names, depth);
  if (schema.name) names.set(schema.name, schema);
  switch (schema.type ?? schema) {
    case "null":
      return fc.constant(null);
    case "boolean":
      return fc.boolean();
    case "int":
      return fc.oneof(fc.integer(), fc.integer({ min: -70, max: 70 }));
    case "long":
      return anyLong;
    case "float":
      return fc.float();
    case "double":
      return fc.double();
    case "string":
      if (schema.logicalType === "uuid") return fc.oneof({ weight: 9, arbitrary: fc.uuid() }, fc.string());
      return fc.oneof(fc.string({ unit: "grapheme", maxLength: 10 }), fc.string({ minLength: 60, maxLength: 140 }));
    case "bytes":
      return fc.uint8Array({ minLength: schema.logicalType ? 1 : 0, maxLength: schema.precision > 18 ? 20 : 10 })
        .map((bytes) => Buffer.from(bytes));
    case "fixed":
      return fc.uint8Array({ minLength: schema.size, maxLength: schema.size }).map((bytes) => Buffer.from(bytes));
    case "enum":
      return fc.constantFrom(...schema.symbols);
    case "array":
      return fc.array(valueOf(schema.items, names, depth - 1), { maxLength: depth > 0 ? 4 : 0 });
    case "map":
      return fc.dictionary(fc.string({ maxLength: 4 }), valueOf(schema.values, names, depth - 1), {
        maxKeys: 3,
        noNullPrototype: true,
      })
        .filter((map) => !Object.hasOwn(map, "__proto__"));
    case "record":
      return fc.record(
        Object.fromEntries(
          schema.fields.map((field: SchemaJson) => [field.name, valueOf(field.type, names, depth - 1)]),
        ),
        { noNullPrototype: true },
      );
  }
  throw new TypeError(`no values for ${JSON.stringify(schema)}`);
}

function branchName(branch: SchemaJson): string {
  return typeof branch === "string" ? branch : branch.name ?? branch.type;
}
