/**
 * Errors as the API answers them: RFC 9457 `application/problem+json`. `type` points at the section of `/docs` that explains
 * the problem, and is what a program should compare.
 *
 * @module
 */
import { z } from "@hono/zod-openapi";
import { redact, redactAll } from "./security/redact.ts";

/** Every problem the API can answer: its status, its title, and what to do about it (shown in `/docs`). */
export const PROBLEMS = {
  "invalid-request": [400, "The request is not valid", "`errors` names each parameter at fault."],
  "malformed-json": [400, "The body is not JSON", "Check quotes, commas and the encoding (UTF-8)."],
  "malformed-body": [
    400,
    "The body is not what its headers say",
    "`detail` says where it ends to be that; nothing was written.",
  ],
  "invalid-sql": [
    400,
    "The SQL cannot be answered",
    "`errors` says where; GET /v1/sql/relations lists what can be asked.",
  ],
  "unauthenticated": [
    401,
    "A key is needed",
    "Send `Authorization: Bearer <key>`, or open /sign-in in a browser. `tailrace key new` makes a key.",
  ],
  "forbidden": [403, "This key's role does not allow it", "Ask an admin for a key with the role that `detail` names."],
  "cross-origin": [
    403,
    "A page of another origin asked for a change",
    "Use the dashboard at this address, or a program that is no browser.",
  ],
  "unknown-route": [404, "There is nothing at this address", "See the list of routes below."],
  "unknown-pipeline": [404, "No pipeline has this name", "GET /v1/pipelines lists them."],
  "no-stored-results": [
    404,
    "This pipeline's results are not stored here",
    "Add a postgres(...) sink to its definition.",
  ],
  "unknown-topic": [
    404,
    "No topic has this name, or it has no value schema",
    "Create the topic and register a value schema for it, subject `<topic>-value`, first.",
  ],
  "unknown-letter": [404, "There is no such letter", "GET /v1/letters lists them; old ones may have been deleted."],
  "unknown-connector": [404, "There is no source or delivery of this name", "GET /v1/connectors lists them."],
  "unknown-cassandra-table": [
    404,
    "No definition writes to this table of Cassandra",
    "`detail` lists those there are.",
  ],
  "unknown-table": [404, "The lake has no table of this name", "GET /v1/lake lists them."],
  "no-cassandra": [
    404,
    "There is no Cassandra here",
    "`detail` names the setting that is missing; it is read at the start.",
  ],
  "no-lake": [404, "There is no lake here", "Ask the Tailrace process that runs the pipelines."],
  "not-audited": [404, "This pipeline is not audited", "Give its topic an archive: `archive: lake()`."],
  "unknown-query": [
    404,
    "There is no such question",
    "GET /v1/queries lists those that are saved; others end by themselves.",
  ],
  "no-backfill": [404, "No backfill of this pipeline was asked for since the start", "POST begins one."],
  "method-not-allowed": [405, "This address does not take this method", "The Allow header lists those it takes."],
  "not-acceptable": [
    406,
    "None of the formats asked for can be given",
    "Accept application/json, application/x-ndjson, text/csv, application/vnd.apache.arrow.stream or " +
    "application/vnd.apache.parquet, or name one with `format`.",
  ],
  "slow-body": [408, "The request took too long to arrive", "Send the body at once, or fewer records in one request."],
  "redrive-conflict": [
    409,
    "Another redrive of this topic is under way",
    "Ask again when it has ended: what was redriven is not redriven twice.",
  ],
  "idempotency-key-busy": [
    409,
    "A request with this Idempotency-Key is under way",
    "Send it again after the seconds in Retry-After: it is answered as the first was.",
  ],
  "query-cancelled": [409, "The question was cancelled", "Ask again, if it was not you."],
  "pipeline-running": [
    409,
    "The pipeline is running",
    "Stop it first: POST /v1/pipelines/{name}/stop.",
  ],
  "backfill-conflict": [409, "A backfill of this pipeline is under way", "GET tells how far it is; DELETE ends it."],
  "audit-waits": [
    409,
    "Nothing is audited now, so nothing can be repaired",
    "`detail` says what it waits for; a pipeline that rests has to be started.",
  ],
  "not-set-up": [409, "Something has to be set up first", "`detail` names the setting; it is read at the start."],
  "taken-over": [409, "Another process runs this pipeline now", "Ask that process; `detail` names it."],
  "gone": [
    410,
    "The log does not hold this record any more",
    "Retention deleted it. What became of it is counted in /v1/ledger.",
  ],
  "body-too-large": [413, "The body is too large", "Send fewer records in one request."],
  "url-too-long": [414, "The address is too long", "Ask with fewer or shorter parameters."],
  "unsupported-media-type": [
    415,
    "The body has another format than this address takes",
    "Send JSON with `Content-Type: application/json`; records in bulk as `detail` says.",
  ],
  "wrong-host": [
    421,
    "The Host header names another host",
    "Use the address Tailrace listens on. This keeps web pages elsewhere from reaching a Tailrace on your machine.",
  ],
  "invalid-records": [
    422,
    "Records do not fit the topic's schema",
    "`errors` names each record by its index or line; none was written.",
  ],
  "idempotency-key-reused": [
    422,
    "The Idempotency-Key was used for another request",
    "Make a new key for each request, and repeat a request with its own.",
  ],
  "out-of-reach": [
    422,
    "The pipeline cannot be rewound so far",
    "`detail` says how far back the log reaches.",
  ],
  "query-limit": [
    422,
    "The question takes more than one may",
    "Ask for less: fewer rows or columns, a condition, a smaller join. `detail` says what it took too much of.",
  ],
  "too-many-records": [
    429,
    "Records come in faster than they can be written",
    "Send the request again after the seconds in Retry-After; nothing of it was written.",
  ],
  "too-many-queries": [
    429,
    "Too many questions are being answered",
    "Try again after the seconds in Retry-After.",
  ],
  "too-many-failures": [
    429,
    "Too many wrong keys from here",
    "Try again, with a right key, after the seconds in Retry-After.",
  ],
  "headers-too-large": [431, "The headers are too large", "Send fewer or shorter headers; cookies are headers too."],
  "unusable-schema": [
    422,
    "The topic's schema is none that JSON can be written with",
    "Register an Avro schema for it, or write to the topic with a client of Kafka.",
  ],
  "internal": [
    500,
    "Something went wrong on our side",
    "Nothing to change in the request; the server's log has the cause.",
  ],
  "no-engine": [
    501,
    "No engine runs beside this API",
    "This address serves stored results only. Ask the Tailrace process that runs the pipelines.",
  ],
  "unavailable": [503, "Something this needs is away", "Try again after the seconds in Retry-After."],
  "too-many-requests": [503, "Too many requests are under way", "Try again after the seconds in Retry-After."],
  "too-many-streams": [
    503,
    "Too many live streams are open",
    "Close one, or try again after the seconds in Retry-After.",
  ],
} as const satisfies Record<string, readonly [status: number, title: string, advice: string]>;

