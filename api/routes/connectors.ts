import { createRoute, type OpenAPIHono } from "@hono/zod-openapi";
import { ConfigError } from "../../pipeline/errors.ts";
import type { ConnectorControl, ConnectorStatus } from "../../pipeline/runtime/connector_status.ts";
import {
  connectorJson,
  connectorParamSchema,
  connectorSchema,
  connectorsSchema,
  limitSchema,
  rejectedJson,
  rejectedQuerySchema,
  rejectedSchema,
} from "../connector_schemas.ts";
import type { AppDeps } from "../deps.ts";
import { ProblemException, problemResponses } from "../problem.ts";
import { within } from "../within.ts";

/** A stop takes as long as the other side takes for what is under way. */
const ANSWER_MS = 30_000;
const NO_STORE = { "cache-control": "no-store" };

const list = createRoute({
  method: "get",
  path: "/v1/connectors",
  tags: ["Connectors"],
  summary: "Sources and deliveries: what each reads, writes, and waits for",
  responses: {
    200: { description: "All of them", content: { "application/json": { schema: connectorsSchema } } },
    ...problemResponses("no-engine"),
  },
});

const oneAnswer = {
  description: "The source or delivery",
  content: { "application/json": { schema: connectorSchema } },
};

const show = createRoute({
  method: "get",
  path: "/v1/connectors/{name}",
  tags: ["Connectors"],
  summary: "One source or delivery",
  request: { params: connectorParamSchema },
  responses: { 200: oneAnswer, ...problemResponses("unknown-connector", "no-engine") },
});

const stop = createRoute({
  method: "post",
  path: "/v1/connectors/{name}/stop",
  tags: ["Connectors"],
  summary: "Stop a source or delivery; it rests until it is started, and then goes on where it was",
  request: { params: connectorParamSchema },
  responses: { 200: oneAnswer, ...problemResponses("unknown-connector", "no-engine", "unavailable") },
});

const start = createRoute({
  method: "post",
  path: "/v1/connectors/{name}/start",
  tags: ["Connectors"],
  summary: "Start a source or delivery that rests or gave up",
  request: { params: connectorParamSchema },
  responses: { 200: oneAnswer, ...problemResponses("unknown-connector", "no-engine", "unavailable") },
});

const limit = createRoute({
  method: "put",
  path: "/v1/connectors/{name}/limit",
  tags: ["Connectors"],
  summary: "Let a source or delivery go only so fast, until its process ends or it is told otherwise",
  request: {
    params: connectorParamSchema,
    body: { required: true, content: { "application/json": { schema: limitSchema } } },
  },
  responses: {
    200: oneAnswer,
    ...problemResponses(
      "invalid-request",
      "malformed-json",
      "unknown-connector",
      "body-too-large",
      "unsupported-media-type",
      "no-engine",
    ),
  },
});

const rejected = createRoute({
  method: "get",
  path: "/v1/connectors/{name}/rejected",
  tags: ["Connectors"],
  summary: "The newest records that a source or delivery rejected, each with why and where it was",
  description: "Of the last 4,096 offsets of each partition of `<topic>.rejected`, or `<topic>.dead` of a delivery.",
  request: { params: connectorParamSchema, query: rejectedQuerySchema },
  responses: {
    200: { description: "Newest first", content: { "application/json": { schema: rejectedSchema } } },
    ...problemResponses("invalid-request", "unknown-connector", "not-set-up", "no-engine", "unavailable"),
  },
});

/** `/v1/connectors`: looks at sources and deliveries, stops, starts and slows them. Answers within `answerMs`. */
export function connectorRoutes(
  app: OpenAPIHono,
  { connectors }: AppDeps,
  { answerMs = ANSWER_MS }: { readonly answerMs?: number } = {},
): void {
  const all = (): ConnectorControl => {
    if (!connectors) throw new ProblemException("no-engine");
    return connectors;
  };
  const find = (name: string): ConnectorStatus => {
    const statuses = all().status();
    const found = statuses.find((status) => status.name === name);
    if (found) return found;
    throw unknownConnector(name, statuses);
  };
  const answered = (name: string, work: Promise<void>) =>
    within(answerMs, `${name} is still at what it was told before, or waits for others: ask again`, work);

  app.openapi(list, (c) => c.json({ connectors: all().status().map(connectorJson) }, 200, NO_STORE));

  app.openapi(show, (c) => c.json(connectorJson(find(c.req.valid("param").name)), 200, NO_STORE));

  app.openapi(stop, async (c) => {
    const { name } = find(c.req.valid("param").name);
    await answered(name, all().stop(name));
    return c.json(connectorJson(find(name)), 200);
  });

  app.openapi(start, async (c) => {
    const { name } = find(c.req.valid("param").name);
    await answered(name, all().start(name));
    return c.json(connectorJson(find(name)), 200);
  });

  app.openapi(rejected, async (c) => {
    const { name } = find(c.req.valid("param").name);
    const { limit } = c.req.valid("query");
    const ended = new AbortController();
    try {
      const reading = all().rejected(name, { limit, signal: ended.signal });
      const found = await within(
        answerMs,
        `the topic of what ${name} rejected cannot be read in time: ask again`,
        reading,
      );
      return c.json(rejectedJson(name, found), 200, NO_STORE);
    } catch (error) {
      // Of no use to ask again before it is.
      if (error instanceof ConfigError) throw new ProblemException("not-set-up", { detail: error.message });
      throw error;
    } finally {
      ended.abort();
    }
  });

  app.openapi(limit, (c) => {
    const { name } = find(c.req.valid("param").name);
    all().limit(name, c.req.valid("json").perSecond);
    return c.json(connectorJson(find(name)), 200);
  });
}

/** The 404 for a source or delivery that does not exist, naming those that do. */
export function unknownConnector(name: string, statuses: readonly ConnectorStatus[]): ProblemException {
  const names = statuses.map((status) => status.name).join(", ") || "none";
  return new ProblemException("unknown-connector", { detail: `${name} is not one of: ${names}` });
}
