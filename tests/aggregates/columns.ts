import { Column, type FieldType } from "../../pipeline/columns.ts";

/** What a test puts into a column: whole numbers as bigint (unscaled for decimals), others as their own kind. */
export type Value = bigint | number | boolean | string | Uint8Array | null;

const text = new TextEncoder();

/** A column filled as a decoder would fill it. */
export function columnOf(type: FieldType, values: readonly Value[]): Column {
  const column = new Column(type, Math.max(1, values.length));
  const bytes: number[] = [];
  values.forEach((value, row) => {
    if (value === null) {
      column.nulls[row] = 1;
      // The value of a null is undefined: make it something that would show.
      column.ints.fill(-7, column.kind === "i32" ? row : 2 * row, column.kind === "i32" ? row + 1 : 2 * row + 2);
      if (column.kind === "bytes") column.ints.fill(0, 2 * row, 2 * row + 2);
      return;
    }
    switch (column.kind) {
      case "i32":
        column.ints[row] = Number(value);
        break;
      case "i64":
        column.ints[2 * row] = Number(BigInt.asIntN(32, BigInt(value as bigint)));
        column.ints[2 * row + 1] = Number(BigInt.asIntN(32, BigInt(value as bigint) >> 32n));
        break;
      case "f64":
        column.floats[row] = value as number;
        break;
      default: {
        const data = typeof value === "bigint"
          ? twosComplement(value)
          : typeof value === "string"
          ? text.encode(value)
          : value;
        column.ints[2 * row] = bytes.length;
        bytes.push(...data as Uint8Array);
        column.ints[2 * row + 1] = bytes.length;
      }
    }
  });
  column.data = Uint8Array.from(bytes);
  return column;
}

/** Big-endian, as few bytes as hold it. */
export function twosComplement(value: bigint): Uint8Array {
  const bytes: number[] = [];
  let rest = value;
  do {
    bytes.unshift(Number(rest & 255n));
    rest >>= 8n;
  } while (!((rest === 0n && bytes[0] < 128) || (rest === -1n && bytes[0] >= 128)));
  return Uint8Array.from(bytes);
}
