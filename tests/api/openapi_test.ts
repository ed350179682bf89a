import assert from "node:assert/strict";
import { z } from "zod";
import { createApp } from "../../api/app.ts";
import { docsPage, type OpenApiDocument } from "../../api/docs_page.ts";
import { createLiveHub } from "../../api/live.ts";
import { PROBLEMS } from "../../api/problem.ts";
import { type PipelineControl, QueryError } from "../../api/deps.ts";
import type { SecurityOptions } from "../../api/security/security.ts";
import { ConfigError, ConflictError, UnavailableError } from "../../pipeline/errors.ts";
import type { Explanation } from "../../pipeline/runtime/explain.ts";
import { fakeAuditor } from "./fake_audit.ts";
import { CASSANDRA_CASES } from "./fake_cassandra.ts";
import { BUILD_CASES } from "./fake_build.ts";
import { BULK_CASES } from "./fake_bulk.ts";
import { fakeConnectors } from "./fake_connectors.ts";
import { accountRows, type Fake, fakeDeps, pipelineStatus } from "./fake_deps.ts";
import { LAKE_CASES } from "./fake_lake.ts";
import { Desk } from "../letters/desk.ts";
import type { SqlErrorKind } from "../../api/sql/service.ts";
import { fakeSql, memoryQueries } from "./sql/fake_sql.ts";
import { VirtualClock } from "../../pipeline/testing/virtual_clock.ts";

interface Operation {
  readonly responses: Record<string, { readonly content?: Record<string, { readonly schema?: unknown }> }>;
}

interface Document extends OpenApiDocument {
  readonly openapi: string;
  readonly components: { readonly schemas: Record<string, never> };
}

const NAME = "/v1/pipelines/account_minute";
const RECORDS = "/v1/topics/transactions/records";
const JSON_POST = (body: string): RequestInit => ({
  method: "POST",
  body,
  headers: { "content-type": "application/json" },
});

function busy(): Fake {
  const fake = fakeDeps();
  fake.statuses = [pipelineStatus({
    watermarkMs: 1,
    checkpointAtMs: 2,
    lastError: { atMs: 1, message: "x" },
    partitions: [{ partition: 0, position: 1, end: 2, lagRecords: 1, lagSeconds: 0.5, watermarkMs: 1, idle: false }],
  })];
  fake.publish("account_minute", accountRows(0, 5));
  return fake;
}

function edge(): Fake {
  const fake = fakeDeps();
  const { engine: _, audit: __, connectors: ___, ...deps } = fake.deps;
  return { ...fake, deps };
}

function broken(error: Error): Fake {
  return fakeDeps({ results: { read: () => Promise.reject(error) }, ingest: { write: () => Promise.reject(error) } });
}

const away = () => broken(new UnavailableError("away"));
const refusing = () =>
  fakeDeps({
    ingest: { write: () => Promise.resolve({ kind: "refused", faults: [{ index: 0, problem: "is not a long" }] }) },
  });
const notReady = () =>
  fakeDeps({ ready: () => Promise.resolve([{ name: "broker", ready: false, detail: "refused" }]) });

function notStarted(): Fake {
  const fake = fakeDeps();
  fake.statuses = [];
  return fake;
}

