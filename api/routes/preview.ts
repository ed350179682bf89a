import { createRoute, type OpenAPIHono, type z } from "@hono/zod-openapi";
import type { Definition } from "../../pipeline/definition.ts";
import { ConfigError } from "../../pipeline/errors.ts";
import type { Compared, RowDifference } from "../../pipeline/preview/difference.ts";
import { decidesResults } from "../../pipeline/preview/parts.ts";
import type { PreviewResult, StateOutlook } from "../../pipeline/preview/preview.ts";
import type { AppDeps } from "../deps.ts";
import { previewBodySchema, previewSchema } from "../preview_schemas.ts";
import { ProblemException, problemResponses } from "../problem.ts";
import { typeName, valueToJson } from "../result_json.ts";
import { within } from "../within.ts";
import { unknownPipeline } from "./pipelines.ts";

/** Less than what a client waits. */
const ANSWER_MS = 50_000;

const ask = createRoute({
  method: "post",
  path: "/v1/preview",
  tags: ["Pipelines"],
  summary: "What an edited definition gives over the last minutes of its topic's archive",
  description:
    "Compared with the results there are. Nothing is written; the definition's texts are parsed and checked here.",
  request: { body: { required: true, content: { "application/json": { schema: previewBodySchema } } } },
  responses: {
    200: { description: "What it gives, and what differs", content: { "application/json": { schema: previewSchema } } },
    ...problemResponses(
      "invalid-request",
      "malformed-json",
      "unknown-pipeline",
      "body-too-large",
      "unsupported-media-type",
      "no-engine",
      "unavailable",
    ),
  },
});

/** `/v1/preview`; answers within `answerMs`. */
export function previewRoutes(
  app: OpenAPIHono,
  { preview, pipelines }: AppDeps,
  { answerMs = ANSWER_MS }: { readonly answerMs?: number } = {},
): void {
  app.openapi(ask, async (c) => {
    const { definition, minutes, pipeline: comparedWith } = c.req.valid("json");
    if (!preview) throw new ProblemException("no-engine");
    if (comparedWith !== undefined && !pipelines.some(({ name }) => name === comparedWith)) {
      throw unknownPipeline(comparedWith, pipelines);
    }
    const ended = new AbortController();
    try {
      // Boundary: durations and names are text here, which the plan checks.
      const work = preview.preview(definition as unknown as Definition, {
        minutes,
        comparedWith,
        signal: ended.signal,
      });
      const told = await within(answerMs, "the preview took too long: ask for fewer minutes", work);
      return c.json(previewJson(told), 200, { "cache-control": "no-store" });
    } catch (error) {
      if (!(error instanceof ConfigError)) throw error;
      const errors = error.faults.map(({ where, problem }) => ({ where: `definition.${where}`, problem }));
      throw new ProblemException("invalid-request", { errors });
    } finally {
      ended.abort(new DOMException("The preview is not waited for any more", "AbortError"));
    }
  });
}

function previewJson(told: PreviewResult): z.infer<typeof previewSchema> {
  const { pipeline, comparedWith, fromMs, toMs, windows, rows, keys, judged, doubt, archive } = told;
  const { columns, changes, difference, state } = told;
  const { records: read, ...ended } = judged;
  const column = ({ name, type }: NonNullable<typeof columns>["added"][number]) => ({ name, type: typeName(type) });
  return {
    pipeline,
    comparedWith,
    from: iso(fromMs),
    to: iso(toMs),
    windows,
    rows,
    keys,
    records: { read, ...ended },
    doubt,
    archive,
    columns: columns && {
      added: columns.added.map(column),
      removed: columns.removed.map(column),
      retyped: [...columns.retyped],
    },
    changes: changes.map((part) => ({ part, decidesResults: decidesResults(part) })),
    difference: difference === null || typeof difference === "string" ? null : differenceJson(difference),
    incomparable: typeof difference === "string" ? difference : null,
    state: stateJson(state),
  };
}

function differenceJson(
  { examples, ...counts }: RowDifference,
): NonNullable<z.infer<typeof previewSchema>["difference"]> {
  return {
    ...counts,
    columns: { ...counts.columns },
    examples: examples.map(({ kind, windowStartMs, key, values }) => ({
      kind,
      window: iso(windowStartMs),
      key: Object.fromEntries(key.map(({ name, before, after }) => [name, side(after ?? before)])),
      values: values.map(({ name, before, after }) => ({ name, before: side(before), after: side(after) })),
    })),
  };
}

function side(value: Compared["before"]): ReturnType<typeof valueToJson> {
  return value === null ? null : valueToJson(value.type, value.value);
}

function stateJson(state: StateOutlook): z.infer<typeof previewSchema>["state"] {
  if (state.kind !== "recomputes") {
    return { outlook: state.kind, rewindFrom: null, rewindProblem: null, backfillFrom: null };
  }
  const { rewindFromMs, rewindProblem, backfillFromMs } = state;
  return {
    outlook: state.kind,
    rewindFrom: rewindFromMs === null ? null : iso(rewindFromMs),
    rewindProblem,
    backfillFrom: backfillFromMs === null ? null : iso(backfillFromMs),
  };
}

function iso(ms: number): string {
  return new Date(ms).toISOString();
}
