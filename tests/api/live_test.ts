import assert from "node:assert/strict";
import { createLiveHub, type LiveHub, type LiveHubOptions } from "../../api/live.ts";
import { accountRows } from "./fake_deps.ts";
import { VirtualClock } from "../../pipeline/testing/virtual_clock.ts";

const MINUTE = 60_000;
const START = Date.parse("2026-11-20T21:00:00Z");

interface SseEvent {
  id?: string;
  event?: string;
  comment?: string;
  data?: { pipeline: string; rows: Record<string, unknown>[]; reason?: string };
}

/** Reads a stream event by event. */
class Reader {
  readonly #reader: ReadableStreamDefaultReader<Uint8Array>;
  readonly #decoder = new TextDecoder();
  #text = "";

  constructor(stream: ReadableStream<Uint8Array> | null) {
    assert.ok(stream !== null, "the hub refused the client");
    this.#reader = stream.getReader();
  }

  /** The next block, comments and greetings included. */
  async block(): Promise<SseEvent> {
    while (!this.#text.includes("\n\n")) {
      const { done, value } = await this.#reader.read();
      if (done) throw new Error("the stream ended");
      this.#text += this.#decoder.decode(value, { stream: true });
    }
    const end = this.#text.indexOf("\n\n");
    const block: SseEvent = {};
    for (const line of this.#text.slice(0, end).split("\n")) {
      const colon = line.indexOf(":");
      const [name, value] = [line.slice(0, colon), line.slice(colon + 2)];
      if (name === "") block.comment = value;
      else if (name === "data") block.data = JSON.parse(value);
      else if (name === "id" || name === "event") block[name] = value;
    }
    this.#text = this.#text.slice(end + 2);
    return block;
  }

  /** The next event with rows. */
  async rows(): Promise<SseEvent> {
    for (;;) {
      const block = await this.block();
      if (block.data?.rows) return block;
    }
  }

  cancel(): Promise<void> {
    return this.#reader.cancel();
  }
}

function hub(options: LiveHubOptions = {}): LiveHub {
  return createLiveHub({ runId: "run1", ...options }, new VirtualClock());
}

Deno.test("every client gets each batch once, with ids that grow, cut into events of a bounded size", async () => {
  const live = hub({ eventRowsMax: 4 });
  const readers = [new Reader(live.connect()), new Reader(live.connect())];
  live.publish("a", accountRows(START, 10));
  live.publish("b", accountRows(START + MINUTE, 1));
  for (const reader of readers) {
    const events = [await reader.rows(), await reader.rows(), await reader.rows(), await reader.rows()];
    assert.deepEqual(events.map((event) => event.id), ["run1-1", "run1-2", "run1-3", "run1-4"]);
    assert.deepEqual(events.map((event) => event.data!.rows.length), [4, 4, 2, 1]);
    assert.deepEqual(events.map((event) => event.data!.pipeline), ["a", "a", "a", "b"]);
    assert.deepEqual(events[1].data!.rows[0], {
      account_id: "A-0004",
      window_start: "2026-11-20T21:00:00.000Z",
      window_end: "2026-11-20T21:01:00.000Z",
      n: 4,
      total: "80.50",
      largest: "24.00",
      revision: 4,
      final: true,
    });
  }
  live.close();
});

Deno.test("a client of one pipeline gets that pipeline's rows only", async () => {
  const live = hub();
  const reader = new Reader(live.connect({ pipeline: "b" }));
  live.publish("a", accountRows(START, 3));
  live.publish("b", accountRows(START, 2));
  const event = await reader.rows();
  assert.equal(event.data!.pipeline, "b");
  assert.equal(event.id, "run1-2");
  live.close();
});

