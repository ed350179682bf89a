import { DuckDBListValue, DuckDBStructValue, type DuckDBValue } from "@duckdb/node-api";
import assert from "node:assert/strict";
import fc from "fast-check";
import { avroType } from "../../../../pipeline/codec/avro_values.ts";
import { fieldTypes, parseSchema } from "../../../../pipeline/codec/schema.ts";
import type { FieldType } from "../../../../pipeline/columns.ts";
import { ArchiveColumns } from "../../../../pipeline/sinks/lake/archive/archive_columns.ts";
import { DAYS_MAX } from "../../../../pipeline/sinks/lake/archive/stager.ts";
import { oracle, recordSchema, type SchemaJson, valueOf } from "../../../codec/arbitrary_schemas.ts";
import { decodeRows, type Plain } from "../../../codec/rows.ts";
import { archived, framed, plainValue } from "./archive_rows.ts";

const NOON = Date.UTC(2026, 10, 21, 12);
const utf8 = new TextEncoder();

/** What the table holds of a decoded value. */
function stagedValue(type: FieldType, value: Plain): Plain | boolean {
  if (value === null) return null;
  switch (type.type) {
    case "boolean":
      return value === 1;
    case "int":
      return BigInt(value);
    case "time-millis":
      return BigInt(value) * 1000n;
    case "timestamp-millis":
      return (value as bigint) * 1000n;
    case "enum":
      return type.symbols[value as number];
    default:
      return value;
  }
}

/** Whether every reader of the table can show it. Texts are UTF-8 here: the oracle writes U+FFFD for what is not. */
function isKept(type: FieldType, value: Plain): boolean {
  if (value === null) return true;
  const perDay = { "date": 1n, "timestamp-millis": 86_400_000n, "timestamp-micros": 86_400_000_000n };
  const days = perDay[type.type as keyof typeof perDay];
  if (days === undefined) return true;
  return BigInt(value) >= -719_162n * days && BigInt(value) < 2_932_897n * days;
}

function at(row: Record<string, DuckDBValue>, path: readonly string[]): DuckDBValue {
  let value: DuckDBValue = row[path[0]];
  for (const name of path.slice(1)) value = (value as DuckDBStructValue | null)?.entries[name] ?? null;
  return value;
}

Deno.test("the archive holds what the decoder reads, of records of any schema; and the bytes of all others", async () => {
  const sample = recordSchema.chain((schema: SchemaJson) =>
    fc.record({ schema: fc.constant(schema), values: fc.array(valueOf(schema), { minLength: 1, maxLength: 20 }) })
  );
  let fields = 0;
  let refused = 0;
  await fc.assert(
    fc.asyncProperty(sample, async ({ schema, values }) => {
      const types = fieldTypes(schema);
      const encoded = values.map((value) => new Uint8Array(oracle(schema).toBuffer(value)));
      const records = encoded.map((bytes, i) => ({
        timestampMs: NOON + i,
        key: i % 3 === 0 ? null : utf8.encode(`key ${i} of some length`.slice(0, 4 + i)),
        value: framed(7, bytes),
      }));
      const archive = new ArchiveColumns(null);
      const { fields: written } = archive.admit(parseSchema(schema));
      const { rows } = await archived(records, new Map([[7, schema]]), { archive });
      const paths = [...types.keys()];
      const decoded = decodeRows({ writer: schema, paths }, encoded);
      assert.equal(rows.length, values.length);
      for (const [i, row] of rows.entries()) {
        assert.equal(row.kafka_topic, "a topic");
        assert.equal(row.kafka_partition, 3);
        assert.equal(row.kafka_offset, BigInt(i));
        assert.equal(plainValue(row.kafka_timestamp), BigInt(NOON + i) * 1000n);
        assert.equal(row.kafka_schema_id, 7);
        const key = records[i].key;
        assert.equal(plainValue(row.kafka_key), key && new TextDecoder().decode(key));
        const want = decoded[i];
        const isWhole = "values" in want && paths.every((path, c) => isKept(types.get(path)!, want.values[c]));
        if (!isWhole) {
          refused++;
          assert.equal(typeof row.kafka_fault, "string");
          assert.equal(plainValue(row.kafka_value), String.fromCharCode(...records[i].value));
          for (const { path, type, column } of written) {
            const c = paths.indexOf(path);
            const isHeld = "values" in want && type !== null && isKept(type, want.values[c]);
            if (type === null && "values" in want) continue;
            const held = isHeld ? stagedValue(type, want.values[c]) : null;
            assert.deepEqual(plainValue(at(row, archive.columns[column].path)), held, path);
          }
          continue;
        }
        assert.equal(row.kafka_fault, null);
        assert.equal(row.kafka_value, null);
        for (const { path, type, column } of written) {
          const value = at(row, archive.columns[column].path);
          if (type !== null) {
            fields++;
            assert.deepEqual(plainValue(value), stagedValue(type, want.values[paths.indexOf(path)]), path);
          } else {
            const json = avroType(schema).decodeToJson(encoded[i]) as Record<string, unknown> | null;
            const found = path.split(".").reduce<unknown>((in_, name) => (in_ as typeof json)?.[name] ?? null, json);
            assert.equal(value, found === null ? null : JSON.stringify(found), path);
          }
        }
      }
    }),
    { numRuns: 250 },
  );
  assert.ok(fields > 1_000, `${fields} values were compared`);
  assert.ok(refused > 10, `${refused} records were refused`);
});

