/** Decoders on chosen values: exact longs, hostile bytes, what callers get wrong. */
import avro from "avsc";
import fc from "fast-check";
import { deepStrictEqual, equal, ok, throws } from "node:assert/strict";
import { Buffer } from "node:buffer";
import { Columns } from "../../pipeline/columns.ts";
import { createDecoder, EMPTY_ITEMS_MAX, VALUE_DEPTH_MAX } from "../../pipeline/codec/projection.ts";
import { ConfigError } from "../../pipeline/errors.ts";
import { oracle, type SchemaJson } from "./arbitrary_schemas.ts";
import { decodeRows, planField, recordsOf } from "./rows.ts";

const record = (...fields: SchemaJson[]): SchemaJson => ({ type: "record", name: "R", fields });
const one = (type: SchemaJson): SchemaJson => record({ name: "v", type });
const long = one("long");
const list: SchemaJson = record({ name: "v", type: "long" }, { name: "next", type: ["null", "R"] });

/** The only row of one value: its values or its reason. */
function decodeOne(schema: SchemaJson, paths: readonly string[], bytes: readonly number[] | Uint8Array): unknown {
  const [row] = decodeRows({ writer: schema, paths }, [Uint8Array.from(bytes)]);
  return "bad" in row ? row.bad : row.values;
}

Deno.test("all 64 bits of a long are exact, at the end of the buffer and before other records", () => {
  const longs = Array.from({ length: 64 }, (_, bit) => 1n << BigInt(bit))
    .flatMap((power) => [power - 1n, power, power + 1n, -power, -power - 1n])
    .map((value) => BigInt.asIntN(64, value));
  const values = longs.map((v) => new Uint8Array(oracle(long).toBuffer({ v })));
  for (const after of [0, 20]) {
    const rows = decodeRows({ writer: long, paths: ["v"] }, values, { after });
    deepStrictEqual(rows, longs.map((value) => ({ values: [value] })));
    values.forEach((value, i) => {
      deepStrictEqual(decodeRows({ writer: long, paths: ["v"] }, [value], { after }), [{ values: [longs[i]] }]);
    });
  }
});

Deno.test("an integer of too many bytes is a bad row, wanted or not", () => {
  for (const paths of [["v"], []]) {
    equal(decodeOne(long, paths, [...Array(9).fill(0x80), 0x02]), "v: an integer of more than 10 bytes");
    equal(decodeOne(long, paths, Array(30).fill(0xff)), "v: an integer of more than 10 bytes");
    equal(decodeOne(one("string"), paths, [...Array(9).fill(0x80), 0x02]), "v: an integer of more than 10 bytes");
    equal(decodeOne(one("int"), paths, [0x80, 0x80, 0x80, 0x80, 0x10]), "v: an integer of more than 5 bytes");
    equal(decodeOne(one("int"), paths, Array(9).fill(0x80).concat(0)), "v: an integer of more than 5 bytes");
  }
});

Deno.test("what is not a framed record says so", () => {
  const fields = [planField(long, "v")];
  const decoder = createDecoder({ writer: long, reader: long, fields });
  const records = recordsOf([Uint8Array.of(2), null, Uint8Array.of(4), Uint8Array.of()]);
  records.data[records.valueStart[2]] = 1;
  const out = new Columns(fields.map(({ type }) => type), 4);
  decoder.decode(records, 0, 4, out);
  equal(out.length, 1);
  deepStrictEqual(out.bad, [
    { row: 1, reason: "the value is null" },
    { row: 2, reason: "no Confluent framing: the value of 6 bytes does not begin with 0 and a schema id" },
    { row: 3, reason: "the value has 0 bytes after the schema id, fewer than the 1 any such record takes" },
  ]);
  decoder.decode(records, 0, 1, out);
  deepStrictEqual(out.bad, [], "bad rows of the last call are gone");
});

const REASONS: readonly (readonly [name: string, SchemaJson, number[], string])[] = [
  ["a boolean of 2", "boolean", [2], "v: a boolean is 0 or 1, not 2"],
  ["a string longer than the value", "string", [0x8e, 0x0e, 65], "v: length 903 runs past the value's end"],
  ["a negative length", "bytes", [1], "v: negative length -1"],
  ["an unknown enum symbol", { type: "enum", name: "E", symbols: ["A", "B"] }, [4], "v: no enum symbol 2 of 2"],
  ["a negative enum symbol", { type: "enum", name: "E", symbols: ["A", "B"] }, [1], "v: no enum symbol -1 of 2"],
  ["an unknown branch", ["null", "int"], [4], "v: no union branch 2 of 2"],
  ["a negative branch", ["null", "int"], [1], "v: no union branch -1 of 2"],
  ["bytes after the record", "int", [2, 0, 0], "2 bytes follow the record"],
  ["a short double", ["null", "double"], [2, 0, 0], "v: the value ends inside or after it"],
  ["a uuid that is none", { type: "string", logicalType: "uuid" }, [4, 65, 65], "v: not the text of a UUID"],
];

