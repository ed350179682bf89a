import assert from "node:assert/strict";
import type { Definition } from "../../pipeline/definition.ts";
import { ConfigError, type Fault } from "../../pipeline/errors.ts";
import { avg, count, kafka, max, min, pipeline, postgres, sum, topic, tumbling } from "../../pipeline/mod.ts";
import { planOf } from "../../pipeline/plan/compile.ts";
import type { AvroSchema } from "../../pipeline/plan/plan.ts";

const ORDER = {
  type: "record",
  name: "Order",
  doc: "One order.",
  fields: [
    { name: "id", type: "string" },
    { name: "at", type: { type: "long", logicalType: "timestamp-millis" } },
    { name: "price", type: { type: "bytes", logicalType: "decimal", precision: 10, scale: 2 } },
    { name: "pieces", type: "int" },
    { name: "grams", type: ["null", "long"], default: null },
    { name: "ratio", type: "double" },
    { name: "raw", type: "bytes" },
    { name: "paid", type: "boolean" },
    { name: "final", type: "string" },
    { name: "tags", type: { type: "array", items: "string" } },
    {
      name: "shop",
      type: ["null", { type: "record", name: "Shop", fields: [{ name: "country", type: "string" }] }],
      default: null,
    },
  ],
};
const SCHEMAS = new Map<string, AvroSchema>([["order", ORDER]]);

const from = topic("orders", { schema: "order" as string, eventTime: "at" });
const base = pipeline({
  name: "orders_minute",
  from,
  groupBy: ["id"],
  window: tumbling("1 minute"),
  select: { n: count() },
  to: [postgres("orders_minute")],
});

/** A definition from the base with parts replaced by anything, as plain JavaScript could. */
function altered(parts: Record<string, unknown>): Definition {
  return { ...base, ...parts } as Definition;
}

async function faultsOf(parts: Record<string, unknown>): Promise<readonly Fault[]> {
  try {
    await planOf(altered(parts), SCHEMAS);
  } catch (error) {
    assert.ok(error instanceof ConfigError, String(error));
    return error.faults;
  }
  assert.fail(`no fault in ${JSON.stringify(parts)}`);
}

Deno.test("each field is read once and each accumulator kept once, whatever is computed from them", async () => {
  const plan = await planOf(
    altered({
      where: "price > 0 AND grams IS NOT NULL",
      select: {
        n: count(),
        pieces_given: count("pieces"),
        weighed: count("grams"),
        total: sum("price"),
        mean: avg("price"),
        mean_grams: avg("grams"),
      },
    }),
    SCHEMAS,
  );
  assert.deepEqual(plan.fields.map(({ path }) => path), ["id", "at", "pieces", "grams", "price"]);
  assert.deepEqual(plan.accumulators, [
    { kind: "count", field: null },
    { kind: "count", field: 3 },
    { kind: "sum", field: 4 },
    { kind: "sum", field: 3 },
  ]);
  assert.deepEqual(plan.select.map(({ accumulators }) => accumulators), [[0], [0], [1], [2], [2, 0], [3, 1]]);
  assert.deepEqual(JSON.parse(JSON.stringify(plan)), plan);
});

Deno.test("results have the types that hold them exactly, and are null only where all values can be", async () => {
  const select = {
    n: count("grams"),
    a: sum("pieces"),
    b: sum("grams"),
    c: sum("price"),
    d: sum("ratio"),
    e: avg("pieces"),
    f: avg("grams"),
    g: min("price"),
    h: max("grams"),
    i: max("at"),
  };
  const plan = await planOf(altered({ select }), SCHEMAS);
  assert.deepEqual(Object.fromEntries(plan.select.map(({ name, type }) => [name, type])), {
    n: { type: "long", nullable: false },
    a: { type: "long", nullable: false },
    b: { type: "decimal", precision: 38, scale: 0, nullable: true },
    c: { type: "decimal", precision: 38, scale: 2, nullable: false },
    d: { type: "double", nullable: false },
    e: { type: "double", nullable: false },
    f: { type: "double", nullable: true },
    g: { type: "decimal", precision: 10, scale: 2, nullable: false },
    h: { type: "long", nullable: true },
    i: { type: "timestamp-millis", nullable: false },
  });
});

