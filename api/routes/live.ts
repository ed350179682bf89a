import { createRoute, type OpenAPIHono, z } from "@hono/zod-openapi";
import type { AppDeps } from "../deps.ts";
import type { LiveClientOptions, LiveHub } from "../live.ts";
import { ProblemException, problemResponses } from "../problem.ts";
import { pipelineParamSchema } from "../schemas.ts";
import { unknownPipeline } from "./pipelines.ts";

const DESCRIPTION =
  "Server-sent events. A message is `{pipeline, rows}`, up to 500 rows that were just made durable. " +
  "After a break send the last id as `Last-Event-ID` (browsers do): the stream goes on there, or starts with an event `reset` " +
  "whose `reason` tells why rows may have been missed; read those over /results. A reader that falls too far behind is cut off.";

const request = {
  headers: z.object({
    "last-event-id": z.string().max(256).optional().openapi({
      description: "Id of the last event received",
      param: { in: "header" },
    }),
  }),
};

const responses = {
  200: { description: "The stream; it does not end", content: { "text/event-stream": { schema: z.string() } } },
  ...problemResponses("invalid-request", "no-engine", "too-many-streams"),
};

const all = createRoute({
  method: "get",
  path: "/v1/live",
  tags: ["Results"],
  summary: "Fresh results of all pipelines, as they are written",
  description: DESCRIPTION,
  request,
  responses,
});

const one = createRoute({
  method: "get",
  path: "/v1/pipelines/{name}/results/stream",
  tags: ["Results"],
  summary: "Fresh results of one pipeline, as they are written",
  description: DESCRIPTION,
  request: { ...request, params: pipelineParamSchema },
  responses: { ...responses, ...problemResponses("unknown-pipeline") },
});

/** `/v1/live` and `/v1/pipelines/:name/results/stream`; `hub` is null where no engine runs. */
export function liveRoutes(app: OpenAPIHono, deps: AppDeps, hub: LiveHub | null): void {
  app.openapi(all, (c) => stream(hub, { lastEventId: c.req.valid("header")["last-event-id"] }));

  app.openapi(one, (c) => {
    const { name } = c.req.valid("param");
    if (!deps.pipelines.some((pipeline) => pipeline.name === name)) throw unknownPipeline(name, deps.pipelines);
    return stream(hub, { pipeline: name, lastEventId: c.req.valid("header")["last-event-id"] });
  });
}

function stream(hub: LiveHub | null, options: LiveClientOptions): Response {
  if (!hub) throw new ProblemException("no-engine");
  const body = hub.connect(options);
  if (!body) throw new ProblemException("too-many-streams");
  return new Response(body, {
    headers: {
      "content-type": "text/event-stream; charset=utf-8",
      "cache-control": "no-store",
      "x-accel-buffering": "no", // nginx would hold events back until its buffer is full
    },
  });
}
