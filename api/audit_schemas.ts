/**
 * The shapes of what the audit tells.
 *
 * @module
 */
import { z } from "@hono/zod-openapi";

const LIMIT_MAX = 1000;

const timestamp = z.string().nullable().openapi({ format: "date-time" });
const count = z.number().int();

const counts = {
  wrong: count.openapi({ description: "Rows with another value than the topic's records give" }),
  missing: count.openapi({ description: "Rows that have to be there" }),
  extra: count.openapi({ description: "Rows that the records do not give" }),
};

const place = {
  kind: z.enum(["postgres", "kafka", "lake"]),
  name: z.string().openapi({ description: "The table or topic", example: "account_minute" }),
};

const auditedPipelineSchema = z.object({
  pipeline: z.string(),
  state: z.enum(["agrees", "behind", "differs", "waiting"]).openapi({
    description:
      "`agrees`: every window that can be audited; `behind`: those that were audited do, some were not yet; " +
      "`differs`: there are differences; `waiting`: nothing is audited now, see `reason`",
  }),
  reason: z.string().nullable(),
  windows: z.object({
    audited: count.openapi({ description: "Compared row by row" }),
    agreeing: count,
    differing: count,
    suspected: count.openapi({ description: "With a difference that has to stand a second look" }),
    notAuditable: z.array(z.object({ reason: z.string(), windows: count })),
  }),
  from: timestamp.openapi({ description: "Start of the first window that was audited" }),
  to: timestamp.openapi({ description: "End of the last one" }),
  oldest: timestamp.openapi({
    description: "How far back there is anything to audit; from there on until `from` is left",
  }),
  rows: count.openapi({ description: "Rows compared since the start" }),
  lastPassAt: timestamp,
  differences: z.array(z.object({ ...place, ...counts })).openapi({ description: "Of places that differ" }),
});

export const auditSchema = z.object({ pipelines: z.array(auditedPipelineSchema) }).openapi("Audit");

export const auditParamSchema = z.object({
  pipeline: z.string().openapi({ param: { name: "pipeline", in: "path" }, example: "account_minute" }),
});

export const differencesQuerySchema = z.strictObject({
  limit: z.string({ error: ({ input }) => Array.isArray(input) ? "is given more than once" : undefined })
    .regex(/^\d{1,9}$/, `must be a whole number from 1 to ${LIMIT_MAX}`).transform(Number)
    .refine((limit) => limit >= 1 && limit <= LIMIT_MAX, `must be a whole number from 1 to ${LIMIT_MAX}`)
    .default(100).openapi({ type: "integer", minimum: 1, maximum: LIMIT_MAX, default: 100 }),
});

const row = z.record(z.string(), z.union([z.string(), z.number(), z.boolean(), z.null()])).nullable();

export const differencesSchema = z.object({
  pipeline: z.string(),
  differences: z.array(z.object({
    ...place,
    difference: z.enum(["wrong", "missing", "extra"]),
    window: timestamp.openapi({ description: "Start of its window" }),
    columns: z.array(z.string()).openapi({ description: "Columns that differ" }),
    expected: row.openapi({ description: "The row as the topic's records give it; null for an extra one" }),
    actual: row.openapi({ description: "The row that is there; null for a missing one" }),
    foundAt: timestamp,
  })).openapi({ description: "Newest windows first; a bounded number is kept, all are counted" }),
}).openapi("AuditDifferences");

export const auditRepairSchema = z.object({
  pipeline: z.string(),
  rewritten: count,
  inserted: count,
  deleted: count,
  left: count.openapi({ description: "Differences that are still there" }),
  rewind: z.object({ to: timestamp, command: z.string() }).nullable().openapi({
    description: "What differs in a topic or the lake is put right by computing these windows again, as a new revision",
  }),
}).openapi("AuditRepair");
