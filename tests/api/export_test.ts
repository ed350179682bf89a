import assert from "node:assert/strict";
import { createApp } from "../../api/app.ts";
import type { ExportDesk } from "../../api/export_desk.ts";
import { UnavailableError } from "../../pipeline/errors.ts";
import { fakeDeps } from "./fake_deps.ts";

const PATH = "/v1/export?pipeline=account_minute";

Deno.test("an export that cannot be made now is a 503 that says when to ask again", async () => {
  const exports: ExportDesk = {
    export: () => Promise.reject(new UnavailableError("PostgreSQL has not answered for 60 s")),
  };
  const response = await createApp(fakeDeps({ exports }).deps).request(PATH);
  assert.equal(response.status, 503);
  assert.equal(response.headers.get("content-type"), "application/problem+json");
  assert.equal(response.headers.get("retry-after"), "2");
  assert.equal((await response.json()).detail, "PostgreSQL has not answered for 60 s");
});

Deno.test("an export whose reader leaves is told to stop, and nothing is logged as failed", async () => {
  const asked = Promise.withResolvers<void>();
  const exports: ExportDesk = {
    export: (_request, { signal }) => {
      asked.resolve();
      return new Promise((_, reject) => signal.addEventListener("abort", () => reject(signal.reason), { once: true }));
    },
  };
  const leaving = new AbortController();
  const { deps, logged } = fakeDeps({ exports });
  const answering = createApp(deps).request(new Request(`http://localhost${PATH}`, { signal: leaving.signal }));
  await asked.promise;
  leaving.abort();
  assert.equal((await answering).status, 503);
  assert.deepEqual(logged, []);
});
