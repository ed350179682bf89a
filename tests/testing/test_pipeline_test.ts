import assert from "node:assert/strict";
import { ConfigError } from "../../pipeline/errors.ts";
import { avg, count, max, min, pipeline, postgres, sum, topic, tumbling } from "../../pipeline/mod.ts";
import type { PipelineOptions } from "../../pipeline/definition.ts";
import { type TestPipeline, testPipeline } from "../../pipeline/testing/mod.ts";

const SALE = {
  type: "record",
  name: "Sale",
  fields: [
    { name: "id", type: "string" },
    { name: "shop", type: { type: "record", name: "Shop", fields: [{ name: "city", type: ["null", "string"] }] } },
    { name: "price", type: { type: "bytes", logicalType: "decimal", precision: 8, scale: 2 }, default: "\u0000" },
    { name: "pieces", type: "long", default: 1 },
    { name: "at", type: { type: "long", logicalType: "timestamp-millis" } },
  ],
} as const;

/** Sales by city and minute, 5 s of lateness, 10 s of silence. */
const sales = (options: Partial<PipelineOptions<typeof SALE>> = {}) =>
  pipeline({
    name: "sales",
    from: topic("sales", { schema: SALE, eventTime: "at" }),
    groupBy: ["shop.city"],
    window: tumbling("1 minute"),
    select: { n: count(), total: sum("price"), mean: avg("pieces"), first: min("at"), most: max("pieces") },
    emit: "final",
    to: [postgres("sales")],
    ...options,
  });

let ids = 0;
const sale = (city: string | null, clock: string, more: Record<string, unknown> = {}) => ({
  id: `s${ids++}`,
  shop: { city },
  at: `2026-05-01T${clock}Z`,
  ...more,
});

/** `city clock n` of rows. */
const shown = (rows: ReturnType<TestPipeline["results"]>) =>
  rows.map((row) => `${row.shop_city} ${String(row.window_start).slice(11, 16)} ${row.n}`);

const BUCKETS = { consumed: 0, aggregated: 0, filtered: 0, late: 0, dead: 0, duplicate: 0 };

Deno.test("records are plain objects: ISO text or Date, text or number for decimals, defaults for what is left out", async () => {
  await using test = await testPipeline(sales());
  await test.pipe([
    sale("Oslo", "12:00:10", { price: "12.50", pieces: 3n }),
    sale("Oslo", "", { at: new Date("2026-05-01T12:00:05Z"), price: 0.25 }),
    sale(null, "", { at: Date.UTC(2026, 4, 1, 12, 0, 59) }),
  ]);
  assert.deepEqual(test.panes(), [{
    shop_city: "Oslo",
    window_start: "2026-05-01T12:00:00.000Z",
    window_end: "2026-05-01T12:01:00.000Z",
    n: 2,
    total: "12.75",
    mean: 2,
    first: "2026-05-01T12:00:05.000Z",
    most: 3,
  }, {
    shop_city: null,
    window_start: "2026-05-01T12:00:00.000Z",
    window_end: "2026-05-01T12:01:00.000Z",
    n: 1,
    total: "0.00",
    mean: 1,
    first: "2026-05-01T12:00:59.000Z",
    most: 1,
  }]);
  assert.deepEqual(test.results(), []);
  assert.deepEqual(test.ledger(), { ...BUCKETS, consumed: 3, aggregated: 3 });
});

Deno.test("faults of records come at once, by record and field, and nothing is piped then", async () => {
  await using test = await testPipeline(sales());
  const bad = test.pipe([
    sale("Oslo", "12:00:10"),
    sale("Oslo", "12:00:10", { price: "1.234", city: "Oslo" }),
    { id: 5, shop: {}, at: "today" },
  ]);
  await assert.rejects(bad, (error: unknown) => {
    assert.ok(error instanceof ConfigError);
    assert.deepEqual(error.message.split("\n"), [
      "record 1, city: is no field of Sale",
      'record 1, price: is "1.234", more than 2 digits after the point',
      "record 2, id: is 5, not a string",
      "record 2, shop.city: is missing",
      'record 2, at: is "today", not a time such as "2026-01-31T12:30:00Z" with its zone',
    ]);
    return true;
  });
  const many = Array.from({ length: 1_000 }, () => ({}));
  await assert.rejects(test.pipe(many), ({ message }: Error) => message.split("\n").length < 25);
  assert.deepEqual(test.ledger(), BUCKETS);
});