const PLAIN = { type: "record", name: "R", fields: [{ name: "n", type: "int" }, { name: "s", type: "string" }] };

Deno.test("tombstones, values without framing and unknown schemas are rows, too", async () => {
  const record = { timestampMs: NOON, key: null };
  const { rows } = await archived([
    { ...record, value: null },
    { ...record, value: utf8.encode("hello, this is text") },
    { ...record, value: framed(99, new Uint8Array([2])) },
    { ...record, value: framed(1, new Uint8Array([2, 2, 0x61])) },
  ], new Map([[1, PLAIN]]));
  const told = rows.map((
    { kafka_fault, kafka_value, kafka_schema_id, n },
  ) => [kafka_fault, plainValue(kafka_value), kafka_schema_id, n]);
  assert.deepEqual(told, [
    [null, null, null, null],
    ["the value does not start with a schema id (0x00 and four bytes)", "hello, this is text", null, null],
    ["schema id 99 is not in the registry", "\0\0\0\0\x63\x02", 99, null],
    [null, null, 1, 1n],
  ]);
});

Deno.test("headers keep their order, doubles and nulls", async () => {
  const headers = [["a", utf8.encode("1")], ["a", null], ["ü", new Uint8Array([0, 255])]] as const;
  const value = framed(1, new Uint8Array([2, 2, 0x61]));
  const { rows } = await archived([
    { timestampMs: NOON, key: null, value, headers },
    { timestampMs: NOON, key: null, value },
  ], new Map([[1, PLAIN]]));
  const list = rows[0].kafka_headers as DuckDBListValue;
  const told = list.items.map((item) => {
    const { key, value } = (item as DuckDBStructValue).entries;
    return [key, plainValue(value)];
  });
  assert.deepEqual(told, [["a", "1"], ["a", null], ["ü", "\0\xff"]]);
  assert.equal(rows[1].kafka_headers, null);
});

Deno.test("schemas that differ in one batch share a table: fields are added, widened, or get a column of their own", async () => {
  const schema = (fields: SchemaJson[]) => ({ type: "record", name: "R", fields });
  const money = (precision: number) => ({ type: "bytes", logicalType: "decimal", precision, scale: 2 });
  const schemas = new Map<number, SchemaJson>([
    [1, schema([{ name: "n", type: "int" }, { name: "amount", type: money(9) }])],
    [2, schema([{ name: "n", type: "double" }, { name: "amount", type: money(30) }, { name: "more", type: "string" }])],
    [3, schema([{ name: "N", type: "string" }])],
  ]);
  const values = [
    framed(1, new Uint8Array([14, 4, 0x01, 0x00])),
    framed(2, new Uint8Array([0, 0, 0, 0, 0, 0, 0xf8, 0x3f, 2, 0xff, 4, 0x68, 0x69])),
    framed(3, new Uint8Array([4, 0x68, 0x69])),
    framed(1, new Uint8Array([1, 2, 0x7f])),
  ];
  const records = values.map((value) => ({ timestampMs: NOON, key: null, value }));
  const { rows, archive } = await archived(records, schemas);
  const columns = archive.columns.map(({ path, type }) => `${path.join(".")} ${type}`);
  assert.deepEqual(columns, [
    "n long",
    "amount decimal(30,2)",
    "n_double double",
    "more string",
    "N_string string",
  ]);
  const told = rows.map(({ n, n_double, amount, more, N_string }) =>
    [n, n_double, plainValue(amount), more, N_string].map(plainOrNull)
  );
  assert.deepEqual(told, [
    [7n, null, 256n, null, null],
    [null, 1.5, -1n, "hi", null],
    [null, null, null, null, "hi"],
    [-1n, null, 127n, null, null],
  ]);
  // A start later knows whose they are.
  const again = new ArchiveColumns(archive.schema());
  for (const schema of schemas.values()) again.admit(parseSchema(schema));
  assert.deepEqual(again.columns, archive.columns);
});

