import assert from "node:assert/strict";
import { systemClock } from "../../pipeline/clock.ts";
import { avroType } from "../../pipeline/codec/avro_values.ts";
import { BATCH_BYTES_MAX, BUFFERED_BYTES_MAX, consume } from "../../pipeline/deliveries/consumer.ts";
import type { DeliveryOptions } from "../../pipeline/deliveries/definition.ts";
import { planDelivery } from "../../pipeline/deliveries/plan.ts";
import { ConfigError, UnavailableError } from "../../pipeline/errors.ts";
import { delivery, jsonFiles, topic } from "../../pipeline/mod.ts";
import { type ConnectorCounts, NO_COUNTS } from "../../pipeline/runtime/connector_status.ts";
import { RateLimit } from "../../pipeline/runtime/rate_limit.ts";
import { NO_POSITION, RejectedRowsError, type ResultRows, type Sink } from "../../pipeline/sinks/sink.ts";
import { eventually, item, PRODUCT, SCHEMA_ID, TOPIC, world } from "./world.ts";

/** Keeps the ids of what it is given, unless `fate` throws. */
class Collecting implements Sink {
  readonly name = "collecting";
  readonly resume = NO_POSITION.resume;
  readonly position = NO_POSITION.position;
  readonly ids = new Set<number>();
  fate: (rows: ResultRows) => void | Promise<void> = () => {};

  async write(rows: ResultRows): Promise<void> {
    await this.fate(rows);
    for (const id of rows.values[0]) this.ids.add(id as number);
  }

  [Symbol.asyncDispose](): Promise<void> {
    return Promise.resolve();
  }
}

async function consumer(at: Awaited<ReturnType<typeof world>>, sink: Sink, limit: number | null = null) {
  const plan = await planDelivery(
    delivery({
      name: "collected",
      from: topic(TOPIC, { schema: PRODUCT, eventTime: "at" }),
      to: [jsonFiles("unused")],
      batchRows: 10,
      batchEvery: "20ms",
    } as unknown as DeliveryOptions),
    new Map(),
  );
  await at.admin.ensureTopics([{ topic: `${TOPIC}.dead`, partitions: 1 }]);
  const stop = new AbortController();
  const seen = { counts: NO_COUNTS as ConnectorCounts, waiting: new Map<string, string>(), read: 0 };
  const clusters = [at.newCluster("a"), at.newCluster("b")];
  const running = consume({
    plan,
    clock: systemClock,
    cluster: clusters[0],
    memberCluster: clusters[1],
    group: "tailrace.collected",
    registry: at.registry,
    log: at.log,
    publisher: at.publisher,
    sinks: [sink],
    limit: new RateLimit(systemClock, limit),
    until: null,
    say: () => {},
    onWaiting: (part, reason) => void (reason === null ? seen.waiting.delete(part) : seen.waiting.set(part, reason)),
    onCommitted: (_, __, { counts }) => void (seen.counts = counts),
    onAssigned: () => {},
    onRead: (_, { records }) => void (seen.read += records),
  }, stop.signal);
  running.catch(() => {});
  return {
    seen,
    running,
    stop: () => stop.abort(),
    async [Symbol.asyncDispose]() {
      stop.abort();
      await running.catch(() => {});
      for (const cluster of clusters) await cluster.close();
    },
  };
}

const ids = (count: number) => Array.from({ length: count }, (_, i) => i);

Deno.test("rows that a destination refuses for good are dead letters with the record's own bytes, and the others are there", async () => {
  await using at = await world(1);
  await at.write(ids(30).map(item));
  const sink = new Collecting();
  sink.fate = (rows) => {
    const refused = rows.values[0].flatMap((id, row) => (id as number) % 10 === 3 ? [{ row, reason: `no ${id}` }] : []);
    for (const id of rows.values[0]) if ((id as number) % 10 !== 3) sink.ids.add(id as number);
    if (refused.length > 0) throw new RejectedRowsError(refused);
  };
  await using run = await consumer(at, sink);
  await eventually(() => run.seen.counts.read === 30, () => run.seen);
  assert.deepEqual(run.seen.counts, { read: 30, written: 27, rejected: 3, skipped: 0 });
  assert.equal(sink.ids.size, 27);
  const letters: [value: Uint8Array | null, reason: string][] = [];
  await at.log.read(`${TOPIC}.dead`, await at.log.offsets(`${TOPIC}.dead`, "earliest"), {
    signal: AbortSignal.timeout(120_000),
    take: ({ value, headers }) => {
      const texts = headers.map(([, bytes]) => new TextDecoder().decode(bytes!));
      letters.push([value, texts.find((text) => text.includes("no ")) ?? ""]);
    },
  });
  assert.deepEqual(letters, [3, 13, 23].map((id) => [item(id).value, `collecting: no ${id}`]));
});

Deno.test("while a destination is away the delivery waits and says so, holding two batches; then nothing is missing", async () => {
  await using at = await world(1);
  await at.write(ids(200).map(item));
  const sink = new Collecting();
  let isAway = true;
  sink.fate = () => {
    if (isAway) throw new UnavailableError("the other side is away");
  };
  await using run = await consumer(at, sink);
  await eventually(() => run.seen.waiting.get("writing to collecting") === "the other side is away", () => run.seen);
  await new Promise((resolve) => setTimeout(resolve, 300));
  assert.equal(run.seen.counts.read, 0);
  assert.ok(run.seen.read <= 30, `${run.seen.read} records are held`);
  isAway = false;
  await eventually(() => sink.ids.size === 200, () => run.seen);
  await eventually(() => run.seen.counts.written === 200, () => run.seen);
  assert.equal(run.seen.waiting.size, 0);
});