Deno.test("a client that comes back with its last id goes on exactly there", async () => {
  const live = hub();
  const reader = new Reader(live.connect());
  for (let i = 0; i < 3; i++) live.publish("a", accountRows(START + i * MINUTE, 1));
  const { id } = await reader.rows();
  await reader.cancel();
  live.publish("a", accountRows(START + 3 * MINUTE, 1));
  const again = new Reader(live.connect({ lastEventId: id }));
  const starts = [await again.rows(), await again.rows(), await again.rows()].map((event) =>
    event.data!.rows[0].window_start
  );
  assert.deepEqual(starts, ["2026-11-20T21:01:00.000Z", "2026-11-20T21:02:00.000Z", "2026-11-20T21:03:00.000Z"]);
  live.close();
});

Deno.test("a client that saw no event yet can come back too: the greeting carries an id", async () => {
  const live = hub();
  live.publish("a", accountRows(START, 1));
  const reader = new Reader(live.connect());
  const { id } = await reader.block();
  assert.equal(id, "run1-1");
  await reader.cancel();
  live.publish("a", accountRows(START + MINUTE, 1));
  assert.equal((await new Reader(live.connect({ lastEventId: id })).rows()).id, "run1-2");
  live.close();
});

Deno.test("what cannot be resumed starts with a reset that says why, and goes on with what comes next", async () => {
  const live = hub({ ringRowsMax: 4 });
  for (let i = 0; i < 5; i++) live.publish("a", accountRows(START + i * MINUTE, 2));
  const cases: [string, RegExp][] = [
    ["run1-1", /no longer held/],
    ["run0-5", /restarted/],
    ["run1-999", /not one of ours/],
    ["nonsense", /not one of ours/],
    ["run1-5x", /not one of ours/],
  ];
  for (const [lastEventId, reason] of cases) {
    const reader = new Reader(live.connect({ lastEventId }));
    const reset = await reader.block();
    assert.equal(reset.event, "reset", lastEventId);
    assert.match(reset.data!.reason!, reason);
    assert.equal(reset.id, "run1-5");
    await reader.cancel();
  }
  const reader = new Reader(live.connect({ lastEventId: "run1-1" }));
  await reader.block();
  live.publish("a", accountRows(START + 9 * MINUTE, 1));
  assert.equal((await reader.rows()).id, "run1-6");
  live.close();
});

Deno.test("a quiet pipeline's client resumes without a reset although other pipelines filled the ring meanwhile", async () => {
  const live = hub({ ringRowsMax: 4 });
  live.publish("quiet", accountRows(START, 1));
  const reader = new Reader(live.connect({ pipeline: "quiet", lastEventId: "run1-0" }));
  const { id } = await reader.rows();
  await reader.cancel();
  for (let i = 0; i < 20; i++) live.publish("busy", accountRows(START, 2));
  const again = new Reader(live.connect({ pipeline: "quiet", lastEventId: id }));
  assert.equal((await again.block()).event, undefined);
  for (let i = 0; i < 20; i++) live.publish("busy", accountRows(START, 2));
  live.publish("quiet", accountRows(START + MINUTE, 1));
  assert.equal((await again.rows()).data!.rows[0].window_start, "2026-11-20T21:01:00.000Z");
  assert.equal(live.stats().dropped, 0);
  live.close();
});

Deno.test("a client that does not read is dropped when its next event leaves the ring; others go on; memory stays bounded", async () => {
  const live = hub({ ringRowsMax: 1000, eventRowsMax: 100 });
  const slow = live.connect()!;
  const reader = new Reader(live.connect());
  let read = 0;
  for (let i = 0; i < 100; i++) {
    live.publish("a", accountRows(START + i * MINUTE, 100));
    assert.equal((await reader.rows()).id, `run1-${++read}`);
    const { ringRows, ringBytes } = live.stats();
    assert.ok(ringRows <= 1000, `${ringRows} rows`);
    assert.ok(ringBytes <= 1000 * 250, `${ringBytes} bytes`);
  }
  assert.deepEqual({ clients: live.stats().clients, dropped: live.stats().dropped }, { clients: 1, dropped: 1 });
  const dropped = new Reader(slow);
  await dropped.block();
  await assert.rejects(dropped.block(), /the stream ended/);
  live.close();
});

