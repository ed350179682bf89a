import assert from "node:assert/strict";
import { valueToJson } from "../../api/result_json.ts";
import type { FieldType } from "../../pipeline/columns.ts";
import type { ResultValue } from "../../pipeline/sinks/sink.ts";

const shown: readonly [
  type: "date" | "time-millis" | "time-micros" | "timestamp-millis" | "timestamp-micros",
  ResultValue,
  string,
][] = [
  ["timestamp-millis", 1_795_000_000_123, "2026-11-18T11:06:40.123Z"],
  ["timestamp-micros", -1, "1969-12-31T23:59:59.999999Z"],
  ["date", 20_000, "2024-10-04"],
  ["time-millis", 1, "00:00:00.001"],
  ["time-micros", 86_399_999_999, "23:59:59.999999"],
  // What garbage in a record's field can make of a max().
  ["timestamp-millis", Number.MAX_SAFE_INTEGER, "9007199254740991"],
  ["timestamp-micros", 2n ** 63n - 1n, "9223372036854775807"],
  ["timestamp-millis", 2n ** 63n - 1n, "9223372036854775807"],
  ["date", 2 ** 31 - 1, "2147483647"],
  ["time-millis", -5, "-5"],
  ["time-micros", 86_400_000_000, "86400000000"],
];

Deno.test("dates and times are ISO 8601, and the text of their number where no calendar reaches", () => {
  for (const [type, value, text] of shown) {
    assert.equal(valueToJson({ type, nullable: false } as FieldType, value), text, `${type} ${value}`);
  }
});
