import assert from "node:assert/strict";
import { createApp } from "../../api/app.ts";
import { createCassandraReader } from "../../api/cassandra_tables.ts";
import { cassandra, count, pipeline, topic, tumbling } from "../../pipeline/mod.ts";
import { planOf } from "../../pipeline/plan/compile.ts";
import { CassandraSession } from "../../pipeline/sinks/cassandra/session.ts";
import { fakeDeps } from "./fake_deps.ts";

const fields = [{ name: "k", type: "string" }, { name: "at", type: { type: "long", logicalType: "timestamp-millis" } }];
const plan = await planOf(
  pipeline({
    name: "visits",
    from: topic("t", { schema: { type: "record", name: "Visit", fields }, eventTime: "at" }),
    groupBy: ["k"],
    window: tumbling("1 minute"),
    select: { n: count() },
    to: [cassandra("visits")],
  }),
  new Map(),
);

Deno.test("where no Cassandra is set, its tables are not there, instead of away and to be asked for again", async () => {
  await using session = new CassandraSession({ options: null });
  const reader = createCassandraReader(session, { plans: [plan], deliveries: [] })!;
  const response = await createApp(fakeDeps({ cassandra: reader }).deps).request("/v1/cassandra/visits?key=a");
  assert.equal(response.status, 404);
  assert.equal(response.headers.get("retry-after"), null);
  const { type, detail } = await response.json();
  assert.equal(type, "/docs#no-cassandra");
  assert.match(detail, /^TAILRACE_CASSANDRA: is not set/);
});
