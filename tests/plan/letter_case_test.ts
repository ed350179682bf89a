import assert from "node:assert/strict";
import { DuckDBInstance } from "@duckdb/node-api";
import { lower, upper } from "../../pipeline/plan/letter_case.ts";

Deno.test("lower and upper agree with DuckDB on every code point", async () => {
  const instance = await DuckDBInstance.create(":memory:");
  const connection = await instance.connect();
  try {
    const reader = await connection.runAndReadAll(
      "SELECT i::INTEGER, '.' || lower(chr(i::INTEGER)), '.' || upper(chr(i::INTEGER)) FROM range(1, 1114112) t(i) WHERE i NOT BETWEEN 55296 AND 57343",
    );
    const wrong: string[] = [];
    for (const [code, low, up] of reader.getRows() as [number, string, string][]) {
      const character = String.fromCodePoint(code);
      if ("." + lower(character) !== low || "." + upper(character) !== up) wrong.push(code.toString(16));
    }
    assert.deepEqual(wrong, []);
  } finally {
    connection.closeSync();
    instance.closeSync();
  }
});

Deno.test("each character changes by itself, so a word-final sigma stays as it is and no text grows", () => {
  assert.equal(lower("ΟΔΟΣ"), "οδοσ");
  assert.equal(upper("straße"), "STRAẞE");
});
