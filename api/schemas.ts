/**
 * The shapes of requests and responses. The same schemas validate what comes in and make `/openapi.json`.
 *
 * @module
 */
import { z } from "@hono/zod-openapi";

/** Windows start between the years 1 and 9999: what both ISO 8601 with four digits and PostgreSQL take. */
const TIME_MIN_MS = Date.parse("0001-01-01T00:00:00Z");
const TIME_MAX_MS = Date.parse("9999-12-31T23:59:59.999Z");
const ISO = /^\d{4}-\d\d-\d\d(?:T\d\d:\d\d(?::\d\d(?:\.\d{1,6})?)?(Z|[+-]\d\d:\d\d)?)?$/;

/** Milliseconds since the epoch for ISO 8601 (UTC unless it names an offset) or a number of milliseconds; null if neither. */
export function parseTime(text: string): number | null {
  const iso = ISO.exec(text);
  const ms = /^-?\d{1,15}$/.test(text)
    ? Number(text)
    : iso
    ? Date.parse(text.includes("T") && iso[1] === undefined ? `${text}Z` : text)
    : NaN;
  return ms >= TIME_MIN_MS && ms <= TIME_MAX_MS ? ms : null;
}

const LIMIT_MAX = 1000;

/** For parameters that are given once; more of them arrive as an array. */
const ONCE = {
  error: ({ input }: { readonly input?: unknown }) => Array.isArray(input) ? "is given more than once" : undefined,
};

function timeParameter(description: string, example: string) {
  return z.string(ONCE).transform((text, context) => {
    const ms = parseTime(text);
    if (ms !== null) return ms;
    context.addIssue({
      code: "custom",
      message: "is neither ISO 8601 (2026-11-20T21:00:00Z) nor milliseconds since the epoch",
    });
    return z.NEVER;
  }).optional().openapi({ type: "string", description, example });
}

const timestamp = z.string().openapi({ format: "date-time" });
const nullableTimestamp = timestamp.nullable();

export const resultQuerySchema = z.strictObject({
  key: z.preprocess(
    (value) => typeof value === "string" ? [value] : value,
    z.array(z.string().max(8192)).max(32).optional(),
  ).openapi({
    type: "array",
    items: { type: "string" },
    description:
      "Value of a key column. Repeat it for a pipeline with several keys, in their order; fewer match by the first.",
    param: { name: "key", in: "query", style: "form", explode: true, required: false },
  }),
  from: timeParameter(
    "Windows that start at or after this: ISO 8601 (UTC unless it says otherwise) or ms",
    "2026-11-20T21:00:00Z",
  ),
  to: timeParameter("Windows that start before this; later than `from`", "2026-11-20T22:00:00Z"),
  final: z.enum(["true", "false"], {
    error: (issue) => ONCE.error(issue) ?? "must be true or false",
  }).transform((text) => text === "true").optional().openapi({
    type: "string",
    enum: ["true", "false"],
    description: "`true`: only windows that will not change any more; `false`: only those that may",
  }),
  limit: z.string(ONCE).transform((text, context) => {
    const limit = /^\d+$/.test(text) ? Number(text) : NaN;
    if (limit >= 1 && limit <= LIMIT_MAX) return limit;
    context.addIssue({ code: "custom", message: `must be a whole number from 1 to ${LIMIT_MAX}` });
    return z.NEVER;
  }).default(100).openapi({
    type: "integer",
    minimum: 1,
    maximum: LIMIT_MAX,
    default: 100,
    description: "Rows in one page",
  }),
  cursor: z.string(ONCE).min(1).max(16_384).optional().openapi({ description: "`next` of the page before" }),
}).superRefine(({ from, to }, context) => {
  if (from === undefined || to === undefined || from < to) return;
  const iso = (ms: number) => new Date(ms).toISOString();
  const message = `must be before \`to\`, but from is ${iso(from)} and to is ${iso(to)}, so no window can match`;
  context.addIssue({ code: "custom", path: ["from"], message });
});

