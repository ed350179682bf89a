import { createRoute, type OpenAPIHono, z } from "@hono/zod-openapi";
import type { BulkAnswer, BulkRequest } from "../../pipeline/ingest/bulk.ts";
import type { AppDeps } from "../deps.ts";
import { ProblemException, type ProblemKind, type ProblemOptions, problemResponses } from "../problem.ts";

const FORMATS: Readonly<Record<string, BulkRequest["format"]>> = {
  "application/x-ndjson": "ndjson",
  "application/ndjson": "ndjson",
  "application/jsonl": "ndjson",
  "avro/binary": "avro",
  "application/vnd.apache.avro": "avro",
};
const NDJSON = "application/x-ndjson";
const AVRO = "application/vnd.apache.avro";

/** Whether the path is one whose body is bounded here, and not with the others. */
export function isBulkPath(path: string): boolean {
  return /^\/v1\/topics\/[^/]+\/bulk$/.test(path);
}

const paramSchema = z.object({
  topic: z.string().regex(/^[A-Za-z0-9._-]{1,249}$/, "is not a Kafka topic name").openapi({
    param: { name: "topic", in: "path" },
    example: "transactions",
  }),
});

const querySchema = z.strictObject({
  lines: z.enum(["value", "record"]).default("value").openapi({
    description: "What a line of NDJSON is: a record's value, or an object {key?, value}",
  }),
  key: z.string().regex(/^[A-Za-z_]\w{0,99}(\.[A-Za-z_]\w{0,99}){0,9}$/, "is no field such as account.id").optional()
    .openapi({
      description: "The field whose text is the record's key, inner ones after a dot; without it records have no key",
      example: "account_id",
    }),
});

const headerSchema = z.object({
  "idempotency-key": z.string().regex(/^[\x21-\x7e]{1,255}$/, "is not of 1 to 255 visible ASCII characters").optional()
    .openapi({
      description:
        "Names this request. A repeat under the same key is answered as the first was, and writes nothing again",
      example: "8e03978e-40d5-43dd-bc93-6894a57f9324",
    }),
});

const answerSchema = z.object({
  topic: z.string(),
  records: z.number().int().openapi({ description: "How many records the request has; all are in the topic" }),
}).openapi("BulkWritten");

const text = { schema: z.string() };
const binary = { schema: z.string().openapi({ format: "binary" }) };

const bulk = createRoute({
  method: "post",
  path: "/v1/topics/{topic}/bulk",
  tags: ["Sources"],
  summary: "Write records to a topic by the thousand, each request once",
  description:
    "NDJSON, or an Avro object container file (codec null or deflate), perhaps with `Content-Encoding: gzip`. All records " +
    "are written in one Kafka transaction, or none. Send an `Idempotency-Key` and repeat the request until it is answered: " +
    "its records are in the topic once, whatever happened. See docs/http-ingest.md.",
  request: {
    params: paramSchema,
    query: querySchema,
    headers: headerSchema,
    body: { required: true, content: { [NDJSON]: text, [AVRO]: binary, "avro/binary": binary } },
  },
  responses: {
    201: {
      description: "Committed. `Idempotent-Replayed: true` says that it was so before",
      content: { "application/json": { schema: answerSchema } },
    },
    ...problemResponses(
      "invalid-request",
      "malformed-body",
      "unknown-topic",
      "slow-body",
      "idempotency-key-busy",
      "body-too-large",
      "unsupported-media-type",
      "invalid-records",
      "idempotency-key-reused",
      "unusable-schema",
      "too-many-records",
      "no-engine",
      "unavailable",
    ),
  },
});

/** `POST /v1/topics/:topic/bulk`. */
export function bulkRoutes(app: OpenAPIHono, { bulk: ingest }: AppDeps): void {
  app.openapi(bulk, async (c) => {
    if (!ingest) throw new ProblemException("no-engine");
    const { topic } = c.req.valid("param");
    const { lines, key = null } = c.req.valid("query");
    const { "idempotency-key": idempotencyKey = null } = c.req.valid("header");
    const format = formatOf(c.req.header("content-type"));
    if (lines === "record" && (format !== "ndjson" || key !== null)) {
      const problem = format === "ndjson"
        ? "`key` is for values: a line {key?, value} has a key of its own"
        : "`lines` is for NDJSON";
      throw new ProblemException("invalid-request", { errors: [{ where: "query.lines", problem }] });
    }
    const body = c.req.raw.body;
    if (!body) throw new ProblemException("malformed-body", { detail: "there is no body" });
    const isGzip = encodingOf(c.req.header("content-encoding"));
    const length = c.req.header("content-length");
    const declaredBytes = length === undefined ? null : Number(length);
    const answer = await ingest.write({ topic, format, lines, key, idempotencyKey, isGzip, declaredBytes, body });
    if (answer.kind !== "written") throw refusal(answer, topic);
    const headers: Record<string, string> = answer.isRepeat ? { "idempotent-replayed": "true" } : {};
    return c.json({ topic, records: answer.records }, 201, headers);
  });
}

function formatOf(contentType = ""): BulkRequest["format"] {
  const name = contentType.split(";")[0].trim().toLowerCase();
  if (Object.hasOwn(FORMATS, name)) return FORMATS[name];
  throw new ProblemException("unsupported-media-type", { detail: `the Content-Type has to be ${NDJSON} or ${AVRO}` });
}

function encodingOf(encoding = "identity"): boolean {
  const name = encoding.trim().toLowerCase();
  if (name === "gzip" || name === "x-gzip") return true;
  if (name === "identity" || name === "") return false;
  throw new ProblemException("unsupported-media-type", { detail: "the Content-Encoding has to be gzip, or none" });
}

function refusal(answer: Exclude<BulkAnswer, { kind: "written" }>, topic: string): ProblemException {
  const as = (kind: ProblemKind, options: ProblemOptions) => new ProblemException(kind, options);
  const later = (seconds: number) => ({ "retry-after": String(seconds) });
  switch (answer.kind) {
    case "refused": {
      const told = answer.faults.length < answer.count ? `, of which the first ${answer.faults.length} are told` : "";
      const count = answer.isWhole ? `${answer.count}` : `the first ${answer.count} of many`;
      const detail = `${count === "1" ? "1 record does" : `${count} records do`} not fit${told}; nothing was written`;
      return as("invalid-records", { detail, errors: answer.faults });
    }
    case "unreadable":
      return as("malformed-body", { detail: `it ${answer.problem}` });
    case "too large":
      return as("body-too-large", { detail: `${answer.problem}; nothing was written` });
    case "slow":
      return as("slow-body", { detail: answer.problem });
    case "unknown topic":
      return as("unknown-topic", {
        detail:
          `there is no topic ${JSON.stringify(topic)}, or no value schema is registered for it; create the topic ` +
          `if it is not there, and register an Avro schema in the schema registry as subject ${
            JSON.stringify(`${topic}-value`)
          }`,
      });
    case "unusable schema":
      return as("unusable-schema", { detail: answer.problem });
    case "busy":
      return as("too-many-records", { detail: answer.problem, headers: later(answer.retryAfterSeconds) });
    case "key busy":
      return as("idempotency-key-busy", { headers: later(answer.retryAfterSeconds) });
    case "key reused":
      return as("idempotency-key-reused", { detail: answer.problem });
  }
}
