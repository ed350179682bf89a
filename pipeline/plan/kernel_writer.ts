/**
 * Writes the JavaScript of a condition. `condition` gives a test for "is true" (or "is false"); `value` gives a value or null. Values are
 * booleans, exact whole numbers (integers, unscaled decimals, days, times), doubles, or strings.
 *
 * @module
 */
import { columnKind, type FieldType } from "../columns.ts";
import type { Exact } from "./exact.ts";
import { normalize } from "./exact.ts";
import type { Expression } from "./expression.ts";
import { writeCast } from "./kernel_casts.ts";
import { lower } from "./letter_case.ts";
import { type Literal, unscaled } from "./literals.ts";
import type { PlanField } from "./plan.ts";
import { familyOf } from "./sql_types.ts";
import { compareText, LikePattern, TextSet } from "./text_bytes.ts";

export type Call = Expression & { readonly kind: "call" };
type Field = Expression & { readonly kind: "field" };

const NEGATED: Readonly<Record<string, string>> = {
  "=": "<>",
  "<>": "=",
  "<": ">=",
  ">=": "<",
  ">": "<=",
  "<=": ">",
};
const MIRRORED: Readonly<Record<string, string>> = { "=": "=", "<>": "<>", "<": ">", ">": "<", "<=": ">=", ">=": "<=" };
const JAVASCRIPT: Readonly<Record<string, string>> = { "=": "===", "<>": "!==" };

/** Up to this many members an IN list is a row of comparisons; above, a hash set. */
const INLINE_MEMBERS_MAX = 8;
/** Constants of up to this many bytes are compared byte by byte in the generated text. */
const INLINE_BYTES_MAX = 24;
const TWO_53 = 9007199254740992;

const encoder = new TextEncoder();

export class KernelWriter {
  readonly constants: unknown[] = [];
  readonly temporaries: string[] = [];
  /** Whether the text can throw a RowFault. */
  fallible = false;
  readonly #fields: readonly PlanField[];
  readonly #used = new Set<number>();

  constructor(fields: readonly PlanField[]) {
    this.#fields = fields;
  }

