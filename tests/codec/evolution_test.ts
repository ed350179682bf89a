/** Reading one schema's records as another's: against avsc's resolver at random, and case by case where it has no say. */
import avro from "avsc";
import fc from "fast-check";
import { deepStrictEqual, ok, throws } from "node:assert/strict";
import { Buffer } from "node:buffer";
import { createDecoder, IncompatibleSchemaError } from "../../pipeline/codec/projection.ts";
import { fieldTypes } from "../../pipeline/codec/schema.ts";
import type { SchemaJson } from "./arbitrary_schemas.ts";
import { type DecodedRow, decodeRows, expected, planField, valueAt } from "./rows.ts";

const NUMBERS = ["int", "long", "float", "double"];
const scalar = fc.constantFrom("boolean", "int", "long", "float", "double", "string", "bytes");
const mood = (symbols: readonly string[], fallback?: string): SchemaJson => ({
  type: "enum",
  name: "Mood",
  symbols,
  ...(fallback ? { default: fallback } : {}),
});
const symbols = fc.uniqueArray(fc.constantFrom("A", "B", "C", "D"), { minLength: 1 });

/** Pairs of a writer's and a reader's type for one field, mostly but not always compatible. */
const pair: fc.Arbitrary<{ writer: SchemaJson; reader: SchemaJson }> = fc.oneof(
  scalar.map((type) => ({ writer: type, reader: type })),
  fc.record({ writer: fc.constantFrom(...NUMBERS), reader: fc.constantFrom(...NUMBERS) }),
  fc.record({ writer: fc.constantFrom("string", "bytes"), reader: fc.constantFrom("string", "bytes") }),
  fc.record({ writer: scalar, reader: scalar }),
  fc.record({ writer: scalar, reader: scalar }).map(({ writer, reader }) => ({ writer, reader: ["null", reader] })),
  scalar.map((type) => ({ writer: ["null", type], reader: [type, "null"] })),
  scalar.map((type) => ({ writer: [type], reader: type })),
  scalar.map((type) => ({ writer: "null", reader: ["null", type] })),
  fc.subarray(["int", "long", "float"], { minLength: 1 }).map((writer) => ({ writer, reader: "double" })),
  fc.subarray(["null", "int", "long", "float"], { minLength: 1 }).map((writer) => ({
    writer,
    reader: ["null", "double"],
  })),
);

/** A nested record besides, whose field may be missing or be found by its alias. */
const evolution = fc.record({
  pairs: fc.array(pair, { minLength: 1, maxLength: 5 }),
  symbols: fc.tuple(symbols, symbols),
  shuffled: fc.boolean(),
  renamed: fc.boolean(),
  dropped: fc.boolean(),
  added: fc.boolean(),
  nullable: fc.boolean(),
}).map((shape): { writer: SchemaJson; reader: SchemaJson } => {
  const inner = (fields: SchemaJson[]): SchemaJson => ({ type: "record", name: "Inner", fields });
  const [writerSymbols, readerSymbols] = shape.symbols;
  const writerInner = inner([
    { name: shape.renamed ? "old" : "kept", type: "int" },
    ...(shape.added ? [{ name: "extra", type: { type: "map", values: "long" } }] : []),
    ...(shape.dropped ? [] : [{ name: "late", type: "string" }]),
  ]);
  const readerInner = inner([
    { name: "late", type: "string", default: "not yet" },
    { name: "kept", aliases: ["old"], type: "double" },
  ]);
  const writerFields: SchemaJson[] = [
    ...shape.pairs.map(({ writer }, i) => ({ name: `f${i}`, type: writer })),
    { name: "inner", type: shape.nullable ? ["null", writerInner] : writerInner },
    { name: "mood", type: mood(writerSymbols) },
  ];
  const readerFields: SchemaJson[] = [
    ...shape.pairs.map(({ reader }, i) => ({ name: `f${i}`, type: reader })),
    { name: "inner", type: ["null", readerInner] },
    { name: "mood", type: mood(readerSymbols) },
    { name: "fresh", type: "long", default: -5_000_000_000 },
  ];
  if (shape.shuffled) writerFields.reverse();
  return {
    writer: { type: "record", name: "Outer", fields: writerFields },
    reader: { type: "record", name: "Outer", fields: readerFields },
  };
});

