import { createRoute, type OpenAPIHono, z } from "@hono/zod-openapi";
import type { AppDeps } from "../deps.ts";
import { ProblemException, problemResponses } from "../problem.ts";
import { problemOf } from "../sql_answers.ts";
import {
  forgottenSchema,
  queryBodySchema,
  queryIdHeaderSchema,
  queryNameSchema,
  RESERVED_NAMES,
  savedQueriesSchema,
  savedQuerySchema,
} from "../sql_schemas.ts";
import {
  type Format,
  FORMATS,
  type Parameter,
  type QueryStore,
  type SavedQuery,
  SqlError,
  type SqlService,
} from "../sql/service.ts";
import { answered, ANSWERS } from "./sql.ts";

const list = createRoute({
  method: "get",
  path: "/v1/queries",
  tags: ["SQL"],
  summary: "Saved questions",
  responses: {
    200: { description: "All of them", content: { "application/json": { schema: savedQueriesSchema } } },
    ...problemResponses("no-lake"),
  },
});

const ask = createRoute({
  method: "get",
  path: "/v1/queries/{name}",
  tags: ["SQL"],
  summary: "Ask a saved question; its parameters are the address's",
  description: "`format` and `limit` as for /v1/sql, every other parameter of the address is one of the question's.",
  request: { params: queryNameSchema, headers: queryIdHeaderSchema },
  responses: {
    200: ANSWERS,
    ...problemResponses(
      "invalid-request",
      "invalid-sql",
      "unknown-query",
      "no-lake",
      "not-acceptable",
      "query-cancelled",
      "query-limit",
      "too-many-queries",
      "unavailable",
    ),
  },
});

const put = createRoute({
  method: "put",
  path: "/v1/queries/{name}",
  tags: ["SQL"],
  summary: "Save a question, or replace one",
  description: "It is checked as if it were asked: it has to be one SELECT, with a parameter for each `$name`.",
  request: {
    params: queryNameSchema,
    body: { required: true, content: { "application/json": { schema: queryBodySchema } } },
  },
  responses: {
    200: { description: "It is saved", content: { "application/json": { schema: savedQuerySchema } } },
    ...problemResponses(
      "invalid-request",
      "malformed-json",
      "invalid-sql",
      "no-lake",
      "body-too-large",
      "unsupported-media-type",
      "query-limit",
      "too-many-queries",
      "unavailable",
    ),
  },
});

const remove = createRoute({
  method: "delete",
  path: "/v1/queries/{name}",
  tags: ["SQL"],
  summary: "Forget a saved question",
  request: { params: queryNameSchema },
  responses: {
    200: { description: "It is forgotten", content: { "application/json": { schema: forgottenSchema } } },
    ...problemResponses("invalid-request", "unknown-query", "no-lake"),
  },
});

/** `/v1/queries`. */
export function queryRoutes(app: OpenAPIHono, { sql: service, queries: store }: AppDeps): void {
  const here = (): { readonly service: SqlService; readonly store: QueryStore } => {
    if (!service || !store) throw new ProblemException("no-lake");
    return { service, store };
  };

  app.openapi(list, async (c) => {
    const queries = await here().store.list();
    return c.json({ queries: queries.map(queryJson) }, 200, { "cache-control": "no-store" });
  });

  app.openapi(ask, async (c) => {
    const { name } = c.req.valid("param");
    const { service, store } = here();
    const query = (await store.list()).find((one) => one.name === name);
    if (query === undefined) throw unknown(name);
    const given = new URL(c.req.url).searchParams;
    const format = formatOf(given);
    const limit = limitOf(given);
    const parameters = valuesFor(query, given);
    const id = c.req.valid("header")["tailrace-query-id"];
    const { signal } = c.req.raw;
    return await answered(service, { sql: query.sql, parameters, format, limit }, {
      accept: c.req.header("accept"),
      id,
      signal,
    });
  });

  app.openapi(put, async (c) => {
    const { name } = c.req.valid("param");
    const { sql, about, parameters } = c.req.valid("json");
    const { service, store } = here();
    const query: SavedQuery = { name, sql, about, parameters };
    // A default that is none of its type would fail whoever relies on it.
    const values = Object.fromEntries(parameters.map((one): [string, Parameter] => [
      one.name,
      { type: one.type, value: one.default ?? null },
    ]));
    try {
      await service.check({ sql, parameters: values }, { signal: c.req.raw.signal });
    } catch (error) {
      throw error instanceof SqlError ? problemOf(error, sql) : error;
    }
    if (!await store.put(query)) {
      throw new ProblemException("invalid-request", { detail: "there are too many saved questions: delete one first" });
    }
    return c.json(queryJson(query), 200);
  });

  app.openapi(remove, async (c) => {
    const { name } = c.req.valid("param");
    if (!await here().store.remove(name)) throw unknown(name);
    return c.json({ name, state: "forgotten" as const }, 200);
  });
}

function unknown(name: string): ProblemException {
  return new ProblemException("unknown-query", { detail: `there is no saved question ${name}` });
}

function queryJson({ name, sql, about, parameters }: SavedQuery): z.infer<typeof savedQuerySchema> {
  return { name, sql, about, parameters: parameters.map((one) => ({ ...one })) };
}

function valuesFor({ parameters }: SavedQuery, given: URLSearchParams): Record<string, Parameter> {
  const errors: { where: string; problem: string }[] = [];
  const values: Record<string, Parameter> = {};
  for (const { name, type, default: fallback } of parameters) {
    const [value, ...more] = given.getAll(name);
    if (more.length > 0) errors.push({ where: `query.${name}`, problem: "is given more than once" });
    else if (value === undefined && fallback === undefined) {
      errors.push({ where: `query.${name}`, problem: `has to be given: ${type}` });
    } else values[name] = { type, value: value ?? fallback! };
  }
  for (const name of new Set(given.keys())) {
    if (RESERVED_NAMES.includes(name) || parameters.some((one) => one.name === name)) continue;
    const all = parameters.map((one) => one.name).join(", ") || "none";
    errors.push({ where: `query.${name}`, problem: `is no parameter of this question; it has: ${all}` });
  }
  if (errors.length > 0) throw new ProblemException("invalid-request", { errors });
  return values;
}

function formatOf(given: URLSearchParams): Format | undefined {
  const format = given.get("format");
  if (format === null) return undefined;
  const known = FORMATS.find((one) => one === format);
  if (known !== undefined) return known;
  throw new ProblemException("invalid-request", {
    errors: [{ where: "query.format", problem: `must be one of ${FORMATS.join(", ")}` }],
  });
}

function limitOf(given: URLSearchParams): number | undefined {
  const limit = given.get("limit");
  if (limit === null) return undefined;
  if (/^[1-9]\d{0,7}$/.test(limit)) return Number(limit);
  throw new ProblemException("invalid-request", {
    errors: [{ where: "query.limit", problem: "must be a whole number from 1" }],
  });
}
