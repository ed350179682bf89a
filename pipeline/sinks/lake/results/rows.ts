/** Which of a pipeline's rows go into the lake, and in which columns. @module */
import type { ResultColumn } from "../../../plan/plan.ts";
import type { ResultRows, ResultValue } from "../../sink.ts";

/** The numbers of the rows that are final. */
export function finalRowsOf({ columns, length, values }: ResultRows): Uint32Array {
  const final = values[columns.findIndex(({ role }) => role === "final")];
  const picked = new Uint32Array(length);
  let count = 0;
  for (let row = 0; row < length; row++) if (final[row] === true) picked[count++] = row;
  return picked.subarray(0, count);
}

/** Rows of an earlier definition in the columns of this one: what it did not have is null. */
export function projected(rows: ResultRows, columns: readonly ResultColumn[]): ResultRows {
  const places = columns.map(({ name }) => rows.columns.findIndex((column) => column.name === name));
  if (places.every((place, index) => place === index) && rows.columns.length === columns.length) return rows;
  const nothing: ResultValue[] = Array(rows.length).fill(null);
  return {
    columns,
    length: rows.length,
    values: places.map((place) => place < 0 ? nothing : rows.values[place]),
  };
}
