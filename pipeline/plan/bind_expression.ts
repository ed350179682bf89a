/**
 * From DuckDB's syntax tree to typed expressions: names are looked up, operands cast to what DuckDB would cast them to, and
 * whatever the kernels cannot do exactly as DuckDB is refused by name.
 *
 * @module
 */
import type { FieldType } from "../columns.ts";
import { castLiteral, type SqlNode } from "./duckdb_parser.ts";
import type { Expression } from "./expression.ts";
import { bindFunction } from "./functions.ts";
import * as literal from "./literals.ts";
import { aType, digitsOf, duckdbType, familyOf, showType, unify, withNull } from "./sql_types.ts";

/** Finds a field by its dotted path: its index among the plan's fields and its type, or why it cannot be used. */
export type FieldLookup = (path: string) => { readonly field: number; readonly type: FieldType } | string;

/** Most nodes of one condition. */
export const EXPRESSION_NODES_MAX = 20_000;
/** Deepest nesting; AND, OR and IN lists count once however long they are. */
export const EXPRESSION_DEPTH_MAX = 200;

export interface BindFault {
  readonly problem: string;
  readonly node: SqlNode | null;
}

const COMPARISONS: Readonly<Record<string, string>> = {
  COMPARE_EQUAL: "=",
  COMPARE_NOTEQUAL: "<>",
  COMPARE_LESSTHAN: "<",
  COMPARE_LESSTHANOREQUALTO: "<=",
  COMPARE_GREATERTHAN: ">",
  COMPARE_GREATERTHANOREQUALTO: ">=",
  COMPARE_DISTINCT_FROM: "is distinct from",
  COMPARE_NOT_DISTINCT_FROM: "is not distinct from",
};

/** Types a CAST may name, by DuckDB's name. */
const CAST_TYPES: Readonly<Record<string, FieldType["type"]>> = {
  BOOLEAN: "boolean",
  INTEGER: "int",
  BIGINT: "long",
  FLOAT: "float",
  DOUBLE: "double",
  DECIMAL: "decimal",
  VARCHAR: "string",
  DATE: "date",
  TIME: "time-micros",
  TIMESTAMP: "timestamp-micros",
};

const REFUSED: Readonly<Record<string, string>> = {
  SUBQUERY: "subqueries (and ANY, ALL over them) cannot be evaluated one record at a time",
  WINDOW: "window functions cannot be evaluated one record at a time",
  STAR: "* is not a value here",
  PARAMETER: "there are no parameters to fill in: write the value itself",
  POSITIONAL_REFERENCE: "name the field instead of its position",
  LAMBDA: "lambdas and -> are not supported",
  COLLATE: "collations are not supported: text compares by its UTF-8 bytes",
};

/** Binds one condition; `faults` then says everything that is wrong with it. */
export class Binder {
  readonly faults: BindFault[] = [];
  readonly #lookup: FieldLookup;
  #nodes = 0;
  #depth = 0;

  constructor(lookup: FieldLookup) {
    this.#lookup = lookup;
  }

  /** Records a fault at `node`; null, so that `return binder.fault(..)` reads as "no expression". */
  fault(problem: string, node: SqlNode): null {
    this.faults.push({ problem, node: placed(node) });
    return null;
  }

  /** The whole condition, which must be true or false. */
  async bindCondition(node: SqlNode): Promise<Expression | null> {
    return this.boolean(await this.bind(node), node);
  }

  /** One node; null when it has faults. */
  async bind(node: SqlNode): Promise<Expression | null> {
    if (++this.#nodes > EXPRESSION_NODES_MAX) {
      return this.#nodes === EXPRESSION_NODES_MAX + 1
        ? this.fault(`has more than ${EXPRESSION_NODES_MAX} parts`, node)
        : null;
    }
    if (++this.#depth > EXPRESSION_DEPTH_MAX) {
      this.#depth--;
      return this.fault(`is nested deeper than ${EXPRESSION_DEPTH_MAX} levels`, node);
    }
    try {
      return await this.#bindNode(node);
    } finally {
      this.#depth--;
    }
  }

