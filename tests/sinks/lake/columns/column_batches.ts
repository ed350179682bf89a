/** Columns in memory as a decoder leaves them, made from values. @module */
import { Columns } from "../../../../pipeline/columns.ts";
import type { ColumnField } from "../../../../pipeline/sinks/lake/columns/held_columns.ts";

/** Numbers for `i32` and `f64`, bigints for `i64`, text or bytes for `bytes`. */
export type Value = number | bigint | string | Uint8Array | null;

/** One batch of rows, each a value per field. */
export function batchOf(fields: readonly ColumnField[], rows: readonly (readonly Value[])[]): Columns {
  const batch = new Columns(fields.map(({ type }) => type), Math.max(rows.length, 1));
  const texts = fields.map((_, i) => rows.map((row) => bytesOf(row[i])));
  // One buffer for all, as records have it, with nothing behind the last text.
  const data = new Uint8Array(texts.flat().reduce((sum, { length }) => sum + length, 0));
  let end = 0;
  rows.forEach((row, at) => {
    batch.columns.forEach((column, i) => {
      const value = row[i];
      column.data = data;
      if (value === null) {
        column.nulls[at] = 1;
      } else if (column.kind === "f64") column.floats[at] = Number(value);
      else if (column.kind === "i32") column.ints[at] = Number(value);
      else if (column.kind === "i64") {
        const long = BigInt(value as bigint);
        column.ints[2 * at] = Number(BigInt.asIntN(32, long));
        column.ints[2 * at + 1] = Number(BigInt.asIntN(32, long >> 32n));
      } else {
        const bytes = texts[i][at];
        data.set(bytes, end);
        column.ints[2 * at] = end;
        column.ints[2 * at + 1] = end + bytes.length;
        end += bytes.length;
      }
    });
  });
  batch.length = rows.length;
  return batch;
}

/** Batches of so many rows, in turn. */
export function* batchesOf(
  fields: readonly ColumnField[],
  rows: readonly (readonly Value[])[],
  lengths: readonly number[] = [2048],
): Generator<Columns> {
  for (let from = 0, i = 0; from < rows.length; i++) {
    const to = Math.min(rows.length, from + lengths[i % lengths.length]);
    yield batchOf(fields, rows.slice(from, to));
    from = to;
  }
}

function bytesOf(value: Value | undefined): Uint8Array {
  if (typeof value === "string") return new TextEncoder().encode(value);
  return value instanceof Uint8Array ? value : new Uint8Array(0);
}
