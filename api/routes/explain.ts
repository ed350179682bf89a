import { createRoute, type OpenAPIHono } from "@hono/zod-openapi";
import { isoTime } from "../../pipeline/codec/time_text.ts";
import type { Explanation } from "../../pipeline/runtime/explain.ts";
import { ConfigError, UnavailableError } from "../../pipeline/errors.ts";
import { type AppDeps, type PipelineControl, type PipelineInfo, QueryError, type ResultJson } from "../deps.ts";
import { explainQuerySchema, explanationSchema } from "../operation_schemas.ts";
import { ProblemException, problemResponses } from "../problem.ts";
import { rowToJson } from "../result_json.ts";
import { within } from "../within.ts";

/** Reading the log again from an earlier commit takes well under a second, with a long `dedupe` some. */
const ANSWER_MS = 30_000;

const explain = createRoute({
  method: "get",
  path: "/v1/explain",
  tags: ["Pipelines"],
  summary: "What became of one record: its window and key, or why it does not count, and what carries it",
  description:
    "Found out by reading the record again as it was read: from the last commit before it, with the watermark " +
    "of then. Each pipeline that reads the topic answers for itself.",
  request: { query: explainQuerySchema },
  responses: {
    200: { description: "An explanation per pipeline", content: { "application/json": { schema: explanationSchema } } },
    ...problemResponses("invalid-request", "unknown-topic", "gone", "no-engine", "unavailable"),
  },
});

/** `/v1/explain`. */
export function explainRoutes(
  app: OpenAPIHono,
  deps: AppDeps,
  { answerMs = ANSWER_MS }: { readonly answerMs?: number } = {},
): void {
  app.openapi(explain, async (c) => {
    const { engine } = deps;
    if (!engine) throw new ProblemException("no-engine");
    const record = c.req.valid("query");
    const reading = engine.status().filter(({ topic }) => topic === record.topic);
    if (reading.length === 0) {
      const topics = [...new Set(engine.status().map(({ topic }) => topic))].join(", ");
      throw new ProblemException("unknown-topic", {
        detail: `no pipeline reads a topic ${JSON.stringify(record.topic)}; they read: ${topics}`,
      });
    }
    const told = await explained(engine.control, record, { answerMs, client: c.req.raw.signal });
    const sinks = new Map(reading.map(({ name, definition }) => [name, definition.sinks]));
    const explanations = await Promise.all(
      told.map((one) => explanationJson(one, sinks.get(one.pipeline)!, deps, record.topic)),
    );
    return c.json({ ...record, explanations }, 200, { "cache-control": "no-store" });
  });
}

/** Reads no further when it is too late, or nobody waits for it any more. */
async function explained(
  control: PipelineControl,
  record: Parameters<PipelineControl["explain"]>[0],
  { answerMs, client }: { readonly answerMs: number; readonly client: AbortSignal },
): Promise<readonly Explanation[]> {
  const ended = new AbortController();
  const late =
    `the log could not be read again within ${answerMs / 1000} s: Kafka is away, or the record is far behind the ` +
    "last commit before it";
  try {
    const work = control.explain(record, { signal: AbortSignal.any([ended.signal, client]) });
    return await within(answerMs, late, work);
  } catch (error) {
    const { name, message } = error as Error;
    if (name === "OffsetOutOfRangeError") throw new ProblemException("gone", { detail: message });
    // A damaged checkpoint or history: for whoever runs this, and not the caller's fault.
    if (error instanceof ConfigError) throw new ProblemException("unavailable", { detail: message });
    throw error;
  } finally {
    ended.abort(new UnavailableError("nobody waits for the explanation any more"));
  }
}

async function explanationJson(
  { pipeline, fate, reason, window, key }: Explanation,
  sinks: readonly string[],
  { pipelines, results }: AppDeps,
  topic: string,
) {
  const info = pipelines.find(({ name }) => name === pipeline)!;
  const named = key && keyJson(info, key);
  const isStored = sinks.some((sink) => sink.startsWith("postgres "));
  const row = named && window && isStored
    ? await storedRow(results, { pipeline, named, startMs: window.startMs })
    : null;
  const isSetAside = fate === "late" || fate === "dead";
  return {
    pipeline,
    fate,
    reason,
    window: window && windowJson(window),
    key: named,
    outputs: fate === "aggregated" ? [...sinks] : isSetAside ? [`kafka ${topic}.${fate}`] : [],
    row,
  };
}

/** Null where no date reaches: the record may be late by more than there were years. */
function windowJson({ startMs, endMs }: NonNullable<Explanation["window"]>): { start: string; end: string } | null {
  const [start, end] = [isoTime(startMs), isoTime(endMs)];
  return start === null || end === null ? null : { start, end };
}

function keyJson({ columns }: PipelineInfo, key: NonNullable<Explanation["key"]>): ResultJson {
  const keys = columns.filter(({ role }) => role === "key");
  return rowToJson(keys, key.map((value) => [value]), 0);
}

async function storedRow(
  results: AppDeps["results"],
  { pipeline, named, startMs }: { readonly pipeline: string; readonly named: ResultJson; readonly startMs: number },
): Promise<ResultJson | null> {
  // A key with a null has no text to ask by.
  if (Object.values(named).includes(null)) return null;
  const key = Object.values(named).map(String);
  try {
    return (await results.read(pipeline, { key, from: startMs, to: startMs + 1, limit: 1 })).rows.at(0) ?? null;
  } catch (error) {
    // Not every key can be asked for by its text: one with a zero character is stored with another in its place.
    if (error instanceof QueryError) return null;
    throw error;
  }
}