/** Method, documented path, status: how to get that answer. Every documented status of every route has a line. */
const CASES: readonly [
  method: string,
  path: string,
  status: number,
  ask: string,
  init?: RequestInit,
  fake?: () => Fake | Promise<Fake>,
][] = [
  ["get", "/healthz", 200, "/healthz"],
  ["get", "/readyz", 200, "/readyz"],
  ["get", "/readyz", 503, "/readyz", {}, notReady],
  ["get", "/metrics", 200, "/metrics"],
  ["get", "/metrics", 501, "/metrics", {}, edge],
  ["get", "/v1/pipelines", 200, "/v1/pipelines"],
  ["get", "/v1/pipelines", 501, "/v1/pipelines", {}, edge],
  ["get", "/v1/pipelines/{name}", 200, NAME],
  ["get", "/v1/pipelines/{name}", 404, "/v1/pipelines/nope"],
  ["get", "/v1/pipelines/{name}", 501, NAME, {}, edge],
  ["get", "/v1/pipelines/{name}", 503, NAME, {}, notStarted],
  ["get", "/v1/pipelines/{name}/results", 200, `${NAME}/results?limit=3`],
  ["get", "/v1/pipelines/{name}/results", 400, `${NAME}/results?limit=0`],
  ["get", "/v1/pipelines/{name}/results", 404, "/v1/pipelines/nope/results"],
  [
    "get",
    "/v1/pipelines/{name}/results",
    404,
    `${NAME}/results`,
    {},
    () => broken(new QueryError("pipeline", "no sink")),
  ],
  ["get", "/v1/pipelines/{name}/results", 503, `${NAME}/results`, {}, away],
  ...CASSANDRA_CASES,
  ["get", "/v1/pipelines/{name}/results/stream", 200, `${NAME}/results/stream`],
  ["get", "/v1/pipelines/{name}/results/stream", 400, `${NAME}/results/stream`, {
    headers: { "last-event-id": "x".repeat(300) },
  }],
  ["get", "/v1/pipelines/{name}/results/stream", 404, "/v1/pipelines/nope/results/stream"],
  ["get", "/v1/pipelines/{name}/results/stream", 501, `${NAME}/results/stream`, {}, edge],
  ["get", "/v1/pipelines/{name}/results/stream", 503, `${NAME}/results/stream`],
  ["get", "/v1/whoami", 200, "/v1/whoami"],
  ["get", "/v1/config", 200, "/v1/config"],
  ["get", "/v1/config", 501, "/v1/config", {}, edge],
  ["get", "/v1/audit-log", 200, "/v1/audit-log?limit=1"],
  ["get", "/v1/audit-log", 400, "/v1/audit-log?limit=0"],
  ["get", "/v1/audit-log", 501, "/v1/audit-log", {}, edge],
  ["get", "/v1/live", 200, "/v1/live"],
  ["get", "/v1/live", 400, "/v1/live", { headers: { "last-event-id": "x".repeat(300) } }],
  ["get", "/v1/live", 501, "/v1/live", {}, edge],
  ["get", "/v1/live", 503, "/v1/live"],
  ["post", "/v1/topics/{topic}/records", 201, RECORDS, JSON_POST('{"records":[{"value":{"a":1}}]}')],
  ["post", "/v1/topics/{topic}/records", 400, RECORDS, JSON_POST("{")],
  ["post", "/v1/topics/{topic}/records", 400, RECORDS, JSON_POST('{"records":[]}')],
  ["post", "/v1/topics/{topic}/records", 404, "/v1/topics/nope/records", JSON_POST("{}")],
  ["post", "/v1/topics/{topic}/records", 413, RECORDS, JSON_POST(`"${"x".repeat(2 ** 20)}"`)],
  ["post", "/v1/topics/{topic}/records", 415, RECORDS, { method: "POST", body: "a=1" }],
  ["post", "/v1/topics/{topic}/records", 422, RECORDS, JSON_POST("{}"), refusing],
  ["post", "/v1/topics/{topic}/records", 501, RECORDS, JSON_POST("{}"), edge],
  ["post", "/v1/topics/{topic}/records", 503, RECORDS, JSON_POST("{}"), away],
];

const LETTER = "/v1/letters/late/transactions/0/0";
const REDRIVE = "/v1/letters/redrive";

async function lettersOf(made: "some" | "away" | "taken over" = "some"): Promise<Fake> {
  const desk = new Desk({ topic: "transactions" });
  await desk.setAside();
  const letters = made === "taken over"
    ? { ...desk.letters, redrive: () => Promise.reject(new ConflictError("taken over")) }
    : desk.letters;
  desk.log.isAway = made === "away";
  return fakeDeps({ letters });
}