Deno.test("times not given have defaults; given ones are milliseconds in the plan", async () => {
  const plan = await planOf(base, SCHEMAS);
  assert.deepEqual([plan.allowedLatenessMs, plan.idleAfterMs, plan.emitEveryMs, plan.window.sizeMs], [
    5_000,
    10_000,
    1_000,
    60_000,
  ]);
  const options = { ...from.options, allowedLateness: "0s", idleAfter: "2 minutes", partitions: 6 };
  const given = await planOf(
    altered({ from: { topic: "orders", options }, emit: { every: "250ms" }, window: tumbling("1 day") }),
    SCHEMAS,
  );
  assert.deepEqual([
    given.allowedLatenessMs,
    given.idleAfterMs,
    given.emitEveryMs,
    given.window.sizeMs,
    given.partitions,
  ], [
    0,
    120_000,
    250,
    86_400_000,
    6,
  ]);
  assert.equal((await planOf(altered({ emit: "final" }), SCHEMAS)).emitEveryMs, null);
});

Deno.test("a nested field groups under its path with underscores, and may be null with the record around it", async () => {
  const plan = await planOf(altered({ groupBy: ["shop.country"] }), SCHEMAS);
  assert.deepEqual(plan.groupBy, [{ name: "shop_country", field: 0 }]);
  assert.deepEqual(plan.fields[0], { path: "shop.country", type: { type: "string", nullable: true } });
});

Deno.test("the fingerprint changes with what decides results, and with nothing else", async () => {
  const fingerprint = async (parts: Record<string, unknown>, schemas = SCHEMAS) =>
    (await planOf(altered(parts), schemas)).fingerprint;
  const original = await fingerprint({ where: "price > 0" });
  const undocumented = new Map<string, AvroSchema>([["order", { ...ORDER, doc: "Another text." }]]);
  for (
    const same of [
      { where: "price  >  0 -- really" },
      { where: "price > 0", emit: "final" },
      { where: "price > 0", name: "another_name" },
      { where: "price > 0", to: [kafka("elsewhere")] },
    ]
  ) assert.equal(await fingerprint(same), original, JSON.stringify(same));
  assert.equal(await fingerprint({ where: "price > 0" }, undocumented), original);
  for (
    const other of [
      { where: "price > 1" },
      { where: undefined },
      { where: "price > 0", window: tumbling("2 minutes") },
      { where: "price > 0", groupBy: ["paid"] },
      { where: "price > 0", select: { n: count("grams") } },
      { where: "price > 0", from: { topic: "orders", options: { ...from.options, allowedLateness: "6s" } } },
      { where: "price > 0", from: { topic: "orders2", options: from.options } },
    ]
  ) assert.notEqual(await fingerprint(other), original, JSON.stringify(other));
  assert.match(original, /^[0-9a-f]{64}$/);
});

Deno.test("every fault of a definition is told at once, by stream and part", async () => {
  const faults = await faultsOf({
    from: { topic: "or ders", options: { schema: "order", eventTime: "price", allowedLateness: "soon" } },
    where: "price > 'much' OR nothing",
    groupBy: ["idd", "ratio"],
    window: tumbling("0s"),
    select: { total: sum("id"), revision: count() },
    to: [postgres("Table")],
  });
  assert.deepEqual(faults.map(({ where }) => where).sort(), [
    "orders_minute.from",
    "orders_minute.from.allowedLateness",
    "orders_minute.from.eventTime",
    "orders_minute.groupBy",
    "orders_minute.groupBy",
    "orders_minute.select.revision",
    "orders_minute.select.total",
    "orders_minute.to",
    "orders_minute.where",
    "orders_minute.where",
    "orders_minute.window",
  ]);
});

