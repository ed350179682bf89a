import assert from "node:assert/strict";
import { createApp } from "../../api/app.ts";
import { createCassandraReader } from "../../api/cassandra_tables.ts";
import type { DeliveryPlan } from "../../pipeline/deliveries/delivery_spec.ts";
import type { Plan } from "../../pipeline/plan/plan.ts";
import { resultColumns } from "../../pipeline/plan/plan.ts";
import { planOf } from "../../pipeline/plan/compile.ts";
import { cassandra } from "../../pipeline/sinks/cassandra/definition.ts";
import { CassandraSession } from "../../pipeline/sinks/cassandra/session.ts";
import { createCassandraSink } from "../../pipeline/sinks/cassandra/sink.ts";
import { count, pipeline, sum, topic, tumbling } from "../../pipeline/mod.ts";
import { fakeDeps } from "../api/fake_deps.ts";
import { resultRows } from "../contracts/sink_contract.ts";
import { borrowCassandra, whyNoCassandra } from "../servers/cassandra.ts";
import { optionsFor } from "../sinks/cassandra_subject.ts";
import { USER_COLUMNS, userRows } from "../sinks/cassandra_rows.ts";

const why = await whyNoCassandra();
if (why !== null) console.log(`Reading from Cassandra is not tested: ${why}`);

const DAY = 86_400_000;
const SCHEMA = {
  type: "record",
  name: "Sale",
  fields: [
    { name: "shop", type: "string" },
    { name: "amount", type: { type: "bytes", logicalType: "decimal", precision: 9, scale: 2 } },
    { name: "at", type: { type: "long", logicalType: "timestamp-millis" } },
  ],
};

async function plan(): Promise<Plan> {
  return await planOf(
    pipeline({
      name: "shop_hour",
      from: topic("sales", { schema: SCHEMA, eventTime: "at" }),
      groupBy: ["shop"],
      window: tumbling("1 hour"),
      select: { n: count(), total: sum("amount") },
      to: [cassandra("shop_hour")],
    }),
    new Map(),
  );
}

Deno.test({
  name: "what is in Cassandra is answered over REST: the row of a key, and a key's windows page by page",
  ignore: why !== null,
  async fn() {
    await using server = await borrowCassandra();
    await using session = new CassandraSession({ options: optionsFor(server.address) });
    const shop = await plan();
    const columns = resultColumns(shop);
    await using windows = await createCassandraSink({ session, table: "shop_hour", columns });
    await using users = await createCassandraSink({ session, table: "profiles", columns: USER_COLUMNS });
    const options = { epoch: 1, signal: new AbortController().signal };
    const start = Date.UTC(2026, 0, 1);
    const hours = Array.from({ length: 60 }, (_, hour) => start + hour * 3_600_000);
    await windows.write(
      resultRows(columns, hours.map((at, i) => ["s-1", at, at + 3_600_000, i + 1, `${i}.50`, i + 1, true])),
      options,
    );
    await users.write(userRows([{ id: "ü 1", name: "Ana", photo: new Uint8Array([1, 2]), offset: 7 }]), options);
    const deliveries = [{ to: [cassandra("profiles")], columns: USER_COLUMNS } as unknown as DeliveryPlan];
    const reader = createCassandraReader(session, { plans: [shop], deliveries })!;
    const app = createApp({ ...fakeDeps().deps, cassandra: reader });
    const get = async (path: string) => {
      const response = await app.request(path);
      return { status: response.status, body: await response.json() };
    };

    const user = await get(`/v1/cassandra/profiles?key=${encodeURIComponent("ü 1")}`);
    assert.deepEqual(user.body, {
      table: "profiles",
      rows: [{
        user_id: "ü 1",
        name: "Ana",
        photo: "AQI=",
        kafka_partition: 0,
        kafka_offset: 7,
        kafka_timestamp: new Date(1_780_000_000_007).toISOString(),
      }],
      next: null,
    });
    assert.deepEqual((await get("/v1/cassandra/profiles?key=nobody")).body.rows, []);

    const range = `key=s-1&from=2026-01-01T00:00:00Z&to=2026-02-01T00:00:00Z`;
    const found: { window_start: string; total: string }[] = [];
    let next: string | null = "";
    let pages = 0;
    while (next !== null) {
      const page: { body: { rows: typeof found; next: string | null } } = await get(
        `/v1/cassandra/shop_hour?${range}&limit=25${next === "" ? "" : `&cursor=${next}`}`,
      );
      found.push(...page.body.rows);
      next = page.body.next;
      pages++;
    }
    assert.equal(pages, 3);
    const expected = hours.map((at, i) => [new Date(at).toISOString(), `${i}.50`]).reverse();
    assert.deepEqual(found.map(({ window_start, total }) => [window_start, total]), expected);
    const part = await get("/v1/cassandra/shop_hour?key=s-1&from=2026-01-02T00:00:00Z&to=2026-01-02T02:00:00Z");
    assert.deepEqual(part.body.rows.map(({ n }: { n: number }) => n), [26, 25]);

    const refusals: [path: string, status: number, detail: RegExp][] = [
      ["/v1/cassandra/system_auth", 404, /shop_hour, profiles/],
      ["/v1/cassandra/profiles", 400, /give each of its columns/],
      ["/v1/cassandra/profiles?key=a&from=2026-01-01", 400, /one row for a key/],
      ["/v1/cassandra/shop_hour?key=s-1&from=2020-01-01&to=2026-01-01", 400, /92 days/],
      ["/v1/cassandra/shop_hour?key=s-1&cursor=x", 400, /is not one that a page gave/],
    ];
    for (const [path, status, detail] of refusals) {
      const answer = await get(path);
      assert.equal(answer.status, status, path);
      assert.match(JSON.stringify(answer.body), detail, path);
    }
    assert.equal(Math.floor(start / DAY) * DAY, start);
  },
});
