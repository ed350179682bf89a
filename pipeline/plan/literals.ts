/**
 * Literal expressions: made from DuckDB's constants, and converted without loss where that needs no database.
 *
 * @module
 */
import type { FieldType } from "../columns.ts";
import { decimalText } from "../decimal.ts";
import type { SqlConstant, SqlTypeNode } from "./duckdb_parser.ts";
import type { Expression, LiteralValue } from "./expression.ts";
import { duckdbType, familyOf } from "./sql_types.ts";

export type Literal = Expression & { readonly kind: "literal" };

export const isNull = (expression: Expression): boolean => expression.kind === "literal" && expression.value === null;

/** A literal in quotes that has not taken another type yet. */
export const isString = (expression: Expression): expression is Literal =>
  expression.kind === "literal" && expression.type.type === "string" && expression.value !== null;

export function nullOf(type: FieldType): Literal {
  return { kind: "literal", value: null, type: { ...type, nullable: true } };
}

/** A literal from the value of a CONSTANT node; null for types not taken. */
export function fromConstant({ id, type_info }: SqlTypeNode, value: SqlConstant): Literal | null {
  switch (id) {
    case "VARCHAR":
      return make(String(value), { type: "string", nullable: false });
    case "BOOLEAN":
      return make(value === true, { type: "boolean", nullable: false });
    case "DOUBLE":
      return typeof value === "number" && Number.isFinite(value)
        ? make(value, { type: "double", nullable: false })
        : null;
    case "INTEGER":
    case "BIGINT":
      return make(exactValue(wholeOf(value)), { type: id === "INTEGER" ? "int" : "long", nullable: false });
    case "HUGEINT": {
      const digits = String(wholeOf(value));
      const precision = digits.replace("-", "").length;
      return precision > 38 ? null : make(digits, { type: "decimal", precision, scale: 0, nullable: false });
    }
    case "DECIMAL": {
      const scale = type_info?.scale ?? 0;
      const precision = type_info?.width ?? 18;
      return make(decimalText(wholeOf(value), scale), { type: "decimal", precision, scale, nullable: false });
    }
    default:
      return null;
  }
}

/** A literal from DuckDB's text of the value; dates in days, times and timestamps in microseconds. */
export function fromText(text: string, type: FieldType): Literal {
  const solid: FieldType = { ...type, nullable: false };
  switch (type.type) {
    case "boolean":
      return make(text === "true", solid);
    case "float":
    case "double":
      return make(doubleValue(text), solid);
    case "timestamp-millis":
    case "time-millis": {
      const micros = BigInt(text);
      if (micros % 1000n === 0n) return make(exactValue(micros / 1000n), solid);
      const finer = type.type === "timestamp-millis" ? "timestamp-micros" : "time-micros";
      return make(exactValue(micros), { type: finer, nullable: false });
    }
    case "decimal":
    case "string":
    case "enum":
    case "uuid":
    case "bytes":
      return make(text, solid);
    default:
      return make(exactValue(BigInt(text)), solid);
  }
}

/** The unscaled whole number of an exact, boolean, date, time or timestamp literal. */
export function unscaled({ value, type }: Literal): bigint {
  if (typeof value === "boolean") return value ? 1n : 0n;
  if (type.type !== "decimal") return BigInt(value as string | number);
  const [, sign, whole, fraction = ""] = /^(-?)(\d*)(?:\.(\d*))?$/.exec(String(value))!;
  return BigInt(sign + (whole + fraction.padEnd(type.scale, "0") || "0"));
}

/** The literal in a wider exact type, or with a date or timestamp in finer units; null where that is not all it takes. */
export function rescale(expression: Literal, type: FieldType): Literal | null {
  const [from, to] = [familyOf(expression.type), familyOf(type)];
  const solid: FieldType = { ...type, nullable: false };
  if (from === "exact" && to === "exact") {
    const step = (type.type === "decimal" ? type.scale : 0) -
      (expression.type.type === "decimal" ? expression.type.scale : 0);
    if (step < 0) return null;
    const value = unscaled(expression) * 10n ** BigInt(step);
    if (type.type === "decimal") {
      return String(value).replace("-", "").length > type.precision
        ? null
        : make(decimalText(value, type.scale), solid);
    }
    if (BigInt.asIntN(type.type === "int" ? 32 : 64, value) !== value) return null;
    return make(exactValue(value), solid);
  }
  if (from === to && (from === "timestamp" || from === "time") && type.type.endsWith("micros")) {
    return make(exactValue(unscaled(expression) * 1000n), solid);
  }
  return null;
}

