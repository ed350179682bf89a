import { createRoute, type OpenAPIHono, z } from "@hono/zod-openapi";
import type { AppDeps } from "../deps.ts";
import { readySchema } from "../schemas.ts";
import { redact } from "../security/redact.ts";

const healthz = createRoute({
  method: "get",
  path: "/healthz",
  tags: ["Operations"],
  summary: "Is the process alive",
  description: "Says nothing about what it depends on; see /readyz for that.",
  responses: {
    200: {
      description: "It is",
      content: { "application/json": { schema: z.object({ status: z.literal("ok"), version: z.string() }) } },
    },
  },
});

const readyz = createRoute({
  method: "get",
  path: "/readyz",
  tags: ["Operations"],
  summary: "Can it do its work: every dependency, each with its state",
  description: "`checks` is empty for a caller without a key, where keys are set.",
  responses: {
    200: { description: "Everything answers", content: { "application/json": { schema: readySchema } } },
    503: { description: "Something is away", content: { "application/json": { schema: readySchema } } },
  },
});

/** `/healthz` and `/readyz`. */
export function healthRoutes(app: OpenAPIHono, deps: AppDeps): void {
  app.openapi(healthz, (c) => c.json({ status: "ok" as const, version: deps.version }, 200));

  app.openapi(readyz, async (c) => {
    const checks = [...await deps.ready()];
    const ready = checks.every((check) => check.ready);
    const shown = c.get("caller").role === null
      ? []
      : checks.map((check) => ({ ...check, detail: redact(check.detail) }));
    return c.json({ ready, checks: shown }, ready ? 200 : 503, { "cache-control": "no-store" });
  });
}