export const pipelineParamSchema = z.object({
  name: z.string().min(1).openapi({ param: { name: "name", in: "path" }, example: "account_minute" }),
});

export const resultRowSchema = z.record(z.string(), z.union([z.string(), z.number(), z.boolean(), z.null()])).openapi(
  "ResultRow",
  {
    description:
      "One key's result for one window: the keys, window_start, window_end, the selected values, revision, final. " +
      "Decimals are strings with every digit; a long beyond 2^53 is a string; times are ISO 8601 in UTC; bytes are base64.",
    example: {
      account_id: "A-1042",
      window_start: "2026-11-20T21:04:00.000Z",
      window_end: "2026-11-20T21:05:00.000Z",
      n: 3,
      total: "62.50",
      revision: 3,
      final: true,
    },
  },
);

export const resultPageSchema = z.object({
  pipeline: z.string(),
  rows: z.array(resultRowSchema).openapi({ description: "Newest window first, then by key" }),
  next: z.string().nullable().openapi({ description: "Give as `cursor` for the following page; null on the last" }),
}).openapi("ResultPage");

const bucketsSchema = z.object({
  consumed: z.number(),
  aggregated: z.number(),
  filtered: z.number(),
  late: z.number(),
  dead: z.number(),
  duplicate: z.number(),
}).openapi("Ledger", { description: "Where every consumed record ended; consumed is the sum of the others" });

const partitionSchema = z.object({
  partition: z.number().int(),
  position: z.number().openapi({ description: "Next offset to read" }),
  end: z.number().nullable().openapi({ description: "First offset not written yet; null while unknown" }),
  lagRecords: z.number().nullable(),
  lagSeconds: z.number(),
  watermark: nullableTimestamp,
  idle: z.boolean().openapi({
    description: "Read to its end and silent for idleAfter, so it does not hold windows open for long",
  }),
}).openapi("Partition");

export const columnSchema = z.object({
  name: z.string(),
  role: z.enum(["key", "window_start", "window_end", "value", "revision", "final"]),
  type: z.string().openapi({ example: "decimal(38, 2)" }),
  nullable: z.boolean(),
}).openapi("Column");

export const pipelineSchema = z.object({
  name: z.string(),
  topic: z.string(),
  state: z.enum(["starting", "running", "waiting", "failed", "stopped"]).openapi({
    description: "Waiting goes on by itself; failed has to be started, once the reason is mended",
  }),
  reason: z.string().nullable().openapi({ description: "Why it waits or failed; null when all is well" }),
  lastError: z.object({ at: timestamp, message: z.string() }).nullable(),
  rates: z.object({ inPerSecond: z.number(), outPerSecond: z.number() }).openapi({
    description: "Records read and result rows written per second, over the last few seconds",
  }),
  lagRecords: z.number().nullable(),
  lagSeconds: z.number(),
  watermark: nullableTimestamp,
  watermarkDelaySeconds: z.number().nullable(),
  openWindows: z.number(),
  openPanes: z.number(),
  rowsWritten: z.number(),
  epoch: z.number(),
  checkpointAt: nullableTimestamp,
  buckets: bucketsSchema,
  limitPerSecond: z.number().nullable().openapi({
    description: "Records per second that it reads at most; null for as fast as it goes",
  }),
  inFlight: z.number().openapi({ description: "How many of the records consumed were read since the last commit" }),
  partitions: z.array(partitionSchema),
  definition: z.object({
    where: z.string().nullable(),
    groupBy: z.array(z.string()),
    window: z.object({ kind: z.string(), sizeMs: z.number() }),
    select: z.record(z.string(), z.string()),
    sinks: z.array(z.string()),
  }),
  columns: z.array(columnSchema).openapi({ description: "Columns of the results" }),
}).openapi("Pipeline");

export const pipelineListSchema = z.object({ pipelines: z.array(pipelineSchema) }).openapi("PipelineList");

export const readySchema = z.object({
  ready: z.boolean(),
  checks: z.array(z.object({ name: z.string(), ready: z.boolean(), detail: z.string() })),
}).openapi("Readiness");
