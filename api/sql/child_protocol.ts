/**
 * What is said between the process that answers questions and the child that asks DuckDB.
 *
 *     to the child, stdin      one JSON line each: ParseOrder, then RunOrder
 *     from the child, stderr   one JSON line each: ChildMessage; other lines are last words of a crash
 *     from the child, stdout   the answer's bytes as the client gets them, and nothing else
 *
 * A child answers one question: it says it is ready, parses (as often as it is asked to), runs once, and ends.
 *
 * @module
 */
import type { CapturedFile, Completeness, RelationColumn } from "./catalog.ts";
import type { Format, Parameter } from "./service.ts";

export interface ParseOrder {
  readonly do: "parse";
  readonly sql: string;
}

/** A relation as the child offers it. */
export interface View {
  /** Null is DuckDB's `main`. */
  readonly schema: string | null;
  readonly name: string;
  readonly columns: readonly RelationColumn[];
  readonly files: readonly CapturedFile[];
}

export interface RunOrder {
  readonly do: "run";
  /** Checked before: one SELECT without a semicolon that names nothing but `views`. */
  readonly sql: string;
  readonly parameters: Readonly<Record<string, Parameter>>;
  readonly views: readonly View[];
  readonly format: Format;
  readonly rowsMax: number;
  /** Whether more rows than that end the answer (as asked) or refuse it (a bound of ours). */
  readonly isCut: boolean;
  readonly completeness: readonly Completeness[];
  readonly notes: readonly string[];
  readonly memoryBytesMax: number;
  readonly threads: number;
}

export type ChildOrder = ParseOrder | RunOrder;

/** Why DuckDB does not answer, in its own words. */
export interface ChildFailure {
  readonly say: "failed";
  /** `broken`: what it reads cannot be read. */
  readonly kind: "syntax" | "parameter" | "limit" | "broken";
  readonly message: string;
  readonly at: number | null;
}

export type ChildMessage =
  | { readonly say: "ready" }
  /** `json_serialize_sql`'s answer. */
  | { readonly say: "tree"; readonly tree: unknown }
  /** `isTruncated` is null where only as many rows were asked of DuckDB as may be told. */
  | { readonly say: "done"; readonly rows: number; readonly isTruncated: boolean | null }
  | ChildFailure;
