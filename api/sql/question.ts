/**
 * What a question names: read off the syntax tree that DuckDB's `json_serialize_sql` gives, with everything refused that is not known
 * to be harmless. Nothing is executed here, and nothing recurses: a tree may be as deep as its text is long.
 *
 * The tree, as far as it matters here (DuckDB 1.5):
 *
 *     statement   { node, named_param_map? }
 *     query node  { type: SELECT_NODE | SET_OPERATION_NODE | RECURSIVE_CTE_NODE, cte_map?: { map: [{ key, value: { query } }] }, .. }
 *     FROM        { type: BASE_TABLE, schema_name?, table_name, catalog_name?, at_clause? }
 *                 { type: TABLE_FUNCTION, function } | SUBQUERY | JOIN | EXPRESSION_LIST | PIVOT | SHOW_REF | EMPTY
 *     expression  { class, type, function_name?, identifier?, .. }
 *     constant    { type: { id }, is_null, value }
 *
 * `query_location` counts bytes from the start of the text.
 *
 * @module
 */
import type { RelationName } from "./catalog.ts";
import { dayRanges } from "./day_ranges.ts";
import { isFunctionOffered, isTableFunctionOffered } from "./functions.ts";
import { SqlError } from "./service.ts";
import { versionOf } from "./time_travel.ts";

/** A relation where it stands in the text. */
export interface NamedRelation {
  readonly name: RelationName;
  /** UTF-16 units from the start of the text. */
  readonly at: number;
  /** Where the time of `AT (..)` stands; null without one. */
  readonly versionAt: number | null;
  /** Whether the question gives it another name to go by. */
  readonly hasAlias: boolean;
}

export interface Analysis {
  readonly relations: readonly NamedRelation[];
  /** Names after `$`, numbers for `?` and `$1`. */
  readonly parameters: ReadonlySet<string>;
}

/** A node of the tree: DuckDB's JSON, looked at field by field. */
export type TreeNode = { readonly [field: string]: unknown };

const SCHEMAS: readonly string[] = ["lake", "live", "results", "topics"];

/** Expressions, by `class`. */
const CLASSES = new Set([
  "BETWEEN",
  "CASE",
  "CAST",
  "COLLATE",
  "COLUMN_REF",
  "COMPARISON",
  "CONJUNCTION",
  "CONSTANT",
  "FUNCTION",
  "LAMBDA",
  "LAMBDA_REF",
  "OPERATOR",
  "PARAMETER",
  "POSITIONAL_REFERENCE",
  "STAR",
  "SUBQUERY",
  "TYPE",
  "WINDOW",
]);

/** Everything else that says its `type` and has no `class`: query nodes, what stands in FROM, and what modifies a query. */
const TYPES = new Set([
  "SELECT_NODE",
  "SET_OPERATION_NODE",
  "RECURSIVE_CTE_NODE",
  "BASE_TABLE",
  "EMPTY",
  "EXPRESSION_LIST",
  "JOIN",
  "PIVOT",
  "SHOW_REF",
  "SUBQUERY",
  "TABLE_FUNCTION",
  "DISTINCT_MODIFIER",
  "LIMIT_MODIFIER",
  "LIMIT_PERCENT_MODIFIER",
  "ORDER_MODIFIER",
  "ASCENDING",
  "DESCENDING",
  "INVALID",
  "ORDER_DEFAULT",
]);

/** Names that a WITH has given, as seen from a place in the tree. */
interface Scope {
  readonly name: string;
  readonly outer: Scope | null;
}

/**
 * Collects the relations and parameters of one statement.
 *
 * @param sql the text that `tree` was made of
 * @param tree `json_serialize_sql`'s answer
 * @throws SqlError (`syntax`) for whatever is not offered
 */
export function analyze(sql: string, tree: unknown): Analysis {
  const statements = (tree as { readonly statements?: unknown }).statements;
  if (!Array.isArray(statements) || statements.length !== 1) {
    throw new SqlError("syntax", "it is not one statement: ask one SELECT at a time");
  }
  const relations: NamedRelation[] = [];
  const parameters = new Set<string>();
  const placeOf = placesIn(sql);
  /** The SELECT that reads a table, and nothing beside it. */
  const readers = new Map<unknown, TreeNode>();
  const open: [node: unknown, scope: Scope | null][] = [[statements[0].node, null]];
  for (let next = open.pop(); next !== undefined; next = open.pop()) {
    const [value, scope] = next;
    if (value === null || typeof value !== "object") continue;
    if (Array.isArray(value)) {
      for (const one of value) open.push([one, scope]);
      continue;
    }
    const node = value as TreeNode;
    let inner = scope;
    if (typeof node.class === "string") checkExpression(node, { placeOf, parameters });
    else if (typeof node.type === "string") {
      checkType(node, placeOf);
      if (node.type === "BASE_TABLE") {
        const relation = relationOf(node, { scope, placeOf, reader: readers.get(node) });
        if (relation !== null) relations.push(relation);
        continue; // AT's expression has been looked at; nothing else in it names anything
      }
    }
    if (node.type === "SELECT_NODE" && node.where_clause !== undefined) readers.set(node.from_table, node);
    if (node.type === "RECURSIVE_CTE_NODE") inner = { name: lowerCase(node.cte_name), outer: inner };
    for (const { key, value } of entriesOf(node.cte_map)) {
      open.push([value, inner]); // a name is not known within itself: `with ledger as (from ledger) ..` means the table
      inner = { name: lowerCase(key), outer: inner };
    }
    for (const [field, child] of Object.entries(node)) {
      if (field === "cte_map") continue;
      open.push([child, inner]);
    }
  }
  return { relations, parameters };
}

