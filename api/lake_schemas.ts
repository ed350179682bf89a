/**
 * The shapes of what is asked of the lake.
 *
 * @module
 */
import { z } from "@hono/zod-openapi";

const timestamp = z.string().nullable().openapi({ format: "date-time" });

export const tableParamSchema = z.object({
  table: z.string().min(1).openapi({ param: { name: "table", in: "path" }, example: "transactions" }),
});

const flow = z.object({
  kind: z.enum(["archive", "results"]),
  from: z.string().openapi({ description: "The topic of an archive; the pipeline of results" }),
  state: z.enum(["starting", "running", "waiting", "failed", "stopped"]),
  reason: z.string().nullable().openapi({ description: "Why it waits or failed; null when all is well" }),
  rowsWaiting: z.number().openapi({ description: "Rows that the next flush commits" }),
  rowsCommitted: z.number().openapi({ description: "Rows committed since the start" }),
  lastCommit: timestamp.openapi({ description: "The last flush of this process" }),
  lagRecords: z.number().nullable().openapi({
    description: "Records of the topic that were not read yet; null for results, see their pipeline",
  }),
});

const table = {
  name: z.string(),
  version: z.number().nullable().openapi({ description: "Null before the first commit, as are files, bytes and rows" }),
  files: z.number().nullable(),
  bytes: z.number().nullable(),
  rows: z.number().nullable().openapi({ description: "Null also where a file says nothing of its rows" }),
  committedAt: timestamp,
  flow: flow.nullable().openapi({ description: "What fills the table; null where nothing of this process does" }),
};

export const lakeSchema = z.object({
  url: z.string().openapi({ description: "Where the lake is", example: "file:///srv/tailrace/lake" }),
  tables: z.array(z.object(table)),
}).openapi("Lake");

export const jobSchema = z.object({
  table: z.string(),
  kind: z.enum(["compact", "vacuum"]),
  automatic: z.boolean(),
  state: z.enum(["waiting", "running", "done", "failed"]).openapi({ description: "One table is worked on at a time" }),
  startedAt: timestamp,
  endedAt: timestamp,
  problem: z.string().nullable(),
  filesRemoved: z.number().nullable().openapi({ description: "Null until it is done, as are those that follow" }),
  filesAdded: z.number().nullable(),
  bytesRemoved: z.number().nullable(),
  bytesAdded: z.number().nullable(),
}).openapi("LakeJob");

export const lakeTableSchema = z.object({
  ...table,
  columns: z.array(z.object({
    name: z.string(),
    type: z.string().openapi({
      description: "The type in the table's log; nested ones as JSON",
      example: "decimal(18,2)",
    }),
    partition: z.boolean(),
  })),
  history: z.array(z.object({
    version: z.number(),
    at: timestamp,
    operation: z.string(),
    parameters: z.record(z.string(), z.string()),
    filesAdded: z.number(),
    filesRemoved: z.number(),
    rowsAdded: z.number().nullable(),
  })).openapi({ description: "Newest first, 50 at most" }),
  jobs: z.array(jobSchema).openapi({ description: "The last compaction and vacuum since the start" }),
}).openapi("LakeTable");

export const vacuumSchema = z.strictObject({
  retentionHours: z.number().min(0).max(720).optional().openapi({
    description:
      "Files that no version of so long ago names are removed; 168 unless set otherwise. Not less than 24 unless `force`; the log remembers 720",
  }),
  force: z.boolean().default(false).openapi({
    description: "Allows less than 24 hours: only where nobody asks the table, and nothing is written to it",
  }),
}).openapi("Vacuum");
