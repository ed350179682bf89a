import { deepStrictEqual, equal, ok, throws } from "node:assert/strict";
import {
  fieldTypes,
  leastBytes,
  LISTED_FIELDS_MAX,
  parseSchema,
  projectableField,
  SCHEMA_DEPTH_MAX,
  SCHEMA_TYPES_MAX,
} from "../../pipeline/codec/schema.ts";
import { ConfigError } from "../../pipeline/errors.ts";
import type { SchemaJson } from "./arbitrary_schemas.ts";

const record = (name: string, ...fields: SchemaJson[]): SchemaJson => ({ type: "record", name, fields });
const field = (name: string, type: SchemaJson, more = {}): SchemaJson => ({ name, type, ...more });

const SALE = record(
  "Sale",
  field("id", "long"),
  field("amount", { type: "bytes", logicalType: "decimal", precision: 12, scale: 2 }),
  field("at", { type: "long", logicalType: "timestamp-millis" }),
  field("local", { type: "long", logicalType: "local-timestamp-micros" }),
  field("merchant", ["null", record("Merchant", field("country", "string"), field("rating", ["double", "null"]))]),
  field("status", { type: "enum", name: "Status", symbols: ["new", "paid"] }),
  field("ref", { type: "fixed", name: "Ref", size: 16, logicalType: "uuid" }),
  field("odd", { type: "string", logicalType: "made-up" }),
  field("tags", { type: "array", items: "string" }),
  field("either", ["null", "int", "string"]),
  field("parent", ["null", "Sale"]),
  field("huge", { type: "bytes", logicalType: "decimal", precision: 40, scale: 2 }),
);

Deno.test("every field that can be a column is listed by its dotted path and type", () => {
  deepStrictEqual(Object.fromEntries(fieldTypes(SALE)), {
    "id": { type: "long", nullable: false },
    "amount": { type: "decimal", precision: 12, scale: 2, nullable: false },
    "at": { type: "timestamp-millis", nullable: false },
    "local": { type: "timestamp-micros", nullable: false },
    "merchant.country": { type: "string", nullable: true },
    "merchant.rating": { type: "double", nullable: true },
    "status": { type: "enum", symbols: ["new", "paid"], nullable: false },
    "ref": { type: "uuid", nullable: false },
    "odd": { type: "string", nullable: false },
  });
});

Deno.test("a path is a column's type or says why not", () => {
  deepStrictEqual(projectableField(SALE, "parent.parent.merchant.country"), { type: "string", nullable: true });
  equal(projectableField(SALE, "tags"), "is an array of string; a column holds one value per record");
  equal(projectableField(SALE, "either"), "is a union of null, int, string; a column holds one type, or one and null");
  equal(projectableField(SALE, "huge"), "is a decimal of 40 digits; the most is 38");
  equal(projectableField(SALE, "amout"), 'no field "amout" in record Sale; did you mean amount?');
  equal(projectableField(SALE, "id.x"), "id is long, not a record");
  equal(projectableField(SALE, "merchant"), "is a record; name one of its fields: country, rating");
  equal(projectableField(SALE, "merchant.zip"), 'no field "zip" in merchant; it has country, rating');
  equal(projectableField("string", "id"), "the schema is string, not a record");
});

Deno.test("names are resolved in their namespaces", () => {
  const inner = { ...record("Inner", field("v", "int")), aliases: ["Older", "other.Oldest"] };
  const outer = { ...record("shop.Outer", field("a", inner), field("b", "Inner"), field("c", "shop.Inner")) };
  const parsed = parseSchema(outer);
  ok(parsed.kind === "record");
  const [a, b, c] = parsed.fields.map(({ type }) => type);
  ok(a === b && b === c && a.kind === "record");
  equal(a.name, "shop.Inner");
  deepStrictEqual(a.aliases, ["shop.Older", "other.Oldest"]);
});

