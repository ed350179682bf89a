import assert from "node:assert/strict";
import { isDeepStrictEqual } from "node:util";
import { deliveryColumns } from "../../pipeline/deliveries/columns.ts";
import { ConfigError } from "../../pipeline/errors.ts";
import type { AvroSchema } from "../../pipeline/plan/plan.ts";
import { ndjson } from "../../pipeline/sinks/files/ndjson.ts";
import { createFilesSink, type FileFormat } from "../../pipeline/sinks/files/sink.ts";
import { createDiskStore } from "../../pipeline/sinks/lake/disk_store.ts";
import { RowsParquet } from "../../pipeline/sinks/lake/rows_parquet.ts";
import type { ResultRows, ResultValue } from "../../pipeline/sinks/sink.ts";
import { snowflakeNames, type StageFormat } from "../../pipeline/sinks/snowflake/scripts.ts";
import { type SnowflakeConnection, upload } from "../../pipeline/sinks/snowflake/upload.ts";
import { startFakesnow, whyNoFakesnow } from "../servers/fakesnow.ts";

const signal = new AbortController().signal;
const why = await whyNoFakesnow();
if (why !== null) console.log(`left out: ${why}`);

const SCHEMA: AvroSchema = {
  type: "record",
  name: "P",
  fields: [
    { name: "id", type: "long" },
    { name: "name", type: ["null", "string"], default: null },
    { name: "price", type: { type: "bytes", logicalType: "decimal", precision: 10, scale: 2 } },
    { name: "tags", type: { type: "array", items: "string" } },
    { name: "raw", type: "bytes" },
    { name: "at", type: { type: "long", logicalType: "timestamp-millis" } },
  ],
};
const TOPIC = "items";

const logical = (type: string, logicalType: string, more = {}) => ({ type, logicalType, ...more });
/** Name, type; then a value and how fakesnow's client shows it, twice. */
const TYPES: readonly (readonly [string, AvroSchema, ResultValue, unknown, ResultValue, unknown])[] = [
  ["a_boolean", "boolean", true, true, false, false],
  ["an_int", "int", -2_147_483_648, "-2147483648", 7, "7"],
  ["a_long", "long", 2n ** 62n, "4611686018427387904", -5, "-5"],
  ["a_float", "float", 0.5, 0.5, -Infinity, "-inf"],
  ["a_double", "double", 0.1, 0.1, NaN, "nan"],
  [
    "a_decimal",
    logical("bytes", "decimal", { precision: 38, scale: 2 }),
    "-0.05",
    "-0.05",
    `${"9".repeat(36)}.99`,
    `${"9".repeat(36)}.99`,
  ],
  ["a_text", "string", "it's \u{1f600}\n", "it's \u{1f600}\n", "", ""],
  ["an_enum", { type: "enum", name: "E", symbols: ["RED", "BLUE"] }, "BLUE", "BLUE", "RED", "RED"],
  [
    "a_uuid",
    logical("string", "uuid"),
    "6f1c0b1e-0000-4000-8000-000000000001",
    "6f1c0b1e-0000-4000-8000-000000000001",
    "x",
    "x",
  ],
  ["some_bytes", "bytes", Uint8Array.of(0, 255), "00ff", new Uint8Array(), ""],
  ["a_fixed", { type: "fixed", name: "F", size: 2 }, Uint8Array.of(1, 2), "0102", Uint8Array.of(0, 0), "0000"],
  ["a_date", logical("int", "date"), 20_000, "2024-10-04", -1, "1969-12-31"],
  ["a_milli_time", logical("int", "time-millis"), 86_399_999, "23:59:59.999000", 0, "00:00:00"],
  ["a_micro_time", logical("long", "time-micros"), 1, "00:00:00.000001", 0, "00:00:00"],
  [
    "a_milli_stamp",
    logical("long", "timestamp-millis"),
    1_700_000_000_001,
    "2023-11-14 22:13:20.001000",
    -1,
    "1969-12-31 23:59:59.999000",
  ],
  [
    "a_micro_stamp",
    logical("long", "timestamp-micros"),
    1_700_000_000_000_001,
    "2023-11-14 22:13:20.000001",
    0,
    "1970-01-01 00:00:00",
  ],
  ["a_list", { type: "array", items: "int" }, "[1,2]", "[1,2]", "[]", "[]"],
  ["a_map", { type: "map", values: "int" }, `{"x":1}`, `{"x":1}`, `{}`, `{}`],
  [
    "a_record",
    { type: "record", name: "R", fields: [{ name: "y", type: "string" }] },
    `{"y":"z"}`,
    `{"y":"z"}`,
    `{"y":""}`,
    `{"y":""}`,
  ],
];
const ALL_TYPES: AvroSchema = {
  type: "record",
  name: "All",
  fields: TYPES.map(([name, type]) => ({ name, type: ["null", type], default: null })),
};
/** `[offset, id, price]`; a price of null for a record that says that the id is gone. */
type Short = readonly [offset: number, id: number, price: string | null];

