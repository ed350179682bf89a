/**
 * The shapes of requests for late records and dead letters, and of what is answered.
 *
 * @module
 */
import { z } from "@hono/zod-openapi";
import { CAP_DEFAULT, ITEMS_MAX, PAGE_MAX, PLACES_MAX, RATE_DEFAULT } from "../pipeline/letters/limits.ts";
import { parseTime } from "./schemas.ts";

/** One request writes at most this many; a report's `next` goes on. */
export const CAP_MAX = 10_000;
const RATE_MAX = 100_000;
const TEXT_MAX = 1_000;

const TOPIC = /^[A-Za-z0-9._-]{1,249}$/;
const once = (input: unknown) => Array.isArray(input) ? "is given more than once" : undefined;
const text = z.string({ error: ({ input }) => once(input) }).min(1).max(TEXT_MAX);
const kind = z.enum(["late", "dead"], { error: ({ input }) => once(input) ?? "must be late or dead" });
const topicName = text.regex(TOPIC, "is not a Kafka topic name");

const WHOLE = "must be a whole number from 0";
/** The same filter in a query, where all is text, and in a body. */
const inQuery = {
  whole: z.string({ error: ({ input }) => once(input) }).regex(/^\d{1,15}$/, WHOLE).transform(Number)
    .openapi({ type: "integer", minimum: 0 }),
  flag: z.enum(["true", "false"], { error: ({ input }) => once(input) ?? "must be true or false" })
    .transform((given) => given === "true").openapi({ type: "string", enum: ["true", "false"] }),
};
const inBody = { whole: z.int(WHOLE).min(0, WHOLE), flag: z.boolean() };

const time = z.string({ error: ({ input }) => once(input) }).transform((given, context) => {
  const ms = parseTime(given);
  if (ms !== null) return ms;
  const message = "is neither ISO 8601 (2026-11-20T21:00:00Z) nor milliseconds since the epoch";
  context.addIssue({ code: "custom", message });
  return z.NEVER;
}).openapi({ type: "string", example: "2026-11-20T21:00:00Z" });

function filterFields({ whole, flag }: typeof inQuery | typeof inBody) {
  const number = whole as z.ZodType<number>;
  return {
    kind: kind.optional().openapi({ description: "Both unless told" }),
    topic: topicName.optional().openapi({ description: "The topic the records came from", example: "transactions" }),
    pipeline: text.optional().openapi({ description: "Whose letters", example: "account_minute" }),
    partition: number.optional().openapi({ description: "Partition the records came from" }),
    offsetFrom: number.optional().openapi({ description: "First offset there, at or after this" }),
    offsetTo: number.optional().openapi({ description: "First offset there, before this" }),
    from: time.optional().openapi({ description: "The records' own timestamps, at or after this: ISO 8601 or ms" }),
    to: time.optional().openapi({ description: "The records' own timestamps, before this" }),
    cause: text.optional().openapi({ description: "The cause contains this; capitals count for nothing" }),
    schemaId: number.optional().openapi({ description: "The writer's schema" }),
    attempt: number.optional().openapi({ description: "How often they had been redriven when they were set aside" }),
    redriven: (flag as z.ZodType<boolean>).optional().openapi({ description: "Whether they were redriven since" }),
  };
}

export const letterQuerySchema = z.strictObject({
  ...filterFields(inQuery),
  order: z.enum(["newest", "oldest"], { error: ({ input }) => once(input) ?? "must be newest or oldest" })
    .default("newest").openapi({ description: "By the records' own timestamps; within a partition by offset" }),
  limit: z.string({ error: ({ input }) => once(input) }).regex(
    /^\d{1,9}$/,
    `must be a whole number from 1 to ${PAGE_MAX}`,
  )
    .transform(Number).refine(
      (limit) => limit >= 1 && limit <= PAGE_MAX,
      `must be a whole number from 1 to ${PAGE_MAX}`,
    )
    .default(100).openapi({ type: "integer", minimum: 1, maximum: PAGE_MAX, default: 100 }),
  cursor: z.string({ error: ({ input }) => once(input) }).min(1).max(16_384).optional()
    .openapi({ description: "`next` of the page before, asked with the same filter and order" }),
});

export const letterPlaceSchema = z.object({
  kind: kind.openapi({ param: { name: "kind", in: "path" }, example: "late" }),
  topic: topicName.openapi({ param: { name: "topic", in: "path" }, example: "transactions" }),
  partition: inQuery.whole.openapi({ param: { name: "partition", in: "path" }, type: "integer", example: 0 }),
  offset: inQuery.whole.openapi({ param: { name: "offset", in: "path" }, type: "integer", example: 0 }),
});

const timestamp = z.string().nullable().openapi({ format: "date-time" });
const offset = z.number().int();

