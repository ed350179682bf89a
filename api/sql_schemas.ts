/**
 * The shapes of questions in SQL.
 *
 * @module
 */
import { z } from "@hono/zod-openapi";
import { FORMATS, PARAMETER_TYPES } from "./sql/service.ts";

/** The largest `limit`. */
const ROWS_MAX = 10_000_000;
const NAME = /^[A-Za-z_][A-Za-z0-9_]{0,62}$/;
/** What the address of a saved question says besides its parameters. */
export const RESERVED_NAMES: readonly string[] = ["format", "limit"];

const format = z.enum(FORMATS).optional().openapi({
  description: "How the answer is written; by the Accept header unless told",
});

const limitText = z.string().transform((text, context) => {
  const limit = /^\d+$/.test(text) ? Number(text) : NaN;
  if (limit >= 1 && limit <= ROWS_MAX) return limit;
  context.addIssue({ code: "custom", message: `must be a whole number from 1 to ${ROWS_MAX}` });
  return z.NEVER;
}).optional().openapi({
  type: "integer",
  minimum: 1,
  maximum: ROWS_MAX,
  description: "Rows after which the answer ends; 10,000 for JSON unless told",
});

export const sqlQuerySchema = z.strictObject({
  q: z.string().min(1).openapi({ description: "One SELECT", example: "select * from ledger" }),
  format,
  limit: limitText,
});

export const queryIdHeaderSchema = z.object({
  "tailrace-query-id": z.string().regex(/^[\w-]{8,64}$/, "8 to 64 letters, digits, - or _").optional().openapi({
    description: "An id of yours to cancel the question by, before its answer begins; the answer's header has it",
    param: { in: "header" },
  }),
});

export const queryIdSchema = z.object({
  id: z.string().min(1).max(64).openapi({ param: { name: "id", in: "path" } }),
});

const scalar = z.union([z.string(), z.number(), z.boolean(), z.null()]);

const valueSchema = z.union([
  scalar,
  z.strictObject({ type: z.enum(PARAMETER_TYPES), value: scalar }),
]);

export const sqlBodySchema = z.strictObject({
  sql: z.string().min(1).openapi({
    description:
      "One SELECT over lake.<table>, live.<pipeline>, results.<pipeline>, topics.<topic>, ledger, dead_letters",
    example:
      "select account_id, sum(total) as total from results.account_minute group by all order by total desc limit 10",
  }),
  parameters: z.record(z.string().max(63), valueSchema).optional().openapi({
    description: "Values for `$name` (or by number for `?` and `$1`): a value, or `{type, value}`",
    example: { since: { type: "timestamp", value: "2026-11-21T00:00:00Z" } },
  }),
  format,
  limit: z.int().min(1).max(ROWS_MAX).optional(),
}).openapi("Question");

const completenessSchema = z.object({
  topic: z.string(),
  offsets: z.record(z.string(), z.number()).openapi({
    description: "By partition, the offset after the last record that the answer knows of",
  }),
  watermark: z.string().nullable().openapi({
    format: "date-time",
    description: "Windows that end at or before this are final in the answer",
  }),
}).openapi("Completeness");

const columnSchema = z.object({ name: z.string(), type: z.string().openapi({ description: "In DuckDB's words" }) });

export const sqlAnswerSchema = z.object({
  columns: z.array(columnSchema),
  rows: z.array(z.record(z.string(), z.any())).openapi({
    description:
      "Whole numbers beyond 2^53 and decimals are strings with every digit; times are ISO 8601; bytes are base64",
  }),
  truncated: z.boolean().openapi({ description: "There were more rows than `limit`" }),
  completeness: z.array(completenessSchema).openapi({ description: "How far the answer is complete, by topic" }),
  notes: z.array(z.string()),
  elapsedMs: z.number().int(),
}).openapi("Answer");

export const relationsSchema = z.object({
  relations: z.array(z.object({
    name: z.string().openapi({ example: "lake.transactions" }),
    columns: z.array(columnSchema),
    about: z.string(),
  })),
}).openapi("Relations");

export const queryNameSchema = z.object({
  name: z.string().regex(NAME, "letters, digits and _, at most 63, no digit first").openapi({
    param: { name: "name", in: "path" },
    example: "top_accounts",
  }),
});

const queryParameterSchema = z.strictObject({
  name: z.string().regex(NAME, "letters, digits and _, at most 63, no digit first")
    .refine((name) => !RESERVED_NAMES.includes(name), `must not be one of ${RESERVED_NAMES.join(", ")}`),
  type: z.enum(PARAMETER_TYPES),
  default: z.string().max(8192).optional().openapi({
    description: "As text; without it the parameter has to be given",
  }),
});

export const queryBodySchema = z.strictObject({
  sql: z.string().min(1),
  about: z.string().max(1000).default(""),
  parameters: z.array(queryParameterSchema).max(64).default([])
    .refine((all) => new Set(all.map(({ name }) => name)).size === all.length, "a name is there twice"),
}).openapi("Query");

export const savedQuerySchema = z.object({
  name: z.string(),
  sql: z.string(),
  about: z.string(),
  parameters: z.array(z.object({ name: z.string(), type: z.enum(PARAMETER_TYPES), default: z.string().optional() })),
}).openapi("SavedQuery");

export const savedQueriesSchema = z.object({ queries: z.array(savedQuerySchema) }).openapi("SavedQueries");

export const cancelledSchema = z.object({ id: z.string(), state: z.literal("cancelled") });
export const forgottenSchema = z.object({ name: z.string(), state: z.literal("forgotten") });
