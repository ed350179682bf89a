import assert from "node:assert/strict";
import { UnavailableError } from "../../pipeline/errors.ts";
import type { OutgoingRecord } from "../../pipeline/log/publisher.ts";
import { createSetAsideSink, setAsideTopics } from "../../pipeline/sinks/set_aside.ts";
import type { SetAsideRecord } from "../../pipeline/sinks/sink.ts";
import { MemoryPublisher } from "./memory_publisher.ts";

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

function added(record: OutgoingRecord, from: number): Record<string, string> {
  return Object.fromEntries(
    record.headers.slice(from).map(([name, value]) => [name, new TextDecoder().decode(value!)]),
  );
}

Deno.test("a dead letter keeps its bytes, headers, order and time, and says where it came from and why", async () => {
  const publisher = new MemoryPublisher(4);
  await createSetAsideSink({ publisher, pipeline: "account_minute" }).write([RECORD], { epoch: 1, signal });
  const [record] = publisher.topic("transactions.dead")[2];
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
  const publisher = new MemoryPublisher(4);
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
  await createSetAsideSink({ publisher, pipeline: "p" }).write([late, RECORD], { epoch: 1, signal });
  const [record] = publisher.topic(setAsideTopics("transactions").late)[2];
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
  assert.equal(publisher.topic("transactions.dead").flat().length, 1);
});

Deno.test("records of a partition stay in order, in batches of bounded bytes, also in a topic of fewer partitions", async () => {
  const publisher = new MemoryPublisher(2);
  const records = Array.from({ length: 30 }, (_, offset): SetAsideRecord => ({
    ...RECORD,
    partition: offset % 5,
    offset,
    value: new Uint8Array(200 * 1024),
  }));
  await createSetAsideSink({ publisher, pipeline: "p" }).write(records, { epoch: 1, signal });
  const offsets = publisher.topic("transactions.dead").map((partition) =>
    partition.map((record) => Number(added(record, 4)["__connect.errors.offset"]))
  );
  for (let from = 0; from < 5; from++) {
    const mine = offsets[from % 2].filter((offset) => offset % 5 === from);
    assert.deepEqual(mine, [0, 1, 2, 3, 4, 5].map((n) => 5 * n + from));
  }
  assert.equal(publisher.largestBatch, 4, "900 KiB hold four values of 200 KiB");
});

Deno.test("a record larger than a batch goes alone", async () => {
  const publisher = new MemoryPublisher(1);
  const large = { ...RECORD, value: new Uint8Array(2 * 1024 * 1024) };
  await createSetAsideSink({ publisher, pipeline: "p" }).write([RECORD, large, RECORD], { epoch: 1, signal });
  assert.equal(publisher.topic("transactions.dead")[0].length, 3);
  assert.equal(publisher.largestBatch, 1);
});

Deno.test("an outage is the caller's to wait out, and an abort ends the write", async () => {
  const publisher = new MemoryPublisher(4);
  const sink = createSetAsideSink({ publisher, pipeline: "p" });
  publisher.remaining = 0;
  await assert.rejects(async () => await sink.write([RECORD], { epoch: 1, signal }), UnavailableError);
  const reason = new Error("stopping");
  await assert.rejects(async () => await sink.write([RECORD], { epoch: 1, signal: AbortSignal.abort(reason) }), reason);
});
