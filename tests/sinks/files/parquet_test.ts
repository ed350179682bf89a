import assert from "node:assert/strict";
import type { FieldType } from "../../../pipeline/columns.ts";
import { ORIGIN_COLUMNS } from "../../../pipeline/deliveries/columns.ts";
import type { DeliveryContext, DeliveryPlan } from "../../../pipeline/deliveries/delivery_spec.ts";
import { systemClock } from "../../../pipeline/clock.ts";
import type { ResultColumn } from "../../../pipeline/plan/plan.ts";
import { parquetFilesKind } from "../../../pipeline/sinks/files/parquet_kind.ts";
import { parquetFiles } from "../../../pipeline/sinks/files/definition.ts";
import { createDiskStore } from "../../../pipeline/sinks/lake/disk_store.ts";
import { RejectedRowsError, type ResultRows, type ResultValue } from "../../../pipeline/sinks/sink.ts";
import { readParquet } from "./read_files.ts";

const signal = new AbortController().signal;

/** Of each type: what a sink is given, and what is read back as JSON. */
const TYPES:
  readonly (readonly [name: string, type: Record<string, unknown>, ...(readonly [ResultValue, unknown])[]])[] = [
    ["a_boolean", { type: "boolean" }, [true, true], [false, false]],
    ["an_int", { type: "int" }, [-2_147_483_648, -2_147_483_648], [7, 7]],
    ["a_long", { type: "long" }, [2n ** 63n - 1n, "9223372036854775807"], [-5, "-5"]],
    ["a_float", { type: "float" }, [Math.fround(0.1), Math.fround(0.1)], [NaN, "NaN"]],
    ["a_double", { type: "double" }, [0.1, 0.1], [-Infinity, "-Infinity"]],
    ["a_decimal", { type: "decimal", precision: 38, scale: 2 }, ["-0.05", "-0.05"], [
      `${"9".repeat(36)}.99`,
      `${"9".repeat(36)}.99`,
    ]],
    ["a_text", { type: "string" }, ["it's \u0000 \u{1f600}", "it's \u0000 \u{1f600}"], ["", ""]],
    ["an_enum", { type: "enum", symbols: ["RED", "BLUE"] }, ["BLUE", "BLUE"], ["RED", "RED"]],
    ["a_uuid", { type: "uuid" }, ["6f1c0b1e-0000-4000-8000-000000000001", "6f1c0b1e-0000-4000-8000-000000000001"], [
      "x",
      "x",
    ]],
    ["some_bytes", { type: "bytes" }, [Uint8Array.of(0, 255), "00FF"], [new Uint8Array(), ""]],
    ["a_date", { type: "date" }, [20_000, "2024-10-04"], [-1, "1969-12-31"]],
    ["a_milli_time", { type: "time-millis" }, [86_399_999, "23:59:59.999"], [0, "00:00:00"]],
    ["a_micro_time", { type: "time-micros" }, [1, "00:00:00.000001"], [0, "00:00:00"]],
    ["a_milli_stamp", { type: "timestamp-millis" }, [1_700_000_000_001, "1700000000001000"], [-1, "-1000"]],
    ["a_micro_stamp", { type: "timestamp-micros" }, [1_700_000_000_000_001, "1700000000000001"], [0, "0"]],
  ];
const PARQUET = {
  a_boolean: "BOOLEAN",
  an_int: "INT32 INT_32",
  a_long: "INT64 INT_64",
  a_float: "FLOAT",
  a_double: "DOUBLE",
  a_decimal: "FIXED_LEN_BYTE_ARRAY DecimalType(scale=2, precision=38)",
  a_text: "BYTE_ARRAY UTF8",
  an_enum: "BYTE_ARRAY UTF8",
  a_uuid: "BYTE_ARRAY UTF8",
  some_bytes: "BYTE_ARRAY",
  a_date: "INT32 DATE",
  a_milli_time: "INT64 TimeType(isAdjustedToUTC=0, unit=TimeUnit(MILLIS=<null>, MICROS=MicroSeconds(), NANOS=<null>))",
  a_micro_time: "INT64 TimeType(isAdjustedToUTC=0, unit=TimeUnit(MILLIS=<null>, MICROS=MicroSeconds(), NANOS=<null>))",
  a_milli_stamp:
    "INT64 TimestampType(isAdjustedToUTC=1, unit=TimeUnit(MILLIS=<null>, MICROS=MicroSeconds(), NANOS=<null>))",
  a_micro_stamp:
    "INT64 TimestampType(isAdjustedToUTC=1, unit=TimeUnit(MILLIS=<null>, MICROS=MicroSeconds(), NANOS=<null>))",
};

const columns: readonly ResultColumn[] = [
  { name: "id", type: { type: "long", nullable: false }, role: "key" },
  ...TYPES.map(([name, type]): ResultColumn => ({
    name,
    type: { ...type, nullable: true } as unknown as FieldType,
    role: "value",
  })),
  { name: "tags", type: { type: "string", nullable: true }, role: "value", isJson: true },
  ...ORIGIN_COLUMNS,
];

function rowsOf(
  lines: readonly (readonly ResultValue[])[],
  { from, gone = [] }: { from: number; gone?: number[] },
): ResultRows {
  const offsets = lines.map((_, i) => from + i);
  const whole = lines.map((line, i) => [...line, 3, offsets[i], 1_700_000_000_000]);
  return {
    columns,
    length: lines.length,
    values: columns.map((_, c) => whole.map((line) => line[c])),
    origin: { topic: "t", partition: 3, from, to: from + lines.length, offsets, tombstones: new Set(gone) },
  };
}