for (const [name, type, bytes, reason] of REASONS) {
  Deno.test(`${name} is a bad row with its reason`, () => {
    equal(decodeOne(one(type), ["v"], bytes), reason);
  });
}

Deno.test("fields that are not wanted are checked just as strictly", () => {
  for (const [, type, bytes, reason] of REASONS) {
    if ((type as { logicalType?: string }).logicalType) continue;
    equal(decodeOne(one(type), [], bytes), reason);
  }
});

Deno.test("absurd block counts are refused before anything is done with them", () => {
  const longs = one({ type: "array", items: "long" });
  const huge = [0xfe, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01];
  equal(
    decodeOne(longs, [], [...huge, 0]),
    "v: a block of 9223372036854776000 items, more than the value's bytes can hold",
  );
  const lowest = [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01];
  equal(
    decodeOne(longs, [], [...lowest, 0, 0]),
    "v: a block of 9223372036854776000 items, more than the value's bytes can hold",
  );
  equal(decodeOne(longs, [], [6, 2, 2, 0]), "v: a block of 3 items, more than the value's bytes can hold");
  equal(decodeOne(longs, [], [3, 2, 2, 2, 0]), "v: a block that does not have the 1 bytes it says");
  deepStrictEqual(decodeOne(longs, [], [3, 4, 2, 2, 0]), []);
});

Deno.test("items without bytes cost nothing, and only so many are believed", () => {
  const nulls = one({ type: "array", items: "null" });
  const block = (count: number) => [...new Uint8Array(avro.Type.forSchema("long").toBuffer(count)), 0];
  deepStrictEqual(decodeOne(nulls, [], block(EMPTY_ITEMS_MAX)), []);
  equal(
    decodeOne(nulls, [], block(EMPTY_ITEMS_MAX + 1)),
    `v: a block of ${EMPTY_ITEMS_MAX + 1} items, more than the value's bytes can hold`,
  );
});

Deno.test("records inside each other are read to the limit and no deeper", () => {
  const nested = (depth: number) => Uint8Array.from([...Array(depth - 1).fill([2, 2]).flat(), 2, 0]);
  deepStrictEqual(decodeOne(list, ["v"], nested(VALUE_DEPTH_MAX)), [1n]);
  ok(/more than 64 deep/.test(String(decodeOne(list, ["v"], nested(VALUE_DEPTH_MAX + 3)))));
  ok(/more than 64 deep/.test(String(decodeOne(list, ["v"], new Uint8Array(2_000_000).fill(2)))));
  const nest = one({ type: "record", name: "N", fields: [{ name: "in", type: { type: "array", items: "N" } }] });
  ok(/more than 64 deep/.test(String(decodeOne(nest, [], new Uint8Array(1_000_000).fill(2)))));
});

Deno.test("a field inside a record that contains itself is read by its path", () => {
  deepStrictEqual(decodeOne(list, ["next.next.v", "v"], [2, 2, 4, 2, 6, 0]), [3n, 1n]);
  deepStrictEqual(decodeOne(list, ["next.next.v", "v"], [2, 2, 4, 0]), [null, 1n]);
});

Deno.test("a map key __proto__ is a key like any other", () => {
  const map = one({ type: "map", values: "int" });
  deepStrictEqual(decodeOne(map, [], [2, 18, ...Buffer.from("__proto__"), 2, 0]), []);
});

Deno.test("hostile values of a megabyte are done with in time that grows with their bytes only", () => {
  const deep = one({ type: "array", items: { type: "array", items: { type: "map", values: ["null", "string"] } } });
  const values = [0, 1, 2, 3, 0x7f, 0x80, 0xff].map((byte) => new Uint8Array(1_000_000).fill(byte));
  const started = performance.now();
  const rows = decodeRows({ writer: deep, paths: [] }, values);
  ok(rows.every((row) => "bad" in row));
  ok(performance.now() - started < 2000);
});

Deno.test("equal wide decimals have equal bytes, however many were written", () => {
  const wide = one({ type: "bytes", logicalType: "decimal", precision: 38, scale: 2 });
  const fields = [planField(wide, "v")];
  const out = new Columns(fields.map(({ type }) => type), 3);
  const records = recordsOf(
    [[4, 0x80, 1], [8, 0xff, 0xff, 0x80, 1], [6, 0, 0, 0]].map((list) => Uint8Array.from(list)),
  );
  createDecoder({ writer: wide, reader: wide, fields }).decode(records, 0, 3, out);
  const { ints, data } = out.columns[0];
  deepStrictEqual([0, 1, 2].map((row) => [...data.subarray(ints[2 * row], ints[2 * row + 1])]), [[0x80, 1], [0x80, 1], [
    0,
  ]]);
});