Deno.test("each fault names the field, its type, and what would do", async () => {
  const options = from.options;
  const cases: readonly (readonly [parts: Record<string, unknown>, where: string, problem: RegExp])[] = [
    [{ name: "Orders" }, "Orders.name", /"Orders" is not a name/],
    [{ name: undefined }, "pipeline.name", /is not a name/],
    [{ from: undefined }, "from", /not a topic name/],
    [
      { from: { topic: "orders", options: { ...options, schema: "oder" } } },
      "from.schema",
      /no schemas\/oder\.avsc; schemas: order/,
    ],
    [
      { from: { topic: "orders", options: { ...options, schema: { type: "int" } } } },
      "from.schema",
      /must be a record/,
    ],
    [{ from: { topic: "orders", options: { ...options, schema: { type: "recrd" } } } }, "from.schema", /./],
    [
      { from: { topic: "orders", options: { ...options, schema: undefined } } },
      "from.schema",
      /name the records' schema/,
    ],
    [{ from: { topic: "orders", options: { ...options, eventTime: "att" } } }, "from.eventTime", /no field "att".*at/],
    [
      { from: { topic: "orders", options: { ...options, eventTime: "id" } } },
      "from.eventTime",
      /id is a string.*at, grams/,
    ],
    [{ from: { topic: "orders", options: { ...options, eventTime: "shop" } } }, "from.eventTime", /record/],
    [{ from: { topic: "orders", options: { ...options, idleAfter: "0 s" } } }, "from.idleAfter", /too short/],
    [{ from: { topic: "orders", options: { ...options, partitions: 0 } } }, "from.partitions", /whole number from 1/],
    [{ window: tumbling("0 seconds") }, "window", /too short: 1 ms/],
    [{ window: { kind: "hopping", size: "1s" } }, "window", /use tumbling/],
    [{ window: { kind: "tumbling", size: 60_000 } }, "window", /60000 is not a duration: write/],
    [{ window: { kind: "tumbling", size: "1.5 minutes" } }, "window", /not a duration/],
    [{ window: { kind: "tumbling", size: "-1 minute" } }, "window", /not a duration/],
    [{ window: { kind: "tumbling", size: "99999999 days" } }, "window", /longer than 3660 days/],
    [{ emit: { every: "1" } }, "emit.every", /not a duration/],
    [{ emit: { every: "1ms" } }, "emit.every", /too short/],
    [{ groupBy: "id" }, "groupBy", /list the fields/],
    [{ groupBy: ["ID"] }, "groupBy", /no field "ID".*did you mean id/],
    [{ groupBy: ["raw"] }, "groupBy", /raw is bytes/],
    [{ groupBy: ["ratio"] }, "groupBy", /ratio is a double: numbers that look equal/],
    [{ groupBy: ["tags"] }, "groupBy", /array/],
    [{ groupBy: ["final"] }, "groupBy", /every result has/],
    [{ groupBy: ["id", "id"] }, "select", /two result columns are called "id"/],
    [{ select: {} }, "select", /at least one/],
    [{ select: { id: count() } }, "select", /two result columns are called "id"/],
    [{ select: { window_start: count() } }, "select.window_start", /every result has/],
    [{ select: { "Big Total": count() } }, "select.Big Total", /not a column name/],
    [
      { select: { total: sum("id") } },
      "select.total",
      /sum\("id"\) needs a number, and id is a string; numbers are: price, pieces/,
    ],
    [{ select: { total: sum("shop.country") } }, "select.total", /needs a number/],
    [{ select: { total: sum("priec") } }, "select.total", /no field "priec".*did you mean price/],
    [{ select: { mean: avg("at") } }, "select.mean", /at is a timestamp-millis/],
    [{ select: { first: min("id") } }, "select.first", /needs a number, date or time/],
    [{ select: { any: max("paid") } }, "select.any", /paid is a boolean/],
    [{ select: { total: { aggregate: "sum", field: null } } }, "select.total", /sum needs a field/],
    [{ select: { total: { aggregate: "median", field: "price" } } }, "select.total", /use count\(\)/],
    [{ select: { total: null } }, "select.total", /use count\(\)/],
    [{ to: [] }, "to", /go nowhere/],
    [{ to: ["orders"] }, "to", /use postgres/],
    [{ to: [postgres("orders; drop")] }, "to", /not a table name/],
    [{ to: [kafka("a/b")] }, "to", /not a topic name/],
    [{ to: [kafka("orders")] }, "to", /records come from/],
    [{ to: [kafka("a"), kafka("a")] }, "to", /there twice/],
    [{ where: 5 }, "where", /not text/],
    [{ where: "price >" }, "where", /syntax error[\s\S]*price >\n {4} *\^/],
    [{ where: "prise > 1" }, "where", /no field "prise".*did you mean price[\s\S]*\^/],
  ];
  for (const [parts, where, problem] of cases) {
    const faults = await faultsOf(parts);
    const name = "name" in parts ? "" : "orders_minute.";
    const found = faults.find((fault) => fault.where === name + where && problem.test(fault.problem));
    assert.ok(found, `${where} ${problem}: ${JSON.stringify(faults)}`);
  }
});