Deno.test("records of an older or newer schema read as avsc resolves them", () => {
  const count = { resolved: 0, refused: 0 };
  fc.assert(
    fc.property(evolution, fc.integer(), ({ writer, reader }, seed) => {
      const writerType = avro.Type.forSchema(writer, { wrapUnions: true });
      const readerType = avro.Type.forSchema(reader, { wrapUnions: true });
      const paths = [...fieldTypes(reader).keys()];
      const values = Array.from({ length: 3 }, (_, i) => randomValue(writer, seed + i));
      const encoded = values.map((value) => new Uint8Array(writerType.toBuffer(value)));
      let resolver;
      try {
        resolver = readerType.createResolver(writerType);
      } catch {
        // avsc refuses at once what may only fail for some records: here it is either, but nothing else.
        try {
          decodeRows({ writer, reader, paths }, encoded);
        } catch (error) {
          if (!(error instanceof IncompatibleSchemaError)) throw error;
        }
        count.refused++;
        return;
      }
      count.resolved++;
      const rows = decodeRows({ writer, reader, paths }, encoded);
      const types = fieldTypes(reader);
      rows.forEach((row, i) => {
        const read = readerType.fromBuffer(Buffer.from(encoded[i]), resolver);
        deepStrictEqual(row, { values: paths.map((path) => expected(types.get(path)!, valueAt(read, path))) });
      });
    }),
    { numRuns: 1200 },
  );
  ok(count.resolved > 240 && count.refused > 60, `lopsided: ${JSON.stringify(count)}`);
});

/** One value of a writer's schema; small numbers, as avsc has no longs beyond 2^53 here. */
function randomValue(schema: SchemaJson, seed: number): unknown {
  const pick = (n: number) => Math.abs(Math.imul(seed ^ 0x9e3779b9, 0x85ebca6b) >>> 3) % n;
  if (Array.isArray(schema)) {
    const branch = schema[pick(schema.length)];
    return branch === "null" ? null : { [branch.name ?? branch]: randomValue(branch, seed + 1) };
  }
  switch (schema.type ?? schema) {
    case "null":
      return null;
    case "boolean":
      return pick(2) === 1;
    case "int":
      return seed | 0;
    case "long":
      return seed * 1_000_003;
    case "float":
      return Math.fround(seed / 7);
    case "double":
      return seed / 7;
    case "string":
      return `text ${seed}`;
    case "bytes":
      return Buffer.from(`bytes ${seed}`);
    case "enum":
      return schema.symbols[pick(schema.symbols.length)];
    case "map":
      return { one: seed };
    default:
      return Object.fromEntries(
        schema.fields.map((field: SchemaJson, i: number) => [field.name, randomValue(field.type, seed + i)]),
      );
  }
}

const record = (...fields: SchemaJson[]): SchemaJson => ({ type: "record", name: "R", fields });
const encode = (schema: SchemaJson, value: unknown) =>
  new Uint8Array(avro.Type.forSchema(schema, { wrapUnions: true }).toBuffer(value));
const decimal = (precision: number, scale: number, type = "bytes"): SchemaJson => ({
  type,
  logicalType: "decimal",
  precision,
  scale,
});
const logical = (type: string, logicalType: string): SchemaJson => ({ type, logicalType });

function readOne(writer: SchemaJson, reader: SchemaJson, value: unknown): DecodedRow {
  return decodeRows({ writer, reader, paths: [...fieldTypes(reader).keys()] }, [encode(writer, value)])[0];
}

