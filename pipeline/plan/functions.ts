/**
 * The functions and operators a condition may call: their names, their types, and what they are refused for.
 *
 * @module
 */
import type { FieldType } from "../columns.ts";
import type { Binder } from "./bind_expression.ts";
import type { SqlNode } from "./duckdb_parser.ts";
import type { Expression } from "./expression.ts";
import * as literal from "./literals.ts";
import { type ArithmeticOperator, arithmeticType, aType, familyOf, withNull } from "./sql_types.ts";

type Bind = (
  binder: Binder,
  operands: readonly Expression[],
  node: SqlNode,
) => Promise<Expression | null> | Expression | null;

const TEXT: FieldType = { type: "string", nullable: false };
const BOOLEAN: FieldType = { type: "boolean", nullable: false };
const LONG: FieldType = { type: "long", nullable: false };

/** What `extract` and `date_trunc` know; finer and coarser units are refused. */
const EXTRACTED = ["year", "quarter", "month", "day", "dow", "isodow", "hour", "minute", "second"];
const TRUNCATED = ["year", "quarter", "month", "week", "day", "hour", "minute", "second"];

const LOWER = text("lower", 1, TEXT);
const UPPER = text("upper", 1, TEXT);
const STARTS = text("starts_with", 2, BOOLEAN);
const ENDS = text("ends_with", 2, BOOLEAN);
const LENGTH = text("length", 1, LONG);

const FUNCTIONS = new Map<string, Bind>([
  ...(["+", "-", "*", "/", "//", "%"] as const).map((name) => [name, arithmetic(name)] as const),
  ["abs", abs],
  ["nullif", nullif],
  ["lower", LOWER],
  ["lcase", LOWER],
  ["upper", UPPER],
  ["ucase", UPPER],
  ["length", LENGTH],
  ["len", LENGTH],
  ["starts_with", STARTS],
  ["prefix", STARTS],
  ["^@", STARTS],
  ["ends_with", ENDS],
  ["suffix", ENDS],
  ["contains", text("contains", 2, BOOLEAN)],
  ["||", text("||", 2, TEXT)],
  ["substring", substring],
  ["substr", substring],
  ["~~", like("like")],
  ["!~~", like("like", { negated: true })],
  ["~~*", like("ilike")],
  ["!~~*", like("ilike", { negated: true })],
  ["like_escape", like("like")],
  ["not_like_escape", like("like", { negated: true })],
  ["ilike_escape", like("ilike")],
  ["not_ilike_escape", like("ilike", { negated: true })],
  ["date_part", extract],
  ["datepart", extract],
  ["date_trunc", dateTrunc],
  ["datetrunc", dateTrunc],
]);

/** For error messages. */
export const SUPPORTED =
  "comparisons, AND, OR, NOT, IS NULL, BETWEEN, IN, LIKE, ILIKE, + - * / // %, CASE, CAST, coalesce, nullif, " +
  "abs, lower, upper, length, substring, ||, starts_with, ends_with, contains, extract, date_trunc";

/** A FUNCTION node. */
export async function bindFunction(binder: Binder, node: SqlNode): Promise<Expression | null> {
  const name = (node.function_name ?? "").toLowerCase();
  const bind = FUNCTIONS.get(name);
  if (
    bind === undefined || node.distinct === true || node.filter !== undefined || node.order_bys?.orders !== undefined
  ) {
    const shown = /^\w+$/.test(name) ? `${name}()` : name;
    return binder.fault(`${shown} is not supported in a condition; supported: ${SUPPORTED}`, node);
  }
  const operands = await binder.bindAll(node.children ?? []);
  return operands && bind(binder, operands, node);
}

function call(operator: string, operands: readonly Expression[], type: FieldType): Expression {
  const nullable = type.nullable || operands.some((operand) => operand.type.nullable);
  return { kind: "call", operator, arguments: operands, type: withNull(type, nullable) };
}

function arithmetic(operator: ArithmeticOperator): Bind {
  return async (binder, operands, node) => {
    if (operands.length === 1) return unary(binder, operator, operands[0], node);
    if (operands.some(literal.isNull)) return literal.nullOf({ type: "int", nullable: true });
    const yielding = literal.yieldingToFloat(operands);
    const matched: Expression[] = [];
    for (const operand of operands) {
      const cast = yielding.has(operand)
        ? await binder.coerce(operand, { type: "float", nullable: false }, node)
        : operand;
      if (cast === null) return null;
      matched.push(cast);
    }
    const result = arithmeticType(operator, matched[0].type, matched[1].type);
    if ("problem" in result) return binder.fault(result.problem, node);
    const { type } = result;
    // A product keeps its factors' own scales; everything else computes in the type of the result.
    if (operator === "*" && type.type === "decimal") return call(operator, matched, type);
    const [left, right] = [await binder.coerce(matched[0], type, node), await binder.coerce(matched[1], type, node)];
    return left && right && call(operator, [left, right], type);
  };
}

function unary(binder: Binder, operator: ArithmeticOperator, operand: Expression, node: SqlNode): Expression | null {
  if (literal.isNull(operand)) return operand;
  const family = familyOf(operand.type);
  if ((operator !== "-" && operator !== "+") || (family !== "exact" && family !== "approximate")) {
    return binder.fault(`${operator} takes a number, not ${aType(operand.type)}`, node);
  }
  return operator === "+" ? operand : call("negate", [operand], operand.type);
}

