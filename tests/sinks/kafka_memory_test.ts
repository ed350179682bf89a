import assert from "node:assert/strict";
import { createKafkaSink } from "../../pipeline/sinks/kafka.ts";
import { partitionOf } from "../../pipeline/sinks/murmur2.ts";
import { COLUMNS, resultRows, sinkContract } from "../contracts/sink_contract.ts";
import { MemoryPublisher } from "./memory_publisher.ts";
import { foldResults, MemoryRegistry } from "./result_topic.ts";

const text = new TextDecoder();

sinkContract("kafka sink over topics in memory", async (columns) => {
  const publisher = new MemoryPublisher();
  const registry = new MemoryRegistry();
  const sink = await createKafkaSink({ publisher, registry, topic: "results", columns, pipeline: "p" });
  const set = (remaining: number) => {
    publisher.remaining = remaining;
    return Promise.resolve();
  };
  return {
    sink,
    read: () =>
      Promise.resolve(foldResults(columns, {
        schema: registry.subjects.get("results-value")![0],
        values: publisher.topic("results").flat().map(({ value }) => value!),
      })),
    outage: {
      begin: () => set(0),
      end: () => set(Infinity),
      interrupt: async () => {
        await set(7_000);
        await new Promise((resolve) => setTimeout(resolve, 10));
        await set(Infinity);
      },
    },
    [Symbol.asyncDispose]: () => Promise.resolve(sink[Symbol.asyncDispose]()),
  };
});

Deno.test("a result record has its key, partition, headers and time of writing", async () => {
  const publisher = new MemoryPublisher(3);
  const sink = await createKafkaSink({
    publisher,
    registry: new MemoryRegistry(),
    topic: "results",
    columns: COLUMNS,
    pipeline: "account_minute",
    clock: { now: () => 1234, monotonic: () => 0, sleep: () => Promise.resolve() },
  });
  await sink.write(resultRows(COLUMNS, [["a", 1, 60_000, 120_000, "1.00", 7, true]]), {
    epoch: 1,
    signal: new AbortController().signal,
  });
  const key = new TextEncoder().encode('["a",1]');
  const records = publisher.topic("results");
  const [record] = records[partitionOf(key, 3)];
  assert.equal(records.flat().length, 1);
  assert.deepEqual(record.key, key);
  assert.equal(record.timestampMs, 1234);
  assert.deepEqual(record.headers.map(([name, value]) => [name, text.decode(value!)]), [
    ["window_start", "60000"],
    ["window_end", "120000"],
    ["revision", "7"],
    ["final", "true"],
    ["pipeline", "account_minute"],
  ]);
});

Deno.test("a column that Avro cannot name is refused with its name, all of them at once", async () => {
  const columns = COLUMNS.map((column, index) => index < 2 ? { ...column, name: `${index} key` } : column);
  await assert.rejects(
    createKafkaSink({
      publisher: new MemoryPublisher(),
      registry: new MemoryRegistry(),
      topic: "results",
      columns,
      pipeline: "p",
    }),
    { name: "ConfigError", message: /p\.0 key: .*\np\.1 key: / },
  );
});
