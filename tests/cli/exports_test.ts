import assert from "node:assert/strict";
import { createExports } from "../../cli/exports.ts";
import { count, lake as inLake, pipeline, topic, tumbling } from "../../pipeline/definition.ts";
import { planOf } from "../../pipeline/plan/compile.ts";
import { postgresClient } from "../../pipeline/postgres_client.ts";
import { testLake } from "../sinks/lake/results/lake_subject.ts";

const fields = [{ name: "at", type: { type: "long", logicalType: "timestamp-millis" } }];
const plan = await planOf(
  pipeline({
    name: "visits",
    from: topic("t", { schema: { type: "record", name: "Visit", fields }, eventTime: "at" }),
    groupBy: ["at"],
    window: tumbling("1 minute"),
    select: { n: count() },
    to: [inLake("visits")],
  }),
  new Map(),
);

Deno.test("an export from a lake that takes no results is unavailable before long, and is in nobody's way then", async () => {
  await using world = await testLake();
  const { lake } = world;
  // Nothing is asked of it: the results are in the lake.
  const sql = postgresClient("postgres://127.0.0.1:1/none");
  let flushes = 0;
  const exports = createExports({
    units: [{
      plan,
      lakeSink: {
        flush: () => {
          flushes++;
          return new Promise(() => {});
        },
      },
    }],
    ...{ lake, database: lake.database, sql, folder: `${world.folder}/exports`, flushMsMax: 50 },
  });
  const { signal } = new AbortController();
  const asked = { source: { pipeline: "visits" }, format: "csv" } as const;
  // More often than there may be at a time.
  for (let times = 1; times <= 3; times++) {
    await assert.rejects(exports.export(asked, { signal }), {
      name: "UnavailableError",
      message: "lake.visits has not taken the newest results within 0.05 s",
    });
    assert.equal(flushes, times);
  }
});
