import { createRoute, type OpenAPIHono, type z } from "@hono/zod-openapi";
import type { BackfillResult } from "../../pipeline/backfill/backfill.ts";
import type { BackfillDesk, BackfillJob } from "../backfill_desk.ts";
import { backfillBodySchema, type backfillResultSchema, backfillSchema } from "../backfill_schemas.ts";
import type { AppDeps } from "../deps.ts";
import { ProblemException, problemResponses } from "../problem.ts";
import { pipelineParamSchema } from "../schemas.ts";
import { within } from "../within.ts";
import { unknownPipeline } from "./pipelines.ts";

/** What is ended lets a write end first. */
const ANSWER_MS = 30_000;

const path = "/v1/pipelines/{name}/backfill";
const answer = (description: string) => ({ description, content: { "application/json": { schema: backfillSchema } } });

const begin = createRoute({
  method: "post",
  path,
  tags: ["Pipelines"],
  summary: "Build a pipeline's history from its topic's archive",
  description:
    "Begins it; GET says how far it is. The pipeline rests meanwhile, and goes on from the log at an exact offset of " +
    "each partition. A preview changes nothing, and the pipeline runs on.",
  request: {
    params: pipelineParamSchema,
    body: { required: true, content: { "application/json": { schema: backfillBodySchema } } },
  },
  responses: {
    202: answer("It is under way"),
    ...problemResponses(
      "invalid-request",
      "malformed-json",
      "unknown-pipeline",
      "backfill-conflict",
      "body-too-large",
      "unsupported-media-type",
      "no-engine",
    ),
  },
});

const look = createRoute({
  method: "get",
  path,
  tags: ["Pipelines"],
  summary: "How far a backfill is, or what came of the last one",
  request: { params: pipelineParamSchema },
  responses: {
    200: answer("The last backfill, or preview of one, since the start"),
    ...problemResponses("unknown-pipeline", "no-backfill", "no-engine"),
  },
});

const cancel = createRoute({
  method: "delete",
  path,
  tags: ["Pipelines"],
  summary: "End a backfill; the pipeline goes on from where it was before",
  request: { params: pipelineParamSchema },
  responses: {
    200: answer("It has ended"),
    ...problemResponses("unknown-pipeline", "no-backfill", "no-engine", "unavailable"),
  },
});

/** `/v1/pipelines/{name}/backfill`. */
export function backfillRoutes(
  app: OpenAPIHono,
  { backfill, pipelines }: AppDeps,
  { answerMs = ANSWER_MS }: { readonly answerMs?: number } = {},
): void {
  const noStore = { "cache-control": "no-store" };
  const deskOf = (name: string): BackfillDesk => {
    if (!backfill) throw new ProblemException("no-engine");
    if (!pipelines.some((pipeline) => pipeline.name === name)) throw unknownPipeline(name, pipelines);
    return backfill;
  };
  const there = (job: BackfillJob | null) => {
    if (job === null) throw new ProblemException("no-backfill");
    return jobJson(job);
  };

  app.openapi(begin, (c) => {
    const { name } = c.req.valid("param");
    const { from, to, preview } = c.req.valid("json");
    const job = deskOf(name).begin(name, { fromMs: from, toMs: to, isPreview: preview });
    if (job === null) throw new ProblemException("backfill-conflict", { detail: `${name} is being built already` });
    return c.json(jobJson(job), 202, noStore);
  });

  app.openapi(look, (c) => {
    const { name } = c.req.valid("param");
    return c.json(there(deskOf(name).job(name)), 200, noStore);
  });

  app.openapi(cancel, async (c) => {
    const { name } = c.req.valid("param");
    const ended = deskOf(name).cancel(name);
    return c.json(
      there(await within(answerMs, `the backfill of ${name} has not ended yet: ask again`, ended)),
      200,
      noStore,
    );
  });
}

function jobJson(job: BackfillJob): z.infer<typeof backfillSchema> {
  const { pipeline, isPreview, state, doing, progress, startedMs, endedMs, problem, result } = job;
  return {
    pipeline,
    preview: isPreview,
    state,
    doing,
    progress,
    startedAt: iso(startedMs),
    endedAt: endedMs === null ? null : iso(endedMs),
    problem: problem?.detail ?? null,
    refused: problem?.isRefusal ?? false,
    result: result && resultJson(result),
  };
}

function resultJson(result: BackfillResult): z.infer<typeof backfillResultSchema> {
  const { fromMs, handoverMs, windows, rows, judged, unplaced, archive, doubt, generation, partitions } = result;
  const { records: read, ...ended } = judged;
  return {
    from: iso(fromMs),
    handover: iso(handoverMs),
    windows,
    rows,
    records: { read, ...ended },
    unplaced,
    archive,
    doubt,
    generation,
    partitions: partitions.map(({ isRaised, ...same }) => ({ ...same, silent: isRaised })),
  };
}

function iso(ms: number): string {
  return new Date(ms).toISOString();
}