const LETTER_CASES: typeof CASES = [
  ["get", "/v1/letters", 200, "/v1/letters?limit=1", {}, lettersOf],
  ["get", "/v1/letters", 400, "/v1/letters?limit=0", {}, lettersOf],
  ["get", "/v1/letters", 400, "/v1/letters?topic=nope", {}, lettersOf],
  ["get", "/v1/letters", 501, "/v1/letters", {}, edge],
  ["get", "/v1/letters", 503, "/v1/letters", {}, () => lettersOf("away")],
  ["get", "/v1/letters/{kind}/{topic}/{partition}/{offset}", 200, LETTER, {}, lettersOf],
  ["get", "/v1/letters/{kind}/{topic}/{partition}/{offset}", 400, "/v1/letters/odd/transactions/0/x", {}, lettersOf],
  ["get", "/v1/letters/{kind}/{topic}/{partition}/{offset}", 404, "/v1/letters/late/transactions/0/7", {}, lettersOf],
  ["get", "/v1/letters/{kind}/{topic}/{partition}/{offset}", 501, LETTER, {}, edge],
  ["get", "/v1/letters/{kind}/{topic}/{partition}/{offset}", 503, LETTER, {}, () => lettersOf("away")],
  ["post", REDRIVE, 200, REDRIVE, JSON_POST('{"selection":{"filter":{}}}'), lettersOf],
  ["post", REDRIVE, 400, REDRIVE, JSON_POST('{"selection":{}}')],
  ["post", REDRIVE, 400, REDRIVE, JSON_POST("{")],
  ["post", REDRIVE, 409, REDRIVE, JSON_POST('{"selection":{"filter":{}}}'), () => lettersOf("taken over")],
  ["post", REDRIVE, 413, REDRIVE, JSON_POST(`"${"x".repeat(2 ** 20)}"`)],
  ["post", REDRIVE, 415, REDRIVE, { method: "POST", body: "a=1" }],
  ["post", REDRIVE, 501, REDRIVE, JSON_POST('{"selection":{"filter":{}}}'), edge],
  ["post", REDRIVE, 503, REDRIVE, JSON_POST('{"selection":{"filter":{}}}'), () => lettersOf("away")],
];

const EXPLAIN = "/v1/explain?topic=transactions&partition=0&offset=7";
const REWIND = `${NAME}/rewind`;

/** A pipeline whose control does what a case needs. */
function controlled(changes: Partial<PipelineControl>): () => Fake {
  return () => {
    const { control } = fakeDeps().deps.engine!;
    return fakeDeps({ control: { ...control, ...changes } });
  };
}

const entry = {
  partition: 0,
  start: 0,
  position: 9,
  consumed: 10,
  aggregated: 9,
  filtered: 0,
  late: 0,
  dead: 0,
  duplicate: 0,
  inFlight: 1,
};

const explanation: Explanation = {
  pipeline: "account_minute",
  fate: "aggregated",
  reason: "it was in time",
  window: { startMs: 0, endMs: 60_000 },
  key: ["A-1"],
  isReopening: false,
};

class OffsetGone extends Error {
  override readonly name = "OffsetOutOfRangeError";
}

const refused = () => Promise.reject(new UnavailableError("away"));

