import assert from "node:assert/strict";
import { refusedBy } from "../../pipeline/deliveries/dead_letters.ts";
import type { OutgoingRecord } from "../../pipeline/log/publisher.ts";
import { addedHeaders } from "../../pipeline/sinks/set_aside_headers.ts";
import { readRejected, rejectedBy, rejectedRecord, VALUE_SHOWN_MAX } from "../../pipeline/sources/rejected.ts";
import { world } from "../deliveries/world.ts";
import { MemoryLog } from "../sinks/memory_log.ts";

const TOPIC = "users.rejected";
const signal = new AbortController().signal;
const bytes = (text: string) => new TextEncoder().encode(text);
const text = (value: Uint8Array) => new TextDecoder().decode(value);

function rejected(n: number, source = "users", raw = bytes(`row ${n}`)): OutgoingRecord {
  return rejectedRecord({ raw, reason: `bad ${n}`, where: `users.csv:${n}` }, { source, atMs: 1_000 + n });
}

/** Writes each list in a transaction of its own, to the partition of its number in turn. */
async function logOf(lists: readonly (readonly OutgoingRecord[])[], partitions = 1): Promise<MemoryLog> {
  const log = new MemoryLog({ partitions });
  const publisher = log.publisher("writer");
  await publisher.claim({ signal });
  for (const [i, records] of lists.entries()) {
    await publisher.commit([{ topic: TOPIC, partition: i % partitions, records }], { signal });
  }
  return log;
}

const read = (log: MemoryLog, limit: number) => readRejected(log, TOPIC, { tell: rejectedBy("users"), limit, signal });

Deno.test("the newest that a source rejected come first, from all partitions, without those of others", async () => {
  const log = await logOf([[rejected(1), rejected(2, "orders")], [rejected(3)], [rejected(4)], [rejected(5)]], 2);
  assert.deepEqual(
    (await read(log, 3)).map(({ reason, where, value, timestampMs }) => [
      reason,
      where,
      text(value),
      timestampMs,
    ]),
    [
      ["bad 5", "users.csv:5", "row 5", 1_005],
      ["bad 4", "users.csv:4", "row 4", 1_004],
      ["bad 3", "users.csv:3", "row 3", 1_003],
    ],
  );
  assert.deepEqual((await read(log, 100)).map(({ reason }) => reason), ["bad 5", "bad 4", "bad 3", "bad 1"]);
  assert.deepEqual(await read(new MemoryLog(), 10), []);
});

Deno.test("of a long value the beginning is given, and how long it is", async () => {
  const raw = new Uint8Array(VALUE_SHOWN_MAX + 10).fill(65);
  const [found] = await read(await logOf([[rejected(1, "users", raw)]]), 1);
  assert.equal(found.value.length, VALUE_SHOWN_MAX);
  assert.equal(found.value.buffer.byteLength, VALUE_SHOWN_MAX, "the rest is held for it");
  assert.equal(found.valueBytes, VALUE_SHOWN_MAX + 10);
});

Deno.test("older ones are looked for behind those of others, and not for ever", async () => {
  const others = (count: number) => Array.from({ length: count }, (_, i) => rejected(10 + i, "orders"));
  const near = await logOf([[rejected(1), rejected(2)], others(3_000)]);
  assert.deepEqual((await read(near, 10)).map(({ reason }) => reason), ["bad 2", "bad 1"]);
  const far = await logOf([[rejected(1)], others(4_200)]);
  assert.deepEqual(await read(far, 10), []);
});

Deno.test("a page over many transactions is as long as asked, and in order", async () => {
  const log = await logOf(Array.from({ length: 700 }, (_, i) => [rejected(i)]));
  const reasons = (await read(log, 100)).map(({ reason }) => reason);
  assert.deepEqual(reasons, Array.from({ length: 100 }, (_, i) => `bad ${699 - i}`));
});

Deno.test("what a delivery could not hand over is told from what pipelines set aside", async () => {
  const dead = (by: string, offset: number): OutgoingRecord => {
    const record = { topic: "users", partition: 3, offset, why: "dead", reason: `refused ${offset}` } as const;
    const set = { ...record, key: null, value: bytes("x"), timestampMs: offset, headers: [], schemaId: null };
    return { ...set, headers: addedHeaders({ ...set, windowStartMs: null }, by) };
  };
  const log = await logOf([[dead("users_out", 7), dead("users_minute", 8), dead("users_out", 9)]]);
  const found = await readRejected(log, TOPIC, { tell: refusedBy("users_out"), limit: 10, signal });
  assert.deepEqual(found.map(({ reason, where }) => [reason, where]), [
    ["refused 9", "users, partition 3, offset 9"],
    ["refused 7", "users, partition 3, offset 7"],
  ]);
});

Deno.test("they are read from a broker, whose transactions take offsets too", async () => {
  await using over = await world(1);
  await over.admin.ensureTopics([{ topic: TOPIC, partitions: 1 }]);
  const publisher = over.publisher("tailrace.source.users");
  await publisher.claim({ signal });
  for (let n = 0; n < 5; n++) {
    await publisher.commit([{ topic: TOPIC, partition: 0, records: [rejected(n), rejected(n, "orders")] }], { signal });
  }
  const found = await readRejected(over.log, TOPIC, { tell: rejectedBy("users"), limit: 2, signal });
  assert.deepEqual(found.map(({ offset, where, value }) => [offset, where, text(value)]), [
    [12, "users.csv:4", "row 4"],
    [9, "users.csv:3", "row 3"],
  ]);
});
