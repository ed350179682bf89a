import fc from "fast-check";
import { deepStrictEqual, equal, throws } from "node:assert/strict";
import { Buffer } from "node:buffer";
import { ByteWriter, WRITER_BYTES_MAX } from "../../pipeline/codec/byte_writer.ts";
import { parseDecimal, parseShortDecimal, Refused } from "../../pipeline/codec/decimal_text.ts";
import { decimalText } from "../../pipeline/decimal.ts";
import { createRowEncoder } from "../../pipeline/codec/encode.ts";
import { schemaIdAt, writeFrame } from "../../pipeline/codec/framing.ts";
import { fieldTypes } from "../../pipeline/codec/schema.ts";
import { ConfigError, MalformedRecordError } from "../../pipeline/errors.ts";
import type { ResultValue } from "../../pipeline/sinks/sink.ts";
import { oracle, type SchemaJson } from "./arbitrary_schemas.ts";
import { decodeRows, latin1, type Plain } from "./rows.ts";

const record = (...fields: SchemaJson[]): SchemaJson => ({ type: "record", name: "R", fields });
const decimal = (precision: number, scale: number) => ({ type: "bytes", logicalType: "decimal", precision, scale });

function encodeOne(schema: SchemaJson, values: readonly ResultValue[]): Uint8Array {
  const out = new ByteWriter(4);
  createRowEncoder(schema).encodeRow(values, out);
  return out.written();
}

/** Each type with values that rows hold, and what a column then holds. */
const digits = (precision: number) => {
  const limit = 10n ** BigInt(precision) - 1n;
  return fc.oneof(fc.bigInt({ min: -limit, max: limit }), fc.bigInt({ min: -999n, max: 999n }));
};
const uuid = fc.uuid();
const asDecimal = (precision: number, scale: number) =>
  digits(precision).map((n): [ResultValue, Plain] => [decimalText(n, scale), n]);
const CASES: readonly (readonly [SchemaJson, fc.Arbitrary<[ResultValue, Plain]>])[] = [
  ["boolean", fc.boolean().map((v) => [v, v ? 1 : 0])],
  ["int", fc.integer().map((v) => [v, v])],
  ["long", fc.maxSafeInteger().map((v) => [v, BigInt(v)])],
  ["long", fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }).map((v) => [v, v])],
  ["float", fc.float().map((v) => [v, v])],
  ["double", fc.double().map((v) => [v, v])],
  ["string", fc.string({ unit: "binary" }).map((v) => [v, v])],
  ["string", fc.string({ minLength: 60, maxLength: 200 }).map((v) => [v, v])],
  ["bytes", fc.uint8Array().map((v) => [v, latin1(v)])],
  [{ type: "fixed", name: "F", size: 3 }, fc.uint8Array({ minLength: 3, maxLength: 3 }).map((v) => [v, latin1(v)])],
  [{ type: "enum", name: "E", symbols: ["A", "B", "C"] }, fc.nat(2).map((i) => ["ABC"[i], i])],
  [{ type: "string", logicalType: "uuid" }, uuid.map((v) => [v, v])],
  [{ type: "fixed", name: "U", size: 16, logicalType: "uuid" }, uuid.map((v) => [v, v])],
  [{ type: "long", logicalType: "timestamp-millis" }, fc.maxSafeInteger().map((v) => [v, BigInt(v)])],
  [decimal(9, 2), asDecimal(9, 2)],
  [decimal(18, 0), asDecimal(18, 0)],
  [decimal(38, 12), asDecimal(38, 12)],
  [{ ...decimal(14, 4), type: "fixed", name: "D", size: 8 }, asDecimal(14, 4)],
];

Deno.test("rows are written so that they decode to the same values", () => {
  const some = fc.array(fc.nat(CASES.length - 1), { minLength: 1, maxLength: 6 }).chain((picks) =>
    fc.tuple(...picks.map((pick, i) =>
      fc.record({
        type: fc.constant(naming(CASES[pick][0], i)),
        nullable: fc.constantFrom("no", "first", "last"),
        isNull: fc.boolean(),
        value: CASES[pick][1],
      })
    ))
  );
  fc.assert(
    fc.property(some, (fields) => {
      const schema = record(...fields.map(({ type, nullable }, i) => ({
        name: `f${i}`,
        type: nullable === "no" ? type : nullable === "first" ? ["null", type] : [type, "null"],
      })));
      const nulls = fields.map(({ nullable, isNull }) => nullable !== "no" && isNull);
      const row = fields.map(({ value }, i) => (nulls[i] ? null : value[0]));
      const bytes = encodeOne(schema, row);
      const want = fields.map(({ value }, i) => (nulls[i] ? null : value[1]));
      deepStrictEqual(decodeRows({ writer: schema, paths: [...fieldTypes(schema).keys()] }, [bytes]), [{
        values: want,
      }]);
      deepStrictEqual(Buffer.from(bytes), oracle(schema).toBuffer(oracle(schema).fromBuffer(Buffer.from(bytes))));

      const byColumn = new ByteWriter();
      createRowEncoder(schema).encodeAt(row.map((value) => [null, value]), 1, byColumn);
      deepStrictEqual(byColumn.written(), bytes);
    }),
    { numRuns: 600 },
  );
});

