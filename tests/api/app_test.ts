import assert from "node:assert/strict";
import { createApp } from "../../api/app.ts";
import { createAssets } from "../../api/assets.ts";
import { QueryError } from "../../api/deps.ts";
import { LOOPBACK_HOSTS } from "../../api/guards.ts";
import { createLiveHub } from "../../api/live.ts";
import { PROBLEMS } from "../../api/problem.ts";
import { UnavailableError } from "../../pipeline/errors.ts";
import { accountRows, type Fake, fakeDeps, pipelineStatus } from "./fake_deps.ts";
import { VirtualClock } from "../../pipeline/testing/virtual_clock.ts";

const START = Date.parse("2026-11-20T21:00:00Z");

/** Asserts a complete RFC 9457 answer and gives it. */
async function problemOf(response: Response, kind: keyof typeof PROBLEMS): Promise<Record<string, unknown>> {
  const body = await response.json();
  assert.equal(body.type, `/docs#${kind}`);
  assert.equal(response.status, PROBLEMS[kind][0]);
  assert.equal(response.headers.get("content-type"), "application/problem+json");
  assert.equal(body.title, PROBLEMS[kind][1]);
  assert.equal(body.status, response.status);
  assert.equal(typeof body.instance, "string");
  if (response.status === 503) assert.match(response.headers.get("retry-after") ?? "", /^\d+$/);
  return body;
}

function post(body: string, headers: Record<string, string> = { "content-type": "application/json" }): RequestInit {
  return { method: "POST", body, headers };
}

function failing(error: Error): Fake {
  return fakeDeps({ results: { read: () => Promise.reject(error) } });
}

Deno.test("healthz answers whatever the dependencies do; readyz tells each of them", async () => {
  const checks = [{ name: "broker", ready: true, detail: "answers" }, {
    name: "postgres",
    ready: false,
    detail: "refused",
  }];
  const app = createApp(fakeDeps({ ready: () => Promise.resolve(checks) }).deps);
  assert.deepEqual(await (await app.request("/healthz")).json(), { status: "ok", version: "0.1.0" });
  const away = await app.request("/readyz");
  assert.equal(away.status, 503);
  assert.deepEqual(await away.json(), { ready: false, checks });
  const ready = await createApp(fakeDeps().deps).request("/readyz");
  assert.equal(ready.status, 200);
  assert.equal((await ready.json()).ready, true);
});

Deno.test("metrics are Prometheus text", async () => {
  const response = await createApp(fakeDeps().deps).request("/metrics");
  assert.match(response.headers.get("content-type")!, /^text\/plain; version=0\.0\.4/);
  assert.equal(await response.text(), "tailrace_up 1\n");
});

Deno.test("a pipeline's status shows times as ISO 8601 and what is unknown as null", async () => {
  const fake = fakeDeps();
  fake.statuses = [pipelineStatus({
    watermarkMs: START,
    checkpointAtMs: START + 1500,
    lagRecords: -1,
    lastError: { atMs: START, message: "broker away" },
    partitions: [
      { partition: 0, position: 5, end: -1, lagRecords: -1, lagSeconds: 0, watermarkMs: -Infinity, idle: true },
    ],
  })];
  const app = createApp(fake.deps);
  const one = await (await app.request("/v1/pipelines/account_minute")).json();
  assert.equal(one.watermark, "2026-11-20T21:00:00.000Z");
  assert.equal(one.checkpointAt, "2026-11-20T21:00:01.500Z");
  assert.equal(one.lagRecords, null);
  assert.deepEqual(one.lastError, { at: "2026-11-20T21:00:00.000Z", message: "broker away" });
  assert.deepEqual(one.partitions, [
    { partition: 0, position: 5, end: null, lagRecords: null, lagSeconds: 0, watermark: null, idle: true },
  ]);
  assert.deepEqual(one.columns[4], { name: "total", role: "value", type: "decimal(38, 2)", nullable: true });
  assert.deepEqual((await (await app.request("/v1/pipelines")).json()).pipelines, [one]);
});

Deno.test("a pipeline that does not exist is told by name, with those that do", async () => {
  const app = createApp(fakeDeps().deps);
  for (const path of ["/v1/pipelines/nope", "/v1/pipelines/nope/results", "/v1/pipelines/nope/results/stream"]) {
    const { detail } = await problemOf(await app.request(path), "unknown-pipeline");
    assert.match(String(detail), /"nope".*account_minute/);
  }
});

