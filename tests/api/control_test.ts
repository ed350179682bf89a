import assert from "node:assert/strict";
import { createApp } from "../../api/app.ts";
import type { PipelineControl } from "../../api/deps.ts";
import { ConfigError, ConflictError } from "../../pipeline/errors.ts";
import { fakeDeps } from "./fake_deps.ts";

const EXPLAIN = "/v1/explain?topic=transactions&partition=0&offset=7";

async function answer(path: string, changes: Partial<PipelineControl>, { answerMs = 1_000, method = "POST" } = {}) {
  const { control } = fakeDeps().deps.engine!;
  const { deps, logged } = fakeDeps({ control: { ...control, ...changes } });
  const app = createApp(deps, { limits: { answerMs } });
  const headers = { "content-type": "application/json" };
  const response = await app.request(path, {
    method,
    headers,
    ...(method === "POST" ? { body: '{"earliest":true}' } : {}),
  });
  const { type, detail } = await response.json();
  return { status: response.status, kind: type?.split("#").at(-1), detail, logged };
}

const never = <T>() => new Promise<T>(() => {});

Deno.test("a command that takes too long is answered with what to do, not waited for", async () => {
  for (const command of ["stop", "start", "rewind"] as const) {
    const told = await answer(`/v1/pipelines/account_minute/${command}`, { [command]: never }, { answerMs: 20 });
    assert.deepEqual([told.status, told.kind], [503, "unavailable"], command);
    assert.match(told.detail, /account_minute is still at what it was told before, or waits for others: ask again/);
  }
});

Deno.test("a pipeline that another process took over is not rewound here, and it is said why", async () => {
  const rewind = () =>
    Promise.reject(new ConflictError("another process (b:7) has taken over pipeline account_minute"));
  const told = await answer("/v1/pipelines/account_minute/rewind", { rewind });
  assert.deepEqual([told.status, told.kind], [409, "pipeline-running"]);
  assert.match(told.detail, /another process \(b:7\) has taken over/);
});

Deno.test("an explanation that takes too long ends: the caller is told, and nothing more is read", async () => {
  const ended = Promise.withResolvers<unknown>();
  const explain: PipelineControl["explain"] = (_, { signal }) =>
    new Promise((_, reject) =>
      signal.addEventListener("abort", () => {
        ended.resolve(signal.reason);
        reject(signal.reason);
      }, { once: true })
    );
  const told = await answer(EXPLAIN, { explain }, { answerMs: 20, method: "GET" });
  assert.deepEqual([told.status, told.kind, told.logged], [503, "unavailable", []]);
  assert.match(told.detail, /could not be read again within 0.02 s/);
  assert.match(String(await ended.promise), /nobody waits for the explanation any more/);
});

Deno.test("a damaged history is told to whoever asks for an explanation, as nothing they can change", async () => {
  const explain = () => Promise.reject(new ConfigError({ where: "x.1/history", problem: "the history is damaged" }));
  const told = await answer(EXPLAIN, { explain }, { method: "GET" });
  assert.deepEqual([told.status, told.detail], [503, "x.1/history: the history is damaged"]);
});