function abs(binder: Binder, operands: readonly Expression[], node: SqlNode): Expression | null {
  const [operand] = operands;
  if (literal.isNull(operand)) return operand;
  const family = familyOf(operand.type);
  if (operands.length === 1 && (family === "exact" || family === "approximate")) {
    return call("abs", operands, operand.type);
  }
  return binder.fault(`abs takes a number, not ${aType(operand.type)}`, node);
}

/** `nullif(a, b)` is `CASE WHEN a = b THEN NULL ELSE a END`, and keeps the type of a. */
async function nullif(binder: Binder, operands: readonly Expression[], node: SqlNode): Promise<Expression | null> {
  if (operands.length !== 2) return binder.fault("nullif takes two values", node);
  const [value] = operands;
  const unified = await binder.unifyAll(operands, node);
  if (unified === null) return null;
  const kept = literal.isNull(value) || literal.isString(value) ? unified[0] : value;
  const chosen = await binder.unifyAll([literal.nullOf(kept.type), kept], node);
  return chosen && binder.choose([binder.compare("=", unified)], chosen);
}

/** A function of one or more texts that is NULL where any of them is. */
function text(operator: string, count: number, type: FieldType): Bind {
  return (binder, operands, node) => {
    const texts = texted(binder, operands, node, { count, name: operator });
    return texts && call(operator, texts, type);
  };
}

/** The operands if there are `count` and all are text (or NULL); a fault otherwise. */
function texted(
  binder: Binder,
  operands: readonly Expression[],
  node: SqlNode,
  { count, name }: { count: number; name: string },
): Expression[] | null {
  if (operands.length !== count) {
    return binder.fault(`${name} takes ${count} value${count > 1 ? "s" : ""}, not ${operands.length}`, node);
  }
  const wrong = operands.find((operand) => !literal.isNull(operand) && familyOf(operand.type) !== "text");
  if (wrong) return binder.fault(`${name} takes text, not ${aType(wrong.type)}`, node);
  return operands.map((operand) => literal.isNull(operand) ? literal.nullOf(TEXT) : operand);
}

/** `substring(text, start, length)` counts characters from 1; DuckDB's forms with a start before that are not taken. */
function substring(binder: Binder, operands: readonly Expression[], node: SqlNode): Expression | null {
  const [value, start, length] = operands;
  const whole = (operand: Expression | undefined, least: number) =>
    operand?.kind === "literal" && operand.type.type === "int" && Number(operand.value) >= least;
  if (operands.length < 2 || operands.length > 3 || !whole(start, 1) || (length !== undefined && !whole(length, 0))) {
    return binder.fault("substring takes a text, a literal start from 1 on and a literal length from 0 on", node);
  }
  const texts = texted(binder, [value], node, { count: 1, name: "substring" });
  return texts && call("substring", [...texts, ...operands.slice(1)], TEXT);
}

/** LIKE with a literal pattern: then the pattern is read once, not once a record. */
function like(operator: "like" | "ilike", { negated = false } = {}): Bind {
  return (binder, operands, node) => {
    const [value, pattern, escape] = operands;
    const texts = texted(binder, operands.slice(0, 2), node, { count: 2, name: operator });
    if (texts === null) return null;
    if (operands.some(literal.isNull)) return literal.nullOf(BOOLEAN);
    if (!literal.isString(pattern)) return binder.fault(`${operator} takes a literal pattern`, node);
    const escaper = escape === undefined ? "" : String((escape as literal.Literal).value);
    if (escape !== undefined && (!literal.isString(escape) || [...escaper].length > 1 || /\p{L}/u.test(escaper))) {
      return binder.fault("ESCAPE takes a literal of one character that is not a letter", node);
    }
    if (escaper !== "" && endsInEscape(String(pattern.value), escaper)) {
      return binder.fault("the pattern ends with its escape character", node);
    }
    const escapeLiteral: Expression = { kind: "literal", value: escaper, type: TEXT };
    const matched = call(operator, [value, pattern, escapeLiteral], BOOLEAN);
    return negated ? binder.logical("not", [matched]) : matched;
  };
}

function endsInEscape(pattern: string, escape: string): boolean {
  const characters = [...pattern];
  let at = 0;
  while (at < characters.length) {
    if (characters[at] !== escape) at++;
    else if (at + 1 === characters.length) return true;
    else at += 2;
  }
  return false;
}

function extract(binder: Binder, operands: readonly Expression[], node: SqlNode): Expression | null {
  const unit = unitOf(binder, operands, node, { name: "extract", known: EXTRACTED });
  return unit && call("extract", [unit, operands[1]], LONG);
}

function dateTrunc(binder: Binder, operands: readonly Expression[], node: SqlNode): Expression | null {
  const unit = unitOf(binder, operands, node, { name: "date_trunc", known: TRUNCATED });
  if (unit === null) return null;
  const { type } = operands[1];
  return call(
    "date_trunc",
    [unit, operands[1]],
    type.type === "date" ? { type: "timestamp-micros", nullable: false } : type,
  );
}

function unitOf(
  binder: Binder,
  operands: readonly Expression[],
  node: SqlNode,
  { name, known }: { name: string; known: readonly string[] },
): Expression | null {
  const [unit, value] = operands;
  const family = operands.length === 2 && !literal.isNull(value) ? familyOf(value.type) : null;
  if (family !== "timestamp" && family !== "date") return binder.fault(`${name} takes a timestamp or a date`, node);
  const word = literal.isString(unit) ? String(unit.value).toLowerCase() : "";
  if (!known.includes(word)) return binder.fault(`${name} knows the units ${known.join(", ")}`, node);
  return { kind: "literal", value: word, type: TEXT };
}