Deno.test("a query for results reaches the reader with its times, keys and limits", async () => {
  const fake = fakeDeps();
  const app = createApp(fake.deps);
  fake.publish("account_minute", accountRows(START, 3));
  const path = "/v1/pipelines/account_minute/results";
  const page = await (await app.request(
    `${path}?key=A-0001&from=2026-11-20T21:00:00Z&to=2026-11-20T23:30:00%2B02:00&final=true&limit=7&cursor=abc`,
  )).json();
  assert.equal(page.pipeline, "account_minute");
  assert.deepEqual(page.rows.map((row: { account_id: string }) => row.account_id), ["A-0001"]);
  assert.equal(page.next, null);
  await app.request(path);
  await app.request(`${path}?from=${START}&to=2026-11-21&final=false`);
  await app.request(`${path}?from=2026-11-20T21:00`);
  assert.deepEqual(fake.queries, [
    { key: ["A-0001"], from: START, to: START + 30 * 60_000, final: true, limit: 7, cursor: "abc" },
    { limit: 100 },
    { from: START, to: Date.parse("2026-11-21T00:00:00Z"), final: false, limit: 100 },
    { from: START, limit: 100 },
  ]);
});

Deno.test("every fault of a query is reported at once, each with its place", async () => {
  const app = createApp(fakeDeps().deps);
  const path = "/v1/pipelines/account_minute/results";
  const body = await problemOf(
    await app.request(`${path}?from=yesterday&to=99999-01-01&final=maybe&limit=1001&limt=5`),
    "invalid-request",
  );
  const where = (body.errors as { where: string }[]).map((error) => error.where).sort();
  assert.deepEqual(where, ["query", "query.final", "query.from", "query.limit", "query.to"]);
  for (
    const query of ["limit=0", "limit=x", "limit=1.5", "cursor=", "from=2026-13-01", "key=a&key=b", "limit=1&limit=2"]
  ) {
    await problemOf(await app.request(`${path}?${query}`), "invalid-request");
  }
});

Deno.test("a limit that is none, a parameter given twice and an empty range of time are told in plain words", async () => {
  const fake = fakeDeps();
  const app = createApp(fake.deps);
  const path = "/v1/pipelines/account_minute/results";
  const limit = "must be a whole number from 1 to 1000";
  const cases: [query: string, where: string, problem: string][] = [
    ...["abc", "", "0", "1001", "1.5", "-1", "1e2", "%205", "9".repeat(400)].map((text): [string, string, string] => [
      `limit=${text}`,
      "query.limit",
      limit,
    ]),
    ...["limit", "from", "to", "final", "cursor"].map((name): [string, string, string] => [
      `${name}=1&${name}=2`,
      `query.${name}`,
      "is given more than once",
    ]),
    ["final=maybe", "query.final", "must be true or false"],
    [
      "from=2027-01-01&to=2026-01-01",
      "query.from",
      "must be before `to`, but from is 2027-01-01T00:00:00.000Z and to is 2026-01-01T00:00:00.000Z, so no window can match",
    ],
  ];
  for (const [query, where, problem] of cases) {
    const { errors } = await problemOf(await app.request(`${path}?${query}`), "invalid-request");
    assert.deepEqual(errors, [{ where, problem }], query);
  }
  await problemOf(await app.request(`${path}?from=2026-01-01&to=2026-01-01`), "invalid-request");
  assert.deepEqual(fake.queries, []);
  for (const query of ["limit=1", "limit=1000", "from=0&to=1"]) {
    assert.equal((await app.request(`${path}?${query}`)).status, 200, query);
  }
  assert.deepEqual(fake.queries, [{ limit: 1 }, { limit: 1000 }, { from: 0, to: 1, limit: 100 }]);
});

Deno.test("what the reader refuses or cannot reach becomes 400, 404 or 503", async () => {
  const path = "/v1/pipelines/account_minute/results?cursor=x";
  const answer = (error: Error) => createApp(failing(error).deps).request(path);
  const cursor = await problemOf(await answer(new QueryError("cursor", "is not ours")), "invalid-request");
  assert.deepEqual(cursor.errors, [{ where: "query.cursor", problem: "is not ours" }]);
  await problemOf(await answer(new QueryError("pipeline", "no postgres sink")), "no-stored-results");
  const away = await problemOf(await answer(new UnavailableError("the database of results is away")), "unavailable");
  assert.equal(away.detail, "the database of results is away");
});

