/**
 * Sorts what PostgreSQL and its client throw into the pipeline's kinds of error.
 *
 * @module
 */
import { ConfigError, ConflictError, UnavailableError } from "../errors.ts";

/** PostgreSQL quotes a whole array parameter, megabytes of it, in some messages. */
const MESSAGE_CHARACTERS_MAX = 300;

/** Codes of the operating system, and of the client for connections it lost or gave up. */
const CONNECTION_CODES = new Set([
  ...["ECONNREFUSED", "ECONNRESET", "ECONNABORTED", "EPIPE", "ETIMEDOUT", "EHOSTUNREACH", "ENETUNREACH"],
  ...["ENETDOWN", "ENOTFOUND", "EAI_AGAIN", "ENOENT", "EMFILE"],
  ...["CONNECT_TIMEOUT", "CONNECTION_CLOSED", "CONNECTION_DESTROYED", "CONNECTION_ENDED"],
]);

/**
 * SQLSTATE classes and codes after which the same statement may succeed later: connection exceptions (08), rollbacks by
 * deadlock or serialisation (40), insufficient resources such as a full disk or too many connections (53), operator
 * intervention such as a shutdown (57), I/O errors (58), a lock not available (55P03), and a server that has become a
 * read-only standby (25006).
 * Source: PostgreSQL documentation, appendix A, error codes.
 */
const TRANSIENT = /^(08|40|53|57|58)|^(55P03|25006)$/;

/** What the user sets right: credentials (28), database (3D), schema (3F), and missing or forbidden objects (42). */
const CONFIGURATION = /^(28|3D|3F|42)/;

/** The statement was understood and a value refused: data (22), constraint (23), a row twice (21), a limit such as an index entry's size (54). */
const VALUE = /^(22|23|21|54)/;

/** What `tailrace.hold_ownership` says when another process is the owner. */
const OWNER_CHANGED = "TR001";

/** True when the error speaks of a value in the statement rather than of the server or the table. */
export function isValueError(error: unknown): boolean {
  return VALUE.test(codeOf(error));
}

/** SQLSTATE, operating system's or client's code; empty when the error has none. */
export function codeOf(error: unknown): string {
  const code = error instanceof Error ? (error as Error & { code?: unknown }).code : undefined;
  return typeof code === "string" ? code : "";
}

/**
 * The error to throw instead of `error`: UnavailableError, ConfigError or ConflictError where it is one of these, else itself.
 * `where` names the table or database, as the user wrote it.
 */
export function sortedError(error: unknown, where: string): Error {
  if (!(error instanceof Error)) return new Error(String(error));
  const code = codeOf(error);
  if (code === OWNER_CHANGED) return new ConflictError(shortMessage(error));
  const message = `${shortMessage(error)}${code === "" ? "" : ` (${code})`}`;
  if (CONNECTION_CODES.has(code) || TRANSIENT.test(code)) {
    return new UnavailableError(`PostgreSQL does not serve ${where} now: ${message}`);
  }
  if (CONFIGURATION.test(code)) {
    return new ConfigError({ where, problem: `PostgreSQL refuses: ${message}${advice(code)}` });
  }
  if (VALUE.test(code)) return new ConfigError({ where, problem: `PostgreSQL refuses a value: ${message}` });
  return error;
}

/** The message's first line, without the statement's parameters. */
export function shortMessage(error: Error): string {
  const text = error.message.split("\n", 1)[0];
  return text.length <= MESSAGE_CHARACTERS_MAX ? text : `${text.slice(0, MESSAGE_CHARACTERS_MAX)}…`;
}

function advice(code: string): string {
  if (code.startsWith("28")) return ". Check user and password in the database URL";
  if (code === "3D000") return ". Create the database, or name another in the database URL";
  if (code === "3F000") return ". Create the schema, or take it out of the table's name";
  if (code === "42501") {
    return ". Grant the database URL's user CREATE on the database and its schema, and ownership of the table";
  }
  if (code === "42P01") return ". The table has gone since the start; a restart makes it again";
  return "";
}
