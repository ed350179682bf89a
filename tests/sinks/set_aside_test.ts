import assert from "node:assert/strict";
import { ConflictError, UnavailableError } from "../../pipeline/errors.ts";
import type { OutgoingRecord } from "../../pipeline/log/publisher.ts";
import { createSetAsideSink, setAsideTopics } from "../../pipeline/sinks/set_aside.ts";
import type { SetAsideRecord, SetAsideSink, SinkPosition } from "../../pipeline/sinks/sink.ts";
import { MemoryLog } from "./memory_log.ts";

const bytes = (text: string) => new TextEncoder().encode(text);
const signal = new AbortController().signal;

const RECORD: SetAsideRecord = {
  topic: "transactions",
  partition: 2,
  offset: 4711,
  timestampMs: 1_767_225_600_000,
  key: bytes("a"),
  value: new Uint8Array([0, 0, 0, 0, 9, 255, 254]),
  headers: [["trace", bytes("1")], ["empty", null], ["trace", bytes("2")], ["", new Uint8Array([0, 255])]],
  why: "dead",
  reason: "string length 900 runs past the value's end",
  schemaId: 9,
  windowStartMs: null,
};

/** A sink as a process has it that starts from a checkpoint. */
async function open(log: MemoryLog, position: SinkPosition = null, pipeline = "account_minute"): Promise<SetAsideSink> {
  const publisher = log.publisher(`tailrace.${pipeline}`);
  const sink = createSetAsideSink({ publisher, log, pipeline, topic: "transactions" });
  await sink.resume(position === null ? null : JSON.parse(JSON.stringify(position)), { signal });
  return sink;
}

/** The source's partition and offset of each record in a topic. */
function sources(log: MemoryLog, topic: string): string[] {
  return log.topic(topic).flat().map(({ headers }) => {
    const text = new Map(headers.map(([name, value]) => [name, value && new TextDecoder().decode(value)]));
    return `${text.get("__connect.errors.partition")}/${text.get("__connect.errors.offset")}`;
  });
}

function added(record: OutgoingRecord, from: number): Record<string, string> {
  return Object.fromEntries(
    record.headers.slice(from).map(([name, value]) => [name, new TextDecoder().decode(value!)]),
  );
}

Deno.test("a dead letter keeps its bytes, headers, order and time, and says where it came from and why", async () => {
  const log = new MemoryLog();
  await (await open(log)).write([RECORD], { epoch: 1, signal });
  const [record] = log.topic("transactions.dead")[2];
  assert.deepEqual(record.key, RECORD.key);
  assert.deepEqual(record.value, RECORD.value);
  assert.equal(record.timestampMs, RECORD.timestampMs);
  assert.deepEqual(record.headers.slice(0, 4), RECORD.headers);
  assert.deepEqual(added(record, 4), {
    "__connect.errors.topic": "transactions",
    "__connect.errors.partition": "2",
    "__connect.errors.offset": "4711",
    "__connect.errors.connector.name": "account_minute",
    "__connect.errors.task.id": "0",
    "__connect.errors.stage": "VALUE_CONVERTER",
    "__connect.errors.class.name": "tailrace.Decoder",
    "__connect.errors.exception.class.name": "MalformedRecordError",
    "__connect.errors.exception.message": "string length 900 runs past the value's end",
    "tailrace.schema.id": "9",
  });
});

Deno.test("a late record goes to its own topic with the window's reason", async () => {
  const log = new MemoryLog();
  const late: SetAsideRecord = {
    ...RECORD,
    key: null,
    value: null,
    headers: [],
    why: "late",
    reason: "window [10, 20) closed at watermark 25",
    schemaId: null,
    windowStartMs: null,
  };
  await (await open(log, null, "p")).write([late, RECORD], { epoch: 1, signal });
  const [record] = log.topic(setAsideTopics("transactions").late)[2];
  assert.equal(record.key, null);
  assert.equal(record.value, null);
  assert.deepEqual(added(record, 0), {
    "__connect.errors.topic": "transactions",
    "__connect.errors.partition": "2",
    "__connect.errors.offset": "4711",
    "__connect.errors.connector.name": "p",
    "__connect.errors.task.id": "0",
    "tailrace.late.reason": "window [10, 20) closed at watermark 25",
  });
  assert.equal(log.topic("transactions.dead").flat().length, 1);
});

Deno.test("a record that has an event time says which window it would count in", async () => {
  const log = new MemoryLog();
  const windows = [Date.UTC(2026, 4, 1, 12, 30), -60_000, 9e15, null];
  const records = windows.map((windowStartMs, offset): SetAsideRecord => ({ ...RECORD, offset, windowStartMs }));
  await (await open(log)).write(records, { epoch: 1, signal });
  assert.deepEqual(log.topic("transactions.dead")[2].map((record) => added(record, 4)["tailrace.window.start"]), [
    "2026-05-01T12:30:00.000Z",
    "1969-12-31T23:59:00.000Z",
    undefined,
    undefined,
  ]);
});

