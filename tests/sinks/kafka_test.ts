import assert from "node:assert/strict";
import { withRetry } from "../../pipeline/sinks/retry.ts";
import type { ResultValue } from "../../pipeline/sinks/sink.ts";
import { COLUMNS, resultRows, sinkContract } from "../contracts/sink_contract.ts";
import { kafkaSubject } from "./kafka_subject.ts";

const signal = new AbortController().signal;

sinkContract("kafka sink", (columns) => kafkaSubject(columns));

/** Answers that a start and two writes wait for, at most. */
const ANSWERS_MAX = 30;

Deno.test("a connection cut at any answer, and a crash after it, leave each row in the topic once", async () => {
  await using subject = await kafkaSubject(COLUMNS);
  await subject.sink.resume(null, { signal });
  let position = subject.sink.position();
  const expected: ResultValue[][] = [];
  const open = async () => withRetry(await subject.reopen(), { firstDelayMs: 5, delayMsMax: 20 });
  for (let count = 1; count <= ANSWERS_MAX; count++) {
    const rows = ["a", "b", "c", "d"].map((key) => [key, count, 0, 60_000, "1.00", 1, true]);
    expected.push(...rows);
    const write = (sink: typeof subject.sink, from: number, to: number) =>
      sink.write(resultRows(COLUMNS, rows.slice(from, to)), { epoch: count, signal });
    subject.cutAtAnswer!(count);
    const first = await open();
    await first.resume(position, { signal });
    position = first.position();
    await write(first, 0, 2);
    // The process ends here, saved or not, and the next one writes what was not saved again.
    if (count % 2 === 0) position = first.position();
    const second = await open();
    await second.resume(position, { signal });
    if (count % 2 === 1) await write(second, 0, 2);
    await write(second, 2, 4);
    position = second.position();
  }
  const text = (all: readonly (readonly ResultValue[])[]) => all.map((row) => row.join(" ")).sort();
  assert.deepEqual(text(await subject.readAll!()), text(expected));
});
