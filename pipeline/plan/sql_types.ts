/**
 * The rules by which DuckDB types SQL over Avro fields: what two operands become before they are compared, and what an
 * arithmetic operator gives. Enums and uuids are text; timestamps of either unit are one family.
 *
 * @module
 */
import { DECIMAL_DIGITS_MAX, type FieldType } from "../columns.ts";

/** Up to this many digits DuckDB computes decimals in 64 bits, and keeps results there rather than growing them. */
const DECIMAL_DIGITS_64 = 18;

export type Family = "boolean" | "exact" | "approximate" | "text" | "bytes" | "date" | "time" | "timestamp";

/** Which types can be compared with each other at all. */
export function familyOf(type: FieldType): Family {
  switch (type.type) {
    case "boolean":
      return "boolean";
    case "int":
    case "long":
    case "decimal":
      return "exact";
    case "float":
    case "double":
      return "approximate";
    case "string":
    case "enum":
    case "uuid":
      return "text";
    case "bytes":
      return "bytes";
    case "date":
      return "date";
    case "time-millis":
    case "time-micros":
      return "time";
    case "timestamp-millis":
    case "timestamp-micros":
      return "timestamp";
  }
}

/** A type as people write it: `decimal(12,2)`, `enum('a', 'b')`, `long`. */
export function showType(type: FieldType): string {
  if (type.type === "decimal") return `decimal(${type.precision},${type.scale})`;
  if (type.type === "enum") return `enum(${type.symbols.map((symbol) => `'${symbol}'`).join(", ")})`;
  return type.type;
}

/** The same with its article: `a long`, `an int`. */
export function aType(type: FieldType): string {
  const shown = showType(type);
  return `${/^[aeiou]/.test(shown) ? "an" : "a"} ${shown}`;
}

/** The column type that holds such a field in DuckDB. */
export function duckdbType(type: FieldType): string {
  switch (type.type) {
    case "boolean":
      return "BOOLEAN";
    case "int":
      return "INTEGER";
    case "long":
      return "BIGINT";
    case "float":
      return "FLOAT";
    case "double":
      return "DOUBLE";
    case "decimal":
      return `DECIMAL(${type.precision},${type.scale})`;
    case "string":
    case "enum":
    case "uuid":
      return "VARCHAR";
    case "bytes":
      return "BLOB";
    case "date":
      return "DATE";
    case "time-millis":
    case "time-micros":
      return "TIME";
    case "timestamp-millis":
    case "timestamp-micros":
      return "TIMESTAMP";
  }
}

/** How many digits an exact type has, and how many of them after the point: an int counts as decimal(10,0), a long as (19,0). */
export function digitsOf(type: FieldType): { precision: number; scale: number } {
  if (type.type === "decimal") return { precision: type.precision, scale: type.scale };
  return { precision: type.type === "int" ? 10 : 19, scale: 0 };
}

/** The same type, nullable or not. */
export function withNull(type: FieldType, nullable: boolean): FieldType {
  return type.nullable === nullable ? type : { ...type, nullable };
}

/** Either the type two operands are brought to, or why there is none. */
export type Unified = { readonly type: FieldType } | { readonly problem: string };

/** The type that both operands are cast to before they are compared, or chosen between (CASE, COALESCE). */
export function unify(a: FieldType, b: FieldType): Unified {
  const nullable = a.nullable || b.nullable;
  const [left, right] = [familyOf(a), familyOf(b)];
  if (left === "bytes" || right === "bytes") return { problem: "bytes can only be tested with IS NULL" };
  if (left === right) {
    switch (left) {
      case "exact":
        return unifyExact(a, b, nullable);
      case "approximate":
        return { type: { type: a.type === "float" && b.type === "float" ? "float" : "double", nullable } };
      case "text":
        return { type: { type: "string", nullable } };
      case "time":
        return { type: { type: a.type === b.type ? a.type as "time-millis" : "time-micros", nullable } };
      case "timestamp":
        return { type: { type: a.type === b.type ? a.type as "timestamp-millis" : "timestamp-micros", nullable } };
      default:
        return { type: withNull(a, nullable) };
    }
  }
  const numbers = new Set([left, right]);
  if (numbers.has("exact") && numbers.has("approximate")) {
    if (a.type === "double" || b.type === "double") return { type: { type: "double", nullable } };
    if (a.type === "decimal" || b.type === "decimal") {
      return { problem: `${showType(a)} and ${showType(b)} do not mix: cast the float to double` };
    }
    return { type: { type: "float", nullable } };
  }
  if (numbers.has("date") && numbers.has("timestamp")) return { type: { type: "timestamp-micros", nullable } };
  return { problem: `${showType(a)} and ${showType(b)} cannot be compared` };
}