Deno.test("headers of an earlier attempt are the record's own, and stay", async () => {
  const log = new MemoryLog();
  const headers = [
    ["tailrace.redrive.offset", bytes("17")],
    ["tailrace.redrive.attempt", bytes("2")],
    ["__connect.errors.offset", bytes("17")],
  ] as const;
  const sink = await open(log);
  const position = sink.position();
  await sink.write([{ ...RECORD, headers }], { epoch: 1, signal });
  const [record] = log.topic("transactions.dead")[2];
  assert.deepEqual(record.headers.slice(0, 3), headers);
  // Its newest coordinates tell it apart, not those of the first time.
  await (await open(log, position)).write([{ ...RECORD, headers }, { ...RECORD, offset: 17 }], { epoch: 1, signal });
  assert.deepEqual(sources(log, "transactions.dead"), ["2/4711", "2/17"]);
});

Deno.test("records of a partition stay in order, also in a topic of fewer partitions", async () => {
  const log = new MemoryLog({ partitions: 2 });
  const records = Array.from({ length: 30 }, (_, offset): SetAsideRecord => ({
    ...RECORD,
    partition: offset % 5,
    offset,
  }));
  await (await open(log)).write(records, { epoch: 1, signal });
  const offsets = log.topic("transactions.dead").map((partition) =>
    partition.map((record) => Number(added(record, 4)["__connect.errors.offset"]))
  );
  for (let from = 0; from < 5; from++) {
    const mine = offsets[from % 2].filter((offset) => offset % 5 === from);
    assert.deepEqual(mine, [0, 1, 2, 3, 4, 5].map((n) => 5 * n + from));
  }
});

Deno.test("a write to both topics is one transaction", async () => {
  const log = new MemoryLog();
  await (await open(log)).write([RECORD, { ...RECORD, why: "late" }], { epoch: 1, signal });
  assert.equal(log.commits, 1);
});

Deno.test("after a crash at any request, however often, each record is there once", async () => {
  const record = (offset: number, why: SetAsideRecord["why"]): SetAsideRecord => ({ ...RECORD, offset, why });
  const writes = [[record(1, "dead"), record(2, "late")], [record(3, "late")], [record(4, "dead"), record(5, "dead")]];
  for (const fate of ["refuse", "lose"] as const) {
    for (let every = 20; every < 60; every++) {
      const log = new MemoryLog();
      let requests = 0;
      log.fate = () => ++requests % every === 0 ? fate : "pass";
      let saved: { next: number; position: SinkPosition } | null = null;
      for (let starts = 0, done = false; !done; starts++) {
        assert.ok(starts < 100, `no end with a crash at each ${every}th request`);
        try {
          const sink = await open(log, saved?.position);
          saved ??= { next: 0, position: sink.position() };
          for (let next: number = saved.next; next < writes.length; next++) {
            await sink.write(writes[next], { epoch: 1, signal });
            if (next === 1) saved = { next: 2, position: sink.position() };
          }
          done = true;
        } catch (error) {
          assert.ok(error instanceof UnavailableError, String(error));
        }
      }
      assert.deepEqual(sources(log, "transactions.dead"), ["2/1", "2/4", "2/5"], `${fate} each ${every}th`);
      assert.deepEqual(sources(log, "transactions.late"), ["2/2", "2/3"], `${fate} each ${every}th`);
    }
  }
});

Deno.test("two pipelines over a topic each set a record aside", async () => {
  const log = new MemoryLog();
  const sinks = [await open(log, null, "one"), await open(log, null, "two")];
  const positions = sinks.map((sink) => sink.position());
  for (const sink of sinks) await sink.write([RECORD], { epoch: 1, signal });
  const again = [await open(log, positions[0], "one"), await open(log, positions[1], "two")];
  for (const sink of again) await sink.write([RECORD], { epoch: 1, signal });
  assert.deepEqual(sources(log, "transactions.dead"), ["2/4711", "2/4711"]);
});

Deno.test("of an older owner nothing is set aside any more", async () => {
  const log = new MemoryLog();
  const older = await open(log);
  const newer = await open(log, older.position());
  await assert.rejects(older.write([RECORD], { epoch: 1, signal }), ConflictError);
  assert.deepEqual(sources(log, "transactions.dead"), []);
  await newer.write([RECORD], { epoch: 1, signal });
  assert.deepEqual(sources(log, "transactions.dead"), ["2/4711"]);
});

Deno.test("an outage is the caller's to wait out, and an abort ends the write", async () => {
  const log = new MemoryLog();
  const sink = await open(log);
  log.fate = () => "refuse";
  await assert.rejects(sink.write([RECORD], { epoch: 1, signal }), UnavailableError);
  const reason = new Error("stopping");
  await assert.rejects(sink.write([RECORD], { epoch: 1, signal: AbortSignal.abort(reason) }), reason);
});