Deno.test("a definition's faults are told as at a start", async () => {
  await assert.rejects(testPipeline(sales({ groupBy: ["town"] })), /sales\.groupBy: no field "town" in record Sale/);
  const named = sales({ from: topic("sales", { schema: "sale" as string, eventTime: "at" }) as never });
  await assert.rejects(testPipeline(named), /there is no schemas\/sale\.avsc; schemas: flight, .*transaction/);
  await assert.rejects(testPipeline(named, { schemas: "/nowhere" }), /\/nowhere: there is no such folder/);
  await assert.rejects(testPipeline(sales(), { partitions: 0 }), /partitions: 0 is not a whole number from 1/);
  await assert.rejects(testPipeline(sales(), { now: "noon" }), /now: "noon" is no time/);
});

Deno.test("a watermark that moves closes windows: by records, by a time that is given, by all there is", async () => {
  await using test = await testPipeline(sales());
  await test.pipe([sale("Oslo", "12:00:10"), sale("Rome", "12:01:10")]);
  assert.deepEqual([shown(test.results()), test.watermark()], [["Oslo 12:00 1"], "2026-05-01T12:01:05.000Z"]);
  await test.advanceEventTime("54s");
  assert.deepEqual(shown(test.results()), ["Oslo 12:00 1"], "one second before its end");
  await test.advanceEventTime("1s");
  assert.deepEqual(shown(test.results()), ["Oslo 12:00 1", "Rome 12:01 1"]);
  await test.pipe([sale("Rome", "12:05:00")]);
  await test.advanceEventTime(new Date("2026-05-01T12:06:00Z"));
  assert.equal(test.results().length, 3);
  await test.pipe([sale("Rome", "12:07:00"), sale("Rome", "12:07:59")]);
  assert.equal(test.panes().length, 1);
  await test.closeWindows();
  await test.closeWindows();
  assert.deepEqual([shown(test.results()).at(-1), test.panes()], ["Rome 12:07 2", []]);
  assert.ok(test.updates().every(({ final }) => final === true));
});

Deno.test("event time goes neither back nor on from nothing", async () => {
  await using test = await testPipeline(sales());
  await assert.rejects(test.advanceEventTime("1s"), /there is no event time yet: pipe a record first, or give a Date/);
  await test.pipe(sale("Oslo", "12:00:10"));
  await assert.rejects(
    test.advanceEventTime(new Date("2026-05-01T12:00:04Z")),
    /event time has come to 2026-05-01T12:00:05.000Z already, and does not go back/,
  );
  await assert.rejects(test.advanceEventTime("a while" as "1s"), /advanceEventTime: "a while" is not a duration/);
  await assert.rejects(test.advanceWallTime("-1s" as "1s"), /advanceWallTime: "-1s" is not a duration/);
});

Deno.test("the slowest partition holds windows open, until it is silent for so long that it counts as idle", async () => {
  await using test = await testPipeline(sales(), { partitions: 2 });
  await test.pipe(sale("Oslo", "12:00:10"), { partition: 0 });
  await test.pipe([sale("Oslo", "12:00:20"), sale("Oslo", "12:01:30")], { partition: 1 });
  assert.deepEqual([shown(test.results()), test.watermark()], [[], "2026-05-01T12:00:05.000Z"]);
  await test.advanceWallTime("9s");
  await test.pipe(sale("Oslo", "12:01:40"), { partition: 1 });
  await test.advanceWallTime("2s");
  assert.deepEqual(shown(test.results()), ["Oslo 12:00 2"]);
  assert.deepEqual(test.ledger(0), { ...BUCKETS, consumed: 1, aggregated: 1 });
  assert.deepEqual(test.ledger(1), { ...BUCKETS, consumed: 3, aggregated: 3 });
});

Deno.test("when all is silent the last windows close as the wall clock goes on", async () => {
  await using test = await testPipeline(sales());
  await test.pipe(sale("Oslo", "12:00:50"));
  assert.equal(test.now(), "2026-05-01T12:00:50.000Z");
  await test.advanceWallTime("24s");
  assert.deepEqual(test.results(), [], "its end, the lateness and the silence allowed are not over");
  await test.advanceWallTime("2s");
  assert.deepEqual([shown(test.results()), test.now()], [["Oslo 12:00 1"], "2026-05-01T12:01:16.000Z"]);
});

