import assert from "node:assert/strict";
import { startRegistry } from "../../broker/registry/mod.ts";
import { parseSchema } from "../../pipeline/codec/parse_schema.ts";
import { ConfigError, MalformedRecordError, UnavailableError } from "../../pipeline/errors.ts";
import { createRegistryClient, UNKNOWN_FOR_MS } from "../../pipeline/log/registry_client.ts";
import { withReferences } from "../../pipeline/log/schema_references.ts";
import type { AvroSchema } from "../../pipeline/plan/plan.ts";

const V1: AvroSchema = { type: "record", name: "Thing", fields: [{ name: "id", type: "long" }] };
const V2: AvroSchema = {
  type: "record",
  name: "Thing",
  fields: [{ name: "id", type: "long" }, { name: "note", type: ["null", "string"], default: null }],
};

async function registry() {
  const dataDir = await Deno.makeTempDir();
  const server = await startRegistry({ host: "127.0.0.1", port: 0, dataDir });
  return {
    url: server.url,
    port: server.port,
    put: async (path: string, body: unknown) => {
      const headers = { "content-type": "application/json" };
      const response = await fetch(server.url + path, { method: "PUT", headers, body: JSON.stringify(body) });
      return await response.json();
    },
    close: () => server.close(),
    async [Symbol.asyncDispose]() {
      await server.close();
      await Deno.remove(dataDir, { recursive: true });
    },
  };
}

/** A server that answers every request in its own way, and counts them. */
function answering(answer: (request: Request) => Response | Promise<Response>) {
  const requests: string[] = [];
  const server = Deno.serve({ hostname: "127.0.0.1", port: 0, onListen: () => {} }, (request) => {
    requests.push(`${request.method} ${new URL(request.url).pathname}`);
    return answer(request);
  });
  return { url: `http://127.0.0.1:${server.addr.port}`, requests, [Symbol.asyncDispose]: () => server.shutdown() };
}

Deno.test("A schema is registered once and found by id, by subject and again by itself", async () => {
  await using server = await registry();
  const client = createRegistryClient({ url: `${server.url}/` });
  assert.equal(await client.latest("orders/eu-value"), null);
  const id = await client.register("orders/eu-value", V1);
  assert.equal(await client.register("orders/eu-value", V1), id);
  const second = await client.register("orders/eu-value", V2);
  assert.deepEqual(await client.schemaById(id), V1);
  assert.deepEqual(await client.latest("orders/eu-value"), { id: second, version: 2, schema: V2 });
});

Deno.test("Registering leaves the registry's settings alone, and works at any level a subject was given", async () => {
  await using server = await registry();
  const client = createRegistryClient({ url: server.url });
  await client.register("plain", V1);
  const response = await fetch(`${server.url}/config/plain`);
  assert.equal((await response.json()).error_code, 40408);
  await server.put("/config/strict", { compatibility: "FULL_TRANSITIVE" });
  assert.equal(await client.register("strict", V1), 1);
  assert.equal(await client.register("strict", V2), 2);
  await server.put("/mode", { mode: "READONLY" });
  assert.equal(await client.register("strict", V2), 2);
});

Deno.test("A schema that the registry refuses is a fault of the configuration, with the registry's reason", async () => {
  await using server = await registry();
  const client = createRegistryClient({ url: server.url });
  await client.register("s", V1);
  const changed = { type: "record", name: "Thing", fields: [{ name: "id", type: "string" }] };
  await assert.rejects(
    client.register("s", changed),
    (error: ConfigError) =>
      error instanceof ConfigError &&
      /register s: HTTP 409: .*incompatible.*id: long cannot be read as string/.test(error.message),
  );
});

Deno.test("An id that the registry does not know is null, asked for once in a while, and found when it appears", async () => {
  await using server = await registry();
  let now = 0;
  let asked = 0;
  const counting: typeof fetch = (...args) => (asked++, fetch(...args));
  const client = createRegistryClient({ url: server.url, fetch: counting, now: () => now });
  assert.equal(await client.schemaById(1), null);
  assert.equal(await client.schemaById(1), null);
  assert.equal(asked, 1);
  await createRegistryClient({ url: server.url }).register("s", V1);
  now = UNKNOWN_FOR_MS;
  assert.deepEqual(await client.schemaById(1), V1);
  assert.equal(asked, 2);
});

Deno.test("A registry that is away, slow, failing or not a registry is unavailable: never an unknown id", async () => {
  const server = await registry();
  const client = createRegistryClient({ url: server.url, timeoutMs: 200 });
  await server[Symbol.asyncDispose]();
  const away = (pattern: RegExp) => (error: Error) => error instanceof UnavailableError && pattern.test(error.message);
  await assert.rejects(
    client.schemaById(1),
    away(new RegExp(`schema registry at 127.0.0.1:${server.port}: GET /schemas/ids/1`)),
  );
  await assert.rejects(client.register("s", V1), away(/POST \/subjects\/s/));
  const failures: [() => Response | Promise<Response>, RegExp][] = [
    [() => Response.json({ error_code: 50001, message: "no leader" }, { status: 500 }), /HTTP 500: no leader/],
    [() => Response.json({ error_code: 429, message: "slow down" }, { status: 429 }), /HTTP 429: slow down/],
    [() => Response.json({ error_code: 404, message: "HTTP 404 Not Found" }, { status: 404 }), /HTTP 404/],
    [() => new Response("<html>", { status: 404 }), /not JSON; is this a schema registry/],
    [() => new Response("<html>"), /not JSON; is this a schema registry/],
    [() => Response.json({ status: "ok" }), /has no schema; is this a schema registry/],
    [() => Response.json(null), /has no schema; is this a schema registry/],
    [() => Response.json({ schema: 5 }), /has no schema; is this a schema registry/],
  ];
  for (const [answer, pattern] of failures) {
    await using failing = answering(answer);
    await assert.rejects(createRegistryClient({ url: failing.url }).schemaById(1), away(pattern));
  }
  let release = () => {};
  const held = new Promise<void>((resolve) => release = resolve);
  await using slow = answering(async () => (await held, Response.json({})));
  await assert.rejects(
    createRegistryClient({ url: slow.url, timeoutMs: 50 }).schemaById(1),
    away(/no answer in 50 ms/),
  );
  release();
});

