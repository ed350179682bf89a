import { createRoute, type OpenAPIHono, type z } from "@hono/zod-openapi";
import { isoTime } from "../../pipeline/codec/time_text.ts";
import type { PartitionStatus, PipelineStatus } from "../../pipeline/runtime/status.ts";
import type { AppDeps, PipelineInfo } from "../deps.ts";
import { ProblemException, problemResponses } from "../problem.ts";
import { typeName } from "../result_json.ts";
import { pipelineListSchema, pipelineParamSchema, pipelineSchema } from "../schemas.ts";
import { redact } from "../security/redact.ts";

type PipelineJson = z.infer<typeof pipelineSchema>;

const list = createRoute({
  method: "get",
  path: "/v1/pipelines",
  tags: ["Pipelines"],
  summary: "All pipelines and how they are doing",
  responses: {
    200: {
      description: "One entry per pipeline",
      content: { "application/json": { schema: pipelineListSchema } },
    },
    ...problemResponses("no-engine"),
  },
});

const one = createRoute({
  method: "get",
  path: "/v1/pipelines/{name}",
  tags: ["Pipelines"],
  summary: "One pipeline: state, rates, lag per partition, watermark, open windows, last error",
  request: { params: pipelineParamSchema },
  responses: {
    200: { description: "How it is doing", content: { "application/json": { schema: pipelineSchema } } },
    ...problemResponses("unknown-pipeline", "no-engine", "unavailable"),
  },
});

/** `/v1/pipelines` and `/v1/pipelines/:name`. */
export function pipelineRoutes(app: OpenAPIHono, { engine, pipelines }: AppDeps): void {
  const info = new Map(pipelines.map((pipeline) => [pipeline.name, pipeline]));
  const noStore = { "cache-control": "no-store" };

  app.openapi(list, (c) => {
    if (!engine) throw new ProblemException("no-engine");
    return c.json(
      { pipelines: engine.status().map((status) => statusJson(status, info.get(status.name))) },
      200,
      noStore,
    );
  });

  app.openapi(one, (c) => {
    if (!engine) throw new ProblemException("no-engine");
    const { name } = c.req.valid("param");
    const status = engine.status().find((status) => status.name === name);
    if (!status && info.has(name)) throw new ProblemException("unavailable", { detail: `${name} is not started yet` });
    if (!status) throw unknownPipeline(name, pipelines);
    return c.json(statusJson(status, info.get(name)), 200, noStore);
  });
}

/** The 404 for a pipeline that does not exist, naming those that do. */
export function unknownPipeline(name: string, pipelines: readonly PipelineInfo[]): ProblemException {
  const known = pipelines.map((pipeline) => pipeline.name).join(", ");
  return new ProblemException("unknown-pipeline", {
    detail: `there is no pipeline ${JSON.stringify(name)}; ${known ? `there are: ${known}` : "none is defined"}`,
  });
}

function statusJson(status: PipelineStatus, info: PipelineInfo | undefined): PipelineJson {
  const { watermarkMs, checkpointAtMs, lastError, lagRecords, partitions, definition, ...same } = status;
  return {
    ...same,
    lagRecords: known(lagRecords),
    reason: same.reason && redact(same.reason),
    lastError: lastError && { at: isoTime(lastError.atMs)!, message: redact(lastError.message) },
    watermark: iso(watermarkMs),
    checkpointAt: iso(checkpointAtMs),
    partitions: partitions.map(partitionJson),
    definition: { ...definition, groupBy: [...definition.groupBy], sinks: [...definition.sinks] },
    columns: (info?.columns ?? []).map(({ name, role, type }) => ({
      name,
      role,
      type: typeName(type),
      nullable: type.nullable,
    })),
  };
}

function partitionJson(
  { partition, position, end, lagRecords, lagSeconds, watermarkMs, idle }: PartitionStatus,
): PipelineJson["partitions"][number] {
  const watermark = iso(watermarkMs);
  return { partition, position, end: known(end), lagRecords: known(lagRecords), lagSeconds, watermark, idle };
}

/** -1 stands for unknown inside; JSON says so with null. */
function known(value: number): number | null {
  return value < 0 ? null : value;
}

/** ISO 8601, or null for null and for what no Date can hold (a watermark of minus infinity). */
function iso(ms: number | null): string | null {
  return ms === null ? null : isoTime(ms);
}
