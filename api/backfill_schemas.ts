/**
 * The shapes of backfills.
 *
 * @module
 */
import { z } from "@hono/zod-openapi";
import { parseTime } from "./schemas.ts";

const time = z.string().transform((text, context) => {
  const ms = parseTime(text);
  if (ms !== null) return ms;
  context.addIssue({
    code: "custom",
    message: "is neither ISO 8601 (2026-05-01T00:00:00Z) nor milliseconds since the epoch",
  });
  return z.NEVER;
}).optional();

export const backfillBodySchema = z.strictObject({
  from: time.openapi({
    type: "string",
    description: "From the window that holds this time on; all that the archive has whole where it is left out",
  }),
  to: time.openapi({
    type: "string",
    description: "The log takes over with the window that holds this time; as late as possible where it is left out",
  }),
  preview: z.boolean().default(false).openapi({ description: "Only say what it would do" }),
}).openapi("BackfillRequest");

const count = z.number().int();
const offset = z.number();
const nullableOffset = offset.nullable();
const timestamp = z.string().openapi({ format: "date-time" });

export const backfillResultSchema = z.object({
  from: timestamp.openapi({ description: "The first window that is built from the archive" }),
  handover: timestamp.openapi({ description: "Windows from here on are read from the log" }),
  windows: count.openapi({ description: "Windows with records" }),
  rows: count,
  records: z.object({
    read: count.openapi({ description: "Archived records of these windows: the sum of all that follow" }),
    aggregated: count,
    filtered: count.openapi({ description: "Left out by `where`" }),
    late: count.openapi({ description: "Came after their window had closed, as the pipeline would have judged" }),
    duplicate: count.openapi({ description: "Brought back, while their originals count" }),
  }),
  unplaced: count.openapi({
    description: "Archived records that are in no window: undecodable, without an event time, or without a value",
  }),
  archive: z.object({ table: z.string(), version: count }),
  doubt: z.string().nullable().openapi({
    description: "Why the archive may not tell all that the pipeline would have read; null when it does",
  }),
  generation: count.nullable().openapi({ description: "Goes into the rows' revisions; null of a preview" }),
  partitions: z.array(z.object({
    partition: count,
    archivedFrom: nullableOffset,
    archivedTo: nullableOffset,
    offset: offset.openapi({ description: "From here on the log is read, and the ledger counts" }),
    toRead: offset.openapi({ description: "How far the log is ahead of that now" }),
    silent: z.boolean().openapi({
      description: "It had nothing to say, and does not hold back the handover: what comes for earlier windows is late",
    }),
  })),
}).openapi("BackfillResult");

export const backfillSchema = z.object({
  pipeline: z.string(),
  preview: z.boolean(),
  state: z.enum(["running", "done", "failed", "cancelled"]),
  doing: z.string(),
  progress: z.object({
    windows: count,
    windowsDone: count,
    records: count,
    recordsDone: count,
    rowsDone: count,
  }).nullable(),
  startedAt: timestamp,
  endedAt: timestamp.nullable(),
  problem: z.string().nullable(),
  refused: z.boolean().openapi({ description: "It cannot be done as asked: `problem` says what to change" }),
  result: backfillResultSchema.nullable(),
}).openapi("Backfill");