function planOf(key: readonly string[], schema: AvroSchema) {
  return { topic: TOPIC, key, columns: deliveryColumns(schema, { key }) };
}

function rowsOf(plan: ReturnType<typeof planOf>, partition: number, list: readonly Short[]): ResultRows {
  const gone = new Set(list.flatMap(([, , price], row) => price === null ? [row] : []));
  const lines = list.map(([offset, id, price], row): ResultValue[] =>
    gone.has(row) ? [id, null, null, null, null, null, partition, offset, 0] : [
      id,
      id % 2 === 0 ? null : `it's ${id}`,
      price,
      `["a",${id}]`,
      Uint8Array.of(0, 1, id),
      Date.UTC(2026, 0, 31, 12, 30) + id,
      partition,
      offset,
      0,
    ]
  );
  const offsets = list.map(([offset]) => offset);
  const origin = { topic: TOPIC, partition, from: offsets[0], to: offsets.at(-1)! + 1, offsets, tombstones: gone };
  return {
    columns: plan.columns,
    length: list.length,
    values: plan.columns.map((_, c) => lines.map((l) => l[c])),
    origin,
  };
}

interface World {
  readonly key?: readonly string[];
  readonly files: StageFormat;
  readonly schema?: AvroSchema;
}

async function world({ key = [], files, schema = SCHEMA }: World) {
  const parts = new AsyncDisposableStack();
  const folder = await Deno.makeTempDir({ prefix: "tailrace-snowflake-" });
  parts.defer(() => Deno.remove(folder, { recursive: true }));
  const connection = parts.use(await startFakesnow());
  const store = createDiskStore({ folder });
  const plan = planOf(key, schema);
  const names = snowflakeNames("items", files);
  const parquet = parts.use(new RowsParquet(store.scratch));
  const hasDeleted = key.length > 0;
  const format: FileFormat = files === "json"
    ? { extension: "ndjson.gz", encode: (rows, first) => ndjson(rows, { first, isGzip: true }) }
    : { extension: "parquet", encode: (rows, first) => parquet.encode(rows, { first, hasDeleted }) };
  const sink = createFilesSink({ name: "files", store, consumer: 0, format, log: () => {} });
  return {
    connection,
    writeRows: (rows: ResultRows) => sink.write(rows, { epoch: 1, signal }),
    plan,
    write: (partition: number, list: readonly Short[]) =>
      sink.write(rowsOf(plan, partition, list), { epoch: 1, signal }),
    upload: (over: SnowflakeConnection = connection) => upload({ plan, names, store, connection: over, signal }),
    prices: async () =>
      (await connection.execute("SELECT id, price FROM items ORDER BY kafka_partition, kafka_offset"))
        .map(({ ID, PRICE }) => [Number(ID), String(PRICE)]),
    [Symbol.asyncDispose]: () => parts.disposeAsync(),
  };
}