  /** Declarations of the columns that the text reads. */
  hoisted(columns: string): string {
    return [...this.#used].sort((a, b) => a - b).map((f) => {
      const column = `${columns}.columns[${f}]`;
      return `  const i${f} = ${column}.ints, f${f} = ${column}.floats, n${f} = ${column}.nulls, d${f} = ${column}.data;`;
    }).join("\n");
  }

  /** Text that is true exactly if the boolean expression is `want`. */
  condition(expression: Expression, want: boolean): string {
    if (expression.kind === "literal") return String(expression.value === want);
    if (expression.kind === "field") {
      return this.#guarded(expression, `${this.#ints(expression)}[r] === ${want ? 1 : 0}`);
    }
    const [first, ...rest] = expression.arguments;
    switch (expression.operator) {
      case "and":
      case "or": {
        const all = (expression.operator === "and") === want;
        return `(${expression.arguments.map((part) => this.condition(part, want)).join(all ? " && " : " || ")})`;
      }
      case "not":
        return this.condition(first, !want);
      case "is null":
        return this.#isNull(first, want);
      case "is not null":
        return this.#isNull(first, !want);
      case "=":
      case "<>":
      case "<":
      case "<=":
      case ">":
      case ">=":
        return this.#comparison(want ? expression.operator : NEGATED[expression.operator], first, rest[0]);
      case "in":
        return this.#in(first, rest as Literal[], want);
      case "like":
        return this.#like(first, rest as Literal[], want);
      case "starts_with":
      case "ends_with":
      case "contains": {
        const [constant] = rest;
        if (!isTextColumn(first) || constant.kind !== "literal" || constant.value === null) break;
        const name =
          { starts_with: "startsWithAt", ends_with: "endsWithAt", contains: "containsAt" }[expression.operator];
        return this.#inBytes(first, (range) => `${name}(${range}, ${this.#bytes(constant)})`, want);
      }
    }
    return `(${this.value(expression)}) === ${want}`;
  }

  /** Text of the expression's value, or null. */
  value(expression: Expression): string {
    if (expression.kind === "literal") return this.#literal(expression);
    if (expression.kind === "field") return this.#read(expression);
    const parts = expression.arguments;
    switch (expression.operator) {
      case "and":
      case "or":
        return this.#logical(expression.operator === "or", parts);
      case "not":
        return this.lift(parts, ([a]) => `!${a}`);
      case "=":
      case "<>":
      case "<":
      case "<=":
      case ">":
      case ">=":
        return this.lift(parts, ([a, b]) => relation(expression.operator, a, b, parts[0].type));
      case "is distinct from":
      case "is not distinct from":
        return this.#distinct(parts, expression.operator === "is distinct from");
      case "is null":
      case "is not null":
      case "in":
      case "like":
        return this.#threeValued(expression);
      case "case":
        return this.#case(parts);
      case "coalesce":
        return this.#coalesce(parts);
      case "cast":
      case "try_cast":
        return this.lift(parts, ([a]) => writeCast(this, a, expression));
      default:
        return this.#function(expression);
    }
  }

  /** Evaluates `parts` left to right; null as soon as one is, else what `then` makes of their names. */
  lift(parts: readonly Expression[], then: (names: string[]) => string): string {
    const names = parts.map(() => this.temporary());
    const nulls = parts.map((part, i) => {
      const assigned = `(${names[i]} = ${this.value(part)})`;
      return part.type.nullable || part.kind === "call" ? `${assigned} === null` : `(${assigned}, false)`;
    });
    return `(${nulls.join(" || ")} ? null : ${then(names)})`;
  }

  temporary(): string {
    const name = `t${this.temporaries.length}`;
    this.temporaries.push(name);
    return name;
  }

  constant(value: unknown): string {
    this.constants.push(value);
    return `k${this.constants.length - 1}`;
  }

  /** Text of an exact number. */
  exact(value: Exact): string {
    return typeof value === "number" ? `(${value})` : this.constant(value);
  }

  /** Text that calls a helper which can throw a RowFault. */
  risky(text: string): string {
    this.fallible = true;
    return text;
  }

  #literal(expression: Literal): string {
    const { value, type } = expression;
    if (value === null) return "null";
    switch (familyOf(type)) {
      case "boolean":
        return String(value);
      case "approximate":
        return this.constant(Number(value));
      case "text":
        return this.constant(value);
      default:
        return this.exact(normalize(unscaled(expression)));
    }
  }

  #ints({ field }: Field): string {
    this.#used.add(field);
    return `i${field}`;
  }

  /** `data, start, end` of a bytes column's row. */
  #range(expression: Field): string {
    const ints = this.#ints(expression);
    return `d${expression.field}, ${ints}[2 * r], ${ints}[2 * r + 1]`;
  }

  /** `test`, and the row's value is not null. */
  #guarded(expression: Field, test: string): string {
    this.#used.add(expression.field);
    return expression.type.nullable ? `(n${expression.field}[r] === 0 && ${test})` : `(${test})`;
  }

  #read(expression: Field): string {
    const { field, type } = expression;
    this.#used.add(field);
    const text = this.#readSolid(expression);
    return type.nullable ? `(n${field}[r] === 1 ? null : ${text})` : text;
  }

  #readSolid(expression: Field): string {
    const { field, type } = expression;
    switch (columnKind(type)) {
      case "i32":
        if (type.type === "boolean") return `(i${field}[r] === 1)`;
        return type.type === "enum" ? `${this.constant(type.symbols)}[i${field}[r]]` : `i${field}[r]`;
      case "i64":
        return `longAt(i${field}, r)`;
      case "f64":
        return `f${field}[r]`;
      case "bytes":
        if (type.type === "decimal") return `wideAt(${this.#range(expression)})`;
        return this.risky(`decodeText(${this.#range(expression)})`);
    }
  }

  #isNull(expression: Expression, want: boolean): string {
    if (expression.kind === "literal") return String((expression.value === null) === want);
    if (expression.kind === "call") return `(${this.value(expression)}) ${want ? "===" : "!=="} null`;
    if (!expression.type.nullable) return String(!want);
    this.#used.add(expression.field);
    return `n${expression.field}[r] === ${want ? 1 : 0}`;
  }

  /** A comparison that is true; of a field and a constant without making a value of either, where possible. */
  #comparison(operator: string, left: Expression, right: Expression): string {
    if (left.kind === "literal" && right.kind === "field") return this.#comparison(MIRRORED[operator], right, left);
    if (left.kind === "field" && right.kind === "literal") {
      if (right.value === null) return "false";
      const test = this.#fieldAgainst(operator, left, right as Literal);
      if (test !== null) return this.#guarded(left, test);
    }
    return `${this.lift([left, right], ([a, b]) => relation(operator, a, b, left.type))} === true`;
  }

  #fieldAgainst(operator: string, field: Field, constant: Literal): string | null {
    const { type } = field;
    const sign = JAVASCRIPT[operator] ?? operator;
    if (type.type === "enum") {
      return this.#symbols(field, (symbol) => relates(operator, compareText(symbol, String(constant.value))));
    }
    switch (columnKind(type)) {
      case "i32":
        return `${this.#ints(field)}[r] ${sign} ${Number(unscaled(constant))}`;
      case "i64": {
        const value = unscaled(constant);
        const number = Number(value);
        return Math.abs(number) < TWO_53 ? `${this.#near(field)} ${sign} ${number}` : null;
      }
      case "f64": {
        const number = Number(constant.value);
        if (Number.isNaN(number)) return null;
        const text = this.constant(number);
        this.#used.add(field.field);
        // NaN is above every number: not (x <= c) holds for it, x > c would not.
        if (operator === ">") return `!(f${field.field}[r] <= ${text})`;
        if (operator === ">=") return `!(f${field.field}[r] < ${text})`;
        return `f${field.field}[r] ${sign} ${text}`;
      }
      case "bytes": {
        if (type.type === "decimal") return null;
        if (operator === "=" || operator === "<>") {
          return `${operator === "<>" ? "!" : ""}${this.#equalBytes(field, String(constant.value))}`;
        }
        return `compareAt(${this.#range(field)}, ${this.#bytes(constant)}) ${operator} 0`;
      }
    }
  }

  /**
   * The nearest double to a 64-bit value. Comparing that with a constant below 2^53 in magnitude is exact: rounding keeps order, and what
   * lies beyond 2^53 stays there.
   */
  #near(field: Field): string {
    const ints = this.#ints(field);
    return `(${ints}[2 * r + 1] * 4294967296 + (${ints}[2 * r] >>> 0))`;
  }

  #equalBytes(field: Field, text: string): string {
    const bytes = encoder.encode(text);
    const ints = this.#ints(field);
    if (bytes.length > INLINE_BYTES_MAX) return `equalsAt(${this.#range(field)}, ${this.constant(bytes)})`;
    const start = this.temporary();
    const tests = [...bytes].map((byte, i) => `d${field.field}[${start}${i > 0 ? ` + ${i}` : ""}] === ${byte}`);
    return `(${[`${ints}[2 * r + 1] - (${start} = ${ints}[2 * r]) === ${bytes.length}`, ...tests].join(" && ")})`;
  }

  #bytes(constant: Literal): string {
    return this.constant(encoder.encode(String(constant.value)));
  }

  /** A test of text in place, for rows that are not null. */
  #inBytes(field: Field, test: (range: string) => string, want: boolean): string {
    return this.#guarded(field, `${test(this.#range(field))} === ${want}`);
  }

  /** A predicate over an enum's symbols, decided once per symbol. */
  #symbols(field: Field, predicate: (symbol: string) => boolean): string {
    const { symbols } = field.type as FieldType & { type: "enum" };
    const ints = this.#ints(field);
    const holding = symbols.map((symbol, i) => predicate(symbol) ? i : -1).filter((i) => i >= 0);
    if (holding.length === 1) return `${ints}[r] === ${holding[0]}`;
    const table = this.constant(Uint8Array.from(symbols, (symbol) => predicate(symbol) ? 1 : 0));
    return `${table}[${ints}[r]] === 1`;
  }

  /** `x IN (..)` with a NULL in the list is never false: the value might be that one. */
  #in(input: Expression, list: readonly Literal[], want: boolean): string {
    const members = list.filter(({ value }) => value !== null);
    if (!want && members.length < list.length) return "false";
    if (members.length === 0) return "false";
    if (input.kind === "field") {
      const test = this.#fieldIn(input, members);
      if (test !== null) return this.#guarded(input, `${want ? "" : "!"}(${test})`);
    }
    const values = members.map((member) => memberValue(member));
    const set = this.constant(new Set(values));
    return `${this.lift([input], ([a]) => `${set}.has(${a})`)} === ${want}`;
  }

  #fieldIn(field: Field, members: readonly Literal[]): string | null {
    const { type } = field;
    if (type.type === "enum") {
      const wanted = new Set(members.map(({ value }) => value));
      return this.#symbols(field, (symbol) => wanted.has(symbol));
    }
    const kind = columnKind(type);
    if (kind === "bytes" && type.type === "decimal") return null;
    if (members.length <= INLINE_MEMBERS_MAX) {
      const tests = members.map((member) => this.#fieldAgainst("=", field, member));
      return tests.every((test) => test !== null) ? tests.join(" || ") : null;
    }
    if (kind === "bytes") {
      return `${this.constant(new TextSet(members.map(({ value }) => String(value))))}.has(${this.#range(field)})`;
    }
    const values = members.map(memberValue);
    if (values.some((value) => typeof value === "bigint")) return null;
    const read = kind === "i64" ? this.#near(field) : kind === "f64" ? `f${field.field}[r]` : `${this.#ints(field)}[r]`;
    this.#used.add(field.field);
    return `${this.constant(new Set(values))}.has(${read})`;
  }

  #like(input: Expression, [pattern, escape]: readonly Literal[], want: boolean): string {
    const matcher = new LikePattern(String(pattern.value), String(escape.value));
    if (input.kind === "field" && input.type.type === "enum") {
      return this.#guarded(input, this.#symbols(input, (symbol) => matcher.testText(symbol) === want));
    }
    const constant = this.constant(matcher);
    if (isTextColumn(input)) return this.#inBytes(input, (range) => `${constant}.test(${range})`, want);
    return `${this.lift([input], ([a]) => `${constant}.testText(${a})`)} === ${want}`;
  }

  /** true, false or null of a boolean whose two sides are tests. */
  #threeValued(expression: Call): string {
    const isTrue = this.condition(expression, true);
    if (!expression.type.nullable && !hasNullMember(expression)) return `(${isTrue})`;
    return `((${isTrue}) ? true : (${this.condition(expression, false)}) ? false : null)`;
  }

  /** AND: false once a part is, else null if one was. OR the same with true. */
  #logical(decisive: boolean, parts: readonly Expression[]): string {
    const names = parts.map(() => this.temporary());
    const decided = parts.map((part, i) => `(${names[i]} = ${this.value(part)}) === ${decisive}`).join(" || ");
    return `(${decided} ? ${decisive} : ${names.map((name) => `${name} === null`).join(" || ")} ? null : ${!decisive})`;
  }

  #distinct(parts: readonly Expression[], distinct: boolean): string {
    const [a, b] = [this.temporary(), this.temporary()];
    const equal = relation("=", a, b, parts[0].type);
    const read = `${a} = ${this.value(parts[0])}, ${b} = ${this.value(parts[1])}`;
    return `(${read}, (${a} === null || ${b} === null ? ${a} === ${b} : ${equal}) === ${!distinct})`;
  }

  #case(parts: readonly Expression[]): string {
    let text = this.value(parts[parts.length - 1]);
    for (let i = parts.length - 3; i >= 0; i -= 2) {
      text = `(${this.condition(parts[i], true)} ? ${this.value(parts[i + 1])} : ${text})`;
    }
    return text;
  }

  #coalesce(parts: readonly Expression[]): string {
    const name = this.temporary();
    return `(${parts.map((part) => `(${name} = ${this.value(part)}) !== null`).join(" || ")} ? ${name} : null)`;
  }

  #function(expression: Call): string {
    const { operator, arguments: parts, type } = expression;
    const approximate = familyOf(type) === "approximate";
    switch (operator) {
      case "+":
      case "-":
      case "*":
      case "/":
      case "%":
        if (approximate) return this.lift(parts, ([a, b]) => rounded(`${a} ${operator} ${b}`, type));
        return this.lift(parts, ([a, b]) => {
          if (operator === "%") return this.#wholeDivision("remainder", [a, b], type);
          return this.fit(`${{ "+": "add", "-": "subtract", "*": "multiply" }[operator as "+"]}(${a}, ${b})`, type);
        });
      case "//":
        return this.lift(parts, ([a, b]) => this.#wholeDivision("divideWhole", [a, b], type));
      case "negate":
        return this.lift(parts, ([a]) => approximate ? `-${a}` : this.fit(`negate(${a})`, type));
      case "abs":
        return this.lift(parts, ([a]) => approximate ? `Math.abs(${a})` : this.fit(`absolute(${a})`, type));
      case "lower":
      case "upper":
        return this.lift(parts, ([a]) => `${operator}(${a})`);
      case "ilike":
        return this.#ilike(parts);
      case "length":
        if (isTextColumn(parts[0])) {
          const field = parts[0] as Field;
          const count = `charactersAt(${this.#range(field)})`;
          return field.type.nullable ? `(n${field.field}[r] === 1 ? null : ${count})` : count;
        }
        return this.lift(parts, ([a]) => `characters(${a})`);
      case "substring": {
        const [text, start, length] = parts as readonly [Expression, Literal, Literal?];
        return this.lift(
          [text],
          ([a]) => `substring(${a}, ${Number(start.value)}, ${length ? Number(length.value) : null})`,
        );
      }
      case "||":
        return this.lift(parts, ([a, b]) => `${a} + ${b}`);
      case "starts_with":
        return this.lift(parts, ([a, b]) => `${a}.startsWith(${b})`);
      case "ends_with":
        return this.lift(parts, ([a, b]) => `${a}.endsWith(${b})`);
      case "contains":
        return this.lift(parts, ([a, b]) => `${a}.includes(${b})`);
      case "extract":
      case "date_trunc":
        return this.#calendar(operator, parts);
      default:
        throw new Error(`no kernel for ${operator}: the binder must refuse it`);
    }
  }

  /** Checks that an exact result is within its type. */
  fit(text: string, type: FieldType): string {
    if (type.type === "int") return this.risky(`fitInt(${text})`);
    if (type.type === "long") return this.risky(`fitLong(${text})`);
    if (type.type !== "decimal") return text;
    return this.risky(`fitDigits(${text}, ${this.exact(normalize(10n ** BigInt(type.precision)))})`);
  }

  /** Dividing the least integer by -1 overflows in DuckDB, also for its remainder. */
  #wholeDivision(helper: "divideWhole" | "remainder", [a, b]: string[], type: FieldType): string {
    if (type.type === "decimal") return `${helper}(${a}, ${b})`;
    const checked = this.fit(`negate(${a})`, type);
    return `(${b} === -1 ? ${helper === "remainder" ? `(${checked}, 0)` : checked} : ${helper}(${a}, ${b}))`;
  }

  #ilike([input, pattern, escape]: readonly Expression[]): string {
    const lowered = lower(String((pattern as Literal).value));
    const matcher = this.constant(new LikePattern(lowered, String((escape as Literal).value)));
    return this.lift([input], ([a]) => `${matcher}.testText(lower(${a}))`);
  }

  #calendar(operator: "extract" | "date_trunc", [unit, value]: readonly Expression[]): string {
    const helper = operator === "extract" ? "extract" : "dateTrunc";
    const word = this.constant((unit as Literal).value);
    return this.lift([value], ([a]) => {
      if (value.type.type === "date") return `${helper}(${word}, multiply(${a}, 86400000000), 1000000)`;
      return `${helper}(${word}, ${a}, ${value.type.type === "timestamp-millis" ? 1000 : 1_000_000})`;
    });
  }
}

