/**
 * Questions in SQL as the HTTP application asks them: shapes and refusals, over Web-standard types only.
 *
 * @module
 */
import type { Completeness, RelationInfo } from "./catalog.ts";

/** How an answer is written; see {@linkcode MEDIA_TYPES}. */
export const FORMATS = ["json", "ndjson", "csv", "arrow", "parquet"] as const;
export type Format = (typeof FORMATS)[number];

export const MEDIA_TYPES: Readonly<Record<Format, string>> = {
  json: "application/json",
  ndjson: "application/x-ndjson",
  csv: "text/csv",
  arrow: "application/vnd.apache.arrow.stream",
  parquet: "application/vnd.apache.parquet",
};

/** What a `$name` may be bound to. */
export const PARAMETER_TYPES = ["string", "integer", "double", "boolean", "timestamp", "date"] as const;
export type ParameterType = (typeof PARAMETER_TYPES)[number];

/**
 * A value for a placeholder; null is SQL's NULL. As text: digits, `true` or `false`, ISO 8601 (UTC unless it says otherwise),
 * `2026-11-21`. It is bound as a value and never becomes part of the question's text.
 */
export interface Parameter {
  readonly type: ParameterType;
  readonly value: string | null;
}

export interface Question {
  readonly sql: string;
  /** By the name after `$`; by its number (`"1"`) for `?` and `$1`. */
  readonly parameters?: Readonly<Record<string, Parameter>>;
  readonly format: Format;
  /** Rows after which an answer ends; the service's own bound where not told. */
  readonly limit?: number;
}

/** An answer that has begun: nothing in it can be refused any more, but what goes wrong later breaks `body` off with an error. */
export interface Answer {
  /** What to cancel it by. */
  readonly id: string;
  readonly format: Format;
  readonly completeness: readonly Completeness[];
  readonly notes: readonly string[];
  /** Whether there were more rows than `limit`; null while that is not known yet. */
  readonly isTruncated: boolean | null;
  /** Reading slowly slows the question down; not reading ends it. */
  readonly body: ReadableStream<Uint8Array>;
}

export interface AskOptions {
  /** Chosen by the caller, who can cancel by it before the answer begins; a random one unless told. */
  readonly id?: string;
  /** Aborted when nobody waits for the answer any more. */
  readonly signal: AbortSignal;
}

export interface SqlService extends AsyncDisposable {
  relations(options: { readonly signal: AbortSignal }): Promise<readonly RelationInfo[]>;
  /**
   * @throws SqlError for what the caller has to change, or wait for
   * @throws UnavailableError when the lake cannot be read, or no process can be started for the question
   */
  ask(question: Question, options: AskOptions): Promise<Answer>;
  /** Parses and checks a question without asking it. @throws as `ask` */
  check(question: Pick<Question, "sql" | "parameters">, options: AskOptions): Promise<void>;
  /** False when no question under way has this id. */
  cancel(id: string): boolean;
}

/**
 * - `syntax`: the SQL cannot be answered as it is written: it is none, names what there is not, or fails on its values.
 * - `parameter`: a value is missing, too much, or not of its type.
 * - `limit`: it takes more time, memory or bytes than one question may.
 * - `busy`: too many questions are under way.
 * - `cancelled`: someone has cancelled it.
 */
export type SqlErrorKind = "syntax" | "parameter" | "limit" | "busy" | "cancelled";

/** A question that is not answered, and why; the message is fit for whoever asked. */
export class SqlError extends Error {
  override readonly name = "SqlError";
  readonly kind: SqlErrorKind;
  /** Where in the question's text, in UTF-16 units; null where that is not known. */
  readonly at: number | null;

  constructor(kind: SqlErrorKind, message: string, at: number | null = null) {
    super(message);
    this.kind = kind;
    this.at = at;
  }
}

/** A placeholder of a saved question. */
export interface QueryParameter {
  /** After the `$`. */
  readonly name: string;
  readonly type: ParameterType;
  /** Its value where none is given; without one it has to be given. */
  readonly default?: string;
}

/** A question kept by name. */
export interface SavedQuery {
  readonly name: string;
  readonly sql: string;
  /** For people. */
  readonly about: string;
  readonly parameters: readonly QueryParameter[];
}

export interface QueryStore {
  /** By name. */
  list(): Promise<readonly SavedQuery[]>;
  /** Replaces one of the same name. False when there are too many already. */
  put(query: SavedQuery): Promise<boolean>;
  /** False when there is none of this name. */
  remove(name: string): Promise<boolean>;
}