const OPERATION_CASES: typeof CASES = [
  ["get", "/v1/ledger", 200, "/v1/ledger?pipeline=account_minute", {}, controlled({ ledger: () => [entry] })],
  [
    "get",
    "/v1/ledger",
    200,
    "/v1/ledger?connector=user_profiles",
    {},
    () => fakeDeps({ connectors: fakeConnectors() }),
  ],
  ["get", "/v1/ledger", 404, "/v1/ledger?connector=nope"],
  ["get", "/v1/ledger", 400, "/v1/ledger?nope=1"],
  ["get", "/v1/ledger", 404, "/v1/ledger?pipeline=nope"],
  ["get", "/v1/ledger", 501, "/v1/ledger", {}, edge],
  ["get", "/v1/explain", 200, EXPLAIN, {}, controlled({ explain: () => Promise.resolve([explanation]) })],
  ["get", "/v1/explain", 400, "/v1/explain?topic=transactions&partition=0&offset=-1"],
  ["get", "/v1/explain", 404, "/v1/explain?topic=nope&partition=0&offset=7"],
  ["get", "/v1/explain", 410, EXPLAIN, {}, controlled({ explain: () => Promise.reject(new OffsetGone("gone")) })],
  ["get", "/v1/explain", 501, EXPLAIN, {}, edge],
  ["get", "/v1/explain", 503, EXPLAIN, {}, controlled({ explain: () => Promise.reject(new UnavailableError("away")) })],
  ["post", "/v1/pipelines/{name}/stop", 200, `${NAME}/stop`, { method: "POST" }],
  ["post", "/v1/pipelines/{name}/stop", 404, "/v1/pipelines/nope/stop", { method: "POST" }],
  ["post", "/v1/pipelines/{name}/stop", 501, `${NAME}/stop`, { method: "POST" }, edge],
  ["post", "/v1/pipelines/{name}/stop", 503, `${NAME}/stop`, { method: "POST" }, controlled({ stop: refused })],
  ["post", "/v1/pipelines/{name}/start", 200, `${NAME}/start`, { method: "POST" }],
  ["post", "/v1/pipelines/{name}/start", 404, "/v1/pipelines/nope/start", { method: "POST" }],
  ["post", "/v1/pipelines/{name}/start", 501, `${NAME}/start`, { method: "POST" }, edge],
  ["post", "/v1/pipelines/{name}/start", 503, `${NAME}/start`, { method: "POST" }, controlled({ start: refused })],
  ["post", "/v1/pipelines/{name}/rewind", 200, REWIND, JSON_POST('{"to":"2026-05-01"}')],
  ["post", "/v1/pipelines/{name}/rewind", 200, REWIND, JSON_POST('{"offset":7,"preview":true}')],
  ["post", "/v1/pipelines/{name}/rewind", 400, REWIND, JSON_POST('{"offset":7,"earliest":true}')],
  ["post", "/v1/pipelines/{name}/rewind", 400, REWIND, JSON_POST("{")],
  ["post", "/v1/pipelines/{name}/rewind", 404, "/v1/pipelines/nope/rewind", JSON_POST('{"earliest":true}')],
  [
    "post",
    "/v1/pipelines/{name}/rewind",
    409,
    REWIND,
    JSON_POST('{"earliest":true}'),
    controlled({ rewind: () => Promise.resolve(null) }),
  ],
  ["post", "/v1/pipelines/{name}/rewind", 413, REWIND, JSON_POST(`"${"x".repeat(2 ** 20)}"`)],
  ["post", "/v1/pipelines/{name}/rewind", 415, REWIND, { method: "POST", body: "a=1" }],
  [
    "post",
    "/v1/pipelines/{name}/rewind",
    422,
    REWIND,
    JSON_POST('{"to":"2001-01-01"}'),
    controlled({ rewind: () => Promise.reject(new ConfigError({ where: "rewind", problem: "the log begins later" })) }),
  ],
  ["post", "/v1/pipelines/{name}/rewind", 501, REWIND, JSON_POST('{"earliest":true}'), edge],
  [
    "post",
    "/v1/pipelines/{name}/rewind",
    503,
    REWIND,
    JSON_POST('{"earliest":true}'),
    controlled({ rewind: () => Promise.reject(new UnavailableError("away")) }),
  ],
];

const SECURITY: SecurityOptions = {
  settings: () => [{ name: "port", variable: "TAILRACE_PORT", value: "8000", origin: "default" }],
  audit: {
    ready: () => Promise.resolve(),
    append: () => Promise.resolve(),
    read: () =>
      Promise.resolve([{
        time: "2026-11-20T21:00:00.000Z",
        who: "ada",
        role: "operator",
        from: "127.0.0.1",
        method: "POST",
        path: RECORDS,
        status: 201,
      }]),
  },
};

/** Documented for every route, and tested with the keys and bounds. */
const OF_KEYS = ["401", "403", "414"];

async function openapi(): Promise<Document> {
  return await (await createApp(fakeDeps().deps).request("/openapi.json")).json();
}

/** A schema of the document with its references replaced by what they name, so that it stands alone. */
function standalone(schema: unknown, document: Document): unknown {
  if (Array.isArray(schema)) return schema.map((one) => standalone(one, document));
  if (typeof schema !== "object" || schema === null) return schema;
  const { $ref } = schema as { $ref?: string };
  if ($ref) return standalone(document.components.schemas[$ref.slice($ref.lastIndexOf("/") + 1)], document);
  return Object.fromEntries(Object.entries(schema).map(([key, value]) => [key, standalone(value, document)]));
}

function asking(failure?: SqlErrorKind | Error): () => Fake {
  return () => {
    const queries = memoryQueries([{ name: "top", sql: "select 1", about: "", parameters: [] }]);
    return fakeDeps({ sql: fakeSql(failure), queries });
  };
}

const AUDITED = "/v1/audit/account_minute/repair";