function rounded(text: string, type: FieldType): string {
  return type.type === "float" ? `Math.fround(${text})` : `(${text})`;
}

/** `a operator b` of two values that are not null. */
function relation(operator: string, a: string, b: string, type: FieldType): string {
  switch (familyOf(type)) {
    case "approximate":
      if (operator === "=") return `equalDouble(${a}, ${b})`;
      if (operator === "<>") return `!equalDouble(${a}, ${b})`;
      if (operator === "<") return `lessDouble(${a}, ${b})`;
      if (operator === ">") return `lessDouble(${b}, ${a})`;
      return operator === "<=" ? `!lessDouble(${b}, ${a})` : `!lessDouble(${a}, ${b})`;
    case "text":
      if (operator === "=" || operator === "<>") return `${a} ${JAVASCRIPT[operator]} ${b}`;
      return `compareText(${a}, ${b}) ${operator} 0`;
    default:
      return `${a} ${JAVASCRIPT[operator] ?? operator} ${b}`;
  }
}

function relates(operator: string, order: number): boolean {
  switch (operator) {
    case "=":
      return order === 0;
    case "<>":
      return order !== 0;
    case "<":
      return order < 0;
    case "<=":
      return order <= 0;
    case ">":
      return order > 0;
    default:
      return order >= 0;
  }
}

/** A literal as `value` gives fields of its type, for a Set: that takes NaN as itself and -0 as 0, like DuckDB. */
function memberValue(member: Literal): unknown {
  const family = familyOf(member.type);
  if (family === "approximate") return Number(member.value);
  if (family === "text" || family === "boolean") return member.value;
  return normalize(unscaled(member));
}

function isTextColumn(expression: Expression): expression is Field {
  return expression.kind === "field" && (expression.type.type === "string" || expression.type.type === "uuid");
}

function hasNullMember(expression: Call): boolean {
  return expression.arguments.some((part) => part.kind === "literal" && part.value === null);
}