const FAULTS: readonly (readonly [string, SchemaJson, string])[] = [
  [
    "an unknown type",
    record("R", field("a", "strng")),
    'a: type "strng" is neither primitive nor defined before its use',
  ],
  ["no fields", { type: "record", name: "R" }, "record R has no list of fields"],
  ["a field twice", record("R", field("a", "int"), field("a", "int")), "a: record R has this field twice"],
  ["a bad field name", record("R", field("a-b", "int")), 'fields[0]: "a-b" is not a field name'],
  ["a bad type name", record("R;alert(1)"), '"R;alert(1)" cannot name a record'],
  ["an enum without symbols", { type: "enum", name: "E", symbols: [] }, "enum E needs a list of symbols, each a name"],
  ["a symbol twice", { type: "enum", name: "E", symbols: ["A", "A"] }, "enum E has a symbol twice"],
  [
    "a default that is no symbol",
    { type: "enum", name: "E", symbols: ["A"], default: "B" },
    'the default "B" of enum E is not among its symbols',
  ],
  ["a fixed without size", { type: "fixed", name: "F" }, "fixed F has size missing, not a whole number"],
  ["a union in a union", [["int"], "null"], "a union cannot directly contain a union"],
  ["a branch twice", ["int", "int"], "the union has int twice"],
  ["an empty union", [], "is a union without branches"],
  ["a name twice", [record("R"), record("R")], "R is defined twice"],
  ["no type at all", record("R", { name: "a" }), "a: is missing, not an Avro schema"],
  [
    "a record without end",
    record("R", field("r", "R")),
    "record R contains itself without a union, array or map in between",
  ],
];

for (const [name, schema, problem] of FAULTS) {
  Deno.test(`a schema with ${name} is refused with its place`, () => {
    throws(() => parseSchema(schema, "thing"), (error: Error) => {
      ok(error instanceof ConfigError);
      ok(error.message.startsWith("thing") && error.message.includes(problem), error.message);
      return true;
    });
  });
}

Deno.test("all faults of a schema are named at once", () => {
  const schema = record("R", field("a", "x"), field("b", "int"), field("c", { type: "array", items: "y" }));
  throws(() => parseSchema(schema), (error: Error) => {
    deepStrictEqual((error as ConfigError).faults.map(({ where }) => where), ["schema.a", "schema.c.items"]);
    return true;
  });
});

Deno.test("logical types that are not valid are ignored, as the specification says", () => {
  const kinds = [
    { type: "bytes", logicalType: "decimal" },
    { type: "bytes", logicalType: "decimal", precision: 3, scale: 4 },
    { type: "fixed", name: "F", size: 2, logicalType: "decimal", precision: 5 },
    { type: "int", logicalType: "timestamp-millis" },
    { type: "fixed", name: "G", size: 8, logicalType: "uuid" },
  ].map((type) => parseSchema(type));
  ok(kinds.every((type) => "logical" in type && type.logical === null));
});

Deno.test("schemas nested or grown beyond the limits are refused, not walked", () => {
  let deep: SchemaJson = "int";
  for (let i = 0; i < 100_000; i++) deep = { type: "array", items: deep };
  throws(() => parseSchema(deep), new RegExp(`nested more than ${SCHEMA_DEPTH_MAX} types deep`));
  const wide = record("R", ...Array.from({ length: SCHEMA_TYPES_MAX }, (_, i) => field(`f${i}`, "int")));
  throws(() => parseSchema(wide), new RegExp(`has more than ${SCHEMA_TYPES_MAX} types`));
});

Deno.test("records that share records are listed up to a limit", () => {
  const levels: SchemaJson[] = [record("L0", field("v", "int"))];
  for (let i = 1; i < 20; i++) {
    levels.push(record(`L${i}`, field("a", `L${i - 1}`), field("b", `L${i - 1}`)));
  }
  const all = levels.map((level, i) => field(`f${i}`, level));
  equal(fieldTypes(record("Top", ...all)).size, LISTED_FIELDS_MAX);
});

Deno.test("the least size counts every byte that must be there", () => {
  const type = parseSchema(record(
    "R",
    field("a", "double"),
    field("b", ["int", { type: "fixed", name: "F", size: 9 }]),
    field("c", { type: "array", items: "R" }),
    field("d", "null"),
  ));
  equal(leastBytes(type), 8 + 2 + 1);
});