Deno.test("a bug answers 500 without a word of what is inside, and is logged once", async () => {
  const fake = failing(new TypeError("secret of the house"));
  const response = await createApp(fake.deps).request("/v1/pipelines/account_minute/results");
  const text = await response.clone().text();
  await problemOf(response, "internal");
  assert.doesNotMatch(text, /secret|TypeError|\.ts/);
  assert.equal(fake.logged.length, 1);
  assert.match(fake.logged[0], /GET \/v1\/pipelines\/account_minute\/results failed.*secret of the house/);
});

Deno.test("records go in as a batch or as one value, and come back with their places", async () => {
  const seen: unknown[] = [];
  const app = createApp(
    fakeDeps({
      ingest: {
        write(topic, records) {
          seen.push([topic, records]);
          return Promise.resolve({ kind: "written", records: records.map((_, i) => ({ partition: 0, offset: i })) });
        },
      },
    }).deps,
  );
  const batch = await app.request(
    "/v1/topics/transactions/records",
    post('{"records":[{"key":"k","value":{"a":1}},{"value":null},{"key":null,"value":"text"}]}'),
  );
  assert.equal(batch.status, 201);
  assert.deepEqual(await batch.json(), {
    topic: "transactions",
    records: [{ partition: 0, offset: 0 }, { partition: 0, offset: 1 }, { partition: 0, offset: 2 }],
  });
  const single = await app.request(
    "/v1/topics/t.2/records",
    post('{"a":1,"records":"not a list","__proto__":{"x":1}}'),
  );
  assert.equal(single.status, 201);
  assert.deepEqual(seen[0], [
    "transactions",
    [{ key: "k", value: { a: 1 } }, { value: null }, { key: null, value: "text" }],
  ]);
  const [topic, records] = seen[1] as [string, { value: object }[]];
  assert.equal(topic, "t.2");
  assert.equal(JSON.stringify(records), '[{"value":{"a":1,"records":"not a list","__proto__":{"x":1}}}]');
});

Deno.test("records that do not fit are refused with each one's fault", async () => {
  const app = createApp(
    fakeDeps({
      ingest: {
        write: (topic) => {
          if (topic === "away") return Promise.reject(new UnavailableError("the broker does not answer"));
          return Promise.resolve({ kind: "refused", faults: [{ index: 3, problem: "amount: is not a decimal" }] });
        },
      },
    }).deps,
  );
  const body = await problemOf(
    await app.request("/v1/topics/transactions/records", post('{"records":[{"value":1}]}')),
    "invalid-records",
  );
  assert.deepEqual(body.errors, [{ where: "records[3].value", problem: "amount: is not a decimal" }]);
  await problemOf(await app.request("/v1/topics/away/records", post("{}")), "unavailable");
});

Deno.test("a topic that is missing or has no value schema is told with both reasons and what to do", async () => {
  const app = createApp(fakeDeps().deps);
  const { detail } = await problemOf(await app.request("/v1/topics/t.dead/records", post("{}")), "unknown-topic");
  assert.match(String(detail), /no topic "t\.dead", or no value schema.*; create.*register.*"t\.dead-value"/);
});

Deno.test("a body that is no JSON, too large, too many, of another type or of another shape has its own answer", async () => {
  const app = createApp(fakeDeps().deps, { bodyBytesMax: 1000, recordsMax: 3 });
  const to = (init: RequestInit, topic = "transactions") => app.request(`/v1/topics/${topic}/records`, init);
  await problemOf(await to(post("{")), "malformed-json");
  await problemOf(await to(post("")), "malformed-json");
  await problemOf(await to(post(`{"a":"${"x".repeat(1000)}"}`)), "body-too-large");
  const chunked = new ReadableStream({
    pull(controller) {
      controller.enqueue(new TextEncoder().encode("[".repeat(400)));
    },
  });
  await problemOf(
    await to({ method: "POST", body: chunked, headers: { "content-type": "application/json" } }),
    "body-too-large",
  );
  await problemOf(await to(post("{}", { "content-type": "text/plain" })), "unsupported-media-type");
  await problemOf(await to(post("{}", {})), "unsupported-media-type");
  await problemOf(await to(post("{}"), "no%20topic"), "invalid-request");
  await problemOf(await to(post("{}"), "nowhere"), "unknown-topic");
  const shapes: [string, string][] = [
    ["[]", "body"],
    ["3", "body"],
    ["null", "body"],
    ['{"records":[]}', "body.records"],
    ['{"records":[{"value":1},{"value":1},{"value":1},{"value":1}]}', "body.records"],
    ['{"records":[{"value":1},{"key":5,"value":1}]}', "body.records[1].key"],
    ['{"records":[{"value":1,"kee":"x"}]}', "body.records[0]"],
  ];
  for (const [text, where] of shapes) {
    const { errors } = await problemOf(await to(post(text)), "invalid-request");
    assert.deepEqual([...new Set((errors as { where: string }[]).map((error) => error.where))], [where], text);
  }
});