/** An audit that found nothing, and a repair that ends so. */
function auditing(failure?: Error): () => Fake {
  const repair = () =>
    failure
      ? Promise.reject(failure)
      : Promise.resolve({ rewritten: 1, inserted: 0, deleted: 0, left: 1, rewindToMs: 0 });
  return () => fakeDeps({ audit: [fakeAuditor({ repair })] });
}

const AUDIT_CASES: typeof CASES = [
  ["get", "/v1/audit", 200, "/v1/audit", {}, auditing()],
  ["get", "/v1/audit", 501, "/v1/audit", {}, edge],
  ["get", "/v1/audit/{pipeline}/differences", 200, "/v1/audit/account_minute/differences", {}, auditing()],
  ["get", "/v1/audit/{pipeline}/differences", 400, "/v1/audit/account_minute/differences?limit=x", {}, auditing()],
  ["get", "/v1/audit/{pipeline}/differences", 404, "/v1/audit/account_minute/differences", {}, fakeDeps],
  ["get", "/v1/audit/{pipeline}/differences", 501, "/v1/audit/account_minute/differences", {}, edge],
  ["post", "/v1/audit/{pipeline}/repair", 200, AUDITED, { method: "POST" }, auditing()],
  ["post", "/v1/audit/{pipeline}/repair", 404, AUDITED, { method: "POST" }, fakeDeps],
  ["post", "/v1/audit/{pipeline}/repair", 409, AUDITED, { method: "POST" }, auditing(new ConflictError("taken over"))],
  ["post", "/v1/audit/{pipeline}/repair", 501, AUDITED, { method: "POST" }, edge],
  ["post", "/v1/audit/{pipeline}/repair", 503, AUDITED, { method: "POST" }, auditing(new UnavailableError("away"))],
];

const QUESTION = JSON_POST('{"sql":"select 1"}');
const TOP = "/v1/queries/top";
const SAVE: RequestInit = { ...QUESTION, method: "PUT" };
const DELETE: RequestInit = { method: "DELETE" };
const CSV: RequestInit = { headers: { accept: "text/csv" } };
const ODD: RequestInit = { headers: { accept: "image/png" } };
const AWAY = asking(new UnavailableError("away"));