Deno.test("early rows come as the wall clock goes on, only for what changed, and results keep the newest", async () => {
  await using test = await testPipeline(sales({ emit: { every: "2s" } }));
  await test.pipe([sale("Oslo", "12:00:10"), sale("Rome", "12:00:10")]);
  await test.advanceWallTime("2s");
  await test.pipe(sale("Oslo", "12:00:11"));
  await test.advanceWallTime("2s");
  await test.closeWindows();
  assert.deepEqual(test.updates().map(({ shop_city, n, revision, final }) => [shop_city, n, revision, final]), [
    ["Oslo", 1, 1, false],
    ["Rome", 1, 1, false],
    ["Oslo", 2, 2, false],
    ["Oslo", 2, 2, true],
    ["Rome", 1, 1, true],
  ]);
  assert.deepEqual(shown(test.results()), ["Oslo 12:00 2", "Rome 12:00 1"]);
});

Deno.test("late and dead records are told with what was piped, where it is and why", async () => {
  await using test = await testPipeline(sales());
  await test.pipe([sale("Oslo", "12:00:10"), sale("Oslo", "12:02:00")]);
  const tardy = sale("Oslo", "12:00:30");
  await test.pipe(tardy, { key: "Oslo", headers: { trace: "t1", none: null } });
  await test.pipeBytes(Uint8Array.of(1, 2, 3));
  await test.pipeBytes(Uint8Array.of(0, 0, 0, 0, test.schemaId, 2, 97, 18, 0, 0, 0), {
    timestamp: "2026-05-01T12:03:00Z",
  });
  await test.pipeBytes(Uint8Array.of(0, 0, 0, 0, 77));
  await test.pipe(sale("Oslo", "", { at: "2027-01-01T00:00:00Z" }), { timestamp: "2026-05-01T12:03:00Z" });
  await test.pipeBytes(null);
  assert.deepEqual(test.ledger(), { ...BUCKETS, consumed: 8, aggregated: 2, filtered: 1, late: 1, dead: 4 });
  const [late] = test.late();
  assert.deepEqual([late.record, late.partition, late.offset, late.window], [
    tardy,
    0,
    2,
    "2026-05-01T12:00:00.000Z",
  ]);
  assert.match(late.reason, /window \[2026-05-01T12:00:00.000Z, 2026-05-01T12:01:00.000Z\) had closed/);
  assert.deepEqual(new TextDecoder().decode(late.kept.key!), "Oslo");
  assert.deepEqual(late.kept.headers, [["trace", new TextEncoder().encode("t1")], ["none", null]]);
  const dead = test.dead();
  assert.deepEqual(dead.map(({ offset }) => offset), [3, 4, 5, 6]);
  assert.deepEqual(dead[0].record, Uint8Array.of(1, 2, 3));
  for (
    const [i, reason] of [/schema id/, /shop\.city/, /77 is not in the registry/, /more than a day after/].entries()
  ) {
    assert.match(dead[i].reason, reason);
  }
  assert.deepEqual(test.results().map(({ n }) => n), [1], "none of them counts");
});

