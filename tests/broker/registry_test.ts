import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { join } from "node:path";
import { COMPATIBILITY, SchemaRegistry } from "@kafkajs/confluent-schema-registry";
import avro from "avsc";
import { LEVELS, unreadable } from "../../broker/registry/compatibility.ts";
import { startRegistry } from "../../broker/registry/mod.ts";
import { Registry } from "../../broker/registry/registry.ts";
import { parseSchema } from "../../pipeline/codec/parse_schema.ts";
import { ConfigError } from "../../pipeline/errors.ts";
import type { AvroSchema } from "../../pipeline/plan/plan.ts";

const record = (fields: unknown[], name = "Thing") => ({ type: "record", name, namespace: "test", fields }) as const;
const V1 = record([{ name: "id", type: "long" }]);
const V2 = record([{ name: "id", type: "long" }, { name: "note", type: "string", default: "" }]);
const NO_DEFAULT = record([{ name: "id", type: "long" }, { name: "note", type: "string" }]);

interface Answer {
  status: number;
  // deno-lint-ignore no-explicit-any -- answers have many shapes; each test looks at the one it asked for
  json: any;
}

/** A registry in a temporary folder, and a function that asks it. */
async function open() {
  const dataDir = await Deno.makeTempDir({ prefix: "tailrace-registry-" });
  const start = () => startRegistry({ host: "127.0.0.1", port: 0, dataDir });
  let server = await start();
  const ask = async (method: string, path: string, body?: unknown, type = "application/json"): Promise<Answer> => {
    const response = await fetch(server.url + path, {
      method,
      ...(body === undefined
        ? {}
        : { body: typeof body === "string" ? body : JSON.stringify(body), headers: { "content-type": type } }),
    });
    return { status: response.status, json: await response.json() };
  };
  return {
    dataDir,
    ask,
    get url() {
      return server.url;
    },
    register: (subject: string, schema: unknown, query = "") =>
      ask("POST", `/subjects/${encodeURIComponent(subject)}/versions${query}`, { schema: JSON.stringify(schema) }),
    stop: () => server.close(),
    restart: async () => {
      await server.close();
      server = await start();
    },
    async [Symbol.asyncDispose]() {
      await server.close();
      await Deno.remove(dataDir, { recursive: true });
    },
  };
}

const code = ({ status, json }: Answer) => [status, json.error_code];

Deno.test("The same schema has the same id in every subject, however its text is laid out", async () => {
  await using registry = await open();
  assert.deepEqual((await registry.register("a-value", V1)).json, { id: 1 });
  assert.deepEqual((await registry.register("b-value", V1)).json, { id: 1 });
  const spaced =
    `{ "name":"Thing",\n "namespace": "test", "fields":[{"type":{"type":"long"},"name":"id"}],"type":"record" }`;
  assert.deepEqual((await registry.ask("POST", "/subjects/a-value/versions", { schema: spaced })).json, { id: 1 });
  assert.deepEqual((await registry.register("a-value", V2)).json, { id: 2 });
  assert.deepEqual((await registry.register("a-value", V1)).json, { id: 1 });
  assert.deepEqual((await registry.ask("GET", "/subjects/a-value/versions")).json, [1, 2]);
  assert.deepEqual((await registry.ask("GET", "/schemas/ids/1/versions")).json, [
    { subject: "a-value", version: 1 },
    { subject: "b-value", version: 1 },
  ]);
});