export type ProblemKind = keyof typeof PROBLEMS;

export interface ProblemError {
  /** A parameter (`query.limit`), or a record (`records[3].value`). */
  readonly where: string;
  readonly problem: string;
}

export interface ProblemOptions {
  readonly detail?: string;
  /** Path of the request. */
  readonly instance?: string;
  readonly errors?: readonly ProblemError[];
  readonly headers?: Readonly<Record<string, string>>;
}

const RETRY_AFTER_SECONDS = "2";

/** The Content-Type of every error. */
export const PROBLEM_JSON = "application/problem+json";

export const problemSchema = z.object({
  type: z.string().openapi({ description: "Which problem it is; compare this", example: "/docs#invalid-request" }),
  title: z.string().openapi({ description: "The same for every problem of this type" }),
  status: z.number().int(),
  detail: z.string().optional().openapi({ description: "What happened this time" }),
  instance: z.string().optional().openapi({ description: "The path that was asked for" }),
  errors: z.array(z.object({ where: z.string(), problem: z.string() })).optional().openapi({
    description: "Everything at fault, each with its place",
  }),
}).openapi("Problem");

/** The response for one problem. Unavailable ones carry Retry-After. */
export function problem(kind: ProblemKind, options: ProblemOptions = {}): Response {
  const [status, title] = PROBLEMS[kind];
  const { instance, headers } = options;
  const detail = options.detail === undefined ? undefined : redact(options.detail);
  const errors = redactAll(options.errors);
  return new Response(JSON.stringify({ type: `/docs#${kind}`, title, status, detail, instance, errors }), {
    status,
    headers: {
      "content-type": PROBLEM_JSON,
      "cache-control": "no-store",
      ...(status === 503 ? { "retry-after": RETRY_AFTER_SECONDS } : {}),
      ...headers,
    },
  });
}

/** Thrown inside a handler to answer with a problem. */
export class ProblemException extends Error {
  override readonly name = "ProblemException";
  readonly kind: ProblemKind;
  readonly options: ProblemOptions;

  constructor(kind: ProblemKind, options: ProblemOptions = {}) {
    super(options.detail ?? PROBLEMS[kind][1]);
    this.kind = kind;
    this.options = options;
  }
}

/** OpenAPI `responses` entries for the problems a route can answer, one per status. */
export function problemResponses(...kinds: ProblemKind[]) {
  const responses: Record<number, { description: string; content: Record<string, { schema: typeof problemSchema }> }> =
    {};
  for (const kind of kinds) {
    const [status, title] = PROBLEMS[kind];
    const said = responses[status]?.description;
    responses[status] = {
      description: said ? `${said}; or: ${title} (${kind})` : `${title} (${kind})`,
      content: { [PROBLEM_JSON]: { schema: problemSchema } },
    };
  }
  return responses;
}