Deno.test("records written with an older or newer schema are read as the definition's", async () => {
  await using test = await testPipeline(sales());
  const [id, shop, , , at] = SALE.fields;
  const schema = { ...SALE, fields: [at, { name: "till", type: "int" }, shop, id] };
  await test.pipe(sale("Oslo", "12:00:10", { till: 7 }), { schema });
  await test.pipe(sale("Oslo", "12:00:20", { pieces: 3 }));
  assert.deepEqual(test.panes().map(({ n, mean }) => [n, mean]), [[2, 2]]);
  await test.pipe({ at: "2026-05-01T12:00:30Z" }, { schema: { ...SALE, fields: [at] } });
  assert.match(test.dead()[0].reason, /the writer's schema has no shop/);
});

Deno.test("a key chooses the partition as Kafka's producers do; one that is not there is a fault", async () => {
  await using test = await testPipeline(sales(), { partitions: 3 });
  for (const key of ["a", "b", "c", "d", "e"]) await test.pipe(sale("Oslo", "12:00:10"), { key });
  assert.deepEqual([0, 1, 2].map((partition) => test.ledger(partition).consumed), [0, 2, 3]);
  await assert.rejects(test.pipe(sale("Oslo", "12:00:10"), { partition: 3 }), /no partition 3: the topic has 3/);
});

Deno.test("a restart anywhere changes nothing: not results, letters, duplicates, nor what is still open", async () => {
  const steps: ((test: TestPipeline) => Promise<void>)[] = [
    (test) => test.pipe([sale("Oslo", "12:00:10", { id: "x" }), sale("Rome", "12:00:40", { id: "y" })]),
    (test) => test.advanceWallTime("1s"),
    (test) => test.pipe([sale("Oslo", "12:00:50", { id: "x" }), sale("Oslo", "12:01:30", { id: "z", price: 5 })]),
    (test) => test.pipe(sale("Oslo", "12:00:20", { id: "w" })),
    (test) => test.advanceEventTime("1 minute"),
    (test) => test.pipe(sale("Oslo", "12:01:40", { id: "v" }), { partition: 1 }),
    (test) => test.pipeBytes(Uint8Array.of(9)),
    (test) => test.pipe([sale("Oslo", "12:03:50", { id: "z" }), sale("Oslo", "12:03:20", { id: "z" })]),
    (test) => test.closeWindows(),
  ];
  const play = async (restartBefore: number) => {
    await using test = await testPipeline(
      sales({ dedupe: { by: "id", within: "2 minutes" }, emit: { every: "1s" } }),
      { partitions: 2 },
    );
    for (const [i, step] of steps.entries()) {
      if (i === restartBefore) await test.restart();
      await step(test);
    }
    const letters = [...test.late(), ...test.dead()].map((
      { partition, offset, reason },
    ) => [partition, offset, reason]);
    return { results: test.results(), letters, ledger: [test.ledger(0), test.ledger(1)], panes: test.panes() };
  };
  const undisturbed = await play(-1);
  assert.deepEqual(undisturbed.ledger[0], { ...BUCKETS, consumed: 8, aggregated: 4, late: 1, dead: 1, duplicate: 2 });
  for (let i = 0; i < steps.length; i++) assert.deepEqual(await play(i), undisturbed, `restarted before step ${i}`);
});

Deno.test("a late record that comes back opens its window again, once however often; a dead one can be mended", async () => {
  await using test = await testPipeline(sales(), { partitions: 2 });
  await test.pipe([sale("Oslo", "12:00:10"), sale("Oslo", "12:02:00")], { partition: 0 });
  await test.pipe([sale("Oslo", "12:00:20"), sale("Oslo", "12:02:00")], { partition: 1 });
  await test.pipe(sale("Oslo", "12:00:30"), { partition: 1, headers: { trace: "t1" } });
  await test.pipeBytes(Uint8Array.of(1, 2, 3));
  const [late] = test.late();
  const [dead] = test.dead();
  await test.redrive(late);
  const reopened = () => test.results().map(({ n, revision, final }) => [n, revision, final]);
  assert.deepEqual(reopened(), [[3, 3, true]]);
  await test.restart();
  await test.redrive(late);
  await test.redrive(dead, sale("Rome", "12:02:10"));
  await assert.rejects(test.redrive(dead, { id: "x" }), /record 0, at: is missing/);
  await test.closeWindows();
  assert.deepEqual(reopened(), [[3, 3, true], [2, 2, true], [1, 1, true]]);
  assert.deepEqual(test.ledger(0), { ...BUCKETS, consumed: 4, aggregated: 3, dead: 1 });
  assert.deepEqual(test.ledger(1), { ...BUCKETS, consumed: 5, aggregated: 3, late: 1, duplicate: 1 });
});

Deno.test("what the pipeline stops with is thrown by the step, and only once", async () => {
  const test = await testPipeline(sales({ deadLetters: { stopAt: { dead: 2, of: 2 } } }));
  await test.pipeBytes(Uint8Array.of(1));
  await assert.rejects(test.pipeBytes(Uint8Array.of(2)), /2 of the last 2 records of sales could not be read/);
  await assert.rejects(test.pipe(sale("Oslo", "12:00:00")), /2 of the last 2 records/);
  await test.close();
  await assert.rejects(test.pipe(sale("Oslo", "12:00:00")), /is closed/);
});

Deno.test("ten thousand records over a thousand windows take one step", async () => {
  await using test = await testPipeline(sales({ groupBy: [] }));
  const records = Array.from(
    { length: 10_000 },
    (_, i) => sale("Oslo", "", { at: new Date(Date.UTC(2026, 0, 1) + 6_000 * i) }),
  );
  await test.pipe(records);
  assert.equal(test.ledger().aggregated, 10_000);
  await test.closeWindows();
  assert.deepEqual([...new Set(test.results().map(({ n }) => n))], [10]);
  assert.equal(test.results().length, 1_000);
});