Deno.test("Schemas are found by id, by version and by text, with Confluent's content type", async () => {
  await using registry = await open();
  await registry.register("orders/eu-value", V1);
  await registry.register("orders/eu-value", V2);
  const subject = "/subjects/orders%2Feu-value";
  assert.deepEqual((await registry.ask("GET", "/subjects")).json, ["orders/eu-value"]);
  assert.deepEqual((await registry.ask("GET", `${subject}/versions/latest`)).json, {
    subject: "orders/eu-value",
    version: 2,
    id: 2,
    schema: JSON.stringify(V2),
  });
  assert.deepEqual((await registry.ask("GET", `${subject}/versions/1/schema`)).json, V1);
  assert.equal((await registry.ask("POST", subject, { schema: JSON.stringify(V1) })).json.version, 1);
  assert.deepEqual(JSON.parse((await registry.ask("GET", "/schemas/ids/2")).json.schema), V2);
  assert.deepEqual((await registry.ask("GET", "/schemas/ids/2/schema")).json, V2);
  assert.deepEqual((await registry.ask("GET", "/schemas/ids/2/subjects")).json, ["orders/eu-value"]);
  assert.deepEqual((await registry.ask("GET", "/schemas/types")).json, ["AVRO"]);
  const response = await fetch(`${registry.url}/subjects`);
  assert.equal(response.headers.get("content-type"), "application/vnd.schemaregistry.v1+json");
  await response.body!.cancel();
});

Deno.test("What is not there is refused with Confluent's codes", async () => {
  await using registry = await open();
  const { ask } = registry;
  const schema = { schema: JSON.stringify(V1) };
  assert.deepEqual(code(await ask("GET", "/subjects/none/versions")), [404, 40401]);
  assert.deepEqual(code(await ask("POST", "/subjects/none", schema)), [404, 40401]);
  assert.deepEqual(code(await ask("DELETE", "/subjects/none")), [404, 40401]);
  assert.deepEqual(code(await ask("GET", "/schemas/ids/7")), [404, 40403]);
  assert.deepEqual(code(await ask("GET", "/schemas/ids/seven")), [404, 40403]);
  await registry.register("s", V2);
  assert.deepEqual(code(await ask("GET", "/subjects/s/versions/2")), [404, 40402]);
  assert.deepEqual(code(await ask("GET", "/subjects/s/versions/0")), [422, 42202]);
  assert.deepEqual(code(await ask("POST", "/subjects/s", schema)), [404, 40403]);
  assert.deepEqual(code(await ask("GET", "/config/s")), [404, 40408]);
  assert.deepEqual(code(await ask("GET", "/mode/s")), [404, 40409]);
  assert.deepEqual(code(await ask("PUT", "/config", { compatibility: "SOMETIMES" })), [422, 42203]);
  assert.deepEqual(code(await ask("PUT", "/mode", { mode: "IMPORT" })), [422, 42204]);
  assert.deepEqual(code(await ask("GET", "/nothing/here")), [404, 404]);
});

Deno.test("What cannot be kept is refused with the reason: bad Avro, other languages, references, bodies that are no JSON", async () => {
  await using registry = await open();
  const { ask } = registry;
  const path = "/subjects/s/versions";
  const bad = await registry.register("s", record([{ name: "merchant", type: "Merchant" }]));
  assert.deepEqual(code(bad), [422, 42201]);
  assert.match(bad.json.message, /merchant: type "Merchant" is neither primitive nor defined/);
  const json = await ask("POST", path, { schema: "{}", schemaType: "JSON" });
  assert.deepEqual(code(json), [422, 42201]);
  assert.match(json.json.message, /Invalid schema type JSON.*AVRO only/);
  const noText = await ask("POST", path, { schema: "{}", schemaType: { toString: "" } });
  assert.deepEqual(code(noText), [422, 42201]);
  const reference = { name: "x", subject: "x", version: 1 };
  assert.match((await ask("POST", path, { schema: '"int"', references: [reference] })).json.message, /references/);
  assert.deepEqual(code(await ask("POST", path, { schema: "" })), [422, 42201]);
  assert.deepEqual(code(await ask("POST", path, "{not json")), [400, 400]);
  assert.deepEqual(code(await ask("POST", path, [1])), [422, 422]);
  assert.deepEqual(code(await ask("POST", path, { schema: '"int"' }, "text/plain")), [415, 415]);
  assert.deepEqual(code(await ask("POST", path, { schema: " ".repeat(1024 * 1024) })), [413, 413]);
  assert.deepEqual(code(await registry.register(" ", V1)), [422, 42208]);
  assert.deepEqual((await ask("GET", "/subjects")).json, []);
});