function unifyExact(a: FieldType, b: FieldType, nullable: boolean): Unified {
  if (a.type !== "decimal" && b.type !== "decimal") {
    return { type: { type: a.type === "long" || b.type === "long" ? "long" : "int", nullable } };
  }
  const [x, y] = [digitsOf(a), digitsOf(b)];
  const scale = Math.max(x.scale, y.scale);
  const precision = Math.max(x.precision - x.scale, y.precision - y.scale) + scale;
  if (precision > DECIMAL_DIGITS_MAX) {
    return { problem: `${showType(a)} with ${showType(b)} needs ${precision} digits, more than ${DECIMAL_DIGITS_MAX}` };
  }
  return { type: { type: "decimal", precision, scale, nullable } };
}

export type ArithmeticOperator = "+" | "-" | "*" | "/" | "//" | "%";

/** What `a operator b` gives. `/` is float division, `//` whole-number division; both numbers. */
export function arithmeticType(operator: ArithmeticOperator, a: FieldType, b: FieldType): Unified {
  const numeric = (type: FieldType) => familyOf(type) === "exact" || familyOf(type) === "approximate";
  if (!numeric(a) || !numeric(b)) {
    return { problem: `${operator} takes numbers, not ${showType(numeric(a) ? b : a)}` };
  }
  const nullable = a.nullable || b.nullable;
  const exact = familyOf(a) === "exact" && familyOf(b) === "exact";
  if (operator === "/" && exact) return { type: { type: "double", nullable } };
  if (operator === "//" && (a.type === "decimal" || b.type === "decimal" || !exact)) {
    return { problem: "// takes whole numbers" };
  }
  if (!exact || (a.type !== "decimal" && b.type !== "decimal")) {
    const common = unify(a, b);
    if ("problem" in common) return common;
    return { type: withNull(common.type, nullable || ((operator === "//" || operator === "%") && exact)) };
  }
  return decimalArithmetic(operator, a, b);
}

/** Sums grow by a digit, products by both; past 18 and past 38 digits the result stays there and can overflow. */
function decimalArithmetic(operator: ArithmeticOperator, a: FieldType, b: FieldType): Unified {
  const nullable = a.nullable || b.nullable;
  const [x, y] = [digitsOf(a), digitsOf(b)];
  const widest = Math.max(x.precision, y.precision);
  const scale = operator === "*" ? x.scale + y.scale : Math.max(x.scale, y.scale);
  if (scale > DECIMAL_DIGITS_MAX) {
    return { problem: `${showType(a)} * ${showType(b)} needs ${scale} digits after the point` };
  }
  const whole = Math.max(x.precision - x.scale, y.precision - y.scale);
  if (operator === "%") {
    const precision = whole + scale;
    if (precision > DECIMAL_DIGITS_MAX) {
      return { problem: `% of ${showType(a)} and ${showType(b)} needs ${precision} digits` };
    }
    return { type: { type: "decimal", precision, scale, nullable: true } };
  }
  let precision = operator === "*" ? x.precision + y.precision : Math.max(whole + scale, widest) + 1;
  if (precision > DECIMAL_DIGITS_64 && widest <= DECIMAL_DIGITS_64 && (operator !== "*" || scale < DECIMAL_DIGITS_64)) {
    precision = DECIMAL_DIGITS_64;
  }
  return { type: { type: "decimal", precision: Math.min(precision, DECIMAL_DIGITS_MAX), scale, nullable } };
}
