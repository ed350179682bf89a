import assert from "node:assert/strict";
import { createApp } from "../../api/app.ts";
import { PROBLEMS } from "../../api/problem.ts";
import { FAILURES_MAX } from "../../api/security/failures.ts";
import { accessKey, isAnswering, neededAccess, ROLES, ROUTE_ACCESS } from "../../api/security/roles.ts";
import { UnavailableError } from "../../pipeline/errors.ts";
import { fakeDeps } from "./fake_deps.ts";
import { guarded } from "./guarded_app.ts";

async function kindOf(response: Response): Promise<string> {
  const { type } = await response.json();
  return type.replace("/docs#", "") as keyof typeof PROBLEMS;
}

/** An address that a registered route answers. */
function addressOf(path: string): string {
  return path.replace(":path{.+}", "style.css").replace(":name", "account_minute").replaceAll(/:\w+/g, "transactions");
}

Deno.test("every route of the application has a role, and every role is of a route", async () => {
  const { app } = await guarded();
  const routes = [...new Set(app.routes.filter(isAnswering).map(accessKey))];
  assert.deepEqual(routes.filter((route) => !(route in ROUTE_ACCESS)), [], "add a line to api/security/roles.ts");
  assert.deepEqual(Object.keys(ROUTE_ACCESS).filter((route) => !routes.includes(route)), []);
});

Deno.test("each route lets exactly those in whose role it asks for, or more", async () => {
  const { app, ask } = await guarded();
  for (const { method, path } of app.routes.filter(isAnswering)) {
    const needed = ROUTE_ACCESS[`${method} ${path}`];
    for (const role of [null, ...ROLES]) {
      const response = await ask(role, addressOf(path), { method });
      await response.body?.cancel();
      const isIn = needed === "open" || (role !== null && ROLES.indexOf(role) >= ROLES.indexOf(needed));
      const where = `${method} ${path} as ${role}: ${response.status}`;
      // A sign-in without a key in it is refused by itself.
      if (isIn && path !== "/sign-in") assert.ok(![401, 403].includes(response.status), where);
      if (!isIn) assert.equal(response.status, role === null ? 401 : 403, where);
    }
  }
});

Deno.test("a route without a role is refused to everybody, with keys and without", async () => {
  const { app, keys } = await guarded();
  const open = createApp(fakeDeps().deps);
  for (const one of [app, open]) {
    one.get("/v1/forgotten", (c) => c.text("told"));
    const response = await one.request("/v1/forgotten", { headers: { authorization: `Bearer ${keys.admin}` } });
    assert.equal(response.status, 403);
    const { detail } = await response.json();
    assert.match(detail, /GET \/v1\/forgotten has no role in api\/security\/roles\.ts/);
  }
  assert.equal(neededAccess([{ method: "GET", path: "/healthz" }, { method: "GET", path: "/v1/config" }]), "admin");
  assert.equal(neededAccess([{ method: "GET", path: "/healthz" }, { method: "GET", path: "/toString" }]), "refuse");
});

Deno.test("without a key nobody learns which addresses there are", async () => {
  const { ask } = await guarded();
  for (const [path, method] of [["/nope", "GET"], ["/v1/pipelines/nope", "GET"], ["/v1/pipelines", "DELETE"]]) {
    assert.equal(await kindOf(await ask(null, path, { method })), "unauthenticated", path);
  }
  assert.equal(await kindOf(await ask("viewer", "/nope")), "unknown-route");
  assert.equal(await kindOf(await ask("viewer", "/v1/pipelines", { method: "DELETE" })), "method-not-allowed");
  assert.equal((await ask(null, "/v1/pipelines")).headers.get("www-authenticate"), 'Bearer realm="tailrace"');
  assert.equal((await ask(null, "/v1/pipelines", { method: "HEAD" })).status, 401);
});

Deno.test("readiness tells its details to those with a key only", async () => {
  const { ask } = await guarded();
  assert.deepEqual(await (await ask(null, "/readyz")).json(), { ready: true, checks: [] });
  assert.equal((await (await ask("viewer", "/readyz")).json()).checks.length, 1);
});

Deno.test("a wrong key is refused, and after too many from one place none is looked at for a while", async () => {
  const { ask, keys, app } = await guarded();
  const wrong = `${keys.admin.slice(0, -1)}${keys.admin.endsWith("A") ? "B" : "A"}`;
  const withKey = async (key: string) =>
    await app.request("/v1/whoami", { headers: { authorization: `Bearer ${key}` } });
  for (let i = 0; i < FAILURES_MAX; i++) assert.equal((await withKey(wrong)).status, 401);
  for (const key of [wrong, keys.admin]) {
    const refused = await withKey(key);
    assert.equal(await kindOf(refused), "too-many-failures");
    assert.match(refused.headers.get("retry-after")!, /^[1-9]\d?$/);
  }
  assert.equal((await ask("operator", "/v1/whoami")).status, 200, "another key is not concerned");
  for (let i = 0; i < FAILURES_MAX; i++) assert.equal((await withKey(`made up ${i}`)).status, 401);
  assert.equal((await withKey("trk_")).status, 429);
  assert.equal((await ask("viewer", "/v1/whoami")).status, 200);
});

