import { createRoute, type OpenAPIHono } from "@hono/zod-openapi";
import { type AppDeps, QueryError } from "../deps.ts";
import { ProblemException, problemResponses } from "../problem.ts";
import { pipelineParamSchema, resultPageSchema, resultQuerySchema } from "../schemas.ts";
import { unknownPipeline } from "./pipelines.ts";

const results = createRoute({
  method: "get",
  path: "/v1/pipelines/{name}/results",
  tags: ["Results"],
  summary: "Published results, newest window first",
  description:
    "Pages stay consistent while windows close: a page starts after the last row of the one before, not at a number.",
  request: { params: pipelineParamSchema, query: resultQuerySchema },
  responses: {
    200: { description: "A page of rows", content: { "application/json": { schema: resultPageSchema } } },
    ...problemResponses("invalid-request", "unknown-pipeline", "no-stored-results", "unavailable"),
  },
});

/** `/v1/pipelines/:name/results`. */
export function resultRoutes(app: OpenAPIHono, { pipelines, results: reader }: AppDeps): void {
  app.openapi(results, async (c) => {
    const { name } = c.req.valid("param");
    const info = pipelines.find((pipeline) => pipeline.name === name);
    if (!info) throw unknownPipeline(name, pipelines);
    const query = c.req.valid("query");
    const keys = info.columns.filter((column) => column.role === "key");
    if ((query.key?.length ?? 0) > keys.length) {
      const problem = `${query.key!.length} given, but ${name} has ${keys.length} key column(s)`;
      throw new ProblemException("invalid-request", { errors: [{ where: "query.key", problem }] });
    }
    try {
      const page = await reader.read(name, query);
      return c.json({ pipeline: name, rows: [...page.rows], next: page.next }, 200, { "cache-control": "no-store" });
    } catch (error) {
      if (!(error instanceof QueryError)) throw error;
      if (error.where === "pipeline") throw new ProblemException("no-stored-results", { detail: error.message });
      const errors = [{ where: `query.${error.where}`, problem: error.message }];
      throw new ProblemException("invalid-request", { errors });
    }
  });
}
