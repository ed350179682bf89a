import assert from "node:assert/strict";
import { DuckDBInstance } from "@duckdb/node-api";
import { lower, upper } from "../../pipeline/plan/letter_case.ts";

Deno.test("lower and upper agree with DuckDB on every code point that could have a case", async () => {
  const instance = await DuckDBInstance.create(":memory:");
  const connection = await instance.connect();
  try {
    // Unicode has cased letters in its first two planes only; the third is here to notice if that changes.
    const codes = "FROM range(33, 196608) t(i) WHERE i NOT BETWEEN 55296 AND 57343";
    const all = (name: string) => `string_agg(${name}(chr(i::INTEGER)), chr(10) ORDER BY i)`;
    const reader = await connection.runAndReadAll(`SELECT ${all("")}, ${all("lower")}, ${all("upper")} ${codes}`);
    const [characters, lowered, uppered] = reader.getRows()[0].map((text) => String(text).split("\n"));
    assert.equal(characters.length, 0x30000 - 33 - 2048);
    const wrong = characters.filter((character, i) =>
      lower(character) !== lowered[i] || upper(character) !== uppered[i]
    );
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
