/**
 * SQL text to a typed {@linkcode Expression}: DuckDB parses, this checks names and types, and every fault found is told with a
 * caret under its place.
 *
 * @module
 */
import { Binder, type FieldLookup } from "./bind_expression.ts";
import { isKeyword, parseCondition, positionOf, type SyntaxProblem } from "./duckdb_parser.ts";
import type { Expression } from "./expression.ts";

/** Most faults told about one condition. */
export const FAULTS_SHOWN_MAX = 8;

/** The condition as a typed expression of type boolean, or all that is wrong with it, in words. */
export async function parseExpression(
  sql: string,
  lookup: FieldLookup,
): Promise<{ readonly expression: Expression } | { readonly problems: readonly string[] }> {
  const parsed = await parseCondition(sql);
  if ("problem" in parsed) {
    const hint = await keywordHint(sql, parsed, lookup);
    return { problems: [withCaret(sql, parsed.problem + hint, parsed.at)] };
  }
  const binder = new Binder(lookup);
  const expression = await binder.bindCondition(parsed.tree);
  if (expression !== null && binder.faults.length === 0) return { expression };
  return {
    problems: binder.faults.slice(0, FAULTS_SHOWN_MAX).map(({ problem, node }) =>
      withCaret(sql, problem, node === null ? null : positionOf(sql, node))
    ),
  };
}

/** Fields may be called like words of SQL; the fault is then at that word or right after it. */
async function keywordHint(sql: string, { at }: SyntaxProblem, lookup: FieldLookup): Promise<string> {
  if (at === null) return "";
  const [, before = ""] = /(\w+)\s*$/.exec(sql.slice(0, at)) ?? [];
  const [there = ""] = /^\w+/.exec(sql.slice(at)) ?? [];
  for (const word of [there, before]) {
    if (word === "" || typeof lookup(word) === "string" || !await isKeyword(word)) continue;
    return `: a field called like a word of SQL goes in double quotes, "${word}"`;
  }
  return "";
}

const EXCERPT = 60;

/** `problem`, then the line of the text it is about, with a caret under the place. */
export function withCaret(sql: string, problem: string, at: number | null): string {
  if (at === null) return problem;
  const before = sql.slice(0, at);
  const lineStart = before.lastIndexOf("\n") + 1;
  const lineEnd = sql.indexOf("\n", at) < 0 ? sql.length : sql.indexOf("\n", at);
  const from = Math.max(lineStart, at - EXCERPT);
  const to = Math.min(lineEnd, at + EXCERPT);
  const lead = from > lineStart ? "..." : "";
  const excerpt = lead + sql.slice(from, to).replaceAll("\t", " ") + (to < lineEnd ? "..." : "");
  // Code points, not UTF-16 units, so that the caret stands right under text outside the basic plane.
  const indent = " ".repeat([...lead, ...sql.slice(from, at)].length);
  return `${problem}\n    ${excerpt}\n    ${indent}^`;
}