/**
 * Literals in the unit of the fields they meet: a timestamp of whole milliseconds compares with a timestamp-millis field as it
 * lies in memory, and so does a date.
 */
export function matchUnits(operands: readonly Expression[]): Expression[] {
  const others = operands.filter((operand) => operand.kind !== "literal").map((operand) => operand.type.type);
  const temporal = others.some((type) => type.startsWith("timestamp"));
  const coarse = (unit: "timestamp" | "time") =>
    others.includes(`${unit}-millis`) && !others.includes(`${unit}-micros`) && !others.includes("date");
  const inMicros = operands.map((operand) => {
    if (operand.kind !== "literal" || operand.value === null || !temporal || operand.type.type !== "date") {
      return operand;
    }
    return make(exactValue(unscaled(operand) * 86_400_000_000n), { type: "timestamp-micros", nullable: false });
  });
  for (const unit of ["timestamp", "time"] as const) {
    if (!coarse(unit)) continue;
    const finest = (operand: Expression): operand is Literal =>
      operand.kind === "literal" && operand.value !== null && operand.type.type === `${unit}-micros`;
    if (!inMicros.filter(finest).every((operand) => unscaled(operand) % 1000n === 0n)) continue;
    return inMicros.map((operand) =>
      finest(operand)
        ? make(exactValue(unscaled(operand) / 1000n), { type: `${unit}-millis`, nullable: false })
        : operand
    );
  }
  return inMicros;
}

/** Beside a float, exact literals become floats rather than ask for a common type; these are they. */
export function yieldingToFloat(operands: readonly Expression[]): ReadonlySet<Expression> {
  const types = new Set(operands.map(({ type }) => type.type));
  if (!types.has("float") || types.has("double")) return new Set();
  return new Set(operands.filter((operand) => operand.kind === "literal" && familyOf(operand.type) === "exact"));
}

/** The literal as DuckDB would read it back from text. */
export function textOf({ value, type }: Literal): string {
  if (type.type === "date" || familyOf(type) === "time" || familyOf(type) === "timestamp") return isoText(value, type);
  return String(value);
}

/** DuckDB's type of the literal. */
export function sourceType({ type }: Literal): string {
  return duckdbType(type);
}

/** The literal as it looks in SQL. */
export function show(expression: Literal): string {
  return expression.type.type === "string" ? `'${expression.value}'` : textOf(expression);
}

function isoText(value: LiteralValue, type: FieldType): string {
  const whole = BigInt(value as string | number);
  const micros = type.type === "date" ? whole * 86_400_000_000n : type.type.endsWith("millis") ? whole * 1000n : whole;
  const millis = micros >= 0n ? micros / 1000n : -((999n - micros) / 1000n);
  const text = new Date(Number(millis)).toISOString().slice(0, -1) + String(micros - millis * 1000n).padStart(3, "0");
  const [day, time] = text.split("T");
  return type.type === "date" ? day : familyOf(type) === "time" ? time : `${day} ${time}`;
}

function make(value: LiteralValue, type: FieldType): Literal {
  return { kind: "literal", value, type };
}

/** JSON has no infinities and no NaN: those travel as what `Number` reads. */
function doubleValue(text: string): LiteralValue {
  const named = new Map([["inf", "Infinity"], ["-inf", "-Infinity"], ["nan", "NaN"], ["-nan", "NaN"]]).get(text);
  return named ?? Number(text);
}

/** JSON has no whole numbers beyond 2^53: those travel as text. */
function exactValue(value: bigint): LiteralValue {
  const number = Number(value);
  return Number.isSafeInteger(number) ? number : String(value);
}

function wholeOf(value: SqlConstant): bigint {
  if (typeof value === "object") return (BigInt(value.upper) << 64n) + BigInt(value.lower);
  return BigInt(value as number | bigint);
}
