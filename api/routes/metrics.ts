import { createRoute, type OpenAPIHono, z } from "@hono/zod-openapi";
import type { AppDeps } from "../deps.ts";
import { ProblemException, problemResponses } from "../problem.ts";

const metrics = createRoute({
  method: "get",
  path: "/metrics",
  tags: ["Operations"],
  summary: "Figures for Prometheus",
  responses: {
    200: { description: "Prometheus text exposition", content: { "text/plain": { schema: z.string() } } },
    ...problemResponses("no-engine"),
  },
});

/** `/metrics`. */
export function metricsRoutes(app: OpenAPIHono, { engine }: AppDeps): void {
  app.openapi(metrics, async (c) => {
    if (!engine) throw new ProblemException("no-engine");
    return c.text(await engine.metrics(), 200, {
      "content-type": "text/plain; version=0.0.4; charset=utf-8",
      "cache-control": "no-store",
    });
  });
}