Deno.test("the largest decimals of each precision are read, the next ones refused", () => {
  for (const precision of [1, 4, 9, 10, 18, 19, 27, 38]) {
    const schema = one({ type: "bytes", logicalType: "decimal", precision, scale: 0 });
    const limit = 10n ** BigInt(precision);
    for (const padding of [0, 1, 9]) {
      const bytes = (value: bigint) => {
        const length = value.toString(16).replace("-", "").length / 2 + 1 + padding | 0;
        return [
          2 * length,
          ...Array.from({ length }, (_, i) => Number((value >> BigInt(8 * (length - 1 - i))) & 0xffn)),
        ];
      };
      for (const value of [limit - 1n, 1n - limit, 0n, -1n]) {
        deepStrictEqual(decodeOne(schema, ["v"], bytes(value)), [value]);
      }
      for (const value of [limit, -limit]) {
        ok(/more than \d+ digits/.test(String(decodeOne(schema, ["v"], bytes(value)))));
      }
    }
  }
});

Deno.test("bytes that a decimal's words have no room for are never lost", () => {
  const schema = one({ type: "bytes", logicalType: "decimal", precision: 18, scale: 0 });
  for (const bytes of [[0, ...Array(8).fill(0xff)], [0xff, 0x7f, ...Array(7).fill(0xff)], [1, ...Array(8).fill(0)]]) {
    equal(decodeOne(schema, ["v"], [18, ...bytes]), "v: a decimal of 9 bytes has more than 18 digits");
  }
});

Deno.test("no value makes a decoder read beyond the buffer, whatever follows what", () => {
  const shared: SchemaJson = {
    type: "record",
    name: "S",
    fields: [{ name: "t", type: "string" }, { name: "u", type: ["null", "S"] }],
  };
  const befores: SchemaJson[] = [
    shared,
    "string",
    "int",
    "long",
    { type: "enum", name: "B", symbols: ["A", "B", "C"] },
    ["null", "string"],
    { type: "array", items: "boolean" },
    { type: "array", items: "null" },
    { type: "map", values: "int" },
  ];
  const kinds: SchemaJson[] = ["double", "float", ["double", { type: "fixed", name: "F", size: 9 }], [
    "null",
    "double",
  ]];
  const decoders = befores.flatMap((before) =>
    kinds.map((kind) => {
      const schema = record({ name: "before", type: before }, { name: "v", type: kind });
      const reader = record({ name: "v", type: Array.isArray(kind) ? ["null", "double"] : kind });
      const fields = [planField(reader, "v")];
      return {
        decoder: createDecoder({ writer: schema, reader, fields }),
        out: new Columns(fields.map(({ type }) => type), 1),
      };
    })
  );
  const byte = fc.constantFrom(0, 0, 1, 2, 2, 3, 4, 6, 8, 12, 16, 18, 20, 0x80, 0x82, 0xff);
  fc.assert(
    fc.property(fc.constantFrom(...decoders), fc.array(byte, { maxLength: 24 }), ({ decoder, out }, bytes) => {
      decoder.decode(recordsOf([Uint8Array.from(bytes)]), 0, 1, out);
      equal(out.length + out.bad.length, 1);
    }),
    { numRuns: 20_000 },
  );
});

Deno.test("a Buffer's records decode as a Uint8Array's do, and positions point into the records' own bytes", () => {
  const schema = one("string");
  const fields = [planField(schema, "v")];
  const records = recordsOf([Uint8Array.of(4, 104, 105)]);
  records.data = Buffer.from(records.data);
  records.view = new DataView(records.data.buffer, records.data.byteOffset, records.data.byteLength);
  const out = new Columns(fields.map(({ type }) => type), 1);
  createDecoder({ writer: schema, reader: schema, fields }).decode(records, 0, 1, out);
  equal(out.columns[0].data, records.data);
  equal(Buffer.from(records.data).toString("utf8", out.columns[0].ints[0], out.columns[0].ints[1]), "hi");
});

Deno.test("fields that are no columns of the reader's schema are all named", () => {
  const schema = record({ name: "amount", type: "double" }, { name: "tags", type: { type: "array", items: "string" } });
  const fields = [
    { path: "amout", type: { type: "double", nullable: false } },
    { path: "tags", type: { type: "string", nullable: false } },
    { path: "amount", type: { type: "long", nullable: false } },
  ] as const;
  throws(() => createDecoder({ writer: schema, reader: schema, fields }), (error: Error) => {
    ok(error instanceof ConfigError);
    deepStrictEqual(error.faults.map(({ where }) => where), ["amout", "tags", "amount"]);
    ok(/did you mean amount\?/.test(error.message) && /array of string/.test(error.message));
    return true;
  });
});

Deno.test("more rows than the columns have room for is the caller's mistake", () => {
  const fields = [planField(long, "v")];
  const out = new Columns(fields.map(({ type }) => type), 1);
  const records = recordsOf([Uint8Array.of(2), Uint8Array.of(2)]);
  throws(() => createDecoder({ writer: long, reader: long, fields }).decode(records, 0, 2, out), RangeError);
});
