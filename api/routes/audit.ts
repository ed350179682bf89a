import { createRoute, type OpenAPIHono, type z } from "@hono/zod-openapi";
import type { Auditor, AuditStatus, FoundDifference } from "../../pipeline/audit/audit.ts";
import { ConfigError, ConflictError } from "../../pipeline/errors.ts";
import type { ResultColumn } from "../../pipeline/plan/plan.ts";
import type { ResultValue } from "../../pipeline/sinks/sink.ts";
import {
  auditParamSchema,
  auditRepairSchema,
  auditSchema,
  differencesQuerySchema,
  differencesSchema,
} from "../audit_schemas.ts";
import type { AppDeps } from "../deps.ts";
import { ProblemException, problemResponses } from "../problem.ts";
import { rowToJson } from "../result_json.ts";
import { within } from "../within.ts";
import { unknownPipeline } from "./pipelines.ts";

/** A repair waits for the pipeline's next commit. */
const ANSWER_MS = 45_000;

const status = createRoute({
  method: "get",
  path: "/v1/audit",
  tags: ["Audit"],
  summary: "Whether the results are what the topics' records give",
  description:
    "Closed windows are computed again from the archive and compared, row by row, with what PostgreSQL, the " +
    "results topic and the lake hold. Pipelines whose topic has an archive are audited.",
  responses: {
    200: { description: "By pipeline", content: { "application/json": { schema: auditSchema } } },
    ...problemResponses("no-engine"),
  },
});

const differences = createRoute({
  method: "get",
  path: "/v1/audit/{pipeline}/differences",
  tags: ["Audit"],
  summary: "Rows that differ, as they should be and as they are",
  request: { params: auditParamSchema, query: differencesQuerySchema },
  responses: {
    200: { description: "Differences", content: { "application/json": { schema: differencesSchema } } },
    ...problemResponses("invalid-request", "unknown-pipeline", "not-audited", "no-engine"),
  },
});

const repair = createRoute({
  method: "post",
  path: "/v1/audit/{pipeline}/repair",
  tags: ["Audit"],
  summary: "Put right what differs in PostgreSQL",
  description:
    "Wrong rows are rewritten, missing ones inserted, extra ones deleted, each only if it is still as it was " +
    "found; then these windows are audited again. What differs elsewhere needs a rewind, which `rewind` names.",
  request: { params: auditParamSchema },
  responses: {
    200: { description: "What was done", content: { "application/json": { schema: auditRepairSchema } } },
    ...problemResponses("unknown-pipeline", "not-audited", "audit-waits", "taken-over", "no-engine", "unavailable"),
  },
});

/** `/v1/audit`, the differences of one pipeline, and their repair; answers within `answerMs`. */
export function auditRoutes(
  app: OpenAPIHono,
  { audit, pipelines }: AppDeps,
  { answerMs = ANSWER_MS }: { readonly answerMs?: number } = {},
): void {
  const noStore = { "cache-control": "no-store" };
  const of = (name: string): { readonly auditor: Auditor; readonly columns: readonly ResultColumn[] } => {
    if (!audit) throw new ProblemException("no-engine");
    const known = pipelines.find((pipeline) => pipeline.name === name);
    if (!known) throw unknownPipeline(name, pipelines);
    const auditor = audit.find(({ pipeline }) => pipeline === name);
    if (!auditor) throw new ProblemException("not-audited", { detail: `the topic of ${name} has no archive` });
    return { auditor, columns: known.columns };
  };

  app.openapi(status, (c) => {
    if (!audit) throw new ProblemException("no-engine");
    return c.json({ pipelines: audit.map((auditor) => statusJson(auditor.status())) }, 200, noStore);
  });

  app.openapi(differences, (c) => {
    const { auditor, columns } = of(c.req.valid("param").pipeline);
    const found = auditor.differences({ limit: c.req.valid("query").limit });
    const answer = found.map((difference) => differenceJson(difference, columns));
    return c.json({ pipeline: auditor.pipeline, differences: answer }, 200, noStore);
  });

  app.openapi(repair, async (c) => {
    const { pipeline } = c.req.valid("param");
    const { auditor } = of(pipeline);
    const { state, reason } = auditor.status();
    if (state === "waiting") throw new ProblemException("audit-waits", { detail: reason ?? undefined });
    const late = `the repair of ${pipeline} goes on; GET /v1/audit tells what came of it`;
    try {
      const signal = AbortSignal.timeout(2 * answerMs);
      const { rewindToMs, ...done } = await within(answerMs, late, auditor.repair({ signal }));
      return c.json({ pipeline, ...done, rewind: rewindToMs === null ? null : rewindJson(pipeline, rewindToMs) }, 200);
    } catch (error) {
      if (error instanceof ConflictError) throw new ProblemException("taken-over", { detail: error.message });
      if (error instanceof ConfigError) throw new ProblemException("unavailable", { detail: error.message });
      throw error;
    }
  });
}

function statusJson({ range, oldestMs, lastPassMs, differences, ...told }: AuditStatus): Audited {
  const { audited, agreeing, differing, suspected, notAuditable } = told;
  return {
    pipeline: told.pipeline,
    state: told.state,
    reason: told.reason,
    windows: { audited, agreeing, differing, suspected, notAuditable: [...notAuditable] },
    from: range && iso(range.fromMs),
    to: range && iso(range.toMs),
    oldest: oldestMs === null ? null : iso(oldestMs),
    rows: told.rows,
    lastPassAt: lastPassMs === null ? null : iso(lastPassMs),
    differences: differences.map(({ kind, name, counts }) => ({ kind, name, ...counts })),
  };
}

type Audited = z.infer<typeof auditSchema>["pipelines"][number];

function differenceJson(
  { place, kind, windowStartMs, columns: differing, expected, actual, foundMs }: FoundDifference,
  columns: readonly ResultColumn[],
): z.infer<typeof differencesSchema>["differences"][number] {
  const row = (values: readonly ResultValue[] | null) =>
    values && rowToJson(columns, values.map((value) => [value]), 0);
  return {
    ...place,
    difference: kind,
    window: iso(windowStartMs),
    columns: [...differing],
    expected: row(expected),
    actual: row(actual),
    foundAt: iso(foundMs),
  };
}

function rewindJson(pipeline: string, ms: number): NonNullable<z.infer<typeof auditRepairSchema>["rewind"]> {
  const to = iso(ms);
  return { to, command: `deno task rewind ${pipeline} --to ${to} --yes` };
}

/** Null beyond the years that ISO 8601 has. */
function iso(ms: number): string | null {
  return Number.isFinite(ms) && Math.abs(ms) <= 8.64e15 ? new Date(ms).toISOString() : null;
}
