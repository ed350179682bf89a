import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { gzipSync } from "node:zlib";
import { join } from "node:path";
import { DuckDBInstance } from "@duckdb/node-api";
import avro from "avsc";
import { type Clock, systemClock } from "../../pipeline/clock.ts";
import { ByteWriter } from "../../pipeline/codec/byte_writer.ts";
import { ConfigError, UnavailableError } from "../../pipeline/errors.ts";
import type { AvroSchema } from "../../pipeline/plan/plan.ts";
import { partitionOf } from "../../pipeline/log/murmur2.ts";
import { parseSpeed, type RecordTarget, replayFile, type ReplayOptions } from "../../pipeline/sources/file_replay.ts";

const FLIGHTS = join(import.meta.dirname!, "../../node_modules/vega-datasets/data/flights-3m.parquet");

interface Written {
  partition: number;
  timestampMs: number;
  key: string | null;
  value: Uint8Array;
}

/** Keeps what is written; `flushedAt` is how many records stood at each flush. */
class Memory implements RecordTarget {
  readonly records: Written[] = [];
  readonly flushedAt: number[] = [];
  drained = 0;
  #out = new ByteWriter();
  #open: Omit<Written, "value"> | null = null;

  begin(partition: number, timestampMs: number, key: Uint8Array | null): ByteWriter {
    this.#open = { partition, timestampMs, key: key && new TextDecoder().decode(key) };
    this.#out.clear();
    return this.#out;
  }
  end(): void {
    this.records.push({ ...this.#open!, value: this.#out.written().slice() });
  }
  flush(): void {
    this.flushedAt.push(this.records.length);
  }
  ready(): Promise<void> {
    return Promise.resolve();
  }
  drain(): Promise<void> {
    this.drained++;
    return Promise.resolve();
  }
}

/** Time that passes only when someone sleeps. */
class SleepClock implements Clock {
  readonly sleeps: number[] = [];
  time = 1_000_000;
  now = () => this.time;
  monotonic = () => this.time;
  sleep = (ms: number) => {
    this.sleeps.push(ms);
    this.time += ms;
    return Promise.resolve();
  };
}

async function replay(file: string, options: Partial<ReplayOptions> = {}) {
  const target = new Memory();
  const registered: [string, AvroSchema][] = [];
  const registry = {
    register: (subject: string, schema: AvroSchema) => (registered.push([subject, schema]), Promise.resolve(7)),
    schemaById: () => Promise.reject(new Error("not asked for")),
    latest: () => Promise.reject(new Error("not asked for")),
  };
  const signal = new AbortController().signal;
  const fixed = { file, topic: "rows", partitions: 3, target, registry, speed: Infinity, clock: systemClock, signal };
  const result = await replayFile({ ...fixed, ...options });
  const type = avro.Type.forSchema(result.schema as avro.Schema, { registry: { long: lossyLong } });
  const rows = target.records.map(({ value }) => {
    assert.deepEqual([...value.subarray(0, 5)], [0, 0, 0, 0, 7]);
    return fromAvro(type, value);
  });
  return { result, target, registered, rows };
}

/** A record as avsc reads it, longs beyond 2^53 in doubles. */
// deno-lint-ignore no-explicit-any -- of the schema under test
function fromAvro(type: avro.Type, framed: Uint8Array): any {
  const record = type.fromBuffer(Buffer.from(framed.subarray(5)));
  return Object.fromEntries(
    Object.entries(record).map(([name, value]) => [name, value instanceof Uint8Array ? Uint8Array.from(value) : value]),
  );
}

const lossyLong = avro.types.LongType.__with({
  fromBuffer: (bytes: Uint8Array) => Number(Buffer.from(bytes).readBigInt64LE()),
  toBuffer: () => Buffer.alloc(8),
  fromJSON: Number,
  toJSON: Number,
  isValid: (value: unknown) => typeof value === "number",
  compare: () => 0,
});

async function folder() {
  const path = await Deno.makeTempDir({ prefix: "tailrace-replay-test-" });
  return {
    path,
    write: async (name: string, content: string | Uint8Array) => {
      const file = join(path, name);
      await Deno.writeFile(file, typeof content === "string" ? new TextEncoder().encode(content) : content);
      return file;
    },
    /** Writes a Parquet file of a query's rows. */
    parquet: async (name: string, sql: string) => {
      const instance = await DuckDBInstance.create(":memory:");
      const connection = await instance.connect();
      await connection.run(`COPY (${sql}) TO '${join(path, name)}' (FORMAT parquet)`);
      connection.closeSync();
      instance.closeSync();
      return join(path, name);
    },
    [Symbol.asyncDispose]: () => Deno.remove(path, { recursive: true }),
  };
}

const CSV = `id,city,at,price
2,Oslo,2026-01-01 00:00:02,1.50
1,Bergen,2026-01-01 00:00:01,
3,,2026-01-01 00:00:02,0.25
`;

Deno.test("CSV, NDJSON and Parquet give the same records, gzipped or not", async () => {
  await using files = await folder();
  const ndjson = `{"id":2,"city":"Oslo","at":"2026-01-01 00:00:02","price":1.5}
{"id":1,"city":"Bergen","at":"2026-01-01 00:00:01","price":null}
{"id":3,"city":null,"at":"2026-01-01 00:00:02","price":0.25}
`;
  const list = [
    await files.write("rows.csv", CSV),
    await files.write("rows.csv.gz", gzipSync(CSV)),
    await files.write("rows.tsv", CSV.replaceAll(",", "\t")),
    await files.write("rows.ndjson", ndjson),
    await files.write("rows.jsonl.gz", gzipSync(ndjson)),
    await files.write("it's [one] of *.json", ndjson).then(async (file) => {
      const renamed = join(files.path, "it's [one] *.json");
      await Deno.rename(file, renamed);
      return renamed;
    }),
    await files.parquet("rows.parquet", `SELECT * FROM read_csv('${files.path}/rows.csv')`),
  ];
  const at = (second: number) => Date.parse(`2026-01-01T00:00:0${second}Z`) * 1000;
  for (const file of list) {
    const { rows, result, registered } = await replay(file);
    assert.deepEqual(rows, [
      { id: 2, city: "Oslo", at: at(2), price: 1.5 },
      { id: 1, city: "Bergen", at: at(1), price: null },
      { id: 3, city: null, at: at(2), price: 0.25 },
    ], file);
    assert.deepEqual([result.rows, result.total, result.schemaId], [3, 3, 7]);
    assert.deepEqual(registered, [["rows-value", result.schema]]);
  }
});

Deno.test("Every type of DuckDB has its Avro type, exactly", async () => {
  await using files = await folder();
  const file = await files.parquet(
    "types.parquet",
    `SELECT true AS a_boolean, 7::TINYINT AS a_tiny, -7::INTEGER AS an_int, 4294967295::UINTEGER AS a_uint,
       9223372036854775807::BIGINT AS a_long, 1.5::FLOAT AS a_float, 0.1::DOUBLE AS a_double,
       -12345678901234567890.12::DECIMAL(38, 2) AS a_decimal, 12.50::DECIMAL(9, 2) AS a_price,
       18446744073709551615::UBIGINT AS a_ubig,
       DATE '1969-12-31' AS a_date, TIME '12:00:01.5' AS a_time, TIMESTAMP_MS '2026-01-01 00:00:00.123' AS a_ms,
       TIMESTAMP '2026-01-01 00:00:00.123456' AS a_us, TIMESTAMPTZ '2026-01-01 02:00:00+02' AS a_tz,
       TIMESTAMP_NS '2026-01-01 00:00:00.123456789' AS a_ns,
       'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'::UUID AS a_uuid, '\\x00\\xFF'::BLOB AS a_blob, 'été' AS a_text,
       [1, 2] AS a_list, {'x': 1, 'y': 'z'} AS a_struct, MAP {'k': 1} AS a_map`,
  );
  const { rows: [row], result } = await replay(file);
  const day = Date.UTC(2026, 0, 1);
  const types = Object.fromEntries(
    (result.schema as unknown as { fields: { name: string; type: unknown[] }[] }).fields.map((
      { name, type },
    ) => [name, type[1]]),
  );
  assert.deepEqual(types.a_decimal, { type: "bytes", logicalType: "decimal", precision: 38, scale: 2 });
  assert.deepEqual(types.a_ubig, { type: "bytes", logicalType: "decimal", precision: 20, scale: 0 });
  assert.deepEqual(types.a_tz, { type: "long", logicalType: "timestamp-micros" });
  assert.deepEqual(types.a_us, { type: "long", logicalType: "timestamp-micros" });
  assert.deepEqual([types.a_tiny, types.a_uint, types.a_long], ["int", "long", "long"]);
  const { a_decimal, a_price, a_ubig, a_blob, ...rest } = row;
  assert.equal(unscaled(a_decimal), -1234567890123456789012n);
  assert.equal(unscaled(a_price), 1250n);
  assert.equal(unscaled(a_ubig), 18446744073709551615n);
  assert.deepEqual([...a_blob], [0, 255]);
  assert.deepEqual(rest, {
    a_boolean: true,
    a_tiny: 7,
    an_int: -7,
    a_uint: 4294967295,
    a_long: 2 ** 63,
    a_float: 1.5,
    a_double: 0.1,
    a_date: -1,
    a_time: 43_201_500_000,
    a_ms: (day + 123) * 1000,
    a_us: day * 1000 + 123456,
    a_tz: day * 1000,
    a_ns: day * 1000 + 123456,
    a_uuid: "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11",
    a_text: "été",
    a_list: "[1,2]",
    a_struct: '{"x":1,"y":"z"}',
    a_map: '{"k":1}',
  });
});

Deno.test("Rows go out in the order of their event time, equal times in the file's order", async () => {
  await using files = await folder();
  const { rows } = await replay(await files.write("rows.csv", CSV), { eventTime: "at" });
  assert.deepEqual(rows.map(({ id }) => id), [1, 2, 3]);
  const many = await files.parquet(
    "many.parquet",
    "SELECT i::INTEGER AS n, i // 100 AS at FROM range(50000, -1, -1) t(i)",
  );
  const sorted = await replay(many, { eventTime: "AT" });
  const expected = Array.from({ length: 50_001 }, (_, i) => {
    const time = Math.floor(i / 100);
    return Math.min(50_000, 100 * time + 99) - (i - 100 * time);
  });
  assert.deepEqual(sorted.rows.map(({ n }) => n), expected);
});

Deno.test("The key is a column's text and decides the partition as Kafka's own clients do; without one all take turns", async () => {
  await using files = await folder();
  const file = await files.write("rows.csv", CSV);
  const keyed = await replay(file, { key: "city" });
  assert.deepEqual(keyed.target.records.map(({ key }) => key), ["Oslo", "Bergen", null]);
  for (const { key, partition } of keyed.target.records.slice(0, 2)) {
    assert.equal(partition, partitionOf(new TextEncoder().encode(key!), 3));
  }
  const turns = await replay(file);
  assert.deepEqual(turns.target.records.map(({ partition }) => partition), [0, 1, 2]);
});

Deno.test("A given schema decides the types, takes columns by name or alias, and fills what is missing with null", async () => {
  await using files = await folder();
  const schema: AvroSchema = {
    type: "record",
    name: "Sale",
    fields: [
      { name: "City", type: ["null", "string"] },
      {
        name: "cents",
        aliases: ["price"],
        type: ["null", { type: "bytes", logicalType: "decimal", precision: 9, scale: 3 }],
      },
      { name: "at", type: { type: "long", logicalType: "timestamp-millis" } },
      { name: "id", type: "string" },
      { name: "note", type: ["null", "string"] },
    ],
  };
  const { rows, result } = await replay(await files.write("rows.csv", CSV), { schema });
  assert.equal(result.schema, schema);
  assert.deepEqual(rows[0].cents, Uint8Array.from([5, 220]));
  assert.deepEqual({ ...rows[2], cents: null }, {
    City: null,
    cents: null,
    at: Date.parse("2026-01-01T00:00:02Z"),
    id: "3",
    note: null,
  });
});

Deno.test("Names that Avro forbids are replaced, stay apart, and are told", async () => {
  await using files = await folder();
  const file = await files.write("rows.csv", "Flight No.,flight-no,flight_no,2nd,größe\n1,2,3,4,5\n");
  let told: readonly { column: string; field: string }[] = [];
  const { rows, result } = await replay(file, { topic: "flights.raw-1", onRenamed: (renamed) => told = renamed });
  assert.deepEqual(rows, [{ Flight_No_: 1, flight_no: 2, flight_no_2: 3, _2nd: 4, gr__e: 5 }]);
  assert.equal((result.schema as unknown as { name: string }).name, "flights_raw_1");
  assert.deepEqual(told.map(({ column, field }) => `${column} ${field}`), [
    "Flight No. Flight_No_",
    "flight-no flight_no",
    "flight_no flight_no_2",
    "2nd _2nd",
    "größe gr__e",
  ]);
});

Deno.test("At 60x a minute of event time takes a second, in order, with gaps slept through and sent before", async () => {
  await using files = await folder();
  const file = await files.write(
    "rows.csv",
    "id,at\n1,2026-01-01 00:00:00\n2,2026-01-01 00:00:00\n3,2026-01-01 00:01:00\n4,2026-01-01 03:00:00\n",
  );
  const clock = new SleepClock();
  const start = clock.time;
  const { target } = await replay(file, { eventTime: "at", speed: 60, clock });
  assert.deepEqual(target.records.map(({ timestampMs }) => timestampMs - start), [0, 0, 1_000, 180_000]);
  assert.deepEqual(clock.sleeps, [1_000, 60_000, 60_000, 59_000]);
  assert.deepEqual(target.flushedAt, [2, 3, 3, 3]);
  const tenth = new SleepClock();
  await replay(file, { eventTime: "at", speed: 0.5, clock: tenth });
  assert.equal(tenth.time - start, 21_600_000);
  assert.deepEqual(["max", "1x", "60x", "0.5x"].map(parseSpeed), [Infinity, 1, 60, 0.5]);
  for (const text of ["", "0x", "fast", "-1x", "10"]) assert.throws(() => parseSpeed(text), /--speed/);
});

Deno.test("Ended by its signal, a replay sends what it has read and stops", async () => {
  await using files = await folder();
  const file = await files.write("rows.csv", "id,at\n1,2026-01-01\n2,2027-01-01\n");
  const stop = new AbortController();
  const clock = {
    ...systemClock,
    sleep: (ms: number, signal?: AbortSignal) => (stop.abort(), systemClock.sleep(ms, signal)),
  };
  const { result, target } = await replay(file, { eventTime: "at", speed: 1, clock, signal: stop.signal });
  assert.deepEqual([result.rows, result.total, target.records.length, target.drained], [1, 2, 1, 1]);
});

Deno.test("What is wrong with a file, a column or a row is said with its name", async () => {
  await using files = await folder();
  const file = await files.write("rows.csv", CSV);
  const record = (fields: unknown[]): AvroSchema => ({ type: "record", name: "Row", fields });
  const failures: [string, Partial<ReplayOptions>, RegExp][] = [
    [join(files.path, "none.csv"), {}, /none\.csv: there is no such file/],
    [files.path, {}, /is a folder/],
    [await files.write("rows.xlsx", "x"), {}, /rows\.xlsx: is of no known format: \.csv/],
    [
      await files.write("rows.parquet", "not a Parquet file, whatever its name says"),
      {},
      /rows\.parquet: cannot be read: .*magic bytes/,
    ],
    [await files.write("rows.ndjson", '{"a":1}\n{"a":'), {}, /rows\.ndjson: cannot be read/],
    [file, { key: "town" }, /--key: there is no column town; the file has id, city, at, price/],
    [file, { key: "town", eventTime: "when" }, /--key: .*\n--event-time: there is no column when/],
    [file, { speed: 1 }, /--speed: a pace needs --event-time/],
    [file, { schema: record([{ name: "town", type: "string" }]) }, /Row\.town: the file has no such column/],
    [
      file,
      { schema: record([{ name: "city", type: { type: "array", items: "int" } }]) },
      /Row\.city: is an array of int/,
    ],
    [file, { schema: record([{ name: "city", type: "string" }]) }, /row 3 of 3: field city is null, not string/],
    [file, { schema: record([{ name: "city", type: "int" }]) }, /rows\.csv: row 1 of 3: field city is "Oslo", not int/],
    [file, { schema: record([{ name: "city", type: "double" }]) }, /rows\.csv: cannot be read: .*Oslo/],
    [file, { fromRow: 4 }, /--from-row: 4 is not there: .*rows\.csv has 3 rows/],
    [
      file,
      {
        schema: record([{
          name: "price",
          type: ["null", { type: "bytes", logicalType: "decimal", precision: 2, scale: 2 }],
        }]),
      },
      /row 1 of 3: field price is "1\.50", not union of null, decimal\(2, 2\); nothing was written/,
    ],
  ];
  for (const [path, options, pattern] of failures) {
    await assert.rejects(replay(path, options), (error: Error) => {
      assert.ok(error instanceof ConfigError, `${pattern}: ${error}`);
      assert.match(error.message, pattern);
      return true;
    });
  }
});

Deno.test("The rows before a bad one are sent, and a broker that stays away ends the replay", async () => {
  await using files = await folder();
  const file = await files.write("rows.csv", CSV);
  const target = new Memory();
  const schema: AvroSchema = { type: "record", name: "Row", fields: [{ name: "city", type: "string" }] };
  await assert.rejects(replay(file, { target, schema }), /row 3 of 3/);
  assert.deepEqual([target.records.length, target.drained], [2, 1]);
  const away = new Memory();
  away.drain = () => Promise.reject(new UnavailableError("no broker"));
  await assert.rejects(replay(file, { target: away }), UnavailableError);
});

const decimal = (precision: number, scale: number) => ({ type: "bytes", logicalType: "decimal", precision, scale });
const unscaled = (bytes: Uint8Array) => BigInt.asIntN(8 * bytes.length, BigInt(`0x${bytes.toHex()}`));

Deno.test("Decimals and whole numbers keep every digit of the text, in CSV and NDJSON", async () => {
  await using files = await folder();
  const schema: AvroSchema = {
    type: "record",
    name: "Row",
    fields: [
      { name: "amount", type: decimal(30, 4) },
      { name: "quantity", type: "int" },
      { name: "total", type: ["null", "long"] },
      { name: "note", type: "string" },
      { name: "a/b", aliases: ["a_b"], type: ["null", decimal(20, 19)] },
    ].map((field) => ({ ...field, name: field.name.replace("/", "_") })),
  };
  const csv = `amount,quantity,total,note,a/b,x
12345678901234567890.1234,2.0,9007199254740993.00,007,0.1234567890123456789,1.5
 -0.0001,3,,1.50,,2.5
1.5000,4,-1,"8, or 2.5",1e-3,x
`;
  const ndjson =
    String.raw`{"note":"007","amount":12345678901234567890.1234,"total":9007199254740993.00,"quantity":2.0,` +
    String.raw`"a/b":0.1234567890123456789,"x":{"amount":7.5}}

{"quantity":3,"amount":-0.0001,"note":"1.50"}
{"quantity":4,"x":{"s":"\\"},"amount":"1.5000","total":-1, "note" : "8, or 2.5", "a/b":1e-3 }
`;
  for (
    const file of [
      await files.write("rows.csv", csv),
      await files.write("rows.csv.gz", gzipSync(csv)),
      await files.write("rows.ndjson", ndjson),
      await files.write("rows.jsonl.gz", gzipSync(ndjson)),
    ]
  ) {
    const { rows } = await replay(file, { schema });
    assert.deepEqual(rows.map(({ amount }) => unscaled(amount)), [123456789012345678901234n, -1n, 15000n], file);
    assert.deepEqual(rows.map(({ quantity }) => quantity), [2, 3, 4]);
    assert.deepEqual(rows.map(({ total }) => total), [Number(9007199254740993n), null, -1]);
    assert.deepEqual(rows.map(({ note }) => note), ["007", "1.50", "8, or 2.5"]);
    assert.deepEqual(rows.map(({ a_b }) => a_b && unscaled(a_b)), [1234567890123456789n, null, 10n ** 16n], file);
  }
});

Deno.test("A value that a decimal, an int or a long cannot hold exactly is refused, with its row and field", async () => {
  await using files = await folder();
  const cases: [unknown, string, string][] = [
    [decimal(10, 2), "1.005", "decimal(10, 2)"],
    [decimal(10, 2), "123456789.00", "decimal(10, 2)"],
    [decimal(30, 2), "1.00000000000000000001", "decimal(30, 2)"],
    ["int", "1.6", "int"],
    ["int", "2147483648", "int"],
    ["long", "9223372036854775808", "long"],
    ["long", "1.00000000000000000001", "long"],
  ];
  for (const [type, value, told] of cases) {
    const schema: AvroSchema = { type: "record", name: "Row", fields: [{ name: "n", type }] };
    for (
      const file of [
        await files.write("rows.csv", `n,m\n2.00,1\n${value},2\n`),
        await files.write("whole.csv", `n,m\n2,1\n${value},2\n`),
        await files.write("rows.ndjson", `{"n":2.00}\n{"n":${value}}\n`),
      ]
    ) {
      await assert.rejects(replay(file, { schema }), (error: Error) => {
        assert.ok(error instanceof ConfigError);
        assert.match(error.message, /: row 2 of 2: field n is .*; the row before it is in the topic: .*--from-row 2$/);
        assert.ok(error.message.includes(`not ${told}`), error.message);
        return true;
      });
    }
  }
});

Deno.test("Parquet's DECIMAL is exact in a decimal, and a DOUBLE is the shortest decimal that reads back as it", async () => {
  await using files = await folder();
  const schema: AvroSchema = {
    type: "record",
    name: "Row",
    fields: [{ name: "d", type: decimal(38, 4) }, { name: "f", type: decimal(6, 2) }, { name: "n", type: "int" }],
  };
  const parquet = (f: string, n: string) =>
    files.parquet("rows.parquet", `SELECT 12345678901234567890.1234::DECIMAL(30, 4) AS d, ${f} AS f, ${n} AS n`);
  const { rows: [row] } = await replay(await parquet("19.99::DOUBLE", "3.0::DOUBLE"), { schema });
  assert.deepEqual([unscaled(row.d), unscaled(row.f), row.n], [123456789012345678901234n, 1999n, 3]);
  await assert.rejects(replay(await parquet("1.005::DOUBLE", "3"), { schema }), /row 1 of 1: field f is "1\.005"/);
  await assert.rejects(replay(await parquet("1.5::FLOAT", "3.5::DOUBLE"), { schema }), /row 1 of 1: field n is "3\.5"/);
  await assert.rejects(replay(await parquet("1", "2147483648::BIGINT"), { schema }), /field n is 2147483648, not int/);
});

Deno.test("In CSV what is empty is null, and what is empty in quotes is a string's empty text and no number", async () => {
  await using files = await folder();
  const file = await files.write(
    "rows.csv",
    `"id","name","at","code"\n"1","","2026-01-01 00:00:00","5"\n"","x","",""\n"3",,,\n`,
  );
  const inferred = await replay(file);
  const at = Date.parse("2026-01-01T00:00:00Z") * 1000;
  assert.deepEqual(inferred.rows, [
    { id: 1, name: "", at, code: 5 },
    { id: null, name: "x", at: null, code: null },
    { id: 3, name: null, at: null, code: null },
  ]);
  const fields = [{ name: "id", type: ["null", "int"] }, { name: "name", type: ["null", "string"] }];
  const schema: AvroSchema = {
    type: "record",
    name: "Row",
    fields: [...fields, { name: "code", type: ["null", "string"] }, { name: "at", type: ["null", "string"] }],
  };
  const given = await replay(file, { schema, eventTime: "at" });
  assert.deepEqual(given.rows.map(({ id, name, code }) => [id, name, code]), [
    [null, "x", ""],
    [3, null, null],
    [1, "", "5"],
  ]);
  const strings: AvroSchema = { type: "record", name: "Row", fields: [{ name: "a", type: "string" }] };
  const { rows } = await replay(await files.write("strings.csv", `a,b\n"",1\n2,2\n`), { schema: strings });
  assert.deepEqual(rows, [{ a: "" }, { a: "2" }]);
});

Deno.test("Quoted empty texts change neither the header nor the dates that are found in a CSV file", async () => {
  await using files = await folder();
  const dates = await replay(
    await files.write("dates.csv", `"day","at","n"\n"31/12/1970","31/12/1970 00:00:01","1"\n"","","2"\n`),
  );
  assert.deepEqual(dates.rows, [
    { day: 364, at: (364 * 86_400 + 1) * 1_000_000, n: 1 },
    { day: null, at: null, n: 2 },
  ]);
  const headless = await replay(await files.write("headless.csv", 'x,"",3\ny,4,5\n'));
  assert.deepEqual(headless.rows, [
    { column0: "x", column1: null, column2: 3 },
    { column0: "y", column1: 4, column2: 5 },
  ]);
});

Deno.test("A CSV file's header stays one when every column is read as text", async () => {
  await using files = await folder();
  const schema: AvroSchema = {
    type: "record",
    name: "Row",
    fields: [{ name: "id", type: "string" }, { name: "n", type: "string" }],
  };
  const { rows } = await replay(await files.write("rows.csv", "id,n\n1,2\n03,4.50\n"), { schema });
  assert.deepEqual(rows, [{ id: "1", n: "2" }, { id: "03", n: "4.50" }]);
});

Deno.test("A replay that failed goes on from the row it names, in the same partitions", async () => {
  await using files = await folder();
  const schema: AvroSchema = { type: "record", name: "Row", fields: [{ name: "n", type: "int" }] };
  const lines = Array.from({ length: 6000 }, (_, i) => `${i + 1},${6000 - i}`);
  const whole = await replay(await files.write("rows.csv", `n,at\n${lines.join("\n")}\n`), { schema, eventTime: "at" });
  const bad = await files.write("bad.csv", `n,at\n${lines.with(999, ",5001").join("\n")}\n`);
  const target = new Memory();
  await assert.rejects(
    replay(bad, { schema, eventTime: "at", target }),
    /bad\.csv: row 5001 of 6000: field n is null, not int; the 5000 rows before it are in the topic: .*--from-row 5001$/,
  );
  const rest = await replay(join(files.path, "rows.csv"), { schema, eventTime: "at", fromRow: 5001 });
  assert.deepEqual([rest.result.rows, rest.result.total], [1000, 1000]);
  const written = (records: Written[]) => records.map(({ partition, value }) => [partition, ...value]);
  assert.deepEqual(written([...target.records, ...rest.target.records]), written(whole.target.records));
  await assert.rejects(
    replay(bad, { schema, eventTime: "at", fromRow: 4999 }),
    /row 5001 of 6000: .*; rows 4999 to 5000 are in the topic/,
  );
});

Deno.test("A value that DuckDB cannot read in the middle of a file says which rows are in the topic", async () => {
  await using files = await folder();
  const schema: AvroSchema = { type: "record", name: "Row", fields: [{ name: "n", type: "double" }] };
  const rows = Array.from({ length: 300_000 }, (_, i) => i === 290_000 ? "abc" : String(i));
  const target = new Memory();
  const file = await files.write("rows.csv", `n,m\n${rows.map((n) => `${n},x`).join("\n")}\n`);
  await assert.rejects(replay(file, { schema, target }), (error: Error) => {
    const count = target.records.length;
    assert.ok(count > 0 && count < 290_000, String(count));
    const standing = `rows 1 to ${count} are in the topic: mend the file, then go on with --from-row ${count + 1}`;
    assert.match(error.message, /rows\.csv: cannot be read: .*abc/);
    assert.ok(error.message.endsWith(standing), error.message);
    return true;
  });
  assert.equal(target.drained, 1);
});

Deno.test("A file without rows registers nothing, whatever the schema", async () => {
  await using files = await folder();
  const schema: AvroSchema = { type: "record", name: "Row", fields: [{ name: "n", type: "int" }] };
  for (
    const file of [
      await files.write("empty.csv", ""),
      await files.write("empty.csv.gz", gzipSync("")),
      await files.write("header.csv", "id,n\n"),
      await files.write("empty.ndjson", ""),
      await files.write("lines.ndjson", "\n\n"),
      await files.write("list.json", "[]"),
      await files.parquet("rows.parquet", "SELECT 1 AS n WHERE false"),
    ]
  ) {
    for (const options of [{}, { schema }]) {
      const { result, registered, target } = await replay(file, options);
      assert.deepEqual([result.rows, result.total, result.schemaId], [0, 0, null], file);
      assert.deepEqual([registered, target.records], [[], []]);
    }
  }
});

Deno.test("Three million flights stream through in bounded memory, in order", async () => {
  let rows = 0;
  let last = 0;
  let ordered = true;
  let peakBytes = 0;
  const out = new ByteWriter();
  const target = new Memory();
  target.begin = () => (out.clear(), out);
  target.end = () => {
    // schema id, branch of the union, then the time as a varint: read back only now and then.
    if (++rows % 10_000 === 0) {
      const { at } = fromAvro(type, out.written());
      ordered &&= at >= last;
      last = at;
      peakBytes = Math.max(peakBytes, Deno.memoryUsage().rss);
    }
  };
  const schema: AvroSchema = {
    type: "record",
    name: "Flight",
    fields: [
      { name: "at", aliases: ["date"], type: { type: "long", logicalType: "timestamp-millis" } },
      { name: "delay", type: "int" },
      { name: "origin", type: "string" },
    ],
  };
  const type = avro.Type.forSchema(schema as avro.Schema);
  const told: number[] = [];
  const before = Deno.memoryUsage().rss;
  const { result } = await replay(FLIGHTS, {
    target,
    schema,
    key: "origin",
    eventTime: "date",
    onProgress: ({ rows, total }) => {
      assert.equal(total, 3_000_000);
      told.push(rows);
    },
  });
  assert.equal(rows, 3_000_000);
  assert.equal(result.rows, rows);
  assert.ok(ordered);
  assert.ok(told.length >= 2 && told.at(-1) === rows && told.every((n, i) => i === 0 || n >= told[i - 1]));
  assert.ok(peakBytes - before < 900 * 1024 * 1024, `${Math.round((peakBytes - before) / 1e6)} MB more`);
});