Deno.test("Asking for one id many times at once costs one request, and a failure is not remembered", async () => {
  let up = false;
  await using server = answering(async () => {
    await new Promise((resolve) => setTimeout(resolve, 10));
    return up ? Response.json({ schema: JSON.stringify(V1) }) : Response.json({ message: "starting" }, { status: 503 });
  });
  const client = createRegistryClient({ url: server.url });
  const results = await Promise.allSettled([1, 1, 1, 1].map((id) => client.schemaById(id)));
  assert.deepEqual([results.every(({ status }) => status === "rejected"), server.requests.length], [true, 1]);
  up = true;
  assert.deepEqual(await Promise.all([client.schemaById(1), client.schemaById(1)]), [V1, V1]);
  assert.equal(server.requests.length, 2);
});

Deno.test("At most so many schemas are kept, the least recently asked for going first", async () => {
  await using server = answering(() => Response.json({ schema: JSON.stringify(V1) }));
  const client = createRegistryClient({ url: server.url, schemasMax: 2 });
  for (const id of [1, 2, 1, 3, 1, 2]) await client.schemaById(id);
  assert.deepEqual(server.requests.map((line) => line.at(-1)), ["1", "2", "3", "2"]);
});

Deno.test("User and password go with every request and into no message", async () => {
  const seen: (string | null)[] = [];
  let status = 200;
  await using server = answering(async (request) => {
    seen.push(request.headers.get("authorization"));
    await request.body?.cancel();
    if (status !== 200) return Response.json({ message: "no entry for me:p@ss word" }, { status });
    if (request.method === "GET") return Response.json({ compatibilityLevel: "BACKWARD" });
    if (!request.url.endsWith("/versions")) return Response.json({ error_code: 40401, message: "" }, { status: 404 });
    return Response.json({ id: 7 });
  });
  const client = createRegistryClient({ url: server.url.replace("//", "//me:p%40ss%20word@") });
  assert.equal(await client.register("s", V1), 7);
  assert.deepEqual(new Set(seen), new Set([`Basic ${btoa("me:p@ss word")}`]));
  assert.ok(seen.length >= 3, "looked up, read the level and registered");
  for (const [code, kind] of [[401, ConfigError], [500, UnavailableError]] as const) {
    status = code;
    await assert.rejects(client.schemaById(1), (error: Error) => {
      assert.ok(error instanceof kind && !/p@ss|p%40ss/.test(error.message), error.message);
      return true;
    });
  }
  assert.throws(
    () => createRegistryClient({ url: "me:secret@host" }),
    (error: Error) => error instanceof ConfigError && !error.message.includes("secret"),
  );
});

Deno.test("An id of a schema in another language makes the record malformed, not the registry unavailable", async () => {
  await using server = answering(() => Response.json({ schema: 'syntax = "proto3";', schemaType: "PROTOBUF" }));
  await assert.rejects(
    createRegistryClient({ url: server.url }).schemaById(1),
    (error: Error) => error instanceof MalformedRecordError && /PROTOBUF, not Avro/.test(error.message),
  );
});

Deno.test("Types registered under other subjects are written into the schema, each once", async () => {
  const money = { type: "record", name: "Money", namespace: "shop", fields: [{ name: "cents", type: "long" }] };
  const line = { type: "record", name: "Line", namespace: "shop", fields: [{ name: "price", type: "Money" }] };
  const order = {
    type: "record",
    name: "Order",
    namespace: "shop",
    fields: [{ name: "total", type: ["null", "shop.Money"] }, {
      name: "lines",
      type: { type: "array", items: "Line" },
    }],
  };
  const reference = (name: string, subject: string) => ({ name: `shop.${name}`, subject, version: 1 });
  await using server = answering((request) => {
    const { pathname } = new URL(request.url);
    const answer = (schema: unknown, references: unknown[]) =>
      Response.json({ schema: JSON.stringify(schema), references });
    if (pathname === "/schemas/ids/9") return answer(order, [reference("Money", "money"), reference("Line", "line")]);
    return pathname.startsWith("/subjects/line") ? answer(line, [reference("Money", "money")]) : answer(money, []);
  });
  const schema = await createRegistryClient({ url: server.url }).schemaById(9);
  const written = {
    type: "record",
    name: "shop.Order",
    fields: [
      {
        name: "total",
        type: ["null", { type: "record", name: "shop.Money", fields: [{ name: "cents", type: "long" }] }],
      },
      {
        name: "lines",
        type: {
          type: "array",
          items: { type: "record", name: "shop.Line", fields: [{ name: "price", type: "shop.Money" }] },
        },
      },
    ],
  };
  assert.deepEqual(parseSchema(schema!), parseSchema(written));
  assert.equal(withReferences(V1, []), V1);
});
