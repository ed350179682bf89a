import assert from "node:assert/strict";
import { createApp } from "../../api/app.ts";
import type { Explanation } from "../../pipeline/runtime/explain.ts";
import { fakeDeps } from "./fake_deps.ts";

const URL = "/v1/explain?topic=transactions&partition=0&offset=7";

async function explained(explanation: Partial<Explanation>) {
  const { control } = fakeDeps().deps.engine!;
  const told: Explanation = {
    pipeline: "account_minute",
    fate: "late",
    reason: "its window had closed",
    window: null,
    key: null,
    isReopening: false,
    ...explanation,
  };
  const { deps, queries } = fakeDeps({ control: { ...control, explain: () => Promise.resolve([told]) } });
  const response = await createApp(deps).request(URL);
  assert.equal(response.status, 200);
  return { told: (await response.json()).explanations[0], queries };
}

Deno.test("a record that counts is told with its window, its key, its sinks and the row it is stored in", async () => {
  const window = { startMs: 60_000, endMs: 120_000 };
  const { told, queries } = await explained({ fate: "aggregated", window, key: ["A-1"] });
  assert.deepEqual(told.window, { start: "1970-01-01T00:01:00.000Z", end: "1970-01-01T00:02:00.000Z" });
  assert.deepEqual(told.key, { account_id: "A-1" });
  assert.deepEqual(told.outputs, ["postgres account_minute", "kafka account-minute"]);
  assert.deepEqual(queries, [{ key: ["A-1"], from: 60_000, to: 60_001, limit: 1 }]);
});

Deno.test("a late record is told with the topic it was set aside in, and no row is looked for", async () => {
  const { told, queries } = await explained({ window: { startMs: 0, endMs: 60_000 } });
  assert.deepEqual(told.outputs, ["kafka transactions.late"]);
  assert.deepEqual([told.key, told.row, queries], [null, null, []]);
});

Deno.test("a record of a time that no date reaches is explained all the same", async () => {
  const startMs = -9_223_372_036_854_720_000;
  const { told } = await explained({ window: { startMs, endMs: startMs + 60_000 } });
  assert.deepEqual([told.fate, told.window], ["late", null]);
});
