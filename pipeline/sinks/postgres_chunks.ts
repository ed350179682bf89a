import type { FieldType } from "../columns.ts";
import type { ResultRows } from "./sink.ts";

/** Rows in one statement: enough that its fixed cost is lost, few enough that a lock is not held for long. */
export const CHUNK_ROWS_MAX = 20_000;

/** About how many bytes of values one statement may carry; a single larger row still goes, alone. */
export const CHUNK_BYTES_MAX = 8 * 1024 * 1024;

/** What a value of fixed size takes as text, roughly. */
const FIXED_BYTES = 16;

/** Cuts rows into runs `[from, to)` of bounded size, in order. */
export function* chunks(
  rows: ResultRows,
  { rowsMax = CHUNK_ROWS_MAX, bytesMax = CHUNK_BYTES_MAX }: { readonly rowsMax?: number; readonly bytesMax?: number } =
    {},
): Generator<readonly [from: number, to: number]> {
  const varying = rows.values.filter((_, column) => isVarying(rows.columns[column].type));
  const fixedBytes = (rows.columns.length - varying.length) * FIXED_BYTES;
  let from = 0;
  let bytes = 0;
  for (let row = 0; row < rows.length; row++) {
    let rowBytes = fixedBytes;
    for (const values of varying) {
      const value = values[row];
      if (value !== null) rowBytes += (value as string | Uint8Array).length;
    }
    if (row > from && (row - from >= rowsMax || bytes + rowBytes > bytesMax)) {
      yield [from, row];
      from = row;
      bytes = 0;
    }
    bytes += rowBytes;
  }
  if (from < rows.length) yield [from, rows.length];
}

function isVarying({ type }: FieldType): boolean {
  return type === "string" || type === "bytes" || type === "decimal" || type === "uuid" || type === "enum";
}