Deno.test("a destination that was away and then refuses rows is not said to be away any more", async () => {
  await using at = await world(1);
  await at.write(ids(10).map(item));
  const sink = new Collecting();
  let writes = 0;
  sink.fate = () => {
    if (writes++ === 0) throw new UnavailableError("the other side is away");
    throw new RejectedRowsError([{ row: 3, reason: "no" }]);
  };
  await using run = await consumer(at, sink);
  await eventually(() => run.seen.counts.read === 10, () => run.seen);
  assert.equal(run.seen.counts.rejected, 1);
  assert.deepEqual([...run.seen.waiting], []);
});

Deno.test("told to stop while its destination is away, it gives up what waits for it within seconds", async () => {
  await using at = await world(1);
  await at.write(ids(200).map(item));
  const sink = new Collecting();
  sink.fate = () => {
    throw new UnavailableError("the other side is away");
  };
  await using run = await consumer(at, sink);
  // One batch is being written, one more waits for it, and so does reading.
  await eventually(() => run.seen.read >= 10 && run.seen.waiting.size > 0, () => run.seen);
  await new Promise((resolve) => setTimeout(resolve, 200));
  const began = performance.now();
  run.stop();
  const late = Promise.withResolvers<string>();
  // It takes some 5 s, on a machine that does not stall.
  const timer = setTimeout(() => late.resolve("late"), 30_000);
  const ended = await Promise.race([run.running.then(() => "ended"), late.promise]);
  clearTimeout(timer);
  assert.equal(ended, "ended", `after ${Math.round(performance.now() - began)} ms`);
  assert.deepEqual(run.seen.counts, NO_COUNTS);
});

Deno.test("what a person has to mend ends the consumer with the destination's own words, and nothing is committed", async () => {
  await using at = await world(1);
  await at.write(ids(5).map(item));
  const sink = new Collecting();
  sink.fate = () => {
    throw new ConfigError({ where: "table", problem: "has no column id" });
  };
  await using run = await consumer(at, sink);
  await assert.rejects(run.running, /has no column id/);
  assert.deepEqual(run.seen.counts, NO_COUNTS);
});

Deno.test("what was written first, and cut off before it was committed, is counted by whoever goes on", async () => {
  await using at = await world(1);
  await at.write(ids(30).map(item));
  // As files do: what is there is known, and left out of a repeat.
  class Remembering extends Collecting {
    delivered(): Promise<number | null> {
      return Promise.resolve(this.ids.size === 0 ? null : Math.max(...this.ids) + 1);
    }
  }
  const sink = new Remembering();
  sink.fate = (rows) => {
    for (const id of rows.values[0]) sink.ids.add(id as number);
    throw new ConfigError({ where: "test", problem: "the process ends here" });
  };
  {
    await using cut = await consumer(at, sink);
    await assert.rejects(cut.running, /ends here/);
  }
  assert.equal(sink.ids.size, 10);
  sink.fate = () => {};
  await using next = await consumer(at, sink);
  await eventually(() => sink.ids.size === 30, () => next.seen);
  await eventually(() => next.seen.counts.written === 30, () => next.seen);
  assert.deepEqual(next.seen.counts, { read: 30, written: 30, rejected: 0, skipped: 0 });
});

Deno.test("a limit holds the reading back", async () => {
  await using at = await world(1);
  await at.write(ids(200).map(item));
  const sink = new Collecting();
  const began = performance.now();
  await using run = await consumer(at, sink, 100);
  await eventually(() => sink.ids.size >= 60, () => run.seen);
  assert.ok(performance.now() - began > 400, "60 records, ten at a time, take half a second");
});

Deno.test("records of 4 MiB go out two at a time, and to a destination that is slow reading waits: what is held is bounded by bytes", async () => {
  await using at = await world(4);
  const BYTES = 4 * 1024 * 1024 - 1_000;
  const COUNT = 32;
  const values = avroType(PRODUCT);
  const large = (id: number) => ({
    ...item(id),
    value: values.encodeFramed(SCHEMA_ID, { id, name: "x".repeat(BYTES), price: "1.00", tags: [], at: 0 }),
  });
  for (let id = 0; id < COUNT; id += 4) await at.write(ids(4).map((i) => large(id + i)));
  const sink = new Collecting();
  const most = { rows: 0, held: 0 };
  sink.fate = async (rows) => {
    most.rows = Math.max(most.rows, rows.length);
    await new Promise((resolve) => setTimeout(resolve, 50));
    most.held = Math.max(most.held, run.seen.read - sink.ids.size);
  };
  await using run = await consumer(at, sink);
  await eventually(() => run.seen.counts.written > 0 && sink.ids.size === COUNT, () => run.seen);
  assert.ok(most.rows <= Math.ceil(BATCH_BYTES_MAX / BYTES), `${most.rows} in a batch`);
  // What batches hold, the one being written and the one that waits for it.
  const allowed = BUFFERED_BYTES_MAX + 2 * BATCH_BYTES_MAX;
  assert.ok(most.held * BYTES <= allowed, `${most.held} of ${COUNT} records were held at once`);
});