const RECORDS = "/v1/topics/transactions/records";
const POST = { method: "POST", body: "{}", headers: { "content-type": "application/json" } };

Deno.test("what an operator or admin did is noted: who, what, how it ended, and no secret", async () => {
  const { ask, audited, keys } = await guarded();
  await ask("operator", `${RECORDS}?token=hunter2`, POST);
  await ask("admin", "/v1/config");
  await ask("viewer", RECORDS, POST);
  await ask(null, RECORDS, POST);
  await ask("viewer", "/v1/pipelines");
  assert.deepEqual(audited.map(({ who, role, method, path, status }) => [who, role, method, path, status]), [
    ["the operator", "operator", "POST", RECORDS, 201],
    ["the admin", "admin", "GET", "/v1/config", 200],
    ["the viewer", "viewer", "POST", RECORDS, 403],
  ]);
  const text = JSON.stringify(audited);
  for (const secret of [...Object.values(keys), "hunter2"]) assert.ok(!text.includes(secret));
  const { entries } = await (await ask("admin", "/v1/audit-log?limit=2")).json();
  assert.deepEqual(entries.map(({ who }: { who: string }) => who), ["the viewer", "the admin"]);
});

Deno.test("nothing is done that could not be noted", async () => {
  let asked = 0;
  const { ask } = await guarded({
    ready: () => Promise.reject(new UnavailableError("the audit log cannot be written: disk full")),
    append: () => Promise.resolve(void asked++),
    read: () => Promise.resolve([]),
  });
  assert.equal(await kindOf(await ask("operator", RECORDS, POST)), "unavailable");
  assert.equal(asked, 0);
  assert.equal((await ask("viewer", "/v1/pipelines")).status, 200);
});

Deno.test("keys that cannot be read let nobody in; what is open still answers", async () => {
  const keys = { keys: () => Promise.reject(new UnavailableError("the API's keys cannot be read")) };
  const app = createApp(fakeDeps().deps, { security: { keys } });
  assert.equal(await kindOf(await app.request("/v1/pipelines")), "unavailable");
  assert.equal((await app.request("/healthz")).status, 200);
  assert.deepEqual((await (await app.request("/readyz")).json()).checks, []);
});

Deno.test("a change that a page of another origin asks for is refused, with a key and without any", async () => {
  const { ask, app: _, ...rest } = await guarded();
  const open = createApp(fakeDeps().deps);
  const host = "127.0.0.1:8000";
  const cases: [Record<string, string>, boolean][] = [
    [{}, true],
    [{ origin: "http://127.0.0.1:8000" }, true],
    [{ origin: "https://127.0.0.1:8000" }, true], // a proxy that speaks TLS stands before it
    [{ "sec-fetch-site": "same-origin", origin: "http://127.0.0.1:8000" }, true],
    [{ "sec-fetch-site": "none" }, true],
    [{ origin: "http://127.0.0.1:8001" }, false],
    [{ origin: "http://localhost:8000" }, false],
    [{ origin: "https://elsewhere.example" }, false],
    [{ origin: "null" }, false],
    [{ origin: "not a url" }, false],
    [{ "sec-fetch-site": "cross-site" }, false],
    [{ "sec-fetch-site": "same-site", origin: "http://127.0.0.1:8000" }, false],
  ];
  for (const [headers, isLetIn] of cases) {
    for (const path of [RECORDS, "/sign-out"]) {
      const init = { ...POST, headers: { ...POST.headers, host, ...headers } };
      for (const response of [await ask("operator", path, init), await open.request(path, init)]) {
        assert.equal(response.status !== 403, isLetIn, `${path} ${JSON.stringify(headers)}: ${response.status}`);
        if (!isLetIn) assert.equal(await kindOf(response), "cross-origin");
      }
    }
  }
  assert.equal(
    (await open.request("/v1/pipelines", { headers: { host, "sec-fetch-site": "cross-site" } })).status,
    200,
  );
  assert.equal(rest.audited.filter(({ status }) => status === 403).length, 0);
});

