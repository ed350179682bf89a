import assert from "node:assert/strict";
import { ConfigError } from "../../pipeline/errors.ts";
import type { OutgoingRecord } from "../../pipeline/log/publisher.ts";
import { createKafkaSink } from "../../pipeline/sinks/kafka.ts";
import { partitionOf } from "../../pipeline/log/murmur2.ts";
import type { ResultValue, Sink, SinkPosition } from "../../pipeline/sinks/sink.ts";
import { COLUMNS, resultRows, sinkContract } from "../contracts/sink_contract.ts";
import { type LogStep, MemoryLog } from "./memory_log.ts";
import { foldResults, MemoryRegistry, resultValues } from "./result_topic.ts";

const text = new TextDecoder();
const signal = new AbortController().signal;

/** A sink as a process opens it. */
function open(log: MemoryLog, options: Partial<Parameters<typeof createKafkaSink>[0]> = {}): Promise<Sink> {
  const publisher = log.publisher("tailrace.p");
  const registry = new MemoryRegistry();
  return createKafkaSink({ publisher, log, registry, topic: "results", columns: COLUMNS, pipeline: "p", ...options });
}

for (const visible of ["pass", "late"] as const) {
  const how = visible === "pass" ? "" : ", where commits show late";
  sinkContract(`kafka sink over topics in memory${how}`, async (columns) => {
    let away = false;
    let refused = 0;
    const lost = new Set<LogStep>();
    const log = new MemoryLog({
      fate: (step) => away || refused-- > 0 ? "refuse" : lost.delete(step) ? "lose" : step === "end" ? visible : "pass",
    });
    const registry = new MemoryRegistry();
    const reopen = () => open(log, { registry, columns });
    const sink = await reopen();
    const values = () => {
      log.settle();
      return log.topic("results").flat().map(({ value }) => value!);
    };
    const schema = registry.subjects.get("results-value")![0];
    const set = (now: boolean) => {
      away = now;
      return Promise.resolve();
    };
    return {
      sink,
      reopen,
      read: () => Promise.resolve(foldResults(columns, { schema, values: values() })),
      readAll: () => Promise.resolve(resultValues(columns, { schema, values: values() })),
      loseAnswer: () => lost.add("end"),
      outage: {
        begin: () => set(true),
        end: () => set(false),
        interrupt: () => {
          refused = 3;
          return Promise.resolve();
        },
      },
      [Symbol.asyncDispose]: () => Promise.resolve(sink[Symbol.asyncDispose]()),
    };
  });
}

Deno.test("a result record has its key, partition, headers and time of writing", async () => {
  const log = new MemoryLog({ partitions: 3 });
  const clock = { now: () => 1234, monotonic: () => 0, sleep: () => Promise.resolve() };
  const sink = await open(log, { pipeline: "account_minute", clock });
  await sink.resume(null, { signal });
  await sink.write(resultRows(COLUMNS, [["a", 1, 60_000, 120_000, "1.00", 7, true]]), { epoch: 1, signal });
  const key = new TextEncoder().encode('["a",1]');
  const records = log.topic("results");
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
  await assert.rejects(open(new MemoryLog(), { columns }), {
    name: "ConfigError",
    message: /p\.0 key: .*\np\.1 key: /,
  });
});

/** Rows of window `window`: final ones of some keys. */
function finals(window: number, keys: readonly string[], revision = 3): ResultValue[][] {
  return keys.map((key) => [key, 1, window * 60_000, (window + 1) * 60_000, "1.00", revision, true]);
}

/** Key, window, revision and final of each record, as text. */
function identities(records: readonly OutgoingRecord[]): string[] {
  return records.map(({ key, headers }) =>
    [text.decode(key!), ...headers.slice(0, 4).map(([, value]) => text.decode(value!))].join(" ")
  );
}

Deno.test("one write is one transaction, and a very large one a few", async () => {
  const log = new MemoryLog();
  const sink = await open(log);
  await sink.resume(null, { signal });
  const write = async (rows: ResultValue[][]) => {
    const before = log.commits;
    await sink.write(resultRows(COLUMNS, rows), { epoch: 1, signal });
    return log.commits - before;
  };
  const many = (count: number, window: number) => finals(window, Array.from({ length: count }, (_, n) => `key-${n}`));
  assert.equal(await write(many(20_000, 0)), 1);
  assert.equal(await write(many(45_000, 1)), 3);
});

/** Ends a process: nothing that it does afterwards comes to anything. */
class Crash extends Error {}

/**
 * A pipeline over the sink, as far as the sink can tell: after every second write a checkpoint is saved, and a crash at the
 * given request (counted from 0) ends it; then it starts again from the checkpoint.
 */
async function runWithCrashes(
  log: MemoryLog,
  { writes, crashes, how }: {
    readonly writes: readonly ResultValue[][][];
    readonly crashes: number[];
    readonly how: "refuse" | "lose";
  },
): Promise<number> {
  let requests = 0;
  let down = false;
  log.fate = () => {
    if (down) return "refuse";
    down = requests++ === crashes[0];
    return down ? how : "pass";
  };
  let saved: { next: number; position: SinkPosition } | null = null;
  for (;;) {
    down = false;
    try {
      const sink = await open(log);
      const upTo = async (work: () => Promise<void>) => {
        for (;;) {
          try {
            return await work();
          } catch (error) {
            if (down) throw new Crash();
            throw error;
          }
        }
      };
      await upTo(() => sink.resume(saved?.position ?? null, { signal }));
      saved ??= { next: 0, position: sink.position() };
      for (let next: number = saved.next; next < writes.length; next++) {
        await upTo(() => sink.write(resultRows(COLUMNS, writes[next]), { epoch: next, signal }));
        if (next % 2 === 1) saved = { next: next + 1, position: JSON.parse(JSON.stringify(sink.position())) };
      }
      return requests;
    } catch (error) {
      if (!(error instanceof Crash)) throw error;
      crashes.shift();
    }
  }
}

