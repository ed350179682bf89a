import assert from "node:assert/strict";
import fc from "fast-check";
import { startRegistry } from "../../broker/registry/mod.ts";
import { nasty, nastyJson, runs } from "./support.ts";

const SCHEMA = JSON.stringify({ type: "record", name: "R", fields: [{ name: "a", type: "long" }] });
const segment = fc.oneof(
  nasty.map((text) => encodeURIComponent(text.toWellFormed())),
  fc.constantFrom("s", "1", "latest", "-1", "0", "2147483648", "%zz", "%00", ".", ".."),
);
const paths = fc.tuple(
  fc.constantFrom(
    ...["/subjects/:a", "/subjects/:a/versions", "/subjects/:a/versions/:b", "/subjects/:a/versions/:b/schema"],
    ...["/schemas/ids/:a", "/schemas/ids/:a/versions", "/config/:a", "/mode/:a", "/config", "/mode", "/subjects"],
    ...["/compatibility/subjects/:a/versions/:b", "/compatibility/subjects/:a/versions", "/:a/:b"],
  ),
  segment,
  segment,
).map(([path, a, b]) => path.replace(":a", () => a).replace(":b", () => b));
const queries = fc.dictionary(
  fc.constantFrom("deleted", "permanent", "normalize", "offset", "limit", "subjectPrefix", "verbose", "fetchMaxId"),
  fc.oneof(nasty.map((text) => text.toWellFormed()), fc.constantFrom("true", "false", "-1")),
  { maxKeys: 2 },
);
const bodies = fc.oneof(
  nastyJson.map((json) => JSON.stringify(json) ?? ""),
  fc.dictionary(
    fc.constantFrom("schema", "schemaType", "references", "compatibility", "mode", "metadata", "id", "version"),
    fc.oneof(nastyJson, fc.constantFrom<unknown[]>(SCHEMA, "AVRO", "BACKWARD", "READWRITE", [], 1)),
    { maxKeys: 4 },
  ).map((json) => JSON.stringify(json)),
  nasty.map((text) => text.toWellFormed()),
);

Deno.test("no request to the registry fails inside it, and what was registered stays as it was", async () => {
  const dataDir = await Deno.makeTempDir();
  const logged: string[] = [];
  await using registry = await startRegistry({ host: "127.0.0.1", port: 0, dataDir, log: (line) => logged.push(line) });
  const ask = async (method: string, path: string, body?: string) => {
    const headers = body === undefined ? undefined : { "content-type": "application/json" };
    const response = await fetch(registry.url + path, { method, body, headers });
    return { status: response.status, text: await response.text() };
  };
  const kept = await ask("POST", "/subjects/kept/versions", JSON.stringify({ schema: SCHEMA }));
  const { id } = JSON.parse(kept.text);
  await fc.assert(
    fc.asyncProperty(
      fc.constantFrom("GET", "POST", "PUT", "DELETE"),
      paths,
      queries,
      bodies,
      async (method, path, query, body) => {
        const where = `${path}?${new URLSearchParams(query)}`;
        const { status, text } = await ask(method, where, method === "GET" ? undefined : body);
        assert.ok(status < 500, `${method} ${where} ${body}: ${status} ${text}`);
        JSON.parse(text);
      },
    ),
    runs(600),
  );
  assert.deepEqual(logged, []);
  const found = await ask("GET", `/schemas/ids/${id}`);
  assert.deepEqual(JSON.parse(JSON.parse(found.text).schema), JSON.parse(SCHEMA));
  await registry.close();
  await Deno.remove(dataDir, { recursive: true });
});
