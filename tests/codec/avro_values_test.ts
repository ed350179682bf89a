import fc from "fast-check";
import { deepStrictEqual, equal, ok, throws } from "node:assert/strict";
import { Buffer } from "node:buffer";
import { avroType, FAULTS_MAX, type Json, JSON_DEPTH_MAX } from "../../pipeline/codec/avro_values.ts";
import { ByteWriter } from "../../pipeline/codec/byte_writer.ts";
import { schemaIdAt } from "../../pipeline/codec/framing.ts";
import { EMPTY_ITEMS_MAX } from "../../pipeline/codec/projection.ts";
import { MalformedRecordError } from "../../pipeline/errors.ts";
import { oracle, recordSchema, type SchemaJson, valueOf } from "./arbitrary_schemas.ts";
import { latin1 } from "./rows.ts";

const record = (...fields: SchemaJson[]): SchemaJson => ({ type: "record", name: "R", fields });
const logical = (type: string, logicalType: string) => ({ type, logicalType });
const MONEY = { type: "bytes", logicalType: "decimal", precision: 7, scale: 2 };

const PAYMENT = record(
  { name: "id", type: "long" },
  { name: "amount", type: MONEY },
  { name: "at", type: logical("long", "timestamp-millis") },
  { name: "items", type: { type: "array", items: record2("Item", { name: "price", type: "double" }) }, default: [] },
  { name: "note", type: ["null", "string"], default: null },
  { name: "fee", type: MONEY, default: "\u0064" },
);

function record2(name: string, ...fields: SchemaJson[]): SchemaJson {
  return { type: "record", name, fields };
}

function encode(schema: SchemaJson, value: unknown): Uint8Array {
  const into = new ByteWriter(1);
  avroType(schema).encode(value, into);
  return into.written();
}

Deno.test("a JSON record is framed, with defaults for what it leaves out, and shown again as it was", () => {
  const values = avroType(PAYMENT);
  const payment = { id: 5, amount: "-12.5", at: "2026-01-31T13:30:00.250+01:00", items: [{ price: 1.5 }] };
  const framed = values.encodeFramed(300, payment);
  equal(schemaIdAt(framed, 0, framed.length), 300);
  deepStrictEqual(values.decodeToJson(framed.subarray(5)), {
    id: 5,
    amount: "-12.50",
    at: "2026-01-31T12:30:00.250Z",
    items: [{ price: 1.5 }],
    note: null,
    fee: "1.00",
  });
});

Deno.test("faults name the place and the problem in words", () => {
  const faults = avroType(PAYMENT).validate({
    id: 1.5,
    amount: "1.005",
    at: "2026-02-30T00:00:00Z",
    items: [{ price: 1 }, { price: "2" }, 3],
    not: "x",
  });
  deepStrictEqual(faults, [
    { path: "not", problem: "is no field of R" },
    { path: "id", problem: "is 1.5, not a long" },
    { path: "amount", problem: 'is "1.005", more than 2 digits after the point' },
    { path: "at", problem: 'is "2026-02-30T00:00:00Z", not a time such as "2026-01-31T12:30:00Z" with its zone' },
    { path: "items[1].price", problem: 'is "2", not a double' },
    { path: "items[2]", problem: "is 3, not an object with the fields of Item" },
  ]);
  deepStrictEqual(avroType(PAYMENT).validate({}).map(({ path, problem }) => `${path} ${problem}`), [
    "id is missing",
    "amount is missing",
    "at is missing",
  ]);
  deepStrictEqual(avroType(PAYMENT).validate(null), [{
    path: "",
    problem: "is null, not an object with the fields of R",
  }]);
});

Deno.test("a record with faults is not written at all", () => {
  const into = new ByteWriter();
  into.byte(1);
  throws(
    () => avroType(PAYMENT).encode({ id: 1, amount: "1", at: 1, items: [{}] }, into),
    (error: Error) => error instanceof MalformedRecordError && error.message === "items[0].price is missing",
  );
  equal(into.position, 1);
});

Deno.test("only so many faults are listed", () => {
  const faults = avroType({ type: "array", items: "int" }).validate(Array(1000).fill("x"));
  equal(faults.length, FAULTS_MAX);
});

