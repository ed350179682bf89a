/**
 * An ingest that answers as it is told, and how each documented answer of bulk requests is got.
 *
 * @module
 */
import type { BulkAnswer } from "../../pipeline/ingest/bulk.ts";
import { UnavailableError } from "../../pipeline/errors.ts";
import { type Fake, fakeDeps } from "./fake_deps.ts";

const PATH = "/v1/topics/{topic}/bulk";
const BULK = "/v1/topics/transactions/bulk";
const LINES: RequestInit = { method: "POST", body: "{}\n", headers: { "content-type": "application/x-ndjson" } };

function answering(answer: BulkAnswer | Error): () => Fake {
  return () =>
    fakeDeps({ bulk: { write: () => answer instanceof Error ? Promise.reject(answer) : Promise.resolve(answer) } });
}

const busy: BulkAnswer = { kind: "busy", problem: "32 requests are under way", retryAfterSeconds: 1 };
const refused: BulkAnswer = {
  kind: "refused",
  faults: [{ where: "line 1", problem: "id is missing" }],
  count: 1,
  isWhole: true,
};

export const BULK_CASES: readonly [string, string, number, string, RequestInit, () => Fake][] = [
  ["post", PATH, 201, BULK, LINES, answering({ kind: "written", records: 1, isRepeat: false })],
  ["post", PATH, 201, BULK, LINES, answering({ kind: "written", records: 1, isRepeat: true })],
  ["post", PATH, 400, `${BULK}?lines=all`, LINES, answering(busy)],
  ["post", PATH, 400, BULK, LINES, answering({ kind: "unreadable", problem: "is no whole gzip" })],
  ["post", PATH, 404, BULK, LINES, answering({ kind: "unknown topic" })],
  ["post", PATH, 408, BULK, LINES, answering({ kind: "slow", problem: "the body took more than 60 s" })],
  ["post", PATH, 409, BULK, LINES, answering({ kind: "key busy", retryAfterSeconds: 1 })],
  ["post", PATH, 413, BULK, LINES, answering({ kind: "too large", problem: "at most 10 bytes" })],
  ["post", PATH, 415, BULK, { ...LINES, headers: { "content-type": "text/csv" } }, answering(busy)],
  ["post", PATH, 422, BULK, LINES, answering(refused)],
  ["post", PATH, 422, BULK, LINES, answering({ kind: "key reused", problem: "it was used for another request" })],
  ["post", PATH, 422, BULK, LINES, answering({ kind: "unusable schema", problem: "the schema is JSON, not Avro" })],
  ["post", PATH, 429, BULK, LINES, answering(busy)],
  ["post", PATH, 501, BULK, LINES, fakeDeps],
  ["post", PATH, 503, BULK, LINES, answering(new UnavailableError("away"))],
];
