import { createRoute, type OpenAPIHono, z } from "@hono/zod-openapi";
import { ProblemException, problemResponses } from "../problem.ts";
import type { AuditLog } from "../security/audit.ts";
import { ROLES } from "../security/roles.ts";
import type { SettingShown } from "../security/security.ts";

const AUDIT_LIMIT_MAX = 1_000;

const config = createRoute({
  method: "get",
  path: "/v1/config",
  tags: ["Operations"],
  summary: "Every setting, its value and where it came from",
  description: "Passwords and keys show as `***`.",
  responses: {
    200: {
      description: "The settings in effect",
      content: {
        "application/json": {
          schema: z.object({
            settings: z.array(
              z.object({
                name: z.string().openapi({ description: "As a flag and in the configuration file", example: "port" }),
                variable: z.string().openapi({ example: "TAILRACE_PORT" }),
                value: z.string().openapi({ example: "8000" }),
                origin: z.enum(["default", "environment", "file", "flag"]),
              }).openapi("Setting"),
            ),
          }),
        },
      },
    },
    ...problemResponses("no-engine"),
  },
});

const auditLog = createRoute({
  method: "get",
  path: "/v1/audit-log",
  tags: ["Operations"],
  summary: "What operators and admins did, newest first",
  request: {
    query: z.strictObject({
      limit: z.string().regex(/^[1-9]\d{0,3}$/, "must be a whole number from 1 to 1000").transform(Number).refine(
        (limit) => limit <= AUDIT_LIMIT_MAX,
        "must be a whole number from 1 to 1000",
      ).default(100).openapi({ type: "integer", minimum: 1, maximum: AUDIT_LIMIT_MAX, default: 100 }),
    }),
  },
  responses: {
    200: {
      description: "The newest entries",
      content: {
        "application/json": {
          schema: z.object({
            entries: z.array(
              z.object({
                time: z.string().openapi({ format: "date-time" }),
                who: z.string().openapi({ description: "The key's name; `local` where no keys are set" }),
                role: z.enum(ROLES).nullable(),
                from: z.string().openapi({ description: "The client's address" }),
                method: z.string(),
                path: z.string(),
                status: z.number().int().openapi({ description: "Status of the answer" }),
              }).openapi("AuditEntry"),
            ),
          }),
        },
      },
    },
    ...problemResponses("invalid-request", "no-engine"),
  },
});

export interface ConfigRoutesOptions {
  readonly settings: (() => readonly SettingShown[]) | null;
  readonly audit: AuditLog | null;
}

/** `/v1/config` and `/v1/audit-log`. */
export function configRoutes(app: OpenAPIHono, { settings, audit }: ConfigRoutesOptions): void {
  const noStore = { "cache-control": "no-store" };

  app.openapi(config, (c) => {
    if (!settings) throw new ProblemException("no-engine");
    return c.json({ settings: [...settings()] }, 200, noStore);
  });

  app.openapi(auditLog, async (c) => {
    if (!audit) throw new ProblemException("no-engine");
    return c.json({ entries: [...await audit.read(c.req.valid("query").limit)] }, 200, noStore);
  });
}