function plainOrNull(value: unknown): unknown {
  return typeof value === "object" && value !== null ? plainValue(value as DuckDBValue) : value;
}

Deno.test("a field named as one of the archive's own columns gets another name", () => {
  const archive = new ArchiveColumns(null);
  const type = parseSchema({
    type: "record",
    name: "R",
    fields: [{ name: "kafka_offset", type: "long" }, { name: "Ingest_Date", type: "string" }],
  });
  archive.admit(type);
  assert.deepEqual(archive.columns.map(({ path }) => path[0]), ["kafka_offset_long", "Ingest_Date_string"]);
});

Deno.test("records of very many days fill few partitions, and times that are none have none", async () => {
  const value = framed(1, new Uint8Array([2, 2, 0x61]));
  const day = 86_400_000;
  const times = [-1, 9e15, ...Array.from({ length: 100 }, (_, i) => NOON - i * day)];
  const records = times.map((timestampMs) => ({ timestampMs, key: null, value }));
  const { rows } = await archived(records, new Map([[1, PLAIN]]), { batch: 1 });
  const days = new Set(rows.map(({ ingest_date }) => plainValue(ingest_date)).filter((day) => day !== null));
  assert.equal(days.size, DAYS_MAX);
  assert.equal(rows.length, times.length);
  assert.deepEqual(rows.slice(0, 2).map(({ kafka_timestamp }) => kafka_timestamp), [null, null]);
});

Deno.test("the greatest event time is known by partition", async () => {
  const schema = {
    type: "record",
    name: "R",
    fields: [{ name: "at", type: { type: "long", logicalType: "timestamp-millis" } }],
  };
  const values = [4, 60, 8].map((byte) => framed(1, new Uint8Array([byte])));
  const records = values.map((value) => ({ timestampMs: NOON, key: null, value }));
  const { maxEventTimeMs } = await archived(records, new Map([[1, schema]]), { eventTime: "at" });
  assert.equal(maxEventTimeMs, 30);
});

Deno.test("the greatest event time is one that a pipeline would believe", async () => {
  const schema = { type: "record", name: "R", fields: [{ name: "at", type: "long" }] };
  const times = [NOON, NOON + 30 * 86_400_000, 8e15];
  const records = times.map((time) => ({
    timestampMs: NOON,
    key: null,
    value: avroType(schema).encodeFramed(1, { at: time }),
  }));
  assert.equal((await archived(records, new Map([[1, schema]]), { eventTime: "at" })).maxEventTimeMs, NOON);
});

Deno.test("what has too many items for its text is told, its bytes are kept, and its other fields too", async () => {
  const nothings = { type: "array", items: "null" };
  const fields = [{ name: "n", type: "int" }, { name: "a", type: nothings }, { name: "b", type: nothings }];
  const schema = { type: "record", name: "R", fields };
  // 40,000 items in each, which take no bytes.
  const many = [0x80, 0xf1, 0x04, 0];
  const values = [[2, 2, 0, 0], [2, ...many, ...many]].map((bytes) => framed(1, new Uint8Array(bytes)));
  const records = values.map((value) => ({ timestampMs: NOON, key: null, value }));
  const { rows } = await archived(records, new Map([[1, schema]]));
  assert.deepEqual(rows.map(({ n, a, b }) => [n, a, b]), [[1n, "[null]", "[]"], [1n, null, null]]);
  assert.equal(rows[0].kafka_fault, null);
  assert.match(String(rows[1].kafka_fault), /^b: /);
  assert.equal(plainValue(rows[1].kafka_value), String.fromCharCode(...values[1]));
});
