/**
 * DuckDB as a parser: a condition's syntax tree, and the values of its typed literals, from a database without files,
 * network or tables. Nothing of the text is executed.
 *
 * @module
 */
import { type DuckDBConnection, DuckDBInstance } from "@duckdb/node-api";

/** Longest condition taken; DuckDB itself needs 40 ms for such a text at its worst. */
export const WHERE_CHARACTERS_MAX = 65_536;

/**
 * A node of `json_serialize_sql`'s tree, with the attributes read here. `query_location` counts bytes from the start of the
 * statement, and is absent where the parser made the node up.
 */
export interface SqlNode {
  readonly class: string;
  readonly type: string;
  readonly query_location?: number;
  readonly column_names?: readonly string[];
  readonly children?: readonly SqlNode[];
  readonly left?: SqlNode;
  readonly right?: SqlNode;
  readonly input?: SqlNode;
  readonly lower?: SqlNode;
  readonly upper?: SqlNode;
  readonly child?: SqlNode;
  readonly cast_type?: SqlTypeNode;
  readonly try_cast?: boolean;
  readonly value?: { readonly type: SqlTypeNode; readonly is_null: boolean; readonly value?: SqlConstant };
  readonly case_checks?: readonly { readonly when_expr: SqlNode; readonly then_expr: SqlNode }[];
  readonly else_expr?: SqlNode;
  readonly function_name?: string;
  readonly distinct?: boolean;
  readonly filter?: SqlNode;
  readonly order_bys?: { readonly orders?: readonly unknown[] };
}

/** A constant's value; a 128-bit integer comes as two words. */
export type SqlConstant = string | number | bigint | boolean | {
  readonly upper: number | bigint;
  readonly lower: number | bigint;
};

export interface SqlTypeNode {
  readonly id: string;
  readonly type_info?: { readonly width?: number; readonly scale?: number };
}

/** A condition DuckDB does not parse. `at` is the index into the text in UTF-16 units, or null where DuckDB does not say. */
export interface SyntaxProblem {
  readonly problem: string;
  readonly at: number | null;
}

const PREFIX = "SELECT 1 FROM r WHERE\n";

/** Where in the text `node` stands, in UTF-16 units; null for nodes the parser made up. */
export function positionOf(sql: string, node: SqlNode): number | null {
  if (node.query_location === undefined) return null;
  const bytes = new TextEncoder().encode(sql).subarray(0, Math.max(0, node.query_location - PREFIX.length));
  return new TextDecoder().decode(bytes).length;
}

/** The tree of one condition, or why it is not one. */
export async function parseCondition(sql: string): Promise<{ readonly tree: SqlNode } | SyntaxProblem> {
  if (sql.length > WHERE_CHARACTERS_MAX) {
    return { problem: `is ${sql.length} characters long; the most is ${WHERE_CHARACTERS_MAX}`, at: null };
  }
  if (sql.trim() === "") return { problem: "is empty: leave `where` out to take every record", at: null };
  if (sql.includes("\0")) return { problem: "contains a NUL character", at: sql.indexOf("\0") };
  const bare = await serialize(PREFIX + sql);
  if ("problem" in bare) return bare;
  // In parentheses too: that is what refuses `a; SELECT b`, `a GROUP BY b`, `a UNION ..`, none of which is one condition.
  const enclosed = await serialize(`${PREFIX.slice(0, -1)}(${sql}\n)`);
  if ("problem" in enclosed) return { ...enclosed, problem: `${enclosed.problem}: one condition, nothing after it` };
  return bare;
}

interface Serialized {
  readonly error: boolean;
  readonly error_message?: string;
  readonly position?: string;
  readonly statements?: readonly { readonly node: { readonly type: string; readonly where_clause?: SqlNode } }[];
}

