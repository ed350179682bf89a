/**
 * `lake.x AT (VERSION => 7)`: earlier states of a table. DuckDB parses the clause but its views have no history, so each state is a
 * view of its own, and the clause becomes that view's name.
 *
 * @module
 */
import { identifier } from "../../pipeline/sql_text.ts";
import type { RelationName } from "./catalog.ts";
import type { NamedRelation, TreeNode } from "./question.ts";
import { SqlError } from "./service.ts";
import { type Token, tokensOf } from "./tokens.ts";

const TIME = /^(\d{4}-\d\d-\d\d)(?:[T ](\d\d:\d\d(?::\d\d(?:\.\d{1,9})?)?) ?(Z|UTC|[+-]\d\d(?::?\d\d)?)?)?$/i;

/** What the clause asks for, and the constant that says so; null for anything but a constant. */
export function versionOf(
  { unit, expr }: TreeNode,
): { readonly at: NonNullable<RelationName["at"]>; readonly constant: TreeNode } | null {
  const constant = constantOf(expr as TreeNode);
  if (constant === null) return null;
  const { is_null: isNull, value } = constant.value as TreeNode;
  if (isNull) return null;
  if (unit === "VERSION") {
    return typeof value === "number" && Number.isSafeInteger(value) && value >= 0
      ? { at: { version: value }, constant }
      : null;
  }
  const timeMs = unit === "TIMESTAMP" && typeof value === "string" ? timeOf(value) : null;
  return timeMs === null ? null : { at: { timeMs }, constant };
}

/** `'..'` or `TIMESTAMP '..'`. */
function constantOf(node: TreeNode): TreeNode | null {
  if (node.class === "CONSTANT") return node;
  const { id } = (node.cast_type ?? {}) as TreeNode;
  const isTime = node.class === "CAST" && typeof id === "string" && /^(TIMESTAMP|DATE)/.test(id);
  const child = node.child as TreeNode | undefined;
  return isTime && child?.class === "CONSTANT" ? child : null;
}

function timeOf(text: string): number | null {
  const found = TIME.exec(text.trim());
  if (found === null) return null;
  const [, day, clock = "00:00", zone = "Z"] = found;
  const offset = /^(z|utc)$/i.test(zone) ? "Z" : zone.replace(/^(...)$/, "$1:00").replace(/^(...)(\d\d)$/, "$1:$2");
  const ms = Date.parse(`${day}T${clock}${offset}`);
  return Number.isNaN(ms) ? null : ms;
}

/** The name of a relation's view within its schema. */
export function viewName({ name, at }: RelationName): string {
  if (at === undefined) return name;
  return "version" in at ? `${name}@${at.version}` : `${name}@${new Date(at.timeMs).toISOString()}`;
}

/**
 * The question with `lake.x AT (..)` replaced by the name of the view of that state, called `x` as before where it had no other name.
 *
 * @throws SqlError (`syntax`) where the clause is not found again
 */
export function withoutVersions(sql: string, relations: readonly NamedRelation[]): string {
  const tokens = tokensOf(sql);
  const edits: { readonly start: number; readonly end: number; readonly text: string }[] = [];
  for (const { name, at, versionAt, hasAlias } of relations) {
    if (versionAt === null) continue;
    const first = tokens.findIndex(({ start }) => start === at);
    const constant = tokens.findIndex(({ start }) => start >= versionAt);
    const clause = tokens.findLastIndex(({ text }, i) => i < constant && text === "at" && tokens[i + 1]?.text === "(");
    const end = tokens.findIndex(({ text }, i) => i >= constant && text === ")");
    // schema . table
    if (first < 0 || clause < first + 3 || end < 0 || tokens[first + 1].text !== ".") throw notFound(at);
    edits.push({
      start: tokens[first].start,
      end: tokens[first + 2].end,
      text: `lake.${identifier(viewName(name))}${hasAlias ? "" : ` AS ${identifier(name.name)}`}`,
    });
    edits.push({ start: tokens[clause].start, end: tokens[end].end, text: "" });
  }
  // From the end, so that places before stay where they are.
  return edits.sort((a, b) => b.start - a.start)
    .reduce((text, edit) => text.slice(0, edit.start) + edit.text + text.slice(edit.end), sql);
}

function notFound(at: Token["start"]): SqlError {
  return new SqlError("syntax", "AT (..) has to follow lake.<table>, or the other name that it is given", at);
}