const letterFields = {
  kind,
  topic: z.string().openapi({ description: "The topic the record came from" }),
  partition: offset.openapi({ description: "Where the letter is in `<topic>.<kind>`" }),
  offset: offset.openapi({ description: "Where the letter is in `<topic>.<kind>`" }),
  pipeline: z.string().nullable().openapi({ description: "Whose letter it is; null for a record of others" }),
  source: z.object({ topic: z.string(), partition: offset, offset }).nullable().openapi({
    description: "Where the record was that was set aside; null for a record of others",
  }),
  originalOffset: offset.nullable().openapi({ description: "Where it lay at the very first, before any redrive" }),
  timestamp: timestamp.openapi({ description: "The record's own" }),
  cause: z.string().openapi({ description: "Why it was set aside" }),
  schemaId: z.number().int().nullable().openapi({ description: "The writer's schema, where it could be read" }),
  attempt: z.number().int().openapi({ description: "How often it had been redriven when it was set aside" }),
  redriven: z.boolean().openapi({ description: "Whether it was redriven since" }),
  windowStart: timestamp.openapi({ description: "Start of the window it would have counted in" }),
  key: z.object({ bytes: z.number().int(), start: z.string() }).nullable().openapi({
    description: "The key's length, and how it begins as text",
  }),
  valueBytes: z.number().int().nullable(),
};

export const letterSchema = z.object(letterFields).openapi("Letter", {
  description: "A late record or dead letter, without its bytes",
});

export const letterPageSchema = z.object({
  letters: z.array(letterSchema),
  next: z.string().nullable().openapi({
    description:
      "Give as `cursor` for the following page; null on the last. A search that finds little ends short of the limit",
  }),
}).openapi("LetterPage");

const bytesSchema = z.object({
  bytes: z.number().int().openapi({ description: "How many there are" }),
  text: z.string().nullable().openapi({ description: "As UTF-8; null when they are not" }),
  hex: z.string(),
  base64: z.string(),
  truncated: z.boolean().openapi({ description: "Only the first of them are shown" }),
}).openapi("Bytes");

export const letterDetailSchema = z.object({
  ...letterFields,
  keyBytes: bytesSchema.nullable(),
  value: bytesSchema.nullable(),
  headers: z.array(z.object({ name: z.string(), value: bytesSchema.nullable() })).openapi({
    description: "The record's own, in order; those that setting it aside added are told by the fields here",
  }),
  headersTotal: z.number().int().openapi({ description: "How many headers the record has; the first are shown" }),
  decoded: z.unknown().openapi({ description: "The value as JSON, as far as it decodes with its schema" }),
  fault: z.string().nullable().openapi({ description: "Why it decodes no further; null when it does" }),
  attempts: z.number().int().openapi({ description: "How often the original was redriven, by all its letters" }),
  window: z.object({ start: timestamp, end: timestamp }).nullable().openapi({
    description: "The window it would have counted in",
  }),
}).openapi("LetterDetail");

const placeInBody = z.strictObject({ kind, topic: topicName, partition: inBody.whole, offset: inBody.whole });

export const redriveSchema = z.strictObject({
  selection: z.union([
    z.strictObject({ letters: z.array(placeInBody).min(1).max(PLACES_MAX) }),
    z.strictObject({ filter: z.strictObject(filterFields(inBody)) }),
  ]).openapi({ description: "Letters by their places, or all that a filter finds, oldest first; `{}` finds all" }),
  dryRun: z.boolean().default(false).openapi({ description: "Only tell what would happen" }),
  edit: z.strictObject({
    value: z.unknown().optional().openapi({ description: "The new value as JSON" }),
    schema: z.union([z.enum(["letter", "newest"]), inBody.whole]).default("letter").openapi({
      description: "What `value` is encoded with: the letter's own, the newest of its topic, or the one with this id",
    }),
    base64: z.base64("is not base64").optional().openapi({ description: "Or the new bytes, framing included" }),
  }).refine(({ value, base64 }) => (value === undefined) !== (base64 === undefined), "is either a `value` or `base64`")
    .optional().openapi({ description: "Another value, for one letter" }),
  cap: z.int().min(1).max(CAP_MAX).default(CAP_DEFAULT).openapi({ description: "Records written at most" }),
  rate: z.number().min(0.1).max(RATE_MAX).default(RATE_DEFAULT).openapi({ description: "Records a second" }),
  force: z.boolean().default(false).openapi({
    description: "Also what was redriven already, and what would be a dead letter again",
  }),
  cursor: z.string().min(1).max(65_536).optional().openapi({
    description: "`next` of the report before, asked with the same selection",
  }),
}).openapi("Redrive", {
  example: { selection: { filter: { kind: "late", pipeline: "account_minute" } }, dryRun: true },
});

const forecastSchema = z.object({
  fate: z.enum(["aggregated", "filtered", "dead"]),
  reason: z.string().nullable(),
  window: z.object({ start: timestamp, end: timestamp }).nullable(),
}).openapi("Forecast", {
  description: "What becomes of the record with the definition and the schemas as they are now",
});

export const redriveReportSchema = z.object({
  dryRun: z.boolean(),
  redriven: z.number().int().openapi({ description: "In a dry run, those that would be" }),
  skipped: z.number().int().openapi({ description: "Redriven already" }),
  refused: z.number().int(),
  items: z.array(z.object({
    letter: letterSchema.omit({ redriven: true }),
    outcome: z.enum(["redriven", "skipped", "refused"]),
    reason: z.string().nullable().openapi({ description: "Why it was skipped or refused" }),
    target: z.object({ topic: z.string(), partition: offset, attempt: z.number().int() }).nullable(),
    forecast: forecastSchema.nullable(),
  })).openapi({ description: `The first ${ITEMS_MAX}, in the order they were looked at` }),
  next: z.string().nullable().openapi({ description: "Give as `cursor` to go on; null when nothing is left" }),
}).openapi("RedriveReport");
