/**
 * The shapes of previews.
 *
 * @module
 */
import { z } from "@hono/zod-openapi";

/** Longest time looked back on, minutes: a week. */
const MINUTES_MAX = 7 * 24 * 60;
const TEXT_MAX = 65_536;
/** Parts of a list. */
const LIST_MAX = 1_000;

const text = z.string().max(TEXT_MAX);
const lake = z.strictObject({
  kind: z.literal("lake"),
  table: text.nullable(),
  options: z.strictObject({ flushEvery: text.optional(), flushRows: z.number().optional() }),
});

/** A definition as `pipeline({ .. })` makes it, its schema in full. What it says is checked where its plan is made. */
export const definitionSchema = z.strictObject({
  kind: z.literal("pipeline"),
  name: text,
  from: z.strictObject({
    topic: text,
    options: z.strictObject({
      schema: z.record(z.string(), z.unknown()).openapi({ description: "The Avro schema, in full" }),
      eventTime: text,
      allowedLateness: text.optional(),
      idleAfter: text.optional(),
      partitions: z.number().optional(),
      archive: lake.optional(),
    }),
  }),
  where: text.optional(),
  dedupe: z.strictObject({ by: text, within: text }).optional(),
  deadLetters: z.strictObject({
    stopAt: z.union([z.literal("never"), z.strictObject({ dead: z.number(), of: z.number() })]),
  }).optional(),
  groupBy: z.array(text).max(LIST_MAX),
  window: z.strictObject({ kind: z.literal("tumbling"), size: text }),
  select: z.record(
    text,
    z.strictObject({ aggregate: z.enum(["count", "sum", "avg", "min", "max"]), field: text.nullable() }),
  ),
  emit: z.union([z.literal("final"), z.strictObject({ every: text })]).optional(),
  to: z.array(z.union([
    z.strictObject({ kind: z.literal("postgres"), table: text }),
    z.strictObject({ kind: z.literal("kafka"), topic: text }),
    lake,
  ])).max(LIST_MAX),
}).openapi("Definition");

export const previewBodySchema = z.strictObject({
  definition: definitionSchema,
  minutes: z.number().positive().max(MINUTES_MAX).default(15).openapi({
    description: "Of event time, up to the newest windows that have closed",
  }),
  pipeline: z.string().min(1).optional().openapi({
    description: "The pipeline to compare with; the one of the definition's name where it is left out",
  }),
}).openapi("PreviewRequest");

const count = z.number().int();
const timestamp = z.string().openapi({ format: "date-time" });
const value = z.union([z.string(), z.number(), z.boolean(), z.null()]);

export const previewSchema = z.object({
  pipeline: z.string(),
  comparedWith: z.string().nullable(),
  from: timestamp,
  to: timestamp.openapi({ description: "Windows that start in [from, to) were computed: all have closed" }),
  windows: count,
  rows: count,
  keys: count,
  records: z.object({ read: count, aggregated: count, filtered: count, late: count, duplicate: count }),
  doubt: z.string().nullable().openapi({
    description: "Why the archive may not tell all that the pipeline would read",
  }),
  archive: z.object({ table: z.string(), version: count }),
  columns: z.object({
    added: z.array(z.object({ name: z.string(), type: z.string() })),
    removed: z.array(z.object({ name: z.string(), type: z.string() })),
    retyped: z.array(z.object({ name: z.string(), before: z.string(), after: z.string() })),
  }).nullable(),
  changes: z.array(z.object({ part: z.string(), decidesResults: z.boolean() })),
  difference: z.object({
    before: count,
    after: count,
    same: count,
    changed: count,
    onlyBefore: count,
    onlyAfter: count,
    columns: z.record(z.string(), count).openapi({ description: "By column, how many rows differ in it" }),
    examples: z.array(z.object({
      kind: z.enum(["changed", "only before", "only after"]),
      window: timestamp,
      key: z.record(z.string(), value),
      values: z.array(z.object({ name: z.string(), before: value, after: value })),
    })),
  }).nullable(),
  incomparable: z.string().nullable().openapi({ description: "Why rows were not compared" }),
  state: z.object({
    outlook: z.enum(["new", "nothing saved", "resumes", "recomputes"]),
    rewindFrom: timestamp.nullable().openapi({
      description: "The first window that a rewind to the earliest computes again; null: all, or it cannot",
    }),
    rewindProblem: z.string().nullable(),
    backfillFrom: timestamp.nullable().openapi({ description: "The first window that a backfill may begin with" }),
  }),
}).openapi("Preview");