  /** All of `nodes`, or null when any has faults; each is visited, so that every fault is found. */
  async bindAll(nodes: readonly SqlNode[]): Promise<Expression[] | null> {
    const bound: (Expression | null)[] = [];
    for (const node of nodes) bound.push(await this.bind(node));
    return bound.every((expression) => expression !== null) ? bound : null;
  }

  /** `expression` if it is boolean, NULL as a boolean; a fault otherwise. */
  boolean(expression: Expression | null, node: SqlNode): Expression | null {
    if (expression === null) return null;
    if (literal.isNull(expression)) return literal.nullOf({ type: "boolean", nullable: true });
    if (expression.type.type === "boolean") return expression;
    return this.fault(`is ${aType(expression.type)} where a condition (true or false) is needed`, node);
  }

  /** Brings operands to the type DuckDB would compare them as. String literals and NULL take the type of the others. */
  async unifyAll(operands: readonly Expression[], node: SqlNode): Promise<Expression[] | null> {
    const prepared = literal.matchUnits(operands);
    const yielding = literal.yieldingToFloat(prepared);
    let common: FieldType | null = null;
    for (const operand of prepared) {
      if (literal.isNull(operand) || literal.isString(operand) || yielding.has(operand)) continue;
      if (common === null) {
        common = operand.type;
        continue;
      }
      const unified = unify(common, operand.type);
      if ("problem" in unified) return this.fault(unified.problem, node);
      common = unified.type;
    }
    if (common === null) {
      common = prepared.some(literal.isString)
        ? { type: "string", nullable: true }
        : { type: "boolean", nullable: true };
    }
    if (common.type === "bytes") return this.fault("bytes can only be tested with IS NULL", node);
    if (!this.#checkSymbols(prepared, node)) return null;
    const cast: (Expression | null)[] = [];
    for (const operand of prepared) cast.push(await this.coerce(operand, common, node));
    return cast.every((expression) => expression !== null) ? literal.matchUnits(cast) : null;
  }

  /** `expression` as a value of `target`'s type: literals are converted now, by DuckDB; others when a row is read. */
  async coerce(expression: Expression, target: FieldType, node: SqlNode): Promise<Expression | null> {
    const type = withNull(target, expression.type.nullable);
    if (literal.isNull(expression)) return literal.nullOf(target);
    if (familyOf(type) === "text" && familyOf(expression.type) === "text") return expression;
    if (duckdbType(expression.type) === duckdbType(type) && expression.type.type === type.type) return expression;
    if (expression.kind !== "literal") return { kind: "call", operator: "cast", arguments: [expression], type };
    const exactly = literal.rescale(expression, type);
    if (exactly !== null) return exactly;
    const cast = await castLiteral(literal.textOf(expression), {
      from: literal.sourceType(expression),
      to: duckdbType(type),
    });
    if ("problem" in cast) return this.fault(cast.problem, node);
    if (cast.value === null) {
      return this.fault(`${literal.show(expression)} is not a finite ${showType(type)}`, node);
    }
    return literal.fromText(cast.value, type);
  }

  #bindNode(node: SqlNode): Promise<Expression | null> | Expression | null {
    switch (node.class) {
      case "COLUMN_REF":
        return this.#field(node);
      case "CONSTANT":
        return this.#constant(node);
      case "COMPARISON":
        return this.#comparison(node);
      case "CONJUNCTION":
        return this.#conjunction(node);
      case "BETWEEN":
        return this.#between(node);
      case "OPERATOR":
        return this.#operator(node);
      case "CASE":
        return this.#case(node);
      case "CAST":
        return this.#cast(node);
      case "FUNCTION":
        return bindFunction(this, node);
      default:
        return this.fault(REFUSED[node.class] ?? `${node.type.toLowerCase()} is not supported here`, node);
    }
  }