const SQL_CASES: typeof CASES = [
  ["get", "/v1/sql", 200, "/v1/sql?q=select+1", {}, asking()],
  ["get", "/v1/sql", 200, "/v1/sql?q=select+1", CSV, asking()],
  ["get", "/v1/sql", 400, "/v1/sql", {}, asking()],
  ["get", "/v1/sql", 400, "/v1/sql?q=x", {}, asking("syntax")],
  ["get", "/v1/sql", 400, "/v1/sql?q=x", {}, asking("parameter")],
  ["get", "/v1/sql", 404, "/v1/sql?q=x", {}, edge],
  ["get", "/v1/sql", 406, "/v1/sql?q=x", ODD, asking()],
  ["get", "/v1/sql", 409, "/v1/sql?q=x", {}, asking("cancelled")],
  ["get", "/v1/sql", 422, "/v1/sql?q=x", {}, asking("limit")],
  ["get", "/v1/sql", 429, "/v1/sql?q=x", {}, asking("busy")],
  ["get", "/v1/sql", 503, "/v1/sql?q=x", {}, AWAY],
  ["post", "/v1/sql", 200, "/v1/sql", QUESTION, asking()],
  ["post", "/v1/sql", 400, "/v1/sql", JSON_POST("{"), asking()],
  ["post", "/v1/sql", 400, "/v1/sql", JSON_POST('{"sql":1}'), asking()],
  ["post", "/v1/sql", 404, "/v1/sql", QUESTION, edge],
  ["post", "/v1/sql", 406, "/v1/sql", { ...QUESTION, headers: { ...QUESTION.headers, ...ODD.headers } }, asking()],
  ["post", "/v1/sql", 409, "/v1/sql", QUESTION, asking("cancelled")],
  ["post", "/v1/sql", 413, "/v1/sql", JSON_POST(`"${"x".repeat(2 ** 20)}"`), asking()],
  ["post", "/v1/sql", 415, "/v1/sql", { method: "POST", body: "a=1" }, asking()],
  ["post", "/v1/sql", 422, "/v1/sql", QUESTION, asking("limit")],
  ["post", "/v1/sql", 429, "/v1/sql", QUESTION, asking("busy")],
  ["post", "/v1/sql", 503, "/v1/sql", QUESTION, AWAY],
  ["get", "/v1/sql/relations", 200, "/v1/sql/relations", {}, asking()],
  ["get", "/v1/sql/relations", 404, "/v1/sql/relations", {}, edge],
  ["get", "/v1/sql/relations", 503, "/v1/sql/relations", {}, AWAY],
  ["delete", "/v1/sql/{id}", 400, `/v1/sql/${"x".repeat(65)}`, DELETE, asking()],
  ["delete", "/v1/sql/{id}", 200, "/v1/sql/an-id-of-ours", DELETE, asking()],
  ["delete", "/v1/sql/{id}", 404, "/v1/sql/another", DELETE, asking()],
  ["get", "/v1/queries", 200, "/v1/queries", {}, asking()],
  ["get", "/v1/queries", 404, "/v1/queries", {}, edge],
  ["get", "/v1/queries/{name}", 200, TOP, {}, asking()],
  ["get", "/v1/queries/{name}", 400, `${TOP}?limit=x`, {}, asking()],
  ["get", "/v1/queries/{name}", 400, TOP, {}, asking("syntax")],
  ["get", "/v1/queries/{name}", 404, "/v1/queries/nope", {}, asking()],
  ["get", "/v1/queries/{name}", 406, TOP, ODD, asking()],
  ["get", "/v1/queries/{name}", 409, TOP, {}, asking("cancelled")],
  ["get", "/v1/queries/{name}", 422, TOP, {}, asking("limit")],
  ["get", "/v1/queries/{name}", 429, TOP, {}, asking("busy")],
  ["get", "/v1/queries/{name}", 503, TOP, {}, AWAY],
  ["put", "/v1/queries/{name}", 200, TOP, SAVE, asking()],
  ["put", "/v1/queries/{name}", 400, TOP, { ...SAVE, body: "{}" }, asking()],
  ["put", "/v1/queries/{name}", 400, TOP, SAVE, asking("syntax")],
  ["put", "/v1/queries/{name}", 404, TOP, SAVE, edge],
  ["put", "/v1/queries/{name}", 413, TOP, { ...SAVE, body: `"${"x".repeat(2 ** 20)}"` }, asking()],
  ["put", "/v1/queries/{name}", 415, TOP, { method: "PUT", body: "a=1" }, asking()],
  ["put", "/v1/queries/{name}", 422, TOP, SAVE, asking("limit")],
  ["put", "/v1/queries/{name}", 429, TOP, SAVE, asking("busy")],
  ["put", "/v1/queries/{name}", 503, TOP, SAVE, AWAY],
  ["delete", "/v1/queries/{name}", 200, TOP, DELETE, asking()],
  ["delete", "/v1/queries/{name}", 400, "/v1/queries/no-name", DELETE, asking()],
  ["delete", "/v1/queries/{name}", 404, "/v1/queries/nope", DELETE, asking()],
];

const PROFILES = "/v1/connectors/user_profiles";
const LIMIT = "/v1/connectors/{name}/limit";
const REJECTED = "/v1/connectors/{name}/rejected";
const JSON_PUT = (body: string): RequestInit => ({ ...JSON_POST(body), method: "PUT" });

/** One source, which is told what a case needs. */
function connected(changes: Parameters<typeof fakeConnectors>[0] = {}): () => Fake {
  return () => fakeDeps({ connectors: fakeConnectors(changes) });
}

const unset = () => Promise.reject(new ConfigError({ where: "user_profiles", problem: "secret api: is not set" }));
const PIPELINE_LIMIT = "/v1/pipelines/{name}/limit";

