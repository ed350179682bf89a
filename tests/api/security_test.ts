import assert from "node:assert/strict";
import { createApp } from "../../api/app.ts";
import { createAssets } from "../../api/assets.ts";
import { PROBLEMS } from "../../api/problem.ts";
import type { AuditEntry, AuditLog } from "../../api/security/audit.ts";
import { FAILURES_MAX } from "../../api/security/failures.ts";
import { type KeyStore, newKey, type StoredKey } from "../../api/security/keys.ts";
import { accessKey, isAnswering, neededAccess, type Role, ROLES, ROUTE_ACCESS } from "../../api/security/roles.ts";
import { fakeDeps } from "./fake_deps.ts";

interface Guarded {
  readonly app: ReturnType<typeof createApp>;
  readonly keys: Record<Role, string>;
  readonly stored: StoredKey[];
  readonly audited: AuditEntry[];
  /** Sends a request with a role's key, or none. */
  ask(role: Role | null, path: string, init?: RequestInit): Promise<Response>;
}

async function guarded(audit?: AuditLog): Promise<Guarded> {
  const made = await Promise.all(ROLES.map((role) => newKey({ name: `the ${role}`, role, nowMs: 0 })));
  const keys = Object.fromEntries(ROLES.map((role, i) => [role, made[i].text])) as Record<Role, string>;
  const stored = made.map((key) => key.stored);
  const store: KeyStore = { keys: () => Promise.resolve(stored) };
  const audited: AuditEntry[] = [];
  audit ??= {
    ready: () => Promise.resolve(),
    append: (entry) => Promise.resolve(void audited.push(entry)),
    read: (limit) => Promise.resolve(audited.toReversed().slice(0, limit)),
  };
  const app = createApp(fakeDeps({ asset: createAssets() }).deps, {
    security: { keys: store, audit, settings: () => [] },
  });
  return {
    app,
    keys,
    stored,
    audited,
    ask: async (role, path, init = {}) => {
      const headers = new Headers(init.headers);
      if (role !== null) headers.set("authorization", `Bearer ${keys[role]}`);
      return await app.request(path, { ...init, headers });
    },
  };
}

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