async function serialize(statement: string): Promise<{ readonly tree: SqlNode } | SyntaxProblem> {
  const connection = await database();
  const reader = await connection.runAndReadAll(
    "SELECT json_serialize_sql($1::VARCHAR, skip_null := true, skip_empty := true, skip_default := true)",
    [statement],
  );
  const parsed = parseJson(String(reader.getRows()[0][0])) as Serialized;
  if (parsed.error) return syntaxProblem(statement, parsed);
  const nodes = parsed.statements ?? [];
  const tree = nodes[0]?.node.where_clause;
  if (nodes.length !== 1 || nodes[0].node.type !== "SELECT_NODE" || tree === undefined) {
    return { problem: "is not one condition", at: null };
  }
  return { tree };
}

/** Longest piece of DuckDB's own words in a fault: it quotes the rest of the text. */
const MESSAGE_CHARACTERS_MAX = 160;

function syntaxProblem(
  statement: string,
  { error_message: message = "syntax error", position }: Serialized,
): SyntaxProblem {
  if (message.startsWith("Only SELECT")) return { problem: "is not one condition", at: null };
  const [line] = message.replace(/ Use "SET .*/s, "").split("\n");
  const problem = line.length > MESSAGE_CHARACTERS_MAX ? `${line.slice(0, MESSAGE_CHARACTERS_MAX)}...` : line;
  if (position === undefined) return { problem, at: null };
  // Unlike locations in the tree, this one counts characters.
  const characters = [...statement].slice(0, Number(position)).slice(PREFIX.length);
  return { problem, at: characters.join("").length };
}

/** JSON with whole numbers beyond 2^53 kept exact, as bigint. */
function parseJson(text: string): unknown {
  type Reviver = (this: unknown, key: string, value: unknown, context: { source?: string }) => unknown;
  const keepExact: Reviver = (_key, value, { source }) =>
    typeof value === "number" && !Number.isSafeInteger(value) && source !== undefined && /^-?\d+$/.test(source)
      ? BigInt(source)
      : value;
  // DuckDB writes a literal such as 1e999 as Infinity, which JSON does not know. In a text the quotes would be escaped.
  const finite = text.replace(/"value":-?(?:Infinity|NaN|inf|nan)\b/g, '"value":null');
  // The third argument of a reviver (ES2026) is not in TypeScript's library yet.
  return (JSON.parse as (text: string, reviver: Reviver) => unknown)(finite, keepExact);
}

/**
 * What DuckDB makes of a literal of type `from` cast to type `to`: the value as text (timestamps and times in microseconds,
 * dates in days, decimals in plain digits), null if the result is NULL, or the reason it cannot.
 */
export async function castLiteral(
  text: string,
  { from, to }: { readonly from: string; readonly to: string },
): Promise<{ readonly value: string | null } | { readonly problem: string }> {
  const connection = await database();
  const cast = `CAST(CAST($1::VARCHAR AS ${from}) AS ${to})`;
  const shown = to === "TIMESTAMP" || to === "TIME"
    ? `epoch_us(${cast})`
    : to === "DATE"
    ? `${cast} - DATE '1970-01-01'`
    : to === "FLOAT"
    ? `CAST(${cast} AS DOUBLE)`
    : cast;
  try {
    const reader = await connection.runAndReadAll(`SELECT (${shown})::VARCHAR`, [text]);
    const value = reader.getRows()[0][0];
    return { value: value === null ? null : String(value) };
  } catch (error) {
    return { problem: (error as Error).message.split("\n")[0].replace(/^[\w ]+ Error: /, "") };
  }
}

/** Whether a word means something in SQL. */
export async function isKeyword(word: string): Promise<boolean> {
  const connection = await database();
  const sql = "SELECT count(*)::INTEGER FROM duckdb_keywords() WHERE keyword_name = lower($1::VARCHAR)";
  const reader = await connection.runAndReadAll(sql, [word]);
  return reader.getRows()[0][0] !== 0;
}

let opened: Promise<DuckDBConnection> | undefined;

/** One private in-memory database for the life of the process; opened when the first condition is parsed. */
function database(): Promise<DuckDBConnection> {
  opened ??= (async () => {
    const instance = await DuckDBInstance.create(":memory:", { threads: "1", enable_external_access: "false" });
    const connection = await instance.connect();
    await connection.run("SET lock_configuration = true");
    return connection;
  })();
  return opened;
}
