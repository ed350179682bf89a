/**
 * Sorts what Cassandra and its driver throw into the pipeline's kinds of error.
 *
 * @module
 */
import driver from "cassandra-driver";
import { ConfigError, ConflictError, UnavailableError } from "../../errors.ts";

const MESSAGE_CHARACTERS_MAX = 300;

const { responseErrorCodes: CODES } = driver.types;

/**
 * Answers after which the same request may succeed later: too few replicas, a node that is overloaded, starts or has a fault of
 * its own, and replicas that did not answer in time or failed.
 * Source: the native protocol's specification, section 8, error codes.
 */
const TRANSIENT: ReadonlySet<number> = new Set([
  ...[CODES.serverError, CODES.unavailableException, CODES.overloaded, CODES.isBootstrapping],
  ...[CODES.truncateError, CODES.writeTimeout, CODES.readTimeout, CODES.readFailure, CODES.writeFailure],
  // The driver prepares again by itself, unless nodes change meanwhile.
  CODES.unprepared,
]);

/** The server has too much to do: less at a time goes through sooner. */
const OVERLOAD: ReadonlySet<number> = new Set([CODES.overloaded, CODES.writeTimeout, CODES.writeFailure]);

/** What people put right: names, rights, the server's settings. */
const CONFIGURATION: ReadonlySet<number> = new Set([
  ...[CODES.badCredentials, CODES.unauthorized, CODES.configError, CODES.syntaxError],
]);

/**
 * What is said of a value, and not of the statement, the table or the node: a value of the wrong size, an empty or long key, a row
 * or a batch of more than the node takes (half a segment of its commit log, or a guardrail on sizes).
 */
const REFUSAL = new RegExp(
  [
    ...["key may not be empty", "key length of", "is longer than maximum", "batch too large"],
    ...[
      "rejected an oversized mutation",
      "mutation.* too large",
      "value of (column|type) .* has size",
      "_size.* violated",
    ],
    ...["expected .* (bytes|byte)", "(string|utf-?8) .*valid", "invalid null value", "out of (range|bounds)"],
  ].join("|"),
  "i",
);

/** A guardrail on how full the disks are: of no row's doing. */
const FULL = /disk usage|data_disk_usage/i;

/** Codes of the operating system, and what else says that a connection is no more. */
const CONNECTION = /ECONN|EPIPE|ETIMEDOUT|EHOSTUNREACH|ENETUNREACH|ENOTFOUND|EAI_AGAIN|socket|connection|timed? ?out/i;

/** True when a value was refused and not the statement: the same row is refused again, others are not. */
export function isRefusal(error: unknown): boolean {
  const isAboutValues = [CODES.invalid, CODES.serverError, CODES.writeFailure].includes(codeOf(error));
  return isAboutValues && REFUSAL.test((error as Error).message) && !FULL.test((error as Error).message);
}

export function isKeyspaceMissing(error: unknown): boolean {
  const cause = causeOf(error as Error);
  return codeOf(cause) === CODES.invalid && /keyspace .* does not exist/i.test(cause.message);
}

/** True when fewer requests at a time are called for. */
export function isOverload(error: unknown): boolean {
  return OVERLOAD.has(codeOf(error)) || error instanceof driver.errors.OperationTimedOutError ||
    error instanceof driver.errors.BusyConnectionError;
}

/**
 * The error to throw instead of `error`: UnavailableError or ConfigError where it is one, else itself. `where` names the table, or
 * whom it was asked of.
 */
export function sortedError(error: unknown, where: string): Error {
  if (!(error instanceof Error)) return new Error(String(error));
  if (error instanceof UnavailableError || error instanceof ConfigError || error instanceof ConflictError) return error;
  const cause = causeOf(error);
  const code = codeOf(cause);
  const message = shortMessage(cause);
  if (cause instanceof driver.errors.AuthenticationError || code === CODES.badCredentials) {
    return new ConfigError({
      where,
      problem: `Cassandra refuses user or password: ${message}. Check TAILRACE_CASSANDRA_USERNAME and ` +
        `TAILRACE_CASSANDRA_PASSWORD`,
    });
  }
  if (code === CODES.unauthorized) {
    return new ConfigError({
      where,
      problem: `Cassandra refuses: ${message}. Grant the user SELECT and MODIFY on the table, and CREATE on its ` +
        `keyspace where tables are to be made`,
    });
  }
  if (CONFIGURATION.has(code)) return new ConfigError({ where, problem: `Cassandra refuses: ${message}` });
  if (code === CODES.invalid && FULL.test(message)) {
    return new UnavailableError(`Cassandra does not take rows for ${where} now: ${message}`);
  }
  if (code === CODES.invalid) {
    return new ConfigError({ where, problem: `Cassandra refuses: ${message}. A restart looks at the table anew` });
  }
  if (isCertificateProblem(cause)) {
    return new ConfigError({
      where,
      problem: `Cassandra's certificate is not trusted: ${message}. Name its authority's with TAILRACE_CASSANDRA_CA`,
    });
  }
  if (TRANSIENT.has(code) || isAway(cause)) {
    return new UnavailableError(`Cassandra does not serve ${where} now: ${message}`);
  }
  return error;
}

export function shortMessage(error: Error): string {
  const text = error.message.split("\n", 1)[0];
  return text.length <= MESSAGE_CHARACTERS_MAX ? text : `${text.slice(0, MESSAGE_CHARACTERS_MAX)}…`;
}

/** Of a driver that tried several nodes, what the first said that said more than that it is not there. */
function causeOf(error: Error): Error {
  if (!(error instanceof driver.errors.NoHostAvailableError)) return error;
  const inner = Object.entries((error.innerErrors ?? {}) as Record<string, unknown>)
    .map(([host, cause]) => [host, cause instanceof Error ? cause : new Error(String(cause))] as const);
  const grave = inner.find(([, cause]) => codeOf(cause) !== -1 || cause instanceof driver.errors.AuthenticationError);
  if (grave) return grave[1];
  const [host, cause] = inner[0] ?? [];
  if (cause === undefined || isCertificateProblem(cause)) return cause ?? error;
  return new driver.errors.NoHostAvailableError({}, `no node answers; ${host}: ${shortMessage(cause)}`);
}

function isAway(error: Error): boolean {
  return error instanceof driver.errors.NoHostAvailableError ||
    error instanceof driver.errors.OperationTimedOutError ||
    error instanceof driver.errors.BusyConnectionError ||
    error instanceof driver.errors.DriverInternalError ||
    isLostWhileConnecting(error) ||
    CONNECTION.test(`${(error as { code?: unknown }).code ?? ""} ${error.message}`);
}

/** The driver looks at a control connection that ended meanwhile, and finds none. */
function isLostWhileConnecting(error: Error): boolean {
  return error instanceof TypeError && /cassandra-driver.*control-connection/.test(error.stack ?? "");
}

function isCertificateProblem(error: Error): boolean {
  return /certificate|self.signed|UnknownIssuer|altname/i.test(error.message);
}

function codeOf(error: unknown): number {
  return error instanceof driver.errors.ResponseError ? error.code : -1;
}
