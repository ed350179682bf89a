import assert from "node:assert/strict";
import { gunzipSync } from "node:zlib";
import { timeText } from "../../../pipeline/codec/time_text.ts";
import type { FieldType } from "../../../pipeline/columns.ts";
import type { ResultColumn } from "../../../pipeline/plan/plan.ts";
import { ndjson, textOf } from "../../../pipeline/sinks/files/ndjson.ts";
import type { ResultRows, ResultValue } from "../../../pipeline/sinks/sink.ts";

const column = (name: string, type: string, more: Record<string, unknown> = {}): ResultColumn => ({
  name,
  type: { type, nullable: true, ...more } as unknown as FieldType,
  role: "value",
});

Deno.test("every kind of value is the JSON that the documentation says", () => {
  const cases: readonly (readonly [ResultColumn, NonNullable<ResultValue>, unknown])[] = [
    [column("a", "int"), -3, -3],
    [column("a", "long"), 2 ** 53 - 1, 2 ** 53 - 1],
    [column("a", "long"), 2n ** 62n, "4611686018427387904"],
    [column("a", "double"), 0.1, 0.1],
    [column("a", "double"), -Infinity, "-Infinity"],
    [column("a", "float"), NaN, "NaN"],
    [column("a", "boolean"), false, false],
    [column("a", "decimal"), "12.50", "12.50"],
    [column("a", "string"), 'a "b"\n\u2028\u0000', 'a "b"\n\u2028\u0000'],
    [column("a", "enum"), "RED", "RED"],
    [column("a", "bytes"), Uint8Array.of(0, 255), "AP8="],
    [column("a", "date"), 20_000, "2024-10-04"],
    [column("a", "time-millis"), 1, "00:00:00.001"],
    [column("a", "timestamp-micros"), 1_700_000_000_000_001, "2023-11-14T22:13:20.000001Z"],
    [column("a", "timestamp-millis"), 9e15, 9e15],
    [{ ...column("a", "string"), isJson: true }, `{"x":[1]}`, { x: [1] }],
  ];
  for (const [about, value, expected] of cases) {
    assert.deepEqual(JSON.parse(textOf(about)(value)), expected, about.type.type);
  }
});

Deno.test("milliseconds are written as the calendar says, on both sides of every edge", () => {
  const write = textOf(column("a", "timestamp-millis"));
  const edges = [
    0,
    -1,
    1,
    86_399_999,
    86_400_000,
    -86_400_000,
    951_782_400_000,
    -62_167_219_200_000,
    253_402_300_799_999,
  ];
  const beyond = [-62_167_219_200_001, 253_402_300_800_000, 8.64e15, -8.64e15];
  const others = Array.from({ length: 2_000 }, (_, i) => Math.floor((i - 1_000) * 86_399_007.3 * 31));
  for (const ms of [...edges, ...beyond, ...others]) assert.equal(write(ms), `"${timeText("timestamp-millis", ms)}"`);
});

Deno.test("rows are lines from the first that is wanted on, compressed the same way each time; a key that is gone says so", async () => {
  const columns = [column("id", "int"), column("name", "string"), column("kafka_offset", "long")];
  const offsets = [4, 5, 7];
  const rows: ResultRows = {
    columns,
    length: 3,
    values: [[1, 2, 3], ["x", null, null], offsets],
    origin: { topic: "t", partition: 0, from: 4, to: 8, offsets, tombstones: new Set([2]) },
  };
  const plain = await ndjson(rows, { first: 1, isGzip: false });
  assert.equal(
    new TextDecoder().decode(plain),
    '{"id":2,"name":null,"kafka_offset":5}\n{"id":3,"kafka_offset":7,"_deleted":true}\n',
  );
  const packed = await ndjson(rows, { first: 1, isGzip: true });
  assert.deepEqual(packed, await ndjson(rows, { first: 1, isGzip: true }));
  assert.deepEqual(new Uint8Array(gunzipSync(packed)), new Uint8Array(plain));
});