Deno.test("an unknown address is 404, a known one with another method is 405 and names those it takes", async () => {
  const app = createApp(fakeDeps().deps);
  for (const path of ["/nope", "/v1", "/assets/nope.js", "/v1/pipelines/a/b/c", "/%2e%2e/etc/passwd"]) {
    await problemOf(await app.request(path), "unknown-route");
  }
  const deleted = await app.request("/v1/pipelines/account_minute/results", { method: "DELETE" });
  assert.equal(deleted.headers.get("allow"), "GET, HEAD");
  await problemOf(deleted, "method-not-allowed");
  const got = await app.request("/v1/topics/transactions/records");
  assert.equal(got.headers.get("allow"), "POST");
  await problemOf(got, "method-not-allowed");
  assert.equal((await app.request("/healthz", { method: "HEAD" })).status, 200);
});

Deno.test("every answer has the security headers and none allows another origin", async () => {
  const app = createApp(fakeDeps({ asset: createAssets() }).deps, { hosts: LOOPBACK_HOSTS });
  const requests: [string, RequestInit?][] = [
    ["/"],
    ["/docs"],
    ["/v1/pipelines", { headers: { origin: "https://elsewhere.example" } }],
    ["/v1/pipelines", { method: "OPTIONS", headers: { origin: "https://elsewhere.example" } }],
    ["/nope"],
    ["/healthz", { headers: { host: "elsewhere.example" } }],
  ];
  for (const [path, init] of requests) {
    const { headers, body } = await app.request(path, init);
    await body?.cancel();
    assert.match(headers.get("content-security-policy")!, /default-src 'none'; script-src 'self'/);
    assert.equal(headers.get("x-content-type-options"), "nosniff");
    assert.equal(headers.get("x-frame-options"), "DENY");
    assert.equal(headers.get("referrer-policy"), "same-origin");
    assert.equal(headers.get("access-control-allow-origin"), null);
  }
});

Deno.test("on loopback only loopback's names are answered, whatever a foreign name resolves to", async () => {
  const app = createApp(fakeDeps().deps, { hosts: LOOPBACK_HOSTS });
  const ask = (host: string) => app.request("/healthz", { headers: { host } });
  for (const host of ["localhost", "LOCALHOST:8000", "127.0.0.1:8000", "[::1]:8000", "[::1]"]) {
    assert.equal((await ask(host)).status, 200, host);
  }
  for (
    const host of ["evil.example", "localhost.evil.example:8000", "127.0.0.1.nip.io", "localhost:8000@evil", "", "::1"]
  ) {
    await problemOf(await ask(host), "wrong-host");
  }
  assert.equal(
    (await createApp(fakeDeps().deps).request("/healthz", { headers: { host: "any.example" } })).status,
    200,
  );
});

Deno.test("without an engine results still work, and the rest says so plainly", async () => {
  const fake = fakeDeps();
  fake.publish("account_minute", accountRows(START, 2));
  const { engine: _, ...deps } = fake.deps;
  const app = createApp(deps);
  const results = await (await app.request("/v1/pipelines/account_minute/results")).json();
  assert.equal(results.rows.length, 2);
  const paths = [
    "/v1/pipelines",
    "/v1/pipelines/account_minute",
    "/v1/live",
    "/v1/pipelines/account_minute/results/stream",
    "/metrics",
  ];
  for (const path of paths) await problemOf(await app.request(path), "no-engine");
  await problemOf(await app.request("/v1/topics/transactions/records", post("{}")), "no-engine");
  assert.equal((await app.request("/healthz")).status, 200);
});

