import { createRoute, type OpenAPIHono, type z } from "@hono/zod-openapi";
import { ConfigError, ConflictError } from "../../pipeline/errors.ts";
import type { RewindPreview, RewindTarget } from "../../pipeline/runtime/rewind.ts";
import { limitSchema } from "../connector_schemas.ts";
import type { AppDeps, PipelineControl } from "../deps.ts";
import { rewindBodySchema, rewindSchema, runStateSchema } from "../operation_schemas.ts";
import { ProblemException, problemResponses } from "../problem.ts";
import { pipelineParamSchema } from "../schemas.ts";
import { within } from "../within.ts";
import { unknownPipeline } from "./pipelines.ts";

/** A stop takes some seconds, and as long as what was told before it. */
const ANSWER_MS = 30_000;

const stop = createRoute({
  method: "post",
  path: "/v1/pipelines/{name}/stop",
  tags: ["Pipelines"],
  summary: "Stop a pipeline, with a last commit; it rests until it is started",
  request: { params: pipelineParamSchema },
  responses: {
    200: { description: "It rests", content: { "application/json": { schema: runStateSchema } } },
    ...problemResponses("unknown-pipeline", "no-engine", "unavailable"),
  },
});

const start = createRoute({
  method: "post",
  path: "/v1/pipelines/{name}/start",
  tags: ["Pipelines"],
  summary: "Start a pipeline that was stopped, or gave up, from its last commit",
  request: { params: pipelineParamSchema },
  responses: {
    200: { description: "It starts", content: { "application/json": { schema: runStateSchema } } },
    ...problemResponses("unknown-pipeline", "no-engine", "unavailable"),
  },
});

const limit = createRoute({
  method: "put",
  path: "/v1/pipelines/{name}/limit",
  tags: ["Pipelines"],
  summary: "Let a pipeline read only so fast, until its process ends or it is told otherwise",
  request: {
    params: pipelineParamSchema,
    body: { required: true, content: { "application/json": { schema: limitSchema } } },
  },
  responses: {
    200: { description: "The limit from now on", content: { "application/json": { schema: limitSchema } } },
    ...problemResponses(
      "invalid-request",
      "malformed-json",
      "unknown-pipeline",
      "body-too-large",
      "unsupported-media-type",
      "no-engine",
    ),
  },
});

const rewind = createRoute({
  method: "post",
  path: "/v1/pipelines/{name}/rewind",
  tags: ["Pipelines"],
  summary: "Let a stopped pipeline compute windows again, as a new revision",
  description:
    "Whole windows, each from all of its records. Rows replace those that are there; nothing is there twice. " +
    "Takes effect when the pipeline is started.",
  request: {
    params: pipelineParamSchema,
    body: { required: true, content: { "application/json": { schema: rewindBodySchema } } },
  },
  responses: {
    200: { description: "What is computed again", content: { "application/json": { schema: rewindSchema } } },
    ...problemResponses(
      "invalid-request",
      "malformed-json",
      "unknown-pipeline",
      "pipeline-running",
      "body-too-large",
      "unsupported-media-type",
      "out-of-reach",
      "no-engine",
      "unavailable",
    ),
  },
});

/** Stops, starts and rewinds; answers within `answerMs`. */
export function controlRoutes(
  app: OpenAPIHono,
  { engine, pipelines }: AppDeps,
  { answerMs = ANSWER_MS }: { readonly answerMs?: number } = {},
): void {
  const of = (name: string): PipelineControl => {
    if (!engine) throw new ProblemException("no-engine");
    if (!engine.status().some((status) => status.name === name)) throw unknownPipeline(name, pipelines);
    return engine.control;
  };
  const answered = <T>(name: string, work: Promise<T>) =>
    within(answerMs, `${name} is still at what it was told before, or waits for others: ask again`, work);

  app.openapi(stop, async (c) => {
    const { name } = c.req.valid("param");
    await answered(name, of(name).stop(name));
    return c.json({ pipeline: name, state: "stopped" as const }, 200);
  });

  app.openapi(start, async (c) => {
    const { name } = c.req.valid("param");
    await answered(name, of(name).start(name));
    return c.json({ pipeline: name, state: "starting" as const }, 200);
  });

  app.openapi(limit, (c) => {
    const { name } = c.req.valid("param");
    const { perSecond } = c.req.valid("json");
    of(name).limit(name, perSecond);
    return c.json({ perSecond }, 200);
  });

  app.openapi(rewind, async (c) => {
    const { name } = c.req.valid("param");
    const body = c.req.valid("json");
    const control = of(name);
    const target = targetOf(body);
    try {
      const work = body.preview ? control.previewRewind(name, target) : control.rewind(name, target);
      const told = await answered(name, work);
      if (told === null) {
        throw new ProblemException("pipeline-running", { detail: `POST /v1/pipelines/${name}/stop first` });
      }
      return c.json(rewindJson(told, !body.preview), 200);
    } catch (error) {
      if (error instanceof ConfigError) throw new ProblemException("out-of-reach", { detail: error.message });
      // Elsewhere: it was taken over.
      if (error instanceof ConflictError) throw new ProblemException("pipeline-running", { detail: error.message });
      throw error;
    }
  });
}

function targetOf({ to, offset, partition }: z.infer<typeof rewindBodySchema>): RewindTarget {
  if (to !== undefined) return { kind: "time", timeMs: to };
  return offset === undefined ? { kind: "earliest" } : { kind: "offset", partition, offset };
}

function rewindJson({ fromWindowMs, ...same }: RewindPreview, isDone: boolean): z.infer<typeof rewindSchema> {
  return {
    ...same,
    partitions: [...same.partitions],
    fromWindow: fromWindowMs === null ? null : new Date(fromWindowMs).toISOString(),
    isDone,
  };
}
