import assert from "node:assert/strict";
import avsc from "avsc";
import { Buffer } from "node:buffer";
import { systemClock } from "../../pipeline/clock.ts";
import { ByteWriter } from "../../pipeline/codec/byte_writer.ts";
import { isUuidString } from "../../pipeline/codec/uuid.ts";
import { bigintFromBytes } from "../../pipeline/decimal.ts";
import { generate } from "../../pipeline/sources/generator.ts";
import { generateInThread } from "../../pipeline/sources/generator_thread.ts";
import { TransactionWriter } from "../../pipeline/sources/transactions.ts";
import { partitionOf } from "../../pipeline/log/murmur2.ts";
import { brokerBehindProxy, fetchAll, makeTopic } from "../log/broker_behind_proxy.ts";

interface Transaction {
  readonly transaction_id: string;
  readonly account_id: string;
  readonly status: string;
  readonly amount: Uint8Array;
  readonly currency: string;
  readonly country: { readonly string: string } | null;
  readonly event_time: number;
}

const schema = JSON.parse(Deno.readTextFileSync(new URL("../../schemas/transaction.avsc", import.meta.url)));
const type = avsc.Type.forSchema(schema, { wrapUnions: true });

function read(bytes: Uint8Array): Transaction {
  return type.fromBuffer(Buffer.from(bytes)) as Transaction;
}

function written(seed: number, count: number, nowMs = 1_790_000_000_000) {
  const writer = new TransactionWriter(258, seed);
  return Array.from({ length: count }, (_, i) => {
    const out = new ByteWriter(16);
    const account = writer.nextAccount();
    const eventTimeMs = writer.write(out, account, nowMs + i);
    return {
      bytes: out.written().slice(),
      key: new TextDecoder().decode(writer.keys[account]),
      eventTimeMs,
      nowMs: nowMs + i,
    };
  });
}

Deno.test("transactions are what the schema says, to the last byte, and look like real ones", () => {
  const made = written(7, 20_000);
  const ids = new Set<string>();
  const statuses = new Map<string, number>();
  let late = 0;
  for (const { bytes, key, eventTimeMs, nowMs } of made) {
    assert.deepEqual([...bytes.subarray(0, 5)], [0, 0, 0, 1, 2]);
    const transaction = read(bytes.subarray(5));
    assert.ok(isUuidString(transaction.transaction_id), transaction.transaction_id);
    assert.equal(parseInt(transaction.transaction_id.replaceAll("-", "").slice(0, 12), 16), nowMs);
    assert.match(transaction.transaction_id, /^.{14}7.{4}8/);
    ids.add(transaction.transaction_id);
    assert.equal(transaction.account_id, key);
    assert.equal(transaction.event_time, eventTimeMs);
    assert.ok(eventTimeMs <= nowMs && eventTimeMs > nowMs - 2_000);
    if (eventTimeMs < nowMs) late++;
    const cents = bigintFromBytes(transaction.amount, 0, transaction.amount.length);
    assert.ok(cents >= 1n && cents <= 500_001n, `${cents}`);
    statuses.set(transaction.status, (statuses.get(transaction.status) ?? 0) + 1);
  }
  assert.equal(ids.size, made.length);
  assert.ok(late > 1_000 && late < 3_000, `${late} of 20,000 came late`);
  const share = (status: string) => (statuses.get(status) ?? 0) / made.length;
  assert.ok(Math.abs(share("declined") - 0.05) < 0.01 && Math.abs(share("reversed") - 0.01) < 0.005);
  assert.equal(share("approved") + share("declined") + share("reversed"), 1);
});

Deno.test("the same seed gives the same transactions, another one others, and zero is a seed", () => {
  const text = (seed: number) => written(seed, 50).map(({ bytes }) => bytes.toHex()).join();
  assert.equal(text(5), text(5));
  assert.notEqual(text(5), text(6));
  assert.ok(new Set(written(0, 50).map(({ key }) => key)).size > 10);
});

Deno.test("the generator keeps its pace and sends the past at once, each account to its own partition", async () => {
  await using setup = await brokerBehindProxy({ defaultPartitions: 3 });
  await makeTopic(setup.broker, "transactions");
  const stop = new AbortController();
  let acknowledged = 0;
  const began = Date.now();
  const running = generate(setup.cluster(), {
    topic: "transactions",
    schemaId: 1,
    rate: 1_000,
    historyMs: 2_000,
    seed: 1,
    clock: systemClock,
    signal: stop.signal,
    onProgress: (count) => acknowledged = count,
  });
  while (acknowledged < 2_400 && Date.now() - began < 60_000) await new Promise((resolve) => setTimeout(resolve, 10));
  stop.abort();
  await running;
  const elapsed = Date.now() - began;
  assert.ok(acknowledged >= 2_400 && acknowledged <= 2_000 + elapsed + 50, `${acknowledged} in ${elapsed} ms`);
  const count = (all: Map<number, unknown[]>) => [...all.values()].reduce((sum, { length }) => sum + length, 0);
  const all = await fetchAll(setup.cluster(), {
    topic: "transactions",
    partitions: [0, 1, 2],
    done: (all) => count(all) >= acknowledged,
  });
  assert.equal(count(all), acknowledged);
  for (const [partition, records] of all) {
    for (const { key, value, timestampMs } of records) {
      assert.equal(partitionOf(key!, 3), partition);
      assert.equal(read(value!.subarray(5)).account_id, new TextDecoder().decode(key!));
      assert.ok(timestampMs >= began - 2_100 && timestampMs <= began + elapsed);
    }
  }
});

Deno.test("the generator's thread goes as fast as it can until it is told to stop, and loses nothing", async () => {
  await using setup = await brokerBehindProxy({ defaultPartitions: 2 });
  await makeTopic(setup.broker, "transactions");
  const stop = new AbortController();
  let acknowledged = 0;
  const running = generateInThread({
    topic: "transactions",
    schemaId: 1,
    rate: Infinity,
    historyMs: 0,
    seed: 1,
    brokers: [setup.broker.address],
    cluster: { clientId: "test", ssl: false, sasl: null },
  }, { signal: stop.signal, onProgress: (count) => acknowledged = count });
  while (acknowledged < 5_000) await new Promise((resolve) => setTimeout(resolve, 20));
  stop.abort();
  await running;
  const cluster = setup.cluster();
  const ends = await cluster.offsets("transactions", [0, 1], "latest");
  assert.ok(ends.get(0)! + ends.get(1)! >= acknowledged);
});