Deno.test("a field the writer lacks has the reader's default in every row, whatever its type", () => {
  const uuid = "0f8fad5b-d9cb-469f-a165-70867728950e";
  const reader = record(
    { name: "kept", type: "int" },
    { name: "flag", type: "boolean", default: true },
    { name: "whole", type: "long", default: -(2 ** 40) },
    { name: "half", type: "float", default: 0.1 },
    { name: "text", type: "string", default: "žluť" },
    { name: "raw", type: "bytes", default: "\u00ff\u0000" },
    { name: "mood", type: { type: "enum", name: "M", symbols: ["A", "B"] }, default: "B" },
    { name: "none", type: ["null", "int"], default: null },
    { name: "some", type: ["null", "int"], default: 7 },
    { name: "price", type: decimal(9, 2), default: "\u00ff\u0038" },
    { name: "wide", type: decimal(30, 2), default: "\u0000\u0001\u0000" },
    { name: "id", type: logical("string", "uuid"), default: uuid },
    { name: "at", type: record({ name: "x", type: "int" }, { name: "y", type: "int", default: 9 }), default: { x: 3 } },
    { name: "off", type: ["null", { ...record({ name: "x", type: "int" }), name: "R3" }], default: null },
  );
  reader.fields[12].type.name = "R2";
  const writer = record({ name: "kept", type: "int" });
  const values = [1, "π", 3].map((kept) => encode(writer, { kept: typeof kept === "number" ? kept : 2 }));
  const rows = decodeRows({ writer, reader, paths: [...fieldTypes(reader).keys()] }, values);
  const rest = [1, -(2n ** 40n), Math.fround(0.1), "žluť", "\u00ff\u0000", 1, null, 7, -200n, 256n, uuid, 3, 9, null];
  deepStrictEqual(rows, [1, 2, 3].map((kept) => ({ values: [kept, ...rest] })));
});

Deno.test("defaults and written values mix in one column when a union's records differ", () => {
  const shop = (name: string, fields: SchemaJson[]): SchemaJson => ({ type: "record", name, fields });
  const country = { name: "country", type: "string" };
  const score = { name: "score", type: "double" };
  const writer = record({
    name: "shop",
    type: [
      "null",
      shop("Old", [{ name: "id", type: "int" }]),
      shop("New", [{ name: "id", type: "int" }, country, score]),
    ],
  });
  const type = shop("Shop", [{ name: "id", type: "int" }, { ...country, default: "??" }, { ...score, default: 0.1 }]);
  const reader = record({ name: "shop", type: ["null", { ...type, aliases: ["Old", "New"] }] });
  const shops = [{ New: { id: 1, country: "Čad", score: 2.5 } }, { Old: { id: 2 } }, null, {
    New: { id: 3, country: "", score: 1 },
  }];
  const rows = decodeRows(
    { writer, reader, paths: ["shop.id", "shop.country", "shop.score"] },
    shops.map((shop) => encode(writer, { shop })),
  );
  deepStrictEqual(rows.map((row) => "values" in row && row.values), [
    [1, "Čad", 2.5],
    [2, "??", 0.1],
    [null, null, null],
    [3, "", 1],
  ]);
});

Deno.test("an enum symbol the reader lacks becomes the reader's default, or the row is bad", () => {
  const writer = record({ name: "mood", type: mood(["A", "B", "C"]) });
  const withDefault = record({ name: "mood", type: mood(["C", "A"], "A") });
  deepStrictEqual(["A", "B", "C"].map((mood) => readOne(writer, withDefault, { mood })), [
    { values: [1] },
    { values: [1] },
    { values: [0] },
  ]);
  const without = record({ name: "mood", type: mood(["C", "A"]) });
  deepStrictEqual(readOne(writer, without, { mood: "B" }), { bad: "mood: the reader knows no symbol B" });
});

Deno.test("a value of a branch the reader cannot read makes its row bad, and only that one", () => {
  const writer = record({ name: "v", type: ["null", "long", "string"] });
  const reader = record({ name: "v", type: "double" });
  deepStrictEqual(readOne(writer, reader, { v: { long: 5 } }), { values: [5] });
  deepStrictEqual(readOne(writer, reader, { v: { string: "x" } }), {
    bad: "the writer's v is string, which cannot be read as the reader's v, double",
  });
  deepStrictEqual(readOne(writer, reader, { v: null }), {
    bad: "the writer's v is null, which cannot be read as the reader's v, double",
  });
});