function checkExpression(
  node: TreeNode,
  { placeOf, parameters }: { readonly placeOf: (node: TreeNode) => number | null; readonly parameters: Set<string> },
): void {
  if (!CLASSES.has(String(node.class))) throw notOffered(String(node.class).toLowerCase(), placeOf(node));
  if (node.class === "PARAMETER") parameters.add(String(node.identifier));
  if (node.function_name === undefined) return;
  const name = String(node.function_name);
  // DuckDB itself says "main" for what its grammar makes calls of.
  const isForeign = node.catalog !== undefined || (node.schema !== undefined && node.schema !== "main");
  if (isForeign || !isFunctionOffered(name)) {
    // Those of FROM come by here too: as the child of a TABLE_FUNCTION, which has been checked.
    if (!isForeign && isTableFunctionOffered(name)) return;
    throw notOffered(`the function ${name}`, placeOf(node));
  }
}

function checkType(node: TreeNode, placeOf: (node: TreeNode) => number | null): void {
  const type = String(node.type);
  if (!TYPES.has(type) && !type.endsWith("_TYPE_INFO")) throw notOffered(type.toLowerCase(), placeOf(node));
  if (type === "TABLE_FUNCTION") {
    const called = node.function as TreeNode | undefined;
    const name = String(called?.function_name);
    if (!isTableFunctionOffered(name)) throw notOffered(`the table function ${name}`, placeOf(node));
  }
  if (type === "SHOW_REF") {
    const isOfQuery = node.query !== undefined && node.table_name === undefined;
    if (!isOfQuery || !["DESCRIBE", "SUMMARY"].includes(String(node.show_type))) {
      throw new SqlError("syntax", "SHOW is not offered here: GET /v1/sql/relations lists what can be asked");
    }
  }
}

/** Null for a name that a WITH has given. */
function relationOf(
  node: TreeNode,
  { scope, placeOf, reader }: {
    readonly scope: Scope | null;
    readonly placeOf: (node: TreeNode) => number | null;
    readonly reader: TreeNode | undefined;
  },
): NamedRelation | null {
  const at = placeOf(node) ?? 0;
  const name = String(node.table_name);
  const schema = node.schema_name === undefined ? null : lowerCase(node.schema_name);
  if (node.catalog_name !== undefined) {
    throw new SqlError("syntax", `there is no database ${printed(node.catalog_name)} here`, at);
  }
  if (schema === null) {
    for (let one = scope; one !== null; one = one.outer) if (one.name === name.toLowerCase()) return null;
  } else if (!SCHEMAS.includes(schema)) {
    throw new SqlError(
      "syntax",
      `there is no ${printed(node.schema_name)}: tables are in ${SCHEMAS.join(", ")}, or are ledger and dead_letters`,
      at,
    );
  }
  const clause = node.at_clause as TreeNode | undefined;
  if (clause !== undefined && schema !== "lake") {
    throw new SqlError("syntax", "only tables of the lake have earlier states: AT (..) is for lake.<table>", at);
  }
  const version = clause && versionOf(clause);
  if (version === null) {
    throw new SqlError(
      "syntax",
      "AT takes (VERSION => 7) or (TIMESTAMP => '2026-11-21T12:00:00Z'), as a constant; a time without a zone is UTC",
      at,
    );
  }
  const within = schema === "lake" && reader !== undefined ? dayRanges(reader) : [];
  return {
    name: {
      schema: schema as RelationName["schema"],
      name,
      ...version && { at: version.at },
      ...within.length > 0 && { within },
    },
    at,
    versionAt: version ? placeOf(version.constant) : null,
    hasAlias: node.alias !== undefined,
  };
}

function entriesOf(map: unknown): readonly { readonly key: unknown; readonly value: unknown }[] {
  return ((map as { readonly map?: unknown } | undefined)?.map ?? []) as { key: unknown; value: unknown }[];
}

function lowerCase(name: unknown): string {
  return String(name).toLowerCase();
}

/** A name as the question wrote it, cut where it is long. */
export function printed(name: unknown): string {
  const text = String(name);
  return JSON.stringify(text.length > 100 ? `${text.slice(0, 100)}...` : text);
}

function notOffered(what: string, at: number | null): SqlError {
  return new SqlError("syntax", `${what} is not offered here`, at);
}

/** Where nodes stand in a text, in UTF-16 units. */
function placesIn(sql: string): (node: TreeNode) => number | null {
  const bytes = new TextEncoder().encode(sql);
  const isAscii = bytes.length === sql.length;
  return ({ query_location: location }) => {
    if (typeof location !== "number" || location > bytes.length) return null;
    return isAscii ? location : new TextDecoder().decode(bytes.subarray(0, location)).length;
  };
}