const WRITES: readonly ResultValue[][][] = Array.from({ length: 7 }, (_, n) => [
  ...finals(n, ["a", "b", "c"]),
  // An update of the next window, and of one that was final.
  ...finals(n + 1, ["a"], 1).map((row) => [...row.slice(0, 6), false]),
  ...(n > 1 ? finals(n - 2, ["b"], 4) : []),
]);

for (const how of ["refuse", "lose"] as const) {
  const what = how === "refuse" ? "before" : "after";
  Deno.test(`a crash just ${what} any request, and one more, leaves each row there once`, async () => {
    const undisturbed = new MemoryLog();
    const requests = await runWithCrashes(undisturbed, { writes: WRITES, crashes: [], how });
    const expected = identities(undisturbed.topic("results").flat()).sort();
    assert.ok(requests > 30, `${requests} requests`);
    for (let first = 0; first < requests; first++) {
      for (const second of [[], [first + 1], [first + 4], [first + 9]]) {
        const log = new MemoryLog();
        await runWithCrashes(log, { writes: WRITES, crashes: [first, ...second], how });
        assert.deepEqual(identities(log.topic("results").flat()).sort(), expected, `crash at ${first} and ${second}`);
      }
    }
  });
}

Deno.test("records of others in the topic are nobody's rows here", async () => {
  const log = new MemoryLog();
  const sink = await open(log);
  await sink.resume(null, { signal });
  const position = sink.position();
  const other = await open(log, { publisher: log.publisher("other"), pipeline: "other" });
  await other.resume(null, { signal });
  await other.write(resultRows(COLUMNS, finals(0, ["a"])), { epoch: 1, signal });
  await sink.resume(position, { signal });
  await sink.write(resultRows(COLUMNS, finals(0, ["a"])), { epoch: 1, signal });
  assert.equal(log.topic("results").flat().length, 2);
});

Deno.test("what is remembered goes once it has come again, and nothing is added while all goes well", async () => {
  const log = new MemoryLog();
  const first = await open(log);
  await first.resume(null, { signal });
  const start = first.position();
  for (let n = 0; n < 5; n++) await first.write(resultRows(COLUMNS, finals(n, ["a", "b"])), { epoch: n, signal });
  assert.deepEqual(Object.keys(first.position()!), ["topics"]);

  const second = await open(log);
  await second.resume(start, { signal });
  const remembered = () => (second.position() as { remembered?: unknown[] }).remembered?.length ?? 0;
  assert.equal(remembered(), 10);
  for (let n = 0; n < 5; n++) {
    await second.write(resultRows(COLUMNS, finals(n, ["a", "b"])), { epoch: n, signal });
    assert.equal(remembered(), 8 - 2 * n);
  }
  assert.deepEqual(Object.keys(second.position()!), ["topics"]);
});

Deno.test("a rewind forgets what it makes anew", async () => {
  const log = new MemoryLog();
  const first = await open(log);
  await first.resume(null, { signal });
  const start = first.position();
  await first.write(resultRows(COLUMNS, finals(0, ["a", "b", "c"])), { epoch: 1, signal });
  const second = await open(log);
  await second.resume(start, { signal });
  await second.write(resultRows(COLUMNS, finals(0, ["a"], 1e12 + 1)), { epoch: 1, signal });
  assert.deepEqual(Object.keys(second.position()!), ["topics"]);
});

Deno.test("a tail larger than can be remembered is refused with what to do", async () => {
  const log = new MemoryLog();
  const first = await open(log);
  await first.resume(null, { signal });
  const start = first.position();
  const keys = Array.from({ length: 101 }, (_, n) => `key-${n}`);
  await first.write(resultRows(COLUMNS, finals(0, keys)), { epoch: 1, signal });
  await (await open(log, { rememberedMax: 101 })).resume(start, { signal });
  await assert.rejects(
    (await open(log, { rememberedMax: 100 })).resume(start, { signal }),
    (error) => error instanceof ConfigError && /topic results: more than 100 records .* checkpoint/.test(error.message),
  );
});

Deno.test("a topic that got more partitions since, or was made anew, is read from its beginning there", async () => {
  const log = new MemoryLog({ partitions: 4 });
  const sink = await open(log);
  await sink.resume(null, { signal });
  await sink.write(resultRows(COLUMNS, finals(0, ["a", "b", "c", "d", "e"])), { epoch: 1, signal });
  const position = { topics: { results: { 0: 1_000, 1: 1_000 } } };
  const again = await open(log);
  await again.resume(position, { signal });
  await again.write(resultRows(COLUMNS, finals(0, ["a", "b", "c", "d", "e", "f"])), { epoch: 1, signal });
  assert.equal(log.topic("results").flat().length, 6);
});