for (const files of ["json", "parquet"] as const) {
  Deno.test({
    name:
      `files of ${files} are taken into a table: the newest row of each key, none of those that are gone, values as they were`,
    ignore: why !== null,
    async fn() {
      await using at = await world({ key: ["id"], files });
      await at.write(0, [[0, 1, "1.50"], [1, 2, "2.50"], [2, 1, "9.99"], [3, 4, "4.00"]]);
      await at.write(1, [[0, 3, "3.00"]]);
      assert.deepEqual(await at.upload(), { files: 2, rows: 5 });
      assert.deepEqual(await at.prices(), [[2, "2.50"], [1, "9.99"], [4, "4.00"], [3, "3.00"]]);
      await at.write(0, [[4, 2, null], [5, 4, "4.01"], [6, 7, null]]);
      assert.deepEqual(await at.upload(), { files: 1, rows: 3 });
      assert.deepEqual(await at.prices(), [[1, "9.99"], [4, "4.01"], [3, "3.00"]]);
      const [one] = await at.connection.execute("SELECT * FROM items WHERE id = 1");
      assert.equal(one.NAME, "it's 1");
      assert.deepEqual(JSON.parse(one.TAGS as string), ["a", 1]);
      assert.match(String(one.AT), /^2026-01-31 12:30:00\.001/);
      assert.equal(one.RAW, "000101");
    },
  });

  Deno.test({
    name: `every type of ${files} files is the same value in the table, nulls too`,
    ignore: why !== null,
    async fn() {
      await using at = await world({ files, schema: ALL_TYPES });
      const lines = [0, 1, 2].map((which) =>
        [...TYPES.map((type) => type[2 + which * 2]), 0, which, 0] as ResultValue[]
      );
      const values = at.plan.columns.map((_, c) => lines.map((line) => line[c] ?? null));
      const origin = { topic: TOPIC, partition: 0, from: 0, to: 3, offsets: [0, 1, 2] };
      await at.writeRows({ columns: at.plan.columns, length: 3, values, origin });
      assert.deepEqual(await at.upload(), { files: 1, rows: 3 });
      const found = await at.connection.execute("SELECT * FROM items ORDER BY kafka_offset");
      const wrong: unknown[] = [];
      for (const [i, row] of found.entries()) {
        for (const type of TYPES) {
          const read = row[type[0].toUpperCase()];
          const expected = i === 2 ? null : type[3 + i * 2];
          wrong.push(...isDeepStrictEqual(read, expected) ? [] : [[type[0], i, read, expected]]);
        }
      }
      assert.deepEqual(wrong, []);
      assert.equal(found.length, 3);
    },
  });
}

Deno.test({
  name: "an upload again takes only what is new, and one that broke off at any statement is made good by the next",
  ignore: why !== null,
  async fn() {
    for (const [key, files] of [[["id"], "json"], [[], "json"], [["id"], "parquet"]] as const) {
      await using at = await world({ key, files });
      await at.write(0, [[0, 1, "1.00"], [1, 2, "2.00"]]);
      await at.upload();
      assert.deepEqual(await at.upload(), { files: 0, rows: 0 });
      const done = at.connection.statements.length;
      let next = 2;
      for (let broken = 0;; broken++) {
        await at.write(0, [[next, next + 1, `${next + 1}.00`]]);
        next++;
        let calls = 0;
        const failing: SnowflakeConnection = {
          execute: (sql) =>
            calls++ === broken
              ? Promise.reject(new ConfigError({ where: "test", problem: "broken" }))
              : at.connection.execute(sql),
          [Symbol.asyncDispose]: () => Promise.resolve(),
        };
        const isWhole = await at.upload(failing).then(() => true, () => false);
        if (isWhole) break;
        await at.upload();
        assert.deepEqual(
          await at.prices(),
          Array.from({ length: next }, (_, i) => [i + 1, `${i + 1}.00`]),
          `broken at statement ${broken}`,
        );
      }
      assert.ok(at.connection.statements.length > done + 20);
    }
  },
});