const CONNECTOR_CASES: typeof CASES = [
  ["put", PIPELINE_LIMIT, 200, `${NAME}/limit`, JSON_PUT('{"perSecond":100}')],
  ["put", PIPELINE_LIMIT, 400, `${NAME}/limit`, JSON_PUT('{"perSecond":-1}')],
  ["put", PIPELINE_LIMIT, 404, "/v1/pipelines/nope/limit", JSON_PUT('{"perSecond":1}')],
  ["put", PIPELINE_LIMIT, 413, `${NAME}/limit`, JSON_PUT(`"${"x".repeat(2 ** 20)}"`)],
  ["put", PIPELINE_LIMIT, 415, `${NAME}/limit`, { method: "PUT", body: "a=1" }],
  ["put", PIPELINE_LIMIT, 501, `${NAME}/limit`, JSON_PUT('{"perSecond":1}'), edge],
  ["get", "/v1/connectors", 200, "/v1/connectors", {}, connected()],
  ["get", "/v1/connectors", 501, "/v1/connectors", {}, edge],
  ["get", "/v1/connectors/{name}", 200, PROFILES, {}, connected()],
  ["get", "/v1/connectors/{name}", 404, "/v1/connectors/nope", {}, connected()],
  ["get", "/v1/connectors/{name}", 501, PROFILES, {}, edge],
  ...(["stop", "start"] as const).flatMap((verb): (typeof CASES)[number][] => {
    const path = `/v1/connectors/{name}/${verb}`;
    return [
      ["post", path, 200, `${PROFILES}/${verb}`, { method: "POST" }, connected()],
      ["post", path, 404, `/v1/connectors/nope/${verb}`, { method: "POST" }, connected()],
      ["post", path, 501, `${PROFILES}/${verb}`, { method: "POST" }, edge],
      ["post", path, 503, `${PROFILES}/${verb}`, { method: "POST" }, connected({ [verb]: refused })],
    ];
  }),
  ["get", REJECTED, 200, `${PROFILES}/rejected?limit=2`, {}, connected()],
  ["get", REJECTED, 400, `${PROFILES}/rejected?limit=101`, {}, connected()],
  ["get", REJECTED, 404, "/v1/connectors/nope/rejected", {}, connected()],
  ["get", REJECTED, 409, `${PROFILES}/rejected`, {}, connected({ rejected: unset })],
  ["get", REJECTED, 501, `${PROFILES}/rejected`, {}, edge],
  ["get", REJECTED, 503, `${PROFILES}/rejected`, {}, connected({ rejected: refused })],
  ["put", LIMIT, 200, `${PROFILES}/limit`, JSON_PUT('{"perSecond":100}'), connected()],
  ["put", LIMIT, 200, `${PROFILES}/limit`, JSON_PUT('{"perSecond":null}'), connected()],
  ["put", LIMIT, 400, `${PROFILES}/limit`, JSON_PUT('{"perSecond":0}'), connected()],
  ["put", LIMIT, 404, "/v1/connectors/nope/limit", JSON_PUT('{"perSecond":1}'), connected()],
  ["put", LIMIT, 413, `${PROFILES}/limit`, JSON_PUT(`"${"x".repeat(2 ** 20)}"`), connected()],
  ["put", LIMIT, 415, `${PROFILES}/limit`, { method: "PUT", body: "a=1" }, connected()],
  ["put", LIMIT, 501, `${PROFILES}/limit`, JSON_PUT('{"perSecond":1}'), edge],
];

Deno.test("every documented route answers each documented status with the documented type and shape", async () => {
  const document = await openapi();
  assert.equal(document.openapi, "3.1.0");
  const covered = new Set<string>();
  for (
    const [method, path, status, ask, init, fake = busy] of [
      ...CASES,
      ...LETTER_CASES,
      ...OPERATION_CASES,
      ...SQL_CASES,
      ...AUDIT_CASES,
      ...LAKE_CASES,
      ...BUILD_CASES,
      ...BULK_CASES,
      ...CONNECTOR_CASES,
    ]
  ) {
    const where = `${method} ${path} ${status}`;
    // A hub with no room makes the 503 of the streams.
    const hub = createLiveHub({ clientsMax: status === 503 ? 0 : 1 }, new VirtualClock());
    const security = fake === edge ? undefined : SECURITY;
    const response = await createApp((await fake()).deps, { hub, security }).request(ask, init);
    assert.equal(response.status, status, where);
    const operation = document.paths![path]?.[method] as Operation | undefined;
    const content = operation?.responses[status]?.content;
    assert.ok(content, `${where} is not documented`);
    const mediaType = response.headers.get("content-type")!.split(";")[0];
    assert.ok(content[mediaType], `${where} answers ${mediaType}, documented are ${Object.keys(content)}`);
    hub.close();
    const body = mediaType.endsWith("json") ? await response.json() : await response.text();
    const schema = z.fromJSONSchema(standalone(content[mediaType].schema, document) as z.core.JSONSchema.JSONSchema);
    const result = schema.safeParse(body);
    assert.ok(result.success, `${where}: ${result.error?.message} in ${JSON.stringify(body)}`);
    covered.add(where);
  }
  const documented = Object.entries(document.paths!).flatMap(([path, methods]) =>
    Object.entries(methods).flatMap(([method, operation]) =>
      Object.keys((operation as Operation).responses).filter((status) => !OF_KEYS.includes(status)).map((status) =>
        `${method} ${path} ${status}`
      )
    )
  );
  assert.deepEqual([...covered].sort(), documented.sort());
});

