/**
 * Casts as kernels do them, with DuckDB's rounding: halves away from zero for decimals, to even from doubles to whole numbers.
 *
 * @module
 */
import type { FieldType } from "../columns.ts";
import { normalize } from "./exact.ts";
import type { Call, KernelWriter } from "./kernel_writer.ts";
import { digitsOf, familyOf } from "./sql_types.ts";

const DAY_MICROS = 86_400_000_000;
/** Wider decimals are 128-bit numbers in DuckDB, which it converts to doubles in another way. */
const NARROW_DIGITS = 18;

/** Text of `name`, a value that is not null, in the type of the cast; TRY_CAST gives null where CAST has a fault. */
export function writeCast(writer: KernelWriter, name: string, cast: Call): string {
  const fallible = writer.fallible;
  const from = cast.arguments[0].type;
  const text = castText(writer, name, { from, to: cast.type });
  if (cast.operator === "cast") return text;
  writer.fallible = fallible;
  return `attempt(() => ${text})`;
}

function castText(
  writer: KernelWriter,
  name: string,
  types: { readonly from: FieldType; readonly to: FieldType },
): string {
  const { from, to } = types;
  const [source, target] = [familyOf(from), familyOf(to)];
  if (source === "exact" && target === "exact") return exactText(writer, name, types);
  if (source === "exact" && target === "approximate") {
    if (to.type === "float") return `longToFloat(${name})`;
    if (from.type !== "decimal") return `longToDouble(${name})`;
    return `decimalToDouble(${name}, ${from.scale}, ${from.precision > NARROW_DIGITS})`;
  }
  if (source === "approximate" && target === "exact") {
    if (to.type === "decimal") return writer.risky(`doubleToDecimal(${name}, ${to.precision}, ${to.scale})`);
    return writer.risky(`doubleToWhole(${name}, ${to.type === "int" ? 32 : 64})`);
  }
  if (from.type === "double" && to.type === "float") return writer.risky(`doubleToFloat(${name})`);
  if (source === "date" && target === "timestamp") return `multiply(${name}, ${DAY_MICROS})`;
  if (source === "timestamp" && target === "date") {
    return `daysOf(${name}, ${from.type === "timestamp-millis" ? DAY_MICROS / 1000 : DAY_MICROS})`;
  }
  if (from.type.endsWith("-millis") && to.type.endsWith("-micros")) return `multiply(${name}, 1000)`;
  return name;
}

function exactText(writer: KernelWriter, name: string, { from, to }: { from: FieldType; to: FieldType }): string {
  const step = digitsOf(to).scale - digitsOf(from).scale;
  const factor = writer.exact(normalize(10n ** BigInt(Math.abs(step))));
  const scaled = step > 0 ? `multiply(${name}, ${factor})` : step < 0 ? `scaleDown(${name}, ${factor})` : name;
  if (to.type === "int" || to.type === "long") return from.type === "int" ? scaled : writer.fit(scaled, to);
  const wider = digitsOf(to).precision - digitsOf(to).scale >= digitsOf(from).precision - digitsOf(from).scale &&
    step >= 0;
  return wider ? scaled : writer.fit(scaled, to);
}