Deno.test("live streams carry what the engine publishes, for all pipelines or one, and resume by header", async () => {
  const fake = fakeDeps();
  const hub = createLiveHub({ runId: "run1", clientsMax: 2 }, new VirtualClock());
  const app = createApp(fake.deps, { hub });
  const all = await app.request("/v1/live");
  assert.match(all.headers.get("content-type")!, /^text\/event-stream/);
  assert.equal(all.headers.get("cache-control"), "no-store");
  const one = await app.request("/v1/pipelines/account_minute/results/stream", {
    headers: { "Last-Event-ID": "run0-9" },
  });
  await problemOf(await app.request("/v1/live"), "too-many-streams");
  const texts = Promise.all([all.text(), one.text()]);
  const turn = () => new Promise((resolve) => setTimeout(resolve));
  await turn();
  fake.publish("account_minute", accountRows(START, 1));
  await turn();
  hub.close();
  const [allText, oneText] = await texts;
  assert.match(
    allText,
    /^retry: 1000\nid: run1-0\n\nid: run1-1\ndata: \{"pipeline":"account_minute","rows":\[\{"account_id":"A-0000"/,
  );
  assert.match(oneText, /event: reset\nid: run1-0\ndata: \{"reason":"the server was restarted/);
  assert.match(oneText, /id: run1-1\ndata: /);
});

Deno.test("asking for a stream's head takes no place among the clients", async () => {
  const hub = createLiveHub({}, new VirtualClock());
  const response = await createApp(fakeDeps().deps, { hub }).request("/v1/live", { method: "HEAD" });
  assert.equal(response.status, 200);
  assert.match(response.headers.get("content-type")!, /^text\/event-stream/);
  assert.equal(hub.stats().clients, 0);
  hub.close();
});

Deno.test("over the wire HEAD has the status and headers of GET, its length included, and no body", async () => {
  const fake = fakeDeps({ asset: createAssets() });
  fake.publish("account_minute", accountRows(START, 40));
  const hub = createLiveHub({}, new VirtualClock());
  const app = createApp(fake.deps, { hub });
  const server = Deno.serve({ hostname: "127.0.0.1", port: 0, onListen: () => {} }, app.fetch);
  const ask = async (path: string, method: string) => {
    const response = await fetch(`http://127.0.0.1:${server.addr.port}${path}`, {
      method,
      headers: { "accept-encoding": "identity" },
    });
    const headers = Object.fromEntries(response.headers);
    delete headers.date;
    return { status: response.status, headers, response };
  };
  const paths = ["/", "/docs", "/assets/style.css", "/openapi.json", "/healthz", "/v1/pipelines", "/metrics", "/nope"];
  for (
    const path of [
      ...paths,
      "/v1/pipelines/account_minute/results?limit=20",
      "/v1/pipelines/account_minute/results?limit=x",
    ]
  ) {
    const get = await ask(path, "GET");
    const head = await ask(path, "HEAD");
    const { byteLength } = await get.response.arrayBuffer();
    assert.equal(await head.response.text(), "");
    assert.ok(byteLength > 0, path);
    assert.equal(head.headers["content-length"], String(byteLength), path);
    assert.equal(head.status, get.status, path);
    assert.deepEqual(head.headers, { ...get.headers, "content-length": String(byteLength) }, path);
  }
  const live = await ask("/v1/live", "HEAD");
  assert.equal(live.status, 200);
  assert.equal(live.headers["content-type"], "text/event-stream; charset=utf-8");
  assert.equal(live.headers["content-length"], undefined);
  assert.equal(await live.response.text(), "");
  assert.equal(hub.stats().clients, 0);
  hub.close();
  await server.shutdown();
});

Deno.test("the dashboard's files come with ETags, are answered 304 when unchanged, and nothing else can be reached", async () => {
  const app = createApp(fakeDeps({ asset: createAssets() }).deps);
  const page = await app.request("/");
  const html = await page.text();
  assert.equal(page.headers.get("content-type"), "text/html; charset=utf-8");
  assert.doesNotMatch(
    html,
    /<script(?![^>]*src=)|<style|\sstyle=|\son\w+=|https?:/,
    "inline code or an outside resource",
  );
  for (const [, path] of html.matchAll(/(?:src|href)="(\/assets\/[^"]+)"/g)) {
    const file = await app.request(path);
    assert.equal(file.status, 200, path);
    await file.body?.cancel();
    const etag = file.headers.get("etag")!;
    const again = await app.request(path, { headers: { "if-none-match": `"other", ${etag}` } });
    assert.equal(again.status, 304);
    assert.equal(again.headers.get("etag"), etag);
  }
  for (const name of ["uplot/uPlot.js", "charts.js", "format.js", "windows.js"]) {
    const file = await app.request(`/assets/${name}`);
    assert.equal(file.headers.get("content-type"), "text/javascript; charset=utf-8");
    await file.body?.cancel();
  }
  const outside = [
    "../app.ts",
    "..%2fapp.ts",
    "%2e%2e/app.ts",
    "../../deno.json",
    "/etc/passwd",
    "uplot/../../app.ts",
    "constructor",
    "__proto__",
    "",
  ];
  for (const path of outside) {
    assert.equal((await app.request(`/assets/${path}`)).status, 404, path);
    assert.equal(await createAssets()(decodeURIComponent(path)), null, path);
  }
});