Deno.test("the check of shapes notices a wrong shape", async () => {
  const document = await openapi();
  const schema = standalone({ $ref: "#/components/schemas/ResultPage" }, document);
  const page = z.fromJSONSchema(schema as z.core.JSONSchema.JSONSchema);
  assert.ok(page.safeParse({ pipeline: "a", rows: [{ n: 1 }], next: null }).success);
  assert.ok(!page.safeParse({ pipeline: "a", rows: [{ n: { deep: 1 } }], next: null }).success);
  assert.ok(!page.safeParse({ pipeline: "a", rows: [] }).success);
});

Deno.test("every route of the application is documented, but for the pages for people", async () => {
  const document = await openapi();
  const pages = [
    "/",
    "/connectors",
    "/letters",
    "/lake",
    "/docs",
    "/openapi.json",
    "/assets/{path}",
    "/sign-in",
    "/sign-out",
  ];
  const routes = createApp(fakeDeps().deps).routes.filter(({ method }) => method !== "ALL").map(({ method, path }) =>
    `${method} ${path.replaceAll(/:(\w+)(\{[^}]*\})?/g, "{$1}")}`
  );
  const documented = Object.entries(document.paths!).flatMap(([path, methods]) =>
    Object.keys(methods).map((method) => `${method.toUpperCase()} ${path}`)
  );
  assert.deepEqual(
    [...new Set(routes)].filter((route) => !pages.includes(route.split(" ")[1])).sort(),
    documented.sort(),
  );
});

Deno.test("the documentation shows every route, parameter, shape and problem, with a command to paste", async () => {
  const document = await openapi();
  const response = await createApp(fakeDeps().deps).request("http://127.0.0.1:8123/docs");
  assert.equal(response.headers.get("content-type"), "text/html; charset=UTF-8");
  const html = await response.text();
  for (const [path, methods] of Object.entries(document.paths!)) {
    assert.ok(html.includes(`<code>${path}</code>`), path);
    for (const operation of Object.values(methods)) {
      for (const parameter of operation.parameters ?? []) assert.ok(html.includes(`<code>${parameter.name}</code>`));
    }
  }
  for (const name of Object.keys(document.components.schemas)) assert.ok(html.includes(`id="schema-${name}"`), name);
  for (const kind of Object.keys(PROBLEMS)) assert.ok(html.includes(`<tr id="${kind}">`), kind);
  assert.ok(html.includes("curl -s &#39;http://127.0.0.1:8123/v1/pipelines/account_minute/results?limit=5&#39;"));
  assert.ok(html.includes("curl -sN &#39;http://127.0.0.1:8123/v1/live&#39;"));
  const ids = [...html.matchAll(/ id="([^"]+)"/g)].map(([, id]) => id);
  assert.equal(new Set(ids).size, ids.length, "an id twice");
  for (const [, anchor] of html.matchAll(/href="#([^"]+)"/g)) {
    assert.ok(ids.includes(anchor), `#${anchor} leads nowhere`);
  }
  assert.doesNotMatch(html, /<script|<style|\sstyle=|src="http/);
});

Deno.test("whatever a description holds stays text on the documentation page", () => {
  const html = docsPage({
    info: { title: "<script>", version: '"1"' },
    paths: { "/a'b": { get: { summary: "<img src=x onerror=1>", responses: { 200: { description: "`<b>`" } } } } },
  }, "http://h'ost");
  assert.doesNotMatch(html, /<script>|<img|<b>`|h'ost/);
  assert.ok(html.includes("<code>&lt;b&gt;</code>"));
});
