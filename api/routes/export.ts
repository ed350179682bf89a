import { createRoute, type OpenAPIHono, z } from "@hono/zod-openapi";
import { ConfigError, UnavailableError } from "../../pipeline/errors.ts";
import type { AppDeps } from "../deps.ts";
import { ProblemException, problemResponses } from "../problem.ts";
import { parseTime } from "../schemas.ts";

const MEDIA_TYPES = {
  parquet: "application/vnd.apache.parquet",
  csv: "text/csv; charset=utf-8; header=present",
} as const;

/** The header that says how many rows a file has. */
export const ROWS_HEADER = "tailrace-rows";

const time = z.string().transform((text, context) => {
  const ms = parseTime(text);
  if (ms !== null) return ms;
  context.addIssue({
    code: "custom",
    message: "is neither ISO 8601 (2026-05-01T00:00:00Z) nor milliseconds since the epoch",
  });
  return z.NEVER;
}).optional();

const querySchema = z.strictObject({
  pipeline: z.string().min(1).optional().openapi({ description: "Its final results", example: "account_minute" }),
  table: z.string().min(1).optional().openapi({ description: "Or a table of the lake", example: "transactions" }),
  from: time.openapi({
    type: "string",
    description: "Windows that start at or after this; of raw records Kafka's timestamps",
  }),
  to: time.openapi({ type: "string", description: "... and before this" }),
  format: z.enum(["parquet", "csv"]).default("parquet"),
}).superRefine(({ pipeline, table }, context) => {
  if ((pipeline === undefined) === (table === undefined)) {
    context.addIssue({ code: "custom", message: "name one of `pipeline` and `table`" });
  }
});

const get = createRoute({
  method: "get",
  path: "/v1/export",
  tags: ["Results"],
  summary: "Results, or a table of the lake, as one Parquet or CSV file",
  description:
    "Of one moment, and of any size. The answer begins when the file is whole: `Content-Length` is its size, and " +
    "`Tailrace-Rows` says how many rows it has.",
  request: { query: querySchema },
  responses: {
    200: {
      description: "The file",
      content: {
        "application/vnd.apache.parquet": { schema: z.string().openapi({ format: "binary" }) },
        "text/csv": { schema: z.string() },
      },
    },
    ...problemResponses(
      "invalid-request",
      "unknown-pipeline",
      "unknown-table",
      "no-stored-results",
      "no-engine",
      "unavailable",
    ),
  },
});

/** `/v1/export`. */
export function exportRoutes(app: OpenAPIHono, { exports }: AppDeps): void {
  app.openapi(get, async (c) => {
    const { pipeline, table, from: fromMs, to: toMs, format } = c.req.valid("query");
    if (!exports) throw new ProblemException("no-engine");
    const source = pipeline !== undefined ? { pipeline } : { table: table! };
    const gone = c.req.raw.signal;
    try {
      const file = await exports.export({ source, format, fromMs, toMs }, { signal: gone });
      if (file === null) throw new ProblemException(pipeline === undefined ? "unknown-table" : "unknown-pipeline");
      const { name, bytes, rows, body } = file;
      return new Response(body, {
        headers: {
          "content-type": MEDIA_TYPES[format],
          "content-length": String(bytes),
          "content-disposition": `attachment; filename="${name}"`,
          "cache-control": "no-store",
          [ROWS_HEADER]: String(rows),
        },
      });
    } catch (error) {
      // Nobody reads the answer, and nothing failed.
      if (gone.aborted) throw new UnavailableError("whoever asked has gone");
      if (!(error instanceof ConfigError)) throw error;
      throw new ProblemException("no-stored-results", { detail: error.message });
    }
  });
}