  #field(node: SqlNode): Expression | null {
    const found = this.#lookup((node.column_names ?? []).join("."));
    if (typeof found === "string") return this.fault(found, node);
    return { kind: "field", field: found.field, type: found.type };
  }

  #constant(node: SqlNode): Expression | null {
    const value = node.value!;
    if (value.is_null) return literal.nullOf({ type: "boolean", nullable: true });
    // The serializer leaves empty text out.
    const constant = literal.fromConstant(value.type, value.value ?? "");
    return constant ?? this.fault(`a literal of type ${value.type.id} is not supported here`, node);
  }

  async #comparison(node: SqlNode): Promise<Expression | null> {
    const operands = await this.bindAll([node.left!, node.right!]);
    const unified = operands && await this.unifyAll(operands, node);
    return unified && this.compare(COMPARISONS[node.type], unified);
  }

  /** A comparison of operands that are of one type already. */
  compare(operator: string, operands: readonly Expression[]): Expression {
    const nullable = !operator.startsWith("is ") && operands.some((operand) => operand.type.nullable);
    return { kind: "call", operator, arguments: operands, type: { type: "boolean", nullable } };
  }

  /** AND, OR, NOT over conditions. */
  logical(operator: "and" | "or" | "not", operands: readonly Expression[]): Expression {
    const nullable = operands.some((operand) => operand.type.nullable);
    return { kind: "call", operator, arguments: operands, type: { type: "boolean", nullable } };
  }

  async #conjunction(node: SqlNode): Promise<Expression | null> {
    const conditions: (Expression | null)[] = [];
    for (const child of node.children ?? []) conditions.push(this.boolean(await this.bind(child), child));
    if (!conditions.every((condition) => condition !== null)) return null;
    return this.logical(node.type === "CONJUNCTION_AND" ? "and" : "or", conditions);
  }

  async #between(node: SqlNode): Promise<Expression | null> {
    const operands = await this.bindAll([node.input!, node.lower!, node.upper!]);
    const unified = operands && await this.unifyAll(operands, node);
    if (unified === null) return null;
    const [input, lower, upper] = unified;
    return this.logical("and", [this.compare(">=", [input, lower]), this.compare("<=", [input, upper])]);
  }

  async #operator(node: SqlNode): Promise<Expression | null> {
    const children = node.children ?? [];
    switch (node.type) {
      case "OPERATOR_NOT": {
        const operand = this.boolean(await this.bind(children[0]), children[0]);
        return operand && this.logical("not", [operand]);
      }
      case "OPERATOR_IS_NULL":
      case "OPERATOR_IS_NOT_NULL": {
        const operands = await this.bindAll(children);
        const operator = node.type === "OPERATOR_IS_NULL" ? "is null" : "is not null";
        const type: FieldType = { type: "boolean", nullable: false };
        return operands && { kind: "call", operator, arguments: operands, type };
      }
      case "COMPARE_IN":
      case "COMPARE_NOT_IN": {
        const operands = await this.bindAll(children);
        const unified = operands && await this.unifyAll(operands, node);
        if (unified === null) return null;
        const found = this.#in(unified);
        return node.type === "COMPARE_IN" ? found : this.logical("not", [found]);
      }
      case "OPERATOR_COALESCE": {
        const operands = await this.bindAll(children);
        const unified = operands && await this.unifyAll(operands, node);
        if (unified === null) return null;
        const nullable = unified.every((operand) => operand.type.nullable);
        return { kind: "call", operator: "coalesce", arguments: unified, type: withNull(resultOf(unified), nullable) };
      }
      default:
        return this.fault(`${node.type.replace("OPERATOR_", "").toLowerCase()} is not supported here`, node);
    }
  }

  #in(operands: readonly Expression[]): Expression {
    const [input, ...list] = operands;
    if (list.every((item) => item.kind === "literal")) return this.compare("in", operands);
    return this.logical("or", list.map((item) => this.compare("=", [input, item])));
  }

  async #case(node: SqlNode): Promise<Expression | null> {
    const conditions: (Expression | null)[] = [];
    const results: SqlNode[] = [];
    for (const { when_expr, then_expr } of node.case_checks ?? []) {
      conditions.push(this.boolean(await this.bind(when_expr), when_expr));
      results.push(then_expr);
    }
    const values = await this.bindAll([...results, node.else_expr!]);
    const unified = values && await this.unifyAll(values, node);
    if (unified === null || !conditions.every((condition) => condition !== null)) return null;
    return this.choose(conditions, unified);
  }

  /** CASE: the value of the first condition that is true, or the last value. */
  choose(conditions: readonly Expression[], values: readonly Expression[]): Expression {
    const nullable = values.some((value) => value.type.nullable);
    return {
      kind: "call",
      operator: "case",
      arguments: [...conditions.flatMap((condition, i) => [condition, values[i]]), values[values.length - 1]],
      type: withNull(resultOf(values), nullable),
    };
  }

  async #cast(node: SqlNode): Promise<Expression | null> {
    const operand = await this.bind(node.child!);
    if (operand === null) return null;
    const { id, type_info } = node.cast_type!;
    const name = CAST_TYPES[id];
    if (name === undefined) {
      const hint = id.includes("TIME ZONE") ? ": write TIMESTAMP '..', times are UTC" : "";
      return this.fault(
        `casts to ${id} are not supported${hint}; to ${Object.keys(CAST_TYPES).join(", ")} they are`,
        node,
      );
    }
    const target =
      (name === "decimal"
        ? { type: name, precision: type_info?.width ?? 18, scale: type_info?.scale ?? 0, nullable: true }
        : { type: name, nullable: true }) as FieldType;
    return await this.#castTo(operand, target, node);
  }

  async #castTo(operand: Expression, target: FieldType, node: SqlNode): Promise<Expression | null> {
    if (operand.kind === "literal" && !literal.isNull(operand)) {
      const faults = this.faults.length;
      const cast = await this.coerce(operand, target, node);
      if (cast !== null || node.try_cast !== true) return cast;
      this.faults.length = faults;
      return literal.nullOf(target);
    }
    if (!castable(operand.type, target)) {
      return this.fault(`${aType(operand.type)} cannot be cast to ${showType(target)} here`, node);
    }
    if (node.try_cast !== true) return await this.coerce(operand, target, node);
    return { kind: "call", operator: "try_cast", arguments: [operand], type: withNull(target, true) };
  }

  /** An enum compared with something it can never be is a slip of the pen; DuckDB's own ENUM refuses it too. */
  #checkSymbols(operands: readonly Expression[], node: SqlNode): boolean {
    let fine = true;
    for (const { type } of operands.filter((operand) => operand.kind === "field")) {
      if (type.type !== "enum") continue;
      for (const operand of operands) {
        if (!literal.isString(operand) || type.symbols.includes(String(operand.value))) continue;
        this.fault(`${literal.show(operand)} is not a symbol of the ${showType(type)}`, node);
        fine = false;
      }
    }
    return fine;
  }
}

/** The type of a value that is one of `values`, which are of one type but for text, where enums turn into strings. */
function resultOf(values: readonly Expression[]): FieldType {
  const { type } = values[0];
  return familyOf(type) === "text" ? { type: "string", nullable: type.nullable } : type;
}

function castable(from: FieldType, to: FieldType): boolean {
  const [source, target] = [familyOf(from), familyOf(to)];
  const numeric = (family: string) => family === "exact" || family === "approximate";
  if (numeric(source) && numeric(target)) {
    return !(from.type === "decimal" && to.type === "float") && (to.type !== "decimal" || digitsOf(to).precision <= 38);
  }
  return source === target || (source === "date" && target === "timestamp") ||
    (source === "timestamp" && target === "date");
}

/** The node itself, or the first one under it that the parser gave a place. */
function placed(node: SqlNode): SqlNode | null {
  if (node.query_location !== undefined) return node;
  for (const child of [node.left, node.input, node.child, ...(node.children ?? []), node.case_checks?.[0]?.when_expr]) {
    const found = child && placed(child);
    if (found) return found;
  }
  return null;
}