Deno.test("decimals need the same scale, and a value beyond the reader's precision is a bad row", () => {
  const writer = record({ name: "p", type: decimal(12, 2) });
  const small = record({ name: "p", type: decimal(4, 2) });
  deepStrictEqual(readOne(writer, small, { p: Buffer.from([0x27, 0x0f]) }), { values: [9999n] });
  deepStrictEqual(readOne(writer, small, { p: Buffer.from([0x27, 0x10]) }), {
    bad: "p: a decimal of 2 bytes has more than 4 digits",
  });
  deepStrictEqual(readOne(writer, small, { p: Buffer.alloc(0) }), { bad: "p: a decimal without bytes" });
});

const INCOMPATIBLE: readonly (readonly [string, SchemaJson, SchemaJson])[] = [
  ["a decimal of another scale", decimal(12, 3), decimal(12, 2)],
  ["microseconds for milliseconds", logical("long", "timestamp-micros"), logical("long", "timestamp-millis")],
  ["a date for a timestamp", logical("int", "date"), logical("long", "timestamp-millis")],
  ["text for a decimal", "string", decimal(12, 2)],
  ["a decimal for text", decimal(12, 2), "string"],
  ["a double for a long", "double", "long"],
  ["another enum", { ...mood(["A"]), name: "Other" }, mood(["A"])],
  ["a fixed of another size", { type: "fixed", name: "F", size: 3 }, { type: "fixed", name: "F", size: 4 }],
  ["an array for a value", { type: "array", items: "int" }, "int"],
];

for (const [name, writer, reader] of INCOMPATIBLE) {
  Deno.test(`${name} is incompatible, and the message names both sides`, () => {
    const readerSchema = record({ name: "now", aliases: ["then"], type: reader });
    const fields = [planField(readerSchema, "now")];
    throws(
      () => createDecoder({ writer: record({ name: "then", type: writer }), reader: readerSchema, fields }),
      (error: Error) =>
        error instanceof IncompatibleSchemaError && /writer's then is .* reader's now, /.test(error.message),
    );
  });
}

Deno.test("a missing field without a default is incompatible, but only when it is wanted", () => {
  const writer = record({ name: "a", type: "int" });
  const reader = record({ name: "a", type: "int" }, { name: "b", type: "int" });
  throws(
    () => createDecoder({ writer, reader, fields: [planField(reader, "b")] }),
    /the writer's schema has no b, and the reader's b has no default/,
  );
  deepStrictEqual(decodeRows({ writer, reader, paths: ["a"] }, [Uint8Array.of(4)]), [{ values: [2] }]);
});

Deno.test("two wanted fields that are aliases of one are incompatible", () => {
  const reader = record({ name: "a", aliases: ["old"], type: "int" }, { name: "b", aliases: ["old"], type: "int" });
  const fields = [planField(reader, "a"), planField(reader, "b")];
  throws(
    () => createDecoder({ writer: record({ name: "old", type: "int" }), reader, fields }),
    /the reader's a and b both read the writer's old/,
  );
});

Deno.test("compatible logical and plain types read as each other", () => {
  const cases: readonly (readonly [SchemaJson, SchemaJson, unknown, unknown])[] = [
    ["long", logical("long", "timestamp-millis"), 5, 5n],
    ["int", logical("long", "timestamp-millis"), -5, -5n],
    [logical("long", "timestamp-micros"), "double", 5, 5],
    [decimal(9, 2), "bytes", Buffer.from([1, 2]), "\u0001\u0002"],
    ["bytes", decimal(9, 2), Buffer.from([1, 2]), 258n],
    [{ ...decimal(9, 2, "fixed"), name: "D", size: 5 }, decimal(9, 2), Buffer.from([255, 255, 255, 255, 254]), -2n],
    [logical("string", "uuid"), "string", "x", "x"],
    [
      { type: "fixed", name: "U", size: 16 },
      { type: "fixed", name: "U", size: 16, logicalType: "uuid" },
      Buffer.alloc(16, 0xa5),
      `a5a5a5a5-a5a5-a5a5-a5a5-a5a5a5a5a5a5`,
    ],
  ];
  for (const [writer, reader, value, want] of cases) {
    deepStrictEqual(readOne(record({ name: "v", type: writer }), record({ name: "v", type: reader }), { v: value }), {
      values: [want],
    });
  }
});
