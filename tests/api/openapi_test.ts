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
import { accountRows, type Fake, fakeDeps, pipelineStatus } from "./fake_deps.ts";
import { Desk } from "../letters/desk.ts";
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
  const { engine: _, ...deps } = fake.deps;
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

Deno.test("every documented route answers each documented status with the documented type and shape", async () => {
  const document = await openapi();
  assert.equal(document.openapi, "3.1.0");
  const covered = new Set<string>();
  for (const [method, path, status, ask, init, fake = busy] of [...CASES, ...LETTER_CASES, ...OPERATION_CASES]) {
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
  const pages = ["/", "/letters", "/docs", "/openapi.json", "/assets/{path}", "/sign-in", "/sign-out"];
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
