/**
 * Any decoded column of numbers into a staged one.
 *
 * @module
 */
import { type Column, numberAt } from "../../../columns.ts";
import { fillDecimal, fillMicros, fillTime, fillWhole, rangeIn } from "./fill_numbers.ts";
import { IS_NOT } from "./held_texts.ts";
import type { BlockColumn } from "./block_column.ts";

export interface Fill {
  /** The staged row that the first goes to. */
  readonly base: number;
  readonly length: number;
}

/** One decoded column, of no texts, bytes or symbols, into one staged column. `refuse` is told of values that the table cannot hold. */
export function fillColumn(
  from: Column,
  into: BlockColumn,
  fill: Fill,
  refuse: (row: number, problem: string) => void,
): void {
  const { base, length } = fill;
  switch (from.type.type) {
    case "boolean":
      for (let i = 0; i < length; i++) into.bytes[base + i] = from.ints[i];
      return;
    case "float":
    case "double":
      into.floats.set(length === from.floats.length ? from.floats : from.floats.subarray(0, length), base);
      return;
    case "int":
    case "long":
      return fillWhole(from, into, { base, length });
    case "date":
      into.words.set(from.ints.subarray(0, length), base);
      return refuseOutside(from, length, "days", refuse);
    case "time-millis":
      return fillTime(from, into, { base, length });
    case "time-micros":
      into.words.set(from.ints.subarray(0, 2 * length), 2 * base);
      return;
    case "timestamp-millis":
      fillMicros(from, into, { base, length });
      return refuseOutside(from, length, "milliseconds", refuse);
    case "timestamp-micros":
      into.words.set(from.ints.subarray(0, 2 * length), 2 * base);
      return refuseOutside(from, length, "microseconds", refuse);
    case "decimal":
      return fillDecimal(from, into, { base, length });
    default:
      throw new TypeError(`A column of ${from.type.type} has no numbers`);
  }
}

function refuseOutside(
  { ints, nulls }: Column,
  length: number,
  unit: "days" | "milliseconds" | "microseconds",
  refuse: (row: number, problem: string) => void,
): void {
  const [least, most] = rangeIn(unit);
  for (let i = 0; i < length; i++) {
    const value = unit === "days" ? ints[i] : numberAt(ints, i);
    if ((value < least || value > most) && nulls[i] === 0) refuse(i, `${IS_NOT} within the years 1 to 9999`);
  }
}