Deno.test("a burst of several batches reaches a client that reads, all of it", async () => {
  const live = hub({ eventRowsMax: 500, ringRowsMax: 20_000 });
  const reader = new Reader(live.connect());
  for (let p = 0; p < 4; p++) live.publish(`p${p}`, accountRows(START, 5000));
  let rows = 0;
  while (rows < 20_000) rows += (await reader.rows()).data!.rows.length;
  assert.equal(live.stats().dropped, 0);
  live.close();
});

Deno.test("one batch larger than the ring is kept whole, so that its readers get all of it", async () => {
  const live = hub({ ringRowsMax: 100, eventRowsMax: 50 });
  const reader = new Reader(live.connect());
  live.publish("a", accountRows(START, 1000));
  assert.equal(live.stats().ringRows, 1000);
  let rows = 0;
  while (rows < 1000) rows += (await reader.rows()).data!.rows.length;
  live.publish("a", accountRows(START, 100));
  assert.equal(live.stats().ringRows, 100);
  live.close();
});

Deno.test("the ring is bounded by serialised bytes as well as by rows", async () => {
  const live = hub({ ringBytesMax: 50_000, eventRowsMax: 10 });
  const reader = new Reader(live.connect());
  for (let i = 0; i < 200; i++) {
    live.publish("a", accountRows(START + i * MINUTE, 10));
    await reader.rows();
  }
  assert.ok(live.stats().ringBytes <= 50_000, `${live.stats().ringBytes} bytes`);
  assert.ok(live.stats().ringRows < 2000);
  live.close();
});

Deno.test("heartbeats come on the clock while a client is connected, and stop with the last one", async () => {
  const clock = new VirtualClock();
  const live = createLiveHub({ heartbeatMs: 15_000 }, clock);
  assert.equal(clock.sleeping, 0);
  const reader = new Reader(live.connect());
  await reader.block();
  for (let i = 0; i < 3; i++) {
    const next = reader.block();
    await clock.pass(15_000);
    assert.equal((await next).comment, "heartbeat");
  }
  await reader.cancel();
  await clock.pass(0);
  assert.equal(clock.sleeping, 0);
  assert.equal(live.stats().clients, 0);
  const second = new Reader(live.connect());
  await second.block();
  const next = second.block();
  await clock.pass(15_000);
  assert.equal((await next).comment, "heartbeat");
  live.close();
});

Deno.test("a client that takes nothing for several heartbeats is dropped even when nothing is published", async () => {
  const clock = new VirtualClock();
  const live = createLiveHub({ heartbeatMs: 1000, stalledBeatsMax: 3 }, clock);
  const stalled = live.connect();
  live.publish("a", accountRows(START, 10));
  await clock.pass(2000);
  assert.equal(live.stats().clients, 1);
  await clock.pass(1000);
  assert.deepEqual({ clients: live.stats().clients, dropped: live.stats().dropped }, { clients: 0, dropped: 1 });
  const dropped = new Reader(stalled);
  await dropped.block();
  await assert.rejects(dropped.block(), /the stream ended/);
});

Deno.test("one client more than the limit is refused until another leaves", async () => {
  const live = hub({ clientsMax: 2 });
  const first = new Reader(live.connect());
  live.connect();
  assert.equal(live.connect(), null);
  await first.cancel();
  assert.notEqual(live.connect(), null);
  live.close();
});

Deno.test("closing ends every stream and refuses new ones", async () => {
  const live = hub();
  const reader = new Reader(live.connect());
  await reader.block();
  live.close();
  await assert.rejects(reader.block(), /the stream ended/);
  assert.equal(live.connect(), null);
  live.publish("a", accountRows(START, 1));
  assert.equal(live.stats().ringRows, 0);
});

Deno.test("publishing without clients touches no row", () => {
  const live = hub();
  const { columns, length } = accountRows(START, 50_000);
  const values = new Proxy([], {
    get() {
      throw new Error("a row was read although nobody listens");
    },
  });
  for (let i = 0; i < 100; i++) live.publish("a", { columns, length, values });
  assert.ok(live.stats().ringRows <= 100_000);
});