async function world(key: readonly string[]) {
  const dataDir = await Deno.makeTempDir({ prefix: "tailrace-parquet-" });
  const plan = { name: "out", topic: "t", key, columns } as unknown as DeliveryPlan;
  const spec = parquetFiles("t");
  assert.deepEqual(parquetFilesKind.check(spec, plan), []);
  const secrets = { find: () => null, get: () => "" };
  const context: DeliveryContext = {
    ...{ plan, secrets, dataDir, consumer: 2, databaseUrl: "", fetch, clock: systemClock },
    log: () => {},
  };
  const sink = await parquetFilesKind.open(spec, context);
  return {
    sink,
    folder: `${dataDir}/files/t`,
    store: createDiskStore({ folder: `${dataDir}/files/t` }),
    async [Symbol.asyncDispose]() {
      await sink[Symbol.asyncDispose]();
      await Deno.remove(dataDir, { recursive: true });
    },
  };
}

const line = (
  id: number,
  which: 2 | 3,
): ResultValue[] => [id, ...TYPES.map((type) => (type[which]!)[0]), `["a",${id}]`];
const nothing = (id: number): ResultValue[] => [id, ...TYPES.map(() => null), null];

Deno.test("values of every type are read back from Parquet by DuckDB as they were, nulls too, and keys that are gone say so", async () => {
  await using at = await world(["id"]);
  const lines = [line(1, 2), line(2, 3), nothing(3), nothing(4)];
  await at.sink.write(rowsOf(lines, { from: 10, gone: [3] }), { epoch: 1, signal });
  const { rows, types, manifests, orphans } = await readParquet(at.store);
  assert.deepEqual(manifests.map(({ from, to, rows, file }) => ({ from, to, rows, file })), [{
    from: 10,
    to: 14,
    rows: 4,
    file: "consumer-2/t-00003-00000000000000000010-00000000000000000014.parquet",
  }]);
  assert.deepEqual(orphans, []);
  const origin = (id: number) => ({
    kafka_partition: 3,
    kafka_offset: `${id + 9}`,
    kafka_timestamp: "1700000000000000",
    _deleted: id === 4,
  });
  const read = (which: 2 | 3) => Object.fromEntries(TYPES.map((type) => [type[0], (type[which]!)[1]]));
  assert.deepEqual(rows, [
    { id: "1", ...read(2), tags: `["a",1]`, ...origin(1) },
    { id: "2", ...read(3), tags: `["a",2]`, ...origin(2) },
    ...[3, 4].map((id) => ({
      id: `${id}`,
      ...Object.fromEntries(TYPES.map(([name]) => [name, null])),
      tags: null,
      ...origin(id),
    })),
  ]);
  for (const [name, type] of Object.entries(PARQUET)) assert.equal(types.get(name), type, name);
});

Deno.test("what comes again, cut elsewhere, makes a file of what is not there yet; without a key there is no _deleted", async () => {
  await using at = await world([]);
  await at.sink.write(rowsOf([line(1, 2), line(2, 3)], { from: 0 }), { epoch: 1, signal });
  await at.sink.write(rowsOf([line(1, 2), line(2, 3), line(3, 2), line(4, 3)], { from: 0 }), { epoch: 2, signal });
  const { rows, manifests } = await readParquet(at.store);
  assert.deepEqual(manifests.map(({ from, to }) => [from, to]), [[0, 2], [2, 4]]);
  assert.deepEqual(rows.map(({ id }) => id), ["1", "2", "3", "4"]);
  assert.ok(!("_deleted" in rows[0]));
});

Deno.test("values that Parquet cannot have are refused by row, and the other rows are in the file", async () => {
  await using at = await world([]);
  const wrong = (id: number, name: string, value: ResultValue) =>
    line(id, 2).map((own, i) => columns[i].name === name ? value : own);
  const lines = [
    line(1, 2),
    wrong(2, "a_date", 2_147_483_647),
    wrong(3, "a_milli_time", 86_400_000),
    wrong(4, "a_micro_time", -1),
    wrong(5, "a_milli_stamp", 9_300_000_000_000_000),
    wrong(6, "a_micro_stamp", -(2n ** 63n)),
    wrong(7, "a_decimal", `${"9".repeat(37)}.99`),
    line(8, 3),
  ];
  await assert.rejects(at.sink.write(rowsOf(lines, { from: 0 }), { epoch: 1, signal }), (error) => {
    assert.ok(error instanceof RejectedRowsError, String(error));
    assert.deepEqual(error.rows.map(({ row }) => row).sort(), [1, 2, 3, 4, 5, 6]);
    assert.match(error.rows.find(({ row }) => row === 2)!.reason, /^a_milli_time is 86400000, no time of a day$/);
    return true;
  });
  const { rows, manifests } = await readParquet(at.store);
  assert.deepEqual(rows.map(({ id }) => id), ["1", "8"]);
  assert.deepEqual(manifests.map(({ from, to, rows }) => [from, to, rows]), [[0, 8, 2]]);
});

Deno.test("columns that differ only in case cannot be told apart in Parquet, and it is said", () => {
  const twice = [...columns, { ...columns[0], name: "ID" }];
  const plan = { columns: twice } as unknown as DeliveryPlan;
  assert.match(parquetFilesKind.check(parquetFiles("t"), plan)[0].problem, /^id and ID are one column in Parquet/);
});
