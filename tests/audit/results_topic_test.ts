import assert from "node:assert/strict";
import { compareRows } from "../../pipeline/audit/compare.ts";
import { PAST_RECORDS_MAX, ResultsTopic } from "../../pipeline/audit/results_topic.ts";
import { readResultRecord } from "../../pipeline/audit/result_record.ts";
import { createKafkaSink } from "../../pipeline/sinks/kafka.ts";
import type { ResultValue, Sink } from "../../pipeline/sinks/sink.ts";
import { resultRows } from "../contracts/sink_contract.ts";
import { MemoryLog } from "../sinks/memory_log.ts";
import { COLUMNS, MINUTE, row, ROWS, START } from "./all_types.ts";

const signal = new AbortController().signal;
const RANGE = { fromMs: START, toMs: START + 100 * MINUTE };
const nextWindowMs = () => START + 10 * MINUTE;
const registry = { register: () => Promise.resolve(1) };

async function sinkOf(log: MemoryLog, pipeline = "p"): Promise<Sink> {
  const publisher = log.publisher(`tailrace.${pipeline}`);
  const sink = await createKafkaSink({ publisher, log, registry, topic: "out", columns: COLUMNS, pipeline });
  await sink.resume(null, { signal });
  return sink;
}

const write = (sink: Sink, rows: ResultValue[][]) => sink.write(resultRows(COLUMNS, rows), { epoch: 1, signal });
const topicOf = (log: MemoryLog, rowsMax?: number) =>
  new ResultsTopic(log, { topic: "out", pipeline: "p", columns: COLUMNS, rowsMax });

/** Shop and window (in minutes) of the rows held, in order. */
function held(topic: ResultsTopic): string[] {
  const { values } = topic.rows(RANGE);
  return values[0].map((shop, i) => `${shop} ${(Number(values[3][i]) - START) / MINUTE}`).sort();
}

Deno.test("final rows of all types are read from the topic as they were written", async () => {
  const log = new MemoryLog();
  await write(await sinkOf(log), ROWS);
  const topic = topicOf(log);
  await topic.readOn({ nextWindowMs, signal });
  const expected = { rows: resultRows(COLUMNS, ROWS), slack: null };
  assert.deepEqual(compareRows(expected, topic.rows(RANGE), { generation: 0 }), []);
  assert.equal(topic.isWhole(START), true);
});

Deno.test("of each row the highest revision counts; early rows and other pipelines' do not", async () => {
  const log = new MemoryLog();
  const sink = await sinkOf(log);
  await write(sink, [row({ n: 1, revision: 1, final: false }), row({ shop: "b", final: false })]);
  await write(sink, [row({ n: 2, revision: 2 })]);
  const topic = topicOf(log);
  await topic.readOn({ nextWindowMs, signal });
  await write(sink, [row({ n: 3, revision: 3 })]);
  await write(await sinkOf(log, "another"), [row({ n: 9, revision: 9 }), row({ shop: "c" })]);
  await topic.readOn({ nextWindowMs, signal });
  const { values } = topic.rows(RANGE);
  assert.deepEqual([values[0], values[5]], [["a"], [3]]);
});

Deno.test("of a window that was audited only what comes since is held", async () => {
  const log = new MemoryLog();
  const sink = await sinkOf(log);
  await write(sink, [row(), row({ shop: "b" })]);
  const topic = topicOf(log);
  await topic.readOn({ nextWindowMs, signal });
  topic.settle(START);
  assert.deepEqual([held(topic), topic.isWhole(START)], [[], false]);
  await write(sink, [row({ revision: 2 })]);
  await topic.readOn({ nextWindowMs, signal });
  assert.deepEqual([held(topic), topic.isWhole(START)], [["a 0"], false]);
});

Deno.test("beyond its bound the oldest windows' rows are forgotten, and nothing is called missing in them", async () => {
  const log = new MemoryLog();
  const sink = await sinkOf(log);
  const windows = (from: number, to: number) =>
    Array.from({ length: to - from }, (_, i) => row({ window_start: START + (from + i) * MINUTE }));
  await write(sink, windows(0, 4));
  const topic = topicOf(log, 4);
  await topic.readOn({ nextWindowMs, signal });
  assert.equal(held(topic).length, 4);
  await write(sink, windows(4, 6));
  await topic.readOn({ nextWindowMs, signal });
  assert.deepEqual(held(topic), ["a 2", "a 3", "a 4", "a 5"]);
  assert.deepEqual([1, 2].map((window) => topic.isWhole(START + window * MINUTE)), [false, true]);
});

Deno.test("of a topic that is long, or has lost its beginning, only windows that close from now on are held to be whole", async () => {
  for (const [first, end] of [[0, PAST_RECORDS_MAX + 1], [5, 100]]) {
    const read: number[] = [];
    const topic = new ResultsTopic({
      offsets: (_, position) => Promise.resolve(new Map([[0, position === "earliest" ? first : end]])),
      read: (_, from) => {
        read.push(from.get(0)!);
        return Promise.resolve(from);
      },
    }, { topic: "out", pipeline: "p", columns: COLUMNS });
    await topic.readOn({ nextWindowMs, signal });
    assert.deepEqual(read, [end]);
    assert.deepEqual([9, 10].map((window) => topic.isWhole(START + window * MINUTE)), [false, true]);
  }
});

Deno.test("bytes that are no row of these columns are none", () => {
  for (const bytes of [[], [0, 0, 0, 0, 1], [0, 0, 0, 0, 1, 2, 80], Array.from({ length: 300 }, () => 0xff)]) {
    assert.equal(readResultRecord(COLUMNS, new Uint8Array(bytes)), null);
  }
});
