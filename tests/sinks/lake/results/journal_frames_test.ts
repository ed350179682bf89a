import assert from "node:assert/strict";
import type { FieldType } from "../../../../pipeline/columns.ts";
import type { ResultColumn } from "../../../../pipeline/plan/plan.ts";
import {
  BLOCK_ROWS,
  countRows,
  decodeRows,
  encodeRows,
  frame,
  frameAt,
} from "../../../../pipeline/sinks/lake/results/journal_frames.ts";
import type { ResultRows, ResultValue } from "../../../../pipeline/sinks/sink.ts";

const column = (type: FieldType["type"]) =>
  ({ name: type, role: "value", type: { type, nullable: true } }) as ResultColumn;

function rowsOf(values: readonly (readonly ResultValue[])[]): ResultRows {
  return { columns: values.map(() => column("string")), length: values[0].length, values };
}

const all = (rows: ResultRows) => Uint32Array.from({ length: rows.length }, (_, row) => row);

function roundTrip(rows: ResultRows, picked = all(rows)): ResultValue[][] {
  const decoded = [...decodeRows(encodeRows(rows, picked), rows.columns)];
  return rows.columns.map((_, index) => decoded.flatMap(({ values }) => values[index]));
}

Deno.test("values of every kind come back exactly, nulls among them", () => {
  const values: ResultValue[][] = [
    [0, -0, NaN, Infinity, -Infinity, 5e-324, 9007199254740991, -9007199254740991, null],
    [9223372036854775807n, -9223372036854775808n, 0, -1, 9007199254740993n, null, 9007199254740991, 1, 2],
    ["", "a", "\ufeffmark", "nul\u0000inside", "日本語", "👩‍👩‍👧", null, "\u202e", "x".repeat(70_000)],
    [true, false, null, true, false, true, null, null, false],
    [new Uint8Array(0), new Uint8Array([0, 255]), null, ...Array(6).fill(new Uint8Array([7]))],
    [null, null, null, null, null, null, null, null, null],
  ];
  const back = roundTrip(rowsOf(values));
  assert.deepEqual(back, values);
  assert.ok(Object.is(back[0][1], -0));
});

Deno.test("only the picked rows are kept, in order, over several blocks", () => {
  const length = 2 * BLOCK_ROWS + 5;
  const rows = rowsOf([
    Array.from({ length }, (_, row) => row % 3 === 0 ? null : `key ${row}`),
    Array.from({ length }, (_, row) => row),
  ]);
  const picked = all(rows).filter((row) => row % 2 === 1);
  assert.deepEqual(roundTrip(rows, picked), rows.values.map((values) => Array.from(picked, (row) => values[row])));
  assert.equal(countRows(encodeRows(rows, picked), 2), picked.length);
  assert.equal([...decodeRows(encodeRows(rows, all(rows)), rows.columns)].length, 3);
});

Deno.test("a frame is found whole or not at all", () => {
  const payload = new TextEncoder().encode("some payload");
  const bytes = frame(payload);
  assert.deepEqual(frameAt(bytes, 0), payload);
  for (let length = 0; length < bytes.length; length++) assert.equal(frameAt(bytes.subarray(0, length), 0), null);
  for (let at = 0; at < bytes.length; at++) {
    const flipped = bytes.slice();
    flipped[at] ^= 1;
    assert.equal(frameAt(flipped, 0), null, `byte ${at}`);
  }
  assert.equal(frameAt(new Uint8Array(64), 0), null, "zeros are no frame");
});
