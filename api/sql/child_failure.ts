/**
 * DuckDB's errors, sorted by who can do something about them. They come as JSON (`SET errors_as_json = true`):
 *
 *     {"exception_type":"Binder","exception_message":"..","position":"14", ..}       position in bytes
 *
 * @module
 */
import type { ChildFailure, View } from "./child_protocol.ts";

const MESSAGE_CHARACTERS_MAX = 600;

/**
 * What is said when the question asks for more than there is; DuckDB's bugs are among it, which only absurd questions meet. The last
 * is what its bindings say where it had no memory left to say anything.
 */
const LIMIT_TYPES = new Set(["Out of Memory", "INTERNAL", "FATAL", "Interrupt"]);
const LIMIT_WORDS =
  /could not allocate|failed to allocate|bad_alloc|Invalid string length|allocation failed|memory|^Failed to execute/i;
/** What is said when a file is not as it was, or is away. */
const BROKEN_TYPES = new Set(["IO", "HTTP", "Permission", "Serialization"]);

interface DuckDbError {
  readonly exception_type: string;
  readonly exception_message: string;
  readonly position?: string;
}

/** What to tell of an error; `sql` is the text that it speaks of, null where whoever asked has not written it. */
export function failureOf(error: unknown, sql: string | null, views: readonly View[] = []): ChildFailure {
  const { message: raw } = error as Error;
  const told = parsed(raw);
  const { exception_type: type, exception_message: message, position } = told ??
    { exception_type: "", exception_message: raw };
  const kind = BROKEN_TYPES.has(type)
    ? "broken"
    : LIMIT_TYPES.has(type) || (type === "" && LIMIT_WORDS.test(message))
    ? "limit"
    : "syntax";
  const at = sql === null || position === undefined ? null : placeOf(sql, Number(position));
  // DuckDB's words for it are advice to whoever may change settings.
  const words = kind === "limit" ? wordsForLimit(type) : plain(message);
  return { say: "failed", kind, message: withoutPaths(words, views), at };
}

function wordsForLimit(type: string): string {
  return type === "INTERNAL" || type === "FATAL"
    ? "DuckDB itself failed over it: it is too large, or nested too deep"
    : "it takes more memory than a question may: ask for fewer rows or columns, or group by fewer values";
}

function parsed(text: string): DuckDbError | null {
  try {
    const told = JSON.parse(text);
    return typeof told?.exception_message === "string" ? told : null;
  } catch {
    return null;
  }
}

/** Without advice for people who may change settings. */
function plain(message: string): string {
  const words = message.replace(
    /\s*(?:Possible solutions|See also http|Use "SET|Try setting|To disable|Database is launched)[\s\S]*/,
    "",
  )
    .replace(/\s*\n\s*/g, " ").trim();
  return words.length > MESSAGE_CHARACTERS_MAX ? `${words.slice(0, MESSAGE_CHARACTERS_MAX)}...` : words;
}

/** Where the files are is nobody's business. */
function withoutPaths(message: string, views: readonly View[]): string {
  let told = message;
  for (const { schema, name, files } of views) {
    const relation = schema === null ? name : `${schema}.${name}`;
    for (const { path } of files) told = told.replaceAll(path, `a file of ${relation}`);
  }
  return told;
}

function placeOf(sql: string, bytes: number): number | null {
  const encoded = new TextEncoder().encode(sql);
  return bytes <= encoded.length ? new TextDecoder().decode(encoded.subarray(0, bytes)).length : null;
}
