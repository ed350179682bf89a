import { createRoute, type OpenAPIHono, z } from "@hono/zod-openapi";
import type { AppDeps } from "../deps.ts";
import { ProblemException, problemResponses } from "../problem.ts";
import { answerResponse, formatFor, problemOf } from "../sql_answers.ts";
import {
  cancelledSchema,
  queryIdHeaderSchema,
  queryIdSchema,
  relationsSchema,
  sqlAnswerSchema,
  sqlBodySchema,
  sqlQuerySchema,
} from "../sql_schemas.ts";
import { MEDIA_TYPES, type Parameter, type Question, SqlError, type SqlService } from "../sql/service.ts";

const DESCRIPTION =
  "Read-only. The answer's format goes by the Accept header, or by `format`. The headers `Tailrace-Completeness` (JSON) and " +
  "`Tailrace-Query-Id` come with every answer, `Tailrace-Truncated` where it is known before the first byte. An answer that is " +
  "broken off in the middle ends without its last chunk, which clients report as an error.";

/** The 200 of everything that answers a question. */
export const ANSWERS = {
  description: "The answer",
  content: {
    [MEDIA_TYPES.json]: { schema: sqlAnswerSchema },
    [MEDIA_TYPES.ndjson]: { schema: z.string() },
    [MEDIA_TYPES.csv]: { schema: z.string() },
    [MEDIA_TYPES.arrow]: { schema: z.string().openapi({ format: "binary" }) },
    [MEDIA_TYPES.parquet]: { schema: z.string().openapi({ format: "binary" }) },
  },
};

const get = createRoute({
  method: "get",
  path: "/v1/sql",
  tags: ["SQL"],
  summary: "Ask in SQL",
  description: DESCRIPTION,
  request: { query: sqlQuerySchema, headers: queryIdHeaderSchema },
  responses: {
    200: ANSWERS,
    ...problemResponses(
      "invalid-request",
      "invalid-sql",
      "no-lake",
      "not-acceptable",
      "query-cancelled",
      "query-limit",
      "too-many-queries",
      "unavailable",
    ),
  },
});

const post = createRoute({
  method: "post",
  path: "/v1/sql",
  tags: ["SQL"],
  summary: "Ask in SQL, with values for `$name`",
  description: DESCRIPTION,
  request: {
    headers: queryIdHeaderSchema,
    body: { required: true, content: { "application/json": { schema: sqlBodySchema } } },
  },
  responses: {
    200: ANSWERS,
    ...problemResponses(
      "invalid-request",
      "malformed-json",
      "invalid-sql",
      "no-lake",
      "not-acceptable",
      "query-cancelled",
      "body-too-large",
      "unsupported-media-type",
      "query-limit",
      "too-many-queries",
      "unavailable",
    ),
  },
});

const relations = createRoute({
  method: "get",
  path: "/v1/sql/relations",
  tags: ["SQL"],
  summary: "What can be asked: tables and their columns",
  responses: {
    200: { description: "All of them", content: { "application/json": { schema: relationsSchema } } },
    ...problemResponses("no-lake", "unavailable"),
  },
});

const cancel = createRoute({
  method: "delete",
  path: "/v1/sql/{id}",
  tags: ["SQL"],
  summary: "Cancel a question that is under way",
  request: { params: queryIdSchema },
  responses: {
    200: {
      description: "It is cancelled: whoever asked it is told so",
      content: { "application/json": { schema: cancelledSchema } },
    },
    ...problemResponses("invalid-request", "unknown-query", "no-lake"),
  },
});

export interface AskedBy {
  readonly accept: string | undefined;
  readonly id: string | undefined;
  /** Aborted when the client goes away. */
  readonly signal: AbortSignal;
}

/** Asks, and makes a response or a problem of what comes of it. */
export async function answered(
  service: SqlService | undefined,
  question: Omit<Question, "format"> & { readonly format?: Question["format"] },
  { accept, id, signal }: AskedBy,
): Promise<Response> {
  if (!service) throw new ProblemException("no-lake");
  const format = formatFor(accept, question.format);
  try {
    return answerResponse(await service.ask({ ...question, format }, { id, signal }));
  } catch (error) {
    throw error instanceof SqlError ? problemOf(error, question.sql) : error;
  }
}

/** `/v1/sql`. */
export function sqlRoutes(app: OpenAPIHono, { sql: service }: AppDeps): void {
  app.openapi(get, async (c) => {
    const { q, format, limit } = c.req.valid("query");
    const id = c.req.valid("header")["tailrace-query-id"];
    const { signal } = c.req.raw;
    return await answered(service, { sql: q, format, limit }, { accept: c.req.header("accept"), id, signal });
  });

  app.openapi(post, async (c) => {
    const { sql, parameters = {}, format, limit } = c.req.valid("json");
    const id = c.req.valid("header")["tailrace-query-id"];
    const { signal } = c.req.raw;
    const values = Object.fromEntries(Object.entries(parameters).map(([name, value]) => [name, parameterOf(value)]));
    const question = { sql, parameters: values, format, limit };
    return await answered(service, question, { accept: c.req.header("accept"), id, signal });
  });

  app.openapi(relations, async (c) => {
    if (!service) throw new ProblemException("no-lake");
    const all = await service.relations({ signal: c.req.raw.signal });
    const told = all.map(({ schema, name, columns, about }) => ({
      name: schema === null ? name : `${schema}.${name}`,
      columns: columns.map(({ name, type }) => ({ name, type })),
      about,
    }));
    return c.json({ relations: told }, 200, { "cache-control": "no-store" });
  });

  app.openapi(cancel, (c) => {
    if (!service) throw new ProblemException("no-lake");
    const { id } = c.req.valid("param");
    if (!service.cancel(id)) throw new ProblemException("unknown-query");
    return c.json({ id, state: "cancelled" as const }, 200);
  });
}

type Scalar = string | number | boolean | null;

/** A JSON value as what it says it is. */
function parameterOf(given: Scalar | { readonly type: Parameter["type"]; readonly value: Scalar }): Parameter {
  if (given !== null && typeof given === "object") {
    return { type: given.type, value: given.value === null ? null : String(given.value) };
  }
  if (given === null) return { type: "string", value: null };
  const type = typeof given === "boolean"
    ? "boolean"
    : typeof given === "string"
    ? "string"
    : Number.isSafeInteger(given)
    ? "integer"
    : "double";
  return { type, value: String(given) };
}
