import assert from "node:assert/strict";
import fc from "fast-check";
import { createApp } from "../../api/app.ts";
import { createAssets } from "../../api/assets.ts";
import { ROUTE_ACCESS } from "../../api/security/roles.ts";
import { accountRows, fakeDeps } from "../api/fake_deps.ts";
import { guarded } from "../api/guarded_app.ts";
import { nasty, nastyJson, runs } from "./support.ts";

const routes = Object.keys(ROUTE_ACCESS).map((line) => line.split(" ") as [string, string]);
const segment = fc.oneof(
  fc.constantFrom("account_minute", "transactions", "late", "0", "-1", "1e3", "99999999999999999999"),
  nasty.map((text) => encodeURIComponent(text.toWellFormed())),
  fc.constantFrom("%", "%zz", "%ff%fe", "..", "%2e%2e", "a%2fb"),
);

/** Addresses of the routes, their places filled in with anything. */
const addresses = fc.oneof(
  fc.constantFrom(...routes).chain(([, path]) =>
    fc.array(segment, { minLength: 6, maxLength: 6 }).map((values) =>
      path.replaceAll(/:\w+(\{[^}]*\})?/g, () => values.pop()!)
    )
  ),
  fc.array(segment, { maxLength: 4 }).map((parts) => `/${parts.join("/")}`),
);

const parameters = [
  "key",
  "from",
  "to",
  "final",
  "limit",
  "cursor",
  "topic",
  "partition",
  "offset",
  "kind",
  "pipeline",
  "next",
  "preview",
  "cause",
  "offsets",
];
const queries = fc.array(
  fc.tuple(fc.constantFrom(...parameters), fc.oneof(nasty, fc.constantFrom("0", "1", "true", "2026-01-01"))),
  { maxLength: 4 },
)
  .map((pairs) => new URLSearchParams(pairs.map(([name, value]) => [name, value.toWellFormed()])).toString());

const headerValues = fc.string({ unit: fc.constantFrom(..."abc019,;=\"'*/-_. ()<>%"), maxLength: 40 });
const headers = fc.dictionary(
  fc.constantFrom(
    "last-event-id",
    "if-none-match",
    "accept",
    "cookie",
    "authorization",
    "origin",
    "sec-fetch-site",
    "range",
    "content-encoding",
    "x-forwarded-proto",
  ),
  headerValues,
  { maxKeys: 3 },
);
const bodies = fc.oneof(
  nastyJson.map((json) => JSON.stringify(json) ?? ""),
  nastyJson.map((json) => JSON.stringify({ records: [{ key: "k", value: json }] })),
  fc.dictionary(
    fc.constantFrom("records", "letters", "filter", "to", "offset", "dryRun", "cap", "rate", "edit", "preview"),
    nastyJson,
    { maxKeys: 4 },
  )
    .map((json) => JSON.stringify(json)),
  nasty,
);
const types = fc.constantFrom(
  "application/json",
  "application/json; charset=utf-16",
  "text/plain",
  "application/x-www-form-urlencoded",
  "multipart/form-data",
  "",
);

/** What there is in the answer has to be of the contract: no failure of ours, and problems as such. */
async function assertAnswered(response: Response, where: string, logged: readonly string[]): Promise<void> {
  const type = response.headers.get("content-type") ?? "";
  const text = type.startsWith("text/event-stream") ? (await response.body?.cancel(), "") : await response.text();
  assert.notEqual(response.status, 500, `${where}: ${text} ${logged.at(-1)}`);
  assert.ok(response.status < 500 || [501, 503].includes(response.status), `${where}: ${response.status}`);
  if (response.status >= 400 && !type.startsWith("text/html")) assert.match(type, /^application\/problem\+json/, where);
  assert.ok(response.headers.get("content-security-policy"), where);
}

const requests = fc.record({
  method: fc.constantFrom("GET", "GET", "POST", "HEAD", "PUT", "DELETE", "OPTIONS"),
  address: addresses,
  query: queries,
  headers,
  body: bodies,
  type: types,
});

Deno.test("no path, query, header or body brings more than an answer of the contract", async () => {
  const fake = fakeDeps({ asset: createAssets() });
  fake.publish("account_minute", accountRows(0, 3));
  const app = createApp(fake.deps);
  const { app: locked } = await guarded();
  await fc.assert(
    fc.asyncProperty(requests, async ({ method, address, query, headers, body, type }) => {
      const withBody = method !== "GET" && method !== "HEAD";
      const init = { method, headers: { ...headers, "content-type": type }, ...(withBody ? { body } : {}) };
      const path = `${address}${query === "" ? "" : `?${query}`}`;
      for (const one of [app, locked]) {
        await assertAnswered(await one.request(path, init), `${method} ${path}`, fake.logged);
      }
    }),
    runs(700),
  );
  assert.deepEqual(fake.logged, []);
});

Deno.test("bytes that are no HTTP, and requests cut anywhere, cost their own connection only", async () => {
  const app = createApp(fakeDeps().deps);
  const server = Deno.serve({ hostname: "127.0.0.1", port: 0, onListen: () => {} }, app.fetch);
  const { port } = server.addr;
  const request = new TextEncoder().encode(
    'POST /v1/topics/transactions/records HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\nContent-Length: 20\r\n\r\n{"a":"1234567890ab"}',
  );
  const inputs = fc.oneof(
    fc.uint8Array({ minLength: 1, maxLength: 300 }),
    fc.nat(request.length - 1).map((at) => request.slice(0, at)),
    fc.tuple(fc.nat(request.length - 1), fc.nat(255)).map(([at, value]) =>
      request.map((byte, i) => i === at ? value : byte)
    ),
  );
  await fc.assert(
    fc.asyncProperty(inputs, async (bytes) => {
      using connection = await Deno.connect({ hostname: "127.0.0.1", port });
      await connection.write(bytes);
      await connection.closeWrite();
      const buffer = new Uint8Array(65_536);
      for (let taken = 0; taken < 20; taken++) {
        const read = await connection.read(buffer).catch(() => null);
        if (read === null) break;
        assert.doesNotMatch(new TextDecoder().decode(buffer.subarray(0, read)), /^HTTP\/1\.1 500/);
      }
    }),
    runs(150),
  );
  const response = await fetch(`http://127.0.0.1:${port}/healthz`);
  assert.equal((await response.json()).status, "ok");
  await server.shutdown();
});
