/**
 * What generated kernels call, by the names they call it.
 *
 * @module
 */
import * as calendar from "./calendar.ts";
import * as exact from "./exact.ts";
import * as letterCase from "./letter_case.ts";
import * as text from "./text_bytes.ts";

/** DuckDB orders NaN above everything and equal to itself. */
function equalDouble(a: number, b: number): boolean {
  return a === b || (a !== a && b !== b);
}

function lessDouble(a: number, b: number): boolean {
  return a < b || (b !== b && a === a);
}

/** Days since 1970 of a timestamp. */
function daysOf(value: exact.Exact, perDay: number): exact.Exact {
  const start = exact.floorTo(value, perDay);
  return typeof start === "number" ? start / perDay : exact.normalize(start / BigInt(perDay));
}

/** The cast's value, or null where it fails. */
function attempt<T>(cast: () => T): T | null {
  try {
    return cast();
  } catch (fault) {
    if (fault instanceof exact.RowFault) return null;
    throw fault;
  }
}

export const runtime = {
  longAt: exact.longAt,
  wideAt: exact.wideAt,
  add: exact.add,
  subtract: exact.subtract,
  multiply: exact.multiply,
  divideWhole: exact.divideWhole,
  remainder: exact.remainder,
  negate: exact.negate,
  absolute: exact.absolute,
  scaleDown: exact.scaleDown,
  fitInt: exact.fitInt,
  fitLong: exact.fitLong,
  fitDigits: exact.fitDigits,
  longToDouble: exact.longToDouble,
  longToFloat: exact.longToFloat,
  decimalToDouble: exact.decimalToDouble,
  doubleToWhole: exact.doubleToWhole,
  doubleToDecimal: exact.doubleToDecimal,
  doubleToFloat: exact.doubleToFloat,
  decodeText: text.decodeText,
  equalsAt: text.equalsAt,
  startsWithAt: text.startsWithAt,
  endsWithAt: text.endsWithAt,
  containsAt: text.containsAt,
  compareAt: text.compareAt,
  compareText: text.compareText,
  charactersAt: text.charactersAt,
  characters: text.characters,
  substring: text.substring,
  lower: letterCase.lower,
  upper: letterCase.upper,
  extract: calendar.extract,
  dateTrunc: calendar.dateTrunc,
  equalDouble,
  lessDouble,
  daysOf,
  attempt,
};
