import assert from "node:assert/strict";
import { keyValue } from "../../../api/key_values.ts";
import type { FieldType } from "../../../pipeline/columns.ts";
import { ConfigError } from "../../../pipeline/errors.ts";
import { cassandra, count, pipeline, topic, tumbling } from "../../../pipeline/mod.ts";
import { planOf } from "../../../pipeline/plan/compile.ts";
import { resultColumns, targetOf } from "../../../pipeline/plan/plan.ts";
import { InFlight, REQUESTS_MAX } from "../../../pipeline/sinks/cassandra/in_flight.ts";
import { missingCassandra } from "../../../pipeline/sinks/cassandra/options.ts";
import { timestampOf } from "../../../pipeline/sinks/cassandra/row_encoder.ts";
import { splitStatements } from "../../../pipeline/sinks/cassandra/statements.ts";
import { createStatement } from "../../../pipeline/sinks/cassandra/table.ts";
import { keptIn } from "../../../pipeline/sinks/cassandra/types.ts";
import { REVISIONS_PER_GENERATION } from "../../../pipeline/sinks/sink.ts";

const SCHEMA = {
  type: "record",
  name: "Click",
  fields: [
    { name: "page", type: ["null", "string"], default: null },
    { name: "at", type: { type: "long", logicalType: "timestamp-millis" } },
  ],
};

function planWith(options: object) {
  return planOf(
    pipeline({
      name: "clicks",
      from: topic("clicks", { schema: SCHEMA, eventTime: "at" }),
      groupBy: ["page"],
      window: tumbling("1 minute"),
      select: { n: count() },
      to: [cassandra("clicks", options)],
    }),
    new Map(),
  );
}

Deno.test("a pipeline's table in Cassandra is planned with its keyspace and seconds to live, and faults are told", async () => {
  const plan = await planWith({ keyspace: "shop", ttl: "2 days" });
  assert.deepEqual(plan.sinks, [{ kind: "cassandra", table: "clicks", keyspace: "shop", ttlSeconds: 172_800 }]);
  assert.equal(targetOf(plan.sinks[0]), "shop.clicks");
  await assert.rejects(planWith({ keyspace: "Shop", ttl: "1500ms" }), (error: Error) => {
    assert.ok(error instanceof ConfigError);
    assert.deepEqual(error.faults.map(({ where }) => where), ["clicks.to.keyspace", "clicks.to.ttl"]);
    return true;
  });
});

Deno.test("a table is made so that a null key has a place and no partition grows for ever", async () => {
  const { sinks: _, ...plan } = await planWith({});
  const statement = createStatement({ keyspace: "k", name: "clicks", columns: resultColumns({ ...plan, sinks: [] }) });
  assert.match(statement, /PRIMARY KEY \(\("page", "window_day", "null_keys"\), "window_start"\)/);
  assert.match(statement, /CLUSTERING ORDER BY \("window_start" DESC\)/);
});

Deno.test("timestamps order rows by generation, revision and final, beyond where numbers are exact", () => {
  const last = REVISIONS_PER_GENERATION * 4_000 + 7;
  const order = [
    timestampOf(0, false),
    timestampOf(1, false),
    timestampOf(1, true),
    timestampOf(2, false),
    timestampOf(REVISIONS_PER_GENERATION + 1, false),
    timestampOf(last, false),
    timestampOf(last, true),
    timestampOf(2 ** 53 - 1, false),
    timestampOf(2n ** 62n - 1n, true),
  ].map(BigInt);
  assert.deepEqual(order, order.toSorted((a, b) => a < b ? -1 : 1));
  assert.equal(new Set(order).size, order.length);
  assert.equal(order.at(-1), 2n ** 63n - 1n);
});

Deno.test("statements end at semicolons that are not in texts, names or comments", () => {
  const text = `-- one; two
CREATE TABLE a (k text PRIMARY KEY) WITH comment = 'it''s; fine'; // none; here
/* nor; here */ CREATE FUNCTION f() AS $$ return 1; $$;
ALTER TABLE a ADD "x;y" int`;
  assert.deepEqual(splitStatements(text), [
    "CREATE TABLE a (k text PRIMARY KEY) WITH comment = 'it''s; fine'",
    "CREATE FUNCTION f() AS $$ return 1; $$",
    'ALTER TABLE a ADD "x;y" int',
  ]);
  assert.deepEqual(splitStatements(" \n-- nothing\n;"), []);
});

Deno.test("requests under way are bounded, halved when a node has too much to do, and never none", async () => {
  const requests = new InFlight();
  for (let i = 0; i < REQUESTS_MAX; i++) await requests.enter();
  let entered = false;
  const waiting = requests.enter().then(() => entered = true);
  await new Promise((resolve) => setTimeout(resolve));
  assert.equal(entered, false);
  requests.leave();
  await waiting;
  assert.equal(requests.running, REQUESTS_MAX);
  for (let i = 0; i < 20; i++) requests.overloaded();
  assert.equal(requests.limit, 1);
  for (let i = 0; i < REQUESTS_MAX ** 2; i++) requests.succeeded();
  assert.equal(requests.limit, REQUESTS_MAX);
});

Deno.test("decimals and whole numbers lie in as few bytes as they take, negative ones too", () => {
  const hex = (text: string, scale: number) =>
    keptIn({ type: "decimal", precision: 38, scale, nullable: false }, "decimal")!.encode(text).toString("hex");
  assert.equal(hex("0.00", 2), "0000000200");
  assert.equal(hex("1.27", 2), "000000027f");
  assert.equal(hex("1.28", 2), "000000020080");
  assert.equal(hex("-1.28", 2), "0000000280");
  assert.equal(hex("-1.29", 2), "00000002ff7f");
  assert.equal(hex("18446744073709551616", 0), "00000000010000000000000000");
  assert.equal(hex("-9223372036854775809", 0), "00000000ff7fffffffffffffff");
});

Deno.test("a key in an address becomes the value that equal keys are kept as", () => {
  const of = (type: FieldType["type"], text: string) => keyValue({ type, nullable: false } as FieldType, text);
  assert.equal(keyValue({ type: "decimal", precision: 9, scale: 2, nullable: false }, "12.5"), "12.50");
  assert.equal(keyValue({ type: "decimal", precision: 9, scale: 2, nullable: false }, "12.505"), null);
  assert.equal(of("long", "9007199254740993"), 9007199254740993n);
  assert.equal(of("date", "1970-01-11"), 10);
  assert.equal(of("time-millis", "00:00:01.500"), 1_500);
  assert.equal(of("timestamp-micros", "1970-01-01T00:00:01.000002Z"), 1_000_002n);
  assert.equal(of("uuid", "ABCDEF00-0000-0000-0000-000000000000"), "abcdef00-0000-0000-0000-000000000000");
});

Deno.test("what goes to Cassandra says what to set where there is none", () => {
  const to = [{ kind: "postgres" }, { kind: "cassandra" }];
  assert.match(missingCassandra(to, undefined)!, /^TAILRACE_CASSANDRA: is not set/);
  assert.match(missingCassandra(to, { keyspace: null })!, /is not set/);
  assert.equal(missingCassandra(to, { keyspace: "tailrace" }), null);
  assert.equal(missingCassandra([{ kind: "postgres" }], undefined), null);
});