const FORMS: readonly (readonly [SchemaJson, unknown, Json])[] = [
  ["long", "9223372036854775807", "9223372036854775807"],
  ["long", -(2n ** 63n), "-9223372036854775808"],
  ["long", Number.MAX_SAFE_INTEGER, Number.MAX_SAFE_INTEGER],
  ["long", "-9007199254740992", "-9007199254740992"],
  ["double", "NaN", "NaN"],
  ["float", 0.1, Math.fround(0.1)],
  ["bytes", "\u00ff\u0000", "\u00ff\u0000"],
  ["bytes", Uint8Array.of(1, 2), "\u0001\u0002"],
  [MONEY, 0.1, "0.10"],
  [MONEY, 99999n, "99999.00"],
  [{ ...MONEY, type: "fixed", name: "F", size: 6 }, "-0.01", "-0.01"],
  [logical("int", "date"), "1969-12-31", "1969-12-31"],
  [logical("int", "date"), 20000, "2024-10-04"],
  [logical("int", "time-millis"), "23:59:59.999", "23:59:59.999"],
  [logical("int", "time-millis"), "07:30", "07:30:00.000"],
  [logical("int", "time-millis"), -1, -1],
  [logical("long", "time-micros"), "00:00:00.000001", "00:00:00.000001"],
  [logical("long", "timestamp-millis"), 0, "1970-01-01T00:00:00.000Z"],
  [logical("long", "timestamp-millis"), "9007199254740993", "9007199254740993"],
  [logical("long", "timestamp-micros"), "1969-12-31T23:59:59.999999Z", "1969-12-31T23:59:59.999999Z"],
  [logical("long", "timestamp-micros"), "0001-01-01 00:00:00-01:30", "0001-01-01T01:30:00.000000Z"],
  [logical("long", "local-timestamp-millis"), "2026-01-31T12:30:00", "2026-01-31T12:30:00.000"],
  [logical("string", "uuid"), "0f8fad5b-d9cb-469f-a165-70867728950E", "0f8fad5b-d9cb-469f-a165-70867728950E"],
  [
    { type: "fixed", name: "U", size: 16, logicalType: "uuid" },
    "0F8FAD5B-D9CB-469F-A165-70867728950E",
    "0f8fad5b-d9cb-469f-a165-70867728950e",
  ],
  [["null", "string", "long"], 5, 5],
  [[record2("A", { name: "a", type: "int" }), record2("B", { name: "b", type: "int" })], { b: 1 }, { b: 1 }],
  [{ type: "map", values: "int" }, JSON.parse('{"__proto__": 1, "a": 2}'), JSON.parse('{"__proto__": 1, "a": 2}')],
  [record({ name: "__proto__", type: "int" }), JSON.parse('{"__proto__": 1}'), JSON.parse('{"__proto__": 1}')],
];

for (const [schema, value, json] of FORMS) {
  const shown = typeof value === "bigint" ? `${value}n` : JSON.stringify(value);
  Deno.test(`${shown} as ${JSON.stringify(schema).slice(0, 70)} is shown as ${JSON.stringify(json)}`, () => {
    const decoded = avroType(schema).decodeToJson(encode(schema, value));
    deepStrictEqual(decoded, json);
    deepStrictEqual(avroType(schema).decodeToJson(encode(schema, decoded)), json, "and is taken in that form");
  });
}

const REFUSED: readonly (readonly [SchemaJson, unknown, RegExp])[] = [
  ["long", "9223372036854775808", /not a long/],
  ["long", 2 ** 53, /not a long/],
  ["int", 2 ** 31, /not an int/],
  ["bytes", "Ā", /not bytes/],
  [MONEY, "100000", /more than 7 digits/],
  [MONEY, true, /not a decimal such as "12.50"/],
  [logical("int", "date"), "2026-13-01", /not a date such as/],
  [logical("int", "time-millis"), "24:00:00", /not a time such as/],
  [logical("long", "timestamp-millis"), "2026-01-31T12:30:00", /with its zone/],
  [logical("long", "timestamp-millis"), "2026-01-31T12:30:00.0001Z", /in whole milliseconds/],
  [logical("long", "local-timestamp-micros"), "2026-01-31T12:30:00Z", /without a zone/],
  [logical("string", "uuid"), "0f8fad5b", /not a UUID/],
  [["null", "int", "string"], true, /not a union of null, int, string/],
];

for (const [schema, value, problem] of REFUSED) {
  Deno.test(`${JSON.stringify(value)} is refused as ${JSON.stringify(schema).slice(0, 70)}`, () => {
    const [fault] = avroType(schema).validate(value);
    ok(problem.test(fault.problem), fault.problem);
  });
}

const narrow = (schema: SchemaJson): boolean =>
  Array.isArray(schema)
    ? schema.filter((branch) => branch !== "null").length <= 1 && schema.every(narrow)
    : typeof schema === "string" ||
      [schema.items, schema.values, ...(schema.fields ?? []).map((f: SchemaJson) => f.type)]
        .every((type) => type === undefined || narrow(type));