Deno.test("a browser signs in with a key, is known by a cookie that no script reads, and signs out", async () => {
  const { app, keys, stored } = await guarded();
  const signIn = (key: string, next = "/docs?a=b") =>
    app.request("/sign-in", { method: "POST", body: new URLSearchParams({ key, next }) });
  const opened = await app.request("/docs?a=b", { headers: { accept: "text/html,*/*" } });
  assert.equal(opened.status, 303);
  assert.equal(opened.headers.get("location"), "/sign-in?next=%2Fdocs%3Fa%3Db");
  const page = await app.request(opened.headers.get("location")!);
  const html = await page.text();
  assert.match(html, /<input type="hidden" name="next" value="\/docs\?a=b">/);
  assert.doesNotMatch(html, /<script|<style|\sstyle=/);

  const wrong = await signIn("trk_nothing");
  assert.equal(wrong.status, 401);
  assert.match(await wrong.text(), /This key is not known here/);
  const signed = await signIn(` ${keys.viewer}\n`);
  assert.equal(signed.status, 303);
  assert.equal(signed.headers.get("location"), "/docs?a=b");
  const cookie = signed.headers.get("set-cookie")!;
  assert.match(cookie, /^tailrace_session=[\w-]{43}; Path=\/; Max-Age=43200; HttpOnly; SameSite=Strict$/);
  const as = { headers: { cookie: `other=1; ${cookie.split(";")[0]}` } };
  assert.equal((await (await app.request("/v1/whoami", as)).json()).name, "the viewer");
  assert.equal((await app.request("/v1/config", as)).status, 403);
  assert.equal((await app.request("/sign-in", as)).status, 303, "who is in has no need of the page");

  const out = await app.request("/sign-out", { method: "POST", ...as });
  assert.match(out.headers.get("set-cookie")!, /^tailrace_session=; Path=\/; Max-Age=0/);
  assert.equal((await app.request("/v1/whoami", as)).status, 401);

  const again = (await signIn(keys.viewer)).headers.get("set-cookie")!.split(";")[0];
  stored.splice(0, 1);
  assert.equal((await app.request("/v1/whoami", { headers: { cookie: again } })).status, 401, "its key was removed");
  const https = await app.request("https://box.example/sign-in", {
    method: "POST",
    body: new URLSearchParams({ key: keys.admin }),
  });
  assert.match(https.headers.get("set-cookie")!, /; Secure$/);
  for (let i = 0; i < FAILURES_MAX; i++) await (await signIn("x")).body?.cancel();
  const refused = await signIn("x");
  assert.equal(refused.status, 429);
  assert.match(await refused.text(), /Too many wrong keys\. Try again in \d+ s/);
});

Deno.test("signing in leads to pages of this server only", async () => {
  const { app, keys } = await guarded();
  for (
    const next of [
      "//elsewhere.example",
      "/\\elsewhere.example",
      "/\t/elsewhere.example",
      "https://elsewhere.example",
      "javascript:alert(1)",
      "/a\\b",
      "",
      "docs",
      "/sign-in",
    ]
  ) {
    const body = new URLSearchParams({ key: keys.viewer, next });
    const response = await app.request("/sign-in", { method: "POST", body });
    assert.equal(response.headers.get("location"), "/", JSON.stringify(next));
    const page = await app.request(`/sign-in?${new URLSearchParams({ next: `"><script>${next}` })}`);
    assert.doesNotMatch(await page.text(), /<script/);
  }
});

Deno.test("addresses, headers and bodies beyond their bounds are refused with their own answers", async () => {
  const app = createApp(fakeDeps().deps, {
    bodyBytesMax: 1000,
    limits: { urlCharactersMax: 200, headerCharactersMax: 300, bodyMs: 30 },
  });
  const ask = (path: string, init?: RequestInit) => app.request(path, init);
  assert.equal(await kindOf(await ask(`/v1/pipelines?x=${"x".repeat(200)}`)), "url-too-long");
  assert.equal(await kindOf(await ask("/v1/pipelines", { headers: { "x-a": "x".repeat(300) } })), "headers-too-large");
  const many = Object.fromEntries(Array.from({ length: 100 }, (_, i) => [`x-${i}`, "1"]));
  assert.equal(await kindOf(await ask("/v1/pipelines", { headers: many })), "headers-too-large");
  assert.equal(await kindOf(await ask("/sign-in", { method: "POST", body: "x".repeat(1001) })), "body-too-large");
  const never = new ReadableStream({ start: (controller) => controller.enqueue(new TextEncoder().encode("{")) });
  assert.equal(await kindOf(await ask(RECORDS, { ...POST, body: never })), "slow-body");
  assert.equal((await ask("/v1/pipelines")).status, 200);
});

Deno.test("more requests at a time than there is room for are refused, and room comes back", async () => {
  const { promise, resolve } = Promise.withResolvers<void>();
  const results = { read: () => promise.then(() => ({ rows: [], next: null })) };
  const app = createApp(fakeDeps({ results }).deps, { limits: { requestsMax: 2 } });
  const path = "/v1/pipelines/account_minute/results";
  const waiting = [app.request(path), app.request(path)];
  await new Promise((resolve) => setTimeout(resolve));
  const refused = await app.request("/healthz");
  assert.equal(await kindOf(refused), "too-many-requests");
  assert.match(refused.headers.get("retry-after")!, /^\d+$/);
  resolve();
  for (const response of await Promise.all(waiting)) assert.equal(response.status, 200);
  assert.equal((await app.request("/healthz")).status, 200);
});