function naming(type: SchemaJson, i: number): SchemaJson {
  return type.name ? { ...type, name: `${type.name}${i}` } : type;
}

const REFUSED: readonly (readonly [string, SchemaJson, ResultValue | undefined])[] = [
  ["a fraction for a long", "long", 1.5],
  ["a number beyond 2^53 for a long", "long", 2 ** 53],
  ["a bigint beyond 64 bits", "long", 2n ** 63n],
  ["text for a number", "double", "1"],
  ["null where it is not allowed", "string", null],
  ["nothing at all", "string", undefined],
  ["an unknown symbol", { type: "enum", name: "E", symbols: ["A"] }, "B"],
  ["a decimal with too many places", decimal(5, 2), "1.005"],
  ["a decimal with too many digits", decimal(5, 2), "1000"],
  ["a decimal that is none", decimal(5, 2), "1,00"],
  ["a wrong length", { type: "fixed", name: "F", size: 3 }, new Uint8Array(4)],
  ["a uuid that is none", { type: "string", logicalType: "uuid" }, "0f8fad5b"],
];

for (const [name, type, value] of REFUSED) {
  Deno.test(`${name} is refused with the field's name, and nothing of the row is left`, () => {
    const out = new ByteWriter();
    out.byte(42);
    const encoder = createRowEncoder(record({ name: "before", type: "string" }, { name: "v", type }));
    throws(
      () => encoder.encodeRow(["text", value as ResultValue], out),
      (error: Error) => error instanceof MalformedRecordError && error.message.startsWith("field v is "),
    );
    deepStrictEqual([...out.written()], [42]);
  });
}

Deno.test("a schema that is no flat record is refused with every field that is in the way", () => {
  const schema = record({ name: "a", type: { type: "map", values: "int" } }, { name: "b", type: "int" }, {
    name: "c",
    type: ["int", "string"],
  });
  throws(() => createRowEncoder(schema), (error: Error) => {
    deepStrictEqual((error as ConfigError).faults.map(({ where }) => where), ["R.a", "R.c"]);
    return true;
  });
});

Deno.test("decimals are read from text exactly or not at all", () => {
  const cases: readonly (readonly [string, bigint | string])[] = [
    ["12.50", 1250n],
    ["-0.01", -1n],
    ["12.5", 1250n],
    ["12", 1200n],
    ["+7.", 700n],
    [".5", 50n],
    ["12.5000", 1250n],
    ["1e2", 10000n],
    ["1.5e-1", 15n],
    ["0e99", 0n],
    ["99999.99", 9999999n],
    ["100000.00", "more than 7 digits"],
    ["1e300", "more than 7 digits"],
    ["0.001", "more than 2 digits after the point"],
    ["", "not a decimal"],
    [".", "not a decimal"],
    ["1_000", "not a decimal"],
    ["0x10", "not a decimal"],
    ["9".repeat(300), "not a decimal"],
  ];
  for (const [text, want] of cases) {
    const got = parseDecimal(text, 7, 2);
    if (typeof want === "bigint") equal(got, want, text);
    else equal(got instanceof Refused && got.problem.includes(want), true, text);
    const short = parseShortDecimal(text, 7, 2);
    if (!Number.isNaN(short)) equal(BigInt(short), want, text);
  }
});

Deno.test("the short way of reading decimals agrees with the exact one", () => {
  fc.assert(fc.property(fc.nat(20), fc.nat(8), fc.stringMatching(/^-?\d{0,9}\.?\d{0,9}$/), (precision, scale, text) => {
    const short = parseShortDecimal(text, precision + scale + 1, scale);
    if (!Number.isNaN(short)) equal(BigInt(short), parseDecimal(text, precision + scale + 1, scale));
  }));
});

Deno.test("a writer that is asked for too much says how much it may hold", () => {
  throws(() => new ByteWriter().ensure(WRITER_BYTES_MAX + 1), /the most is 1073741824/);
});

Deno.test("a schema id is read from framed values only", () => {
  const data = new Uint8Array(12).fill(9);
  writeFrame(data, 2, 0x01020304);
  equal(schemaIdAt(data, 2, 7), 0x01020304);
  equal(schemaIdAt(data, 2, 6), -1, "too short");
  equal(schemaIdAt(data, 0, 7), -1, "no magic byte");
  equal(schemaIdAt(data, -1, 0), -1, "null");
  writeFrame(data, 2, -5);
  equal(schemaIdAt(data, 2, 7), -1, "ids are not negative");
});
