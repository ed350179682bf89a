import { createRoute, type OpenAPIHono, z } from "@hono/zod-openapi";
import { bodyLimit } from "hono/body-limit";
import type { AppDeps } from "../deps.ts";
import { problem, ProblemException, problemResponses } from "../problem.ts";

export interface IngestLimits {
  readonly bodyBytesMax: number;
  readonly recordsMax: number;
}

type JsonObject = Record<string, unknown>;

function isObject(value: unknown): value is JsonObject {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function ingestRoute({ bodyBytesMax, recordsMax }: IngestLimits) {
  const batch = z.strictObject({
    records: z.array(z.strictObject({
      key: z.string().max(65_536).nullish().openapi({
        description: "Decides the partition; any partition without one",
      }),
      value: z.unknown().openapi({ description: "Fits the topic's value schema" }),
    })).min(1).max(recordsMax),
  }).openapi("RecordBatch");
  // Checked by hand and passed on untouched: a copy would lose a field named __proto__.
  const single = z.custom<JsonObject>((body) => isObject(body) && !Array.isArray(body.records), {
    message: "is neither {records: [{key?, value}]} nor one record's value as an object",
  }).openapi("SingleValue", { type: "object", description: "The value of one record without a key" });

  return createRoute({
    method: "post",
    path: "/v1/topics/{topic}/records",
    tags: ["Sources"],
    summary: "Write records to a topic, as JSON",
    description:
      "Each value is validated against the topic's registered schema and written as Avro; all records or none. " +
      `At most ${recordsMax} records and ${bodyBytesMax} bytes. An object with an array \`records\` is a batch; any other is one value.`,
    // Runs before the body is read by anything else.
    middleware: bodyLimit({
      maxSize: bodyBytesMax,
      onError: (c) => problem("body-too-large", { detail: `at most ${bodyBytesMax} bytes`, instance: c.req.path }),
    }),
    request: {
      params: z.object({
        topic: z.string().regex(/^[A-Za-z0-9._-]{1,249}$/, "is not a Kafka topic name").openapi({
          param: { name: "topic", in: "path" },
          example: "transactions",
        }),
      }),
      body: { required: true, content: { "application/json": { schema: z.union([batch, single]) } } },
    },
    responses: {
      201: {
        description: "Written and acknowledged by the broker, in the order given",
        content: {
          "application/json": {
            schema: z.object({
              topic: z.string(),
              records: z.array(z.object({ partition: z.number().int(), offset: z.number() })),
            }).openapi("Written"),
          },
        },
      },
      ...problemResponses(
        "invalid-request",
        "malformed-json",
        "unknown-topic",
        "body-too-large",
        "unsupported-media-type",
        "invalid-records",
        "unusable-schema",
        "no-engine",
        "unavailable",
      ),
    },
  });
}

/** `POST /v1/topics/:topic/records`. */
export function ingestRoutes(app: OpenAPIHono, { engine }: AppDeps, limits: IngestLimits): void {
  app.openapi(ingestRoute(limits), async (c) => {
    if (!engine) throw new ProblemException("no-engine");
    const { topic } = c.req.valid("param");
    const body = c.req.valid("json") as JsonObject;
    const records = Array.isArray(body.records)
      ? body.records as { key?: string | null; value: unknown }[]
      : [{ value: body }];
    const outcome = await engine.ingest.write(topic, records);
    if (outcome.kind === "unknown topic") {
      throw new ProblemException("unknown-topic", {
        detail: `there is no topic ${JSON.stringify(topic)}, or no value schema is registered for it; ` +
          `create the topic if it is not there, and register an Avro schema in the schema registry as subject ${
            JSON.stringify(`${topic}-value`)
          }`,
      });
    }
    if (outcome.kind === "unusable schema") throw new ProblemException("unusable-schema", { detail: outcome.problem });
    if (outcome.kind === "too large") {
      const detail = `${outcome.problem}; records for other partitions may be written`;
      throw new ProblemException("body-too-large", { detail });
    }
    if (outcome.kind === "refused") {
      const errors = outcome.faults.map(({ index, problem }) => ({ where: `records[${index}].value`, problem }));
      throw new ProblemException("invalid-records", { detail: "nothing was written", errors });
    }
    return c.json({ topic, records: [...outcome.records] }, 201);
  });
}