Deno.test("A page of another origin does not reach a loopback registry through a name of its own", async () => {
  await using registry = await open();
  using connection = await Deno.connect({ hostname: "127.0.0.1", port: Number(new URL(registry.url).port) });
  await connection.write(
    new TextEncoder().encode("GET /subjects HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n"),
  );
  const answer = await new Response(connection.readable).text();
  assert.match(answer, /^HTTP\/1\.1 403 /);
});

Deno.test("Every compatibility level refuses what it has to, and nothing else", async () => {
  await using registry = await open();
  const { ask } = registry;
  // From a first to a last schema over one in between: whether the last is accepted at each level.
  const optional = record([{ name: "id", type: "long" }, { name: "note", type: ["null", "string"], default: null }]);
  const cases: { name: string; from: AvroSchema[]; to: AvroSchema; accepted: readonly string[] }[] = [
    { name: "a field with a default more", from: [V1], to: V2, accepted: LEVELS },
    {
      name: "a field without a default more",
      from: [V1],
      to: NO_DEFAULT,
      accepted: ["NONE", "FORWARD", "FORWARD_TRANSITIVE"],
    },
    {
      name: "a field without a default less",
      from: [NO_DEFAULT],
      to: V1,
      accepted: ["NONE", "BACKWARD", "BACKWARD_TRANSITIVE"],
    },
    {
      name: "a field whose default the last version still had",
      from: [V1, V2],
      to: NO_DEFAULT,
      accepted: ["NONE", "BACKWARD", "FORWARD", "FORWARD_TRANSITIVE", "FULL"],
    },
    {
      name: "a widened number",
      from: [record([{ name: "id", type: "int" }])],
      to: V1,
      accepted: ["NONE", "BACKWARD", "BACKWARD_TRANSITIVE"],
    },
    {
      name: "a type that became a union",
      from: [NO_DEFAULT],
      to: optional,
      accepted: ["NONE", "BACKWARD", "BACKWARD_TRANSITIVE"],
    },
    { name: "another type", from: [V1], to: record([{ name: "id", type: "string" }]), accepted: ["NONE"] },
    { name: "another name", from: [V1], to: record([{ name: "id", type: "long" }], "Other"), accepted: ["NONE"] },
  ];
  for (const [i, { name, from, to, accepted }] of cases.entries()) {
    for (const level of LEVELS) {
      const subject = `s${i}-${level}`;
      await ask("PUT", `/config/${subject}`, { compatibility: "NONE" });
      for (const schema of from) assert.equal((await registry.register(subject, schema)).status, 200);
      assert.deepEqual((await ask("PUT", `/config/${subject}`, { compatibility: level })).json, {
        compatibility: level,
      });
      const expected = accepted.includes(level);
      const asked = await ask("POST", `/compatibility/subjects/${subject}/versions?verbose=true`, {
        schema: JSON.stringify(to),
      });
      assert.equal(asked.json.is_compatible, expected, `${name} at ${level}: ${asked.json.messages}`);
      assert.equal(asked.json.messages.length === 0, expected);
      const { status, json } = await registry.register(subject, to);
      assert.deepEqual([status, json.error_code], expected ? [200, undefined] : [409, 409], `${name} at ${level}`);
    }
  }
  const refused = await registry.register("s1-BACKWARD", NO_DEFAULT);
  assert.match(
    refused.json.message,
    /incompatible with an earlier schema for subject "s1-BACKWARD", details: \[.*note: the writer has no such field/,
  );
});

Deno.test("The level in force is the subject's, then the global one, then BACKWARD", async () => {
  await using registry = await open();
  const { ask } = registry;
  assert.deepEqual((await ask("GET", "/config")).json, { compatibilityLevel: "BACKWARD" });
  assert.equal((await registry.register("s", V1)).status, 200);
  assert.equal((await registry.register("s", NO_DEFAULT)).status, 409);
  assert.deepEqual((await ask("PUT", "/config", { compatibility: "forward" })).json, { compatibility: "FORWARD" });
  assert.deepEqual((await ask("GET", "/config/s?defaultToGlobal=true")).json, { compatibilityLevel: "FORWARD" });
  for (const compatibility of ["SOME", 1, { toString: "" }]) {
    assert.deepEqual(code(await ask("PUT", "/config/s", { compatibility })), [422, 42203]);
  }
  await ask("PUT", "/config/s", { compatibility: "BACKWARD" });
  assert.equal((await registry.register("s", NO_DEFAULT)).status, 409);
  assert.deepEqual((await ask("DELETE", "/config/s")).json, { compatibilityLevel: "BACKWARD" });
  assert.equal((await registry.register("s", NO_DEFAULT)).status, 200);
  assert.deepEqual((await ask("DELETE", "/config")).json, { compatibilityLevel: "BACKWARD" });
});

Deno.test("Whether one schema reads another agrees with avsc, and with Avro's rules where avsc is silent", () => {
  const named = (schema: { type: string; [attribute: string]: unknown }): AvroSchema => ({ name: "N", ...schema });
  const types: AvroSchema[] = [
    "null",
    "boolean",
    "int",
    "long",
    "float",
    "double",
    "string",
    "bytes",
    { type: "array", items: "int" },
    { type: "array", items: "double" },
    { type: "map", values: "long" },
    ["null", "int"],
    ["null", "long"],
    ["int", "string"],
    named({ type: "fixed", size: 4 }),
    named({ type: "fixed", size: 8 }),
    named({ type: "enum", symbols: ["A", "B"] }),
    named({ type: "enum", symbols: ["A", "B", "C"] }),
    named({ type: "record", fields: [{ name: "x", type: "int" }] }),
    named({
      type: "record",
      fields: [{ name: "x", type: "long" }, { name: "y", type: "int", default: 1 }],
    }),
    named({ type: "record", fields: [{ name: "next", type: ["null", "N"] }] }),
  ];
  let readable = 0;
  for (const writer of types) {
    for (const reader of types) {
      const type = (schema: AvroSchema) => avro.Type.forSchema(schema as avro.Schema, { wrapUnions: true });
      let expected = true;
      try {
        type(reader).createResolver(type(writer));
      } catch {
        expected = false;
      }
      const reasons = unreadable(parseSchema(writer), parseSchema(reader));
      assert.equal(
        reasons.length === 0,
        expected,
        `${JSON.stringify(writer)} as ${JSON.stringify(reader)}: ${reasons}`,
      );
      if (expected) readable++;
    }
  }
  assert.ok(readable > types.length, "promotions and unions were met");
  const withDefault = parseSchema({ type: "enum", name: "N", symbols: ["A", "OTHER"], default: "OTHER" });
  assert.deepEqual(unreadable(parseSchema({ type: "enum", name: "N", symbols: ["A", "B"] }), withDefault), []);
  const renamed = parseSchema(record([{ name: "key", aliases: ["id"], type: "long" }]));
  assert.deepEqual(unreadable(parseSchema(V1), renamed), []);
});

Deno.test("Deleting is soft first: the id still answers; then permanent: it does not, and is never given again", async () => {
  await using registry = await open();
  const { ask } = registry;
  await registry.register("s", V1);
  await registry.register("s", V2);
  assert.deepEqual(code(await ask("DELETE", "/subjects/s?permanent=true")), [404, 40405]);
  assert.deepEqual((await ask("DELETE", "/subjects/s/versions/1")).json, 1);
  assert.deepEqual(code(await ask("DELETE", "/subjects/s/versions/1")), [404, 40406]);
  assert.deepEqual(code(await ask("DELETE", "/subjects/s/versions/2?permanent=true")), [404, 40407]);
  assert.deepEqual(code(await ask("GET", "/subjects/s/versions/1")), [404, 40402]);
  assert.equal((await ask("GET", "/subjects/s/versions/1?deleted=true")).json.id, 1);
  assert.deepEqual((await ask("DELETE", "/subjects/s")).json, [2]);
  assert.deepEqual(code(await ask("DELETE", "/subjects/s")), [404, 40404]);
  assert.deepEqual((await ask("GET", "/subjects")).json, []);
  assert.deepEqual((await ask("GET", "/subjects?deleted=true")).json, ["s"]);
  assert.equal((await ask("GET", "/schemas/ids/1")).status, 200);
  assert.deepEqual((await ask("DELETE", "/subjects/s?permanent=true")).json, [1, 2]);
  assert.deepEqual(code(await ask("GET", "/schemas/ids/1")), [404, 40403]);
  await registry.restart();
  assert.deepEqual((await registry.register("t", record([], "Empty"))).json, { id: 3 });
  assert.deepEqual((await registry.register("s", V2)).json, { id: 2 });
});

Deno.test("A read-only registry registers nothing new and still answers", async () => {
  await using registry = await open();
  await registry.register("s", V1);
  assert.deepEqual((await registry.ask("PUT", "/mode", { mode: "READONLY" })).json, { mode: "READONLY" });
  assert.deepEqual(code(await registry.register("s", V2)), [422, 42205]);
  assert.deepEqual((await registry.register("s", V1)).json, { id: 1 });
  for (const mode of ["IMPORT", 1, { toString: "" }]) {
    assert.deepEqual(code(await registry.ask("PUT", "/mode", { mode })), [422, 42204]);
  }
  await registry.ask("PUT", "/mode/s", { mode: "READWRITE" });
  assert.equal((await registry.register("s", V2)).status, 200);
});

Deno.test("normalize=true takes schemas for the same whose names are written differently", async () => {
  await using registry = await open();
  const nested = (inner: string) =>
    record([{ name: "a", type: { type: "fixed", name: "F", size: 2 } }, { name: "b", type: inner }]);
  assert.deepEqual((await registry.register("s", nested("F"))).json, { id: 1 });
  assert.deepEqual((await registry.register("s", nested("test.F"))).json, { id: 2 });
  assert.deepEqual((await registry.register("n", nested("F"), "?normalize=true")).json, { id: 3 });
  assert.deepEqual((await registry.register("n", nested("test.F"), "?normalize=true")).json, { id: 3 });
  const found = await registry.ask("POST", "/subjects/s?normalize=true", { schema: JSON.stringify(nested("test.F")) });
  assert.equal(found.json.version, 2);
});

Deno.test("A long default beyond 2^53 comes back digit for digit", async () => {
  await using registry = await open();
  const schema = `{"type":"record","name":"R","fields":[{"name":"n","type":"long","default":9223372036854775807}]}`;
  await registry.ask("POST", "/subjects/s/versions", { schema });
  assert.equal((await registry.ask("GET", "/schemas/ids/1")).json.schema, schema);
});

Deno.test("Everything is still there after a restart, and a torn last line is cut", async () => {
  await using registry = await open();
  await registry.register("s", V1);
  await registry.register("s", V2);
  await registry.ask("PUT", "/config/s", { compatibility: "FULL" });
  await registry.stop();
  const path = join(registry.dataDir, "schemas.ndjson");
  const whole = await Deno.readFile(path);
  // Every way to lose the end of the last line: each cut leaves the two versions and takes the setting back.
  const lastLine = whole.lastIndexOf(10, whole.length - 2) + 1;
  for (let length = lastLine; length < whole.length; length += 7) {
    await Deno.writeFile(path, whole.subarray(0, length));
    using opened = await Registry.open(path);
    assert.deepEqual([opened.versions("s", false).length, opened.level("s")], [2, "BACKWARD"]);
    await opened.setLevel("s", "NONE");
  }
  {
    using opened = await Registry.open(path);
    assert.equal(opened.level("s"), "NONE");
  }
  whole[20] ^= 1;
  await Deno.writeFile(path, whole);
  await assert.rejects(
    Registry.open(path),
    (error: ConfigError) => error instanceof ConfigError && /damaged at line 1 \(byte 0\)/.test(error.message),
  );
});

Deno.test("Concurrent registrations get one id each, and none is lost", async () => {
  await using registry = await open();
  const schemas = Array.from({ length: 20 }, (_, i) => record([{ name: "id", type: "long" }], `Thing${i % 10}`));
  const answers = await Promise.all(schemas.map((schema, i) => registry.register(`s${i}`, schema)));
  assert.equal(new Set(answers.map(({ json }) => json.id)).size, 10);
  await registry.restart();
  assert.equal((await registry.ask("GET", "/subjects")).json.length, 20);
});

Deno.test("The number of versions is bounded", async () => {
  const dataDir = await Deno.makeTempDir();
  {
    using registry = await Registry.open(join(dataDir, "schemas.ndjson"), 2);
    for (const subject of ["a", "b"]) await registry.register(subject, { schema: '"int"' }, false);
    await assert.rejects(registry.register("c", { schema: '"int"' }, false), /holds 2 versions, its most/);
    await registry.deleteSubject("a", false);
    await registry.deleteSubject("a", true);
    assert.deepEqual(await registry.register("c", { schema: '"int"' }, false), { id: 1, version: 1 });
  }
  await Deno.remove(dataDir, { recursive: true });
});

Deno.test("A taken port and a folder in use are named together with the setting that changes them", async () => {
  await using registry = await open();
  const dataDir = await Deno.makeTempDir();
  const port = Number(new URL(registry.url).port);
  await assert.rejects(startRegistry({ host: "127.0.0.1", port, dataDir }), (error: ConfigError) => {
    assert.equal(error.faults[0].where, "--registry-port (TAILRACE_REGISTRY_PORT)");
    assert.match(error.message, new RegExp(`port ${port} on 127.0.0.1 is taken`));
    return true;
  });
  await assert.rejects(
    startRegistry({ host: "127.0.0.1", port: 0, dataDir: registry.dataDir }),
    /held by another running/,
  );
  await (await startRegistry({ host: "127.0.0.1", port: 0, dataDir })).close();
  await Deno.remove(dataDir, { recursive: true });
});

Deno.test("A client that never finishes its request does not hold up the close", async () => {
  const registry = await open();
  using connection = await Deno.connect({ hostname: "127.0.0.1", port: Number(new URL(registry.url).port) });
  const head = "POST /subjects/s/versions HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\n{";
  await connection.write(new TextEncoder().encode(head));
  await new Promise((resolve) => setTimeout(resolve, 50));
  const startedAt = performance.now();
  await registry[Symbol.asyncDispose]();
  assert.ok(performance.now() - startedAt < 30_000);
});

Deno.test("The client of @kafkajs/confluent-schema-registry registers, encodes and decodes", async () => {
  await using server = await open();
  const client = new SchemaRegistry({ host: server.url });
  const schema = record([{ name: "id", type: "long" }, { name: "name", type: "string" }]);
  const { id } = await client.register(schema as never, { subject: "things-value" });
  assert.equal((await client.register(schema as never, { subject: "things-value" })).id, id);
  const bytes = await client.encode(id, { id: 7, name: "seven" });
  assert.deepEqual([...bytes.subarray(0, 5)], [0, 0, 0, 0, id]);
  const other = new SchemaRegistry({ host: server.url });
  assert.deepEqual({ ...await other.decode(Buffer.from(bytes)) }, { id: 7, name: "seven" });
  assert.equal(await other.getLatestSchemaId("things-value"), id);
  assert.equal(await other.getRegistryIdBySchema("things-value", schema as never), id);
  assert.equal((await server.ask("GET", "/config/things-value")).json.compatibilityLevel, "BACKWARD");
  await assert.rejects(
    client.register(record([{ name: "id", type: "string" }]) as never, {
      subject: "things-value",
      compatibility: COMPATIBILITY.BACKWARD,
    }),
    /incompatible/,
  );
});