Deno.test("what avsc writes is shown as JSON, and that JSON is written as avsc reads it", () => {
  let written = 0;
  const samples = recordSchema.filter(narrow).chain((schema) => fc.tuple(fc.constant(schema), valueOf(schema)));
  fc.assert(
    fc.property(samples, ([schema, value]) => {
      const values = avroType(schema);
      const bytes = oracle(schema).toBuffer(value);
      const json = values.decodeToJson(bytes);
      matches(schema, value, json);
      // Random bytes are not always decimals of their precision, nor random text a UUID.
      const faults = values.validate(json);
      if (faults.length > 0) {
        return ok(faults.every(({ problem }) => /digits|UUID|decimal/.test(problem)), JSON.stringify(faults));
      }
      const again = encode(schema, json);
      deepStrictEqual(values.decodeToJson(again), json);
      ok(oracle(schema).isValid(oracle(schema).fromBuffer(Buffer.from(again))));
      written++;
    }),
    { numRuns: 600 },
  );
  ok(written > 200, `only ${written} written again`);
});

/** Compares plain types with what avsc holds; logical ones have their own cases above. */
function matches(schema: SchemaJson, value: unknown, json: Json): void {
  if (Array.isArray(schema)) {
    if (value === null) return equal(json, null);
    const other = schema.find((branch) => branch !== "null");
    return matches(other, Object.values(value as object)[0], json);
  }
  switch (schema.type ?? schema) {
    case "record":
      for (const { name, type } of schema.fields) {
        matches(type, (value as Record<string, unknown>)[name], (json as Record<string, Json>)[name]);
      }
      return;
    case "array":
      (value as unknown[]).forEach((item, i) => matches(schema.items, item, (json as Json[])[i]));
      return equal((json as Json[]).length, (value as unknown[]).length);
    case "map":
      deepStrictEqual(Object.keys(json as object), Object.keys(value as object));
      for (const [key, item] of Object.entries(value as object)) {
        matches(schema.values, item, (json as Record<string, Json>)[key]);
      }
      return;
  }
  if (typeof schema === "object" && schema.logicalType) return;
  if (value instanceof Uint8Array) return equal(json, latin1(value));
  if (typeof value === "bigint") return equal(BigInt(json as number | string), value);
  if (typeof value === "number" && !Number.isFinite(value)) return equal(json, String(value));
  deepStrictEqual(json, value);
}

Deno.test("damaged bytes are shown or refused in words, in bounded time", () => {
  const samples = recordSchema.chain((schema) => fc.tuple(fc.constant(schema), fc.uint8Array({ maxLength: 60 })));
  fc.assert(fc.property(samples, ([schema, bytes]) => {
    try {
      avroType(schema).decodeToJson(bytes);
    } catch (error) {
      ok(error instanceof MalformedRecordError, String(error));
    }
  }));
  const nulls = { type: "array", items: "null" };
  const block = encode("long", EMPTY_ITEMS_MAX);
  equal((avroType(nulls).decodeToJson(Uint8Array.of(...block, 0)) as Json[]).length, EMPTY_ITEMS_MAX);
  throws(() => avroType(nulls).decodeToJson(Uint8Array.of(...block, 2, 0)), /more than the value's bytes can hold/);
  const list = record({ name: "next", type: ["null", "R"] });
  throws(() => avroType(list).decodeToJson(new Uint8Array(1_000_000).fill(2)), /more than 64 deep/);
});

Deno.test("JSON nested without end is refused, and branches are not tried exponentially", () => {
  const tree = [
    record2("A", {
      name: "next",
      type: ["null", "A", { type: "record", name: "B", fields: [{ name: "next", type: ["null", "A", "B"] }] }],
    }),
    "B",
  ];
  const nest = (depth: number) => {
    let value: unknown = { next: "wrong" };
    for (let i = 0; i < depth; i++) value = { next: value };
    return value;
  };
  const shallow = avroType(tree).validate(nest(JSON_DEPTH_MAX - 4));
  ok(/"wrong", not a union/.test(shallow[0].problem), JSON.stringify(shallow));
  deepStrictEqual(avroType("int").validate(nest(100_000)), [{ path: "", problem: "is an object, not an int" }]);
  const deep = avroType(tree).validate(nest(100_000));
  deepStrictEqual(deep.map(({ problem }) => problem), [`is nested more than ${JSON_DEPTH_MAX} deep`]);
});
