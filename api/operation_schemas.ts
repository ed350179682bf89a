/**
 * The shapes of what is asked of pipelines and done to them: ledger, explanations, stops, starts and rewinds.
 *
 * @module
 */
import { z } from "@hono/zod-openapi";
import { parseTime } from "./schemas.ts";

const bucket = z.number().int();

const buckets = {
  consumed: bucket.openapi({ description: "Records read: the sum of all that follow" }),
  aggregated: bucket,
  filtered: bucket.openapi({ description: "Left out by `where`, or without a value" }),
  late: bucket,
  dead: bucket,
  duplicate: bucket,
  inFlight: bucket.openapi({ description: "Read since the last commit" }),
};

export const ledgerQuerySchema = z.strictObject({
  pipeline: z.string().min(1).optional().openapi({ description: "One pipeline only", example: "account_minute" }),
  connector: z.string().min(1).optional().openapi({ description: "One source or delivery only" }),
});

export const ledgerSchema = z.object({
  pipelines: z.array(z.object({
    pipeline: z.string(),
    topic: z.string(),
    ...buckets,
    partitions: z.array(z.object({
      partition: z.number().int(),
      start: z.number().openapi({ description: "The first offset that was read" }),
      position: z.number().openapi({ description: "The offset after the last one committed" }),
      ...buckets,
    })),
  })),
  connectors: z.array(z.object({
    connector: z.string(),
    kind: z.enum(["source", "delivery"]),
    topic: z.string(),
    read: bucket.openapi({ description: "Since the first start, as of the last commit: the sum of all that follow" }),
    written: bucket,
    rejected: bucket.openapi({ description: "In <topic>.rejected, or <topic>.dead of a delivery" }),
    skipped: bucket.openapi({ description: "There already, or no record" }),
  })).openapi({ description: "Sources and deliveries" }),
}).openapi("LedgerPage");

/** Digits that a number holds exactly. */
function wholeNumber(what: string, most: number) {
  return z.string().transform((text, context) => {
    const value = /^\d{1,16}$/.test(text) ? Number(text) : NaN;
    if (value <= most) return value;
    context.addIssue({ code: "custom", message: `must be ${what}: a whole number from 0 to ${most}` });
    return z.NEVER;
  });
}

export const explainQuerySchema = z.strictObject({
  topic: z.string().min(1).openapi({ example: "transactions" }),
  partition: wholeNumber("a partition", 2 ** 31 - 1).openapi({ type: "integer", minimum: 0, example: 0 }),
  offset: wholeNumber("an offset", Number.MAX_SAFE_INTEGER).openapi({ type: "integer", minimum: 0, example: 42 }),
});

const scalar = z.union([z.string(), z.number(), z.boolean(), z.null()]);

export const explanationSchema = z.object({
  topic: z.string(),
  partition: z.number().int(),
  offset: z.number(),
  explanations: z.array(z.object({
    pipeline: z.string(),
    fate: z.enum(["aggregated", "filtered", "late", "dead", "duplicate", "in flight", "not read", "no record"]),
    reason: z.string(),
    window: z.object({ start: z.string(), end: z.string() }).nullable().openapi({
      description: "The window it counts in, or would have counted in",
    }),
    key: z.record(z.string(), scalar).nullable().openapi({ description: "The group key, of a record that counts" }),
    outputs: z.array(z.string()).openapi({
      description: "What carries it: results, or the topic it was set aside in",
      example: ["postgres account_minute", "kafka account-minute"],
    }),
    row: z.record(z.string(), scalar).nullable().openapi({
      description: "The result row it is in, as it is stored now",
    }),
  })).openapi({ description: "One of each pipeline that reads the topic" }),
}).openapi("Explanation");

export const rewindBodySchema = z.strictObject({
  to: z.string().transform((text, context) => {
    const ms = parseTime(text);
    if (ms !== null) return ms;
    context.addIssue({
      code: "custom",
      message: "is neither ISO 8601 (2026-05-01T00:00:00Z) nor milliseconds since the epoch",
    });
    return z.NEVER;
  }).optional().openapi({ type: "string", description: "From the window that holds this time on" }),
  offset: z.number().int().min(0).max(Number.MAX_SAFE_INTEGER).optional().openapi({
    description: "From the windows that have records at this offset of `partition` on",
  }),
  partition: z.number().int().min(0).max(2 ** 31 - 1).default(0),
  earliest: z.literal(true).optional().openapi({ description: "All that the log still holds" }),
  preview: z.boolean().default(false).openapi({ description: "Only say what would be computed again" }),
}).superRefine(({ to, offset, earliest }, context) => {
  if ([to, offset, earliest].filter((target) => target !== undefined).length === 1) return;
  context.addIssue({ code: "custom", message: "name one of `to`, `offset` and `earliest`" });
}).openapi("RewindRequest");

export const rewindSchema = z.object({
  pipeline: z.string(),
  fromWindow: z.string().nullable().openapi({
    description: "The first window computed again; null: all there ever were",
  }),
  generation: z.number().int().openapi({ description: "Goes into the revisions of all rows computed from now on" }),
  isNewTopic: z.boolean(),
  partitions: z.array(z.object({
    partition: z.number().int(),
    from: z.number(),
    to: z.number(),
    offsets: z.number(),
  })),
  isDone: z.boolean().openapi({ description: "False for a preview" }),
}).openapi("Rewind");

export const runStateSchema = z.object({ pipeline: z.string(), state: z.enum(["stopped", "starting"]) }).openapi(
  "RunState",
);
