import assert from "node:assert/strict";
import { avg, count, kafka, lake, max, min, pipeline, postgres, sum, topic, tumbling } from "../pipeline/mod.ts";

const transactions = topic("transactions", { schema: "transaction", eventTime: "event_time" });
const rest = { name: "x", groupBy: ["account_id"], window: tumbling("1 minute"), to: [postgres("x")] } as const;
const select = { n: count() };

Deno.test("a definition keeps what was written, and checks nothing yet", () => {
  const definition = pipeline({
    name: "spent",
    from: transactions,
    where: "amount > 0",
    groupBy: ["account_id", "currency"],
    window: tumbling("10 minutes"),
    select: {
      n: count(),
      named: count("country"),
      total: sum("amount"),
      mean: avg("amount"),
      least: min("amount"),
      last: max("event_time"),
    },
    emit: "final",
    to: [postgres("spent"), kafka("spent")],
  });
  assert.equal(definition.kind, "pipeline");
  assert.deepEqual(definition.select.total, { aggregate: "sum", field: "amount" });
  assert.deepEqual(definition.select.n, { aggregate: "count", field: null });
  assert.deepEqual(definition.window, { kind: "tumbling", size: "10 minutes" });
});

// Each `@ts-expect-error` is the test: the file does not type-check if the line under it is accepted.
Deno.test("the compiler refuses what the schema does not allow", () => {
  // @ts-expect-error event_tme is not a field
  topic("transactions", { schema: "transaction", eventTime: "event_tme" });
  // @ts-expect-error a string is not a time
  topic("transactions", { schema: "transaction", eventTime: "account_id" });
  // @ts-expect-error durations have a unit
  topic("transactions", { schema: "transaction", eventTime: "event_time", allowedLateness: "5" });
  // @ts-expect-error a number is not a duration
  topic("transactions", { schema: "transaction", eventTime: "event_time", allowedLateness: 5000 });
  // @ts-expect-error fortnights are not a unit
  tumbling("1 fortnight");
  // @ts-expect-error acount_id is not a field
  pipeline({ ...rest, from: transactions, select, groupBy: ["acount_id"] });
  // @ts-expect-error the sum of a string
  pipeline({ ...rest, from: transactions, select: { total: sum("merchant") } });
  // @ts-expect-error the mean of a time
  pipeline({ ...rest, from: transactions, select: { mean: avg("event_time") } });
  // @ts-expect-error the largest string
  pipeline({ ...rest, from: transactions, select: { largest: max("merchant") } });
  // @ts-expect-error ammount is not a field
  pipeline({ ...rest, from: transactions, select: { total: sum("ammount") } });
  // @ts-expect-error count of a field that is not there
  pipeline({ ...rest, from: transactions, select: { n: count("cuntry") } });
  // @ts-expect-error a sum needs a field
  pipeline({ ...rest, from: transactions, select: { total: sum() } });
  // @ts-expect-error a destination is made by postgres(..) or kafka(..)
  pipeline({ ...rest, from: transactions, select, to: ["table"] });
  // @ts-expect-error a duration has a unit
  lake("x", { flushEvery: "5" });
  // @ts-expect-error a count is a number
  lake("x", { flushRows: "5" });
  // @ts-expect-error an archive is made by lake(..)
  topic("transactions", { schema: "transaction", eventTime: "event_time", archive: "transactions" });
  // @ts-expect-error updates come every so long, or at the end
  pipeline({ ...rest, from: transactions, select, emit: "sometimes" });
  // @ts-expect-error a pipeline has a window
  pipeline({ name: "x", from: transactions, groupBy: [], select, to: [] });
});

Deno.test("fields of a schema that the compiler does not know are left for the start to check", () => {
  const byName = topic("orders", { schema: "order_of_elsewhere", eventTime: "at" });
  const inline = topic("orders", {
    schema: {
      type: "record",
      name: "Order",
      fields: [{ name: "at", type: "long" }, { name: "price", type: "double" }],
    },
    eventTime: "at",
  });
  const options = { ...rest, groupBy: ["id"], select: { total: sum("price") } };
  assert.equal(pipeline({ ...options, from: byName }).groupBy[0], "id");
  assert.equal(pipeline({ ...options, from: inline }).groupBy[0], "id");
});

Deno.test("a table of the lake is named by lake, for results and for a topic's raw records", () => {
  assert.deepEqual(lake("spent"), { kind: "lake", table: "spent", options: {} });
  const archive = lake(undefined, { flushEvery: "10s", flushRows: 500 });
  assert.deepEqual(archive, { kind: "lake", table: null, options: { flushEvery: "10s", flushRows: 500 } });
  const kept = topic("transactions", { schema: "transaction", eventTime: "event_time", archive });
  const definition = pipeline({ ...rest, from: kept, select, to: [postgres("x"), lake("spent")] });
  assert.deepEqual([definition.from.options.archive, definition.to[1]], [archive, lake("spent")]);
});
