import assert from "node:assert/strict";
import { ConfigError, ConflictError, UnavailableError } from "../../pipeline/errors.ts";
import { OffsetOutOfRangeError } from "../../pipeline/log/fetcher.ts";
import { supervise } from "../../pipeline/runtime/supervisor.ts";
import { VirtualClock } from "../../pipeline/testing/virtual_clock.ts";

function setup() {
  const clock = new VirtualClock(0);
  const lines: string[] = [];
  const ended = new AbortController();
  const log = (level: string, message: string) => lines.push(`${level}: ${message}`);
  return { clock, lines, ended, options: { clock, signal: ended.signal, log } };
}

Deno.test("a task that fails starts again after pauses that double up to ten seconds", async () => {
  const { clock, lines, ended, options } = setup();
  const starts: number[] = [];
  const done = supervise("account_minute", () => {
    starts.push(clock.now());
    return Promise.reject(new UnavailableError("Kafka is away"));
  }, options);
  await clock.pass(60_000);
  const pauses = starts.slice(1).map((at, i) => at - starts[i]);
  assert.deepEqual(pauses, [500, 1_000, 2_000, 4_000, 8_000, 10_000, 10_000, 10_000, 10_000]);
  assert.equal(lines[0], "warn: account_minute failed and starts again in 0.5 s: Kafka is away");
  ended.abort();
  assert.equal(await done, true);
});

Deno.test("after half a minute without a failure the pauses begin anew", async () => {
  const { clock, ended, options } = setup();
  const starts: number[] = [];
  const done = supervise("t", async (signal) => {
    starts.push(clock.now());
    if (starts.length === 3) await clock.sleep(31_000, signal);
    throw new Error("bug");
  }, options);
  await clock.pass(40_000);
  assert.deepEqual(starts.slice(0, 5), [0, 500, 1_500, 33_000, 34_000]);
  ended.abort();
  await done;
});

Deno.test("what no retry mends ends the task", async () => {
  const offsets = { wanted: 1, first: 5, end: 9 };
  const crossed = new Error("from a thread");
  crossed.name = "OffsetOutOfRangeError";
  for (
    const error of [
      new ConfigError({ where: "x", problem: "wrong" }),
      new ConflictError("fenced"),
      new OffsetOutOfRangeError("t", 0, offsets),
      crossed,
    ]
  ) {
    const { lines, options } = setup();
    let runs = 0;
    assert.equal(await supervise("t", () => Promise.reject((runs++, error)), options), false);
    assert.equal(runs, 1);
    assert.equal(lines[0], `error: t stopped: ${error.message}`);
  }
});

Deno.test("a bug is logged with its stack, an outage with its message alone", async () => {
  for (
    const [error, hasStack] of [[new TypeError("x is not a function"), true], [
      new UnavailableError("away"),
      false,
    ]] as const
  ) {
    const { clock, lines, ended, options } = setup();
    const done = supervise("t", () => Promise.reject(error), options);
    await clock.pass(100);
    assert.equal(lines[0].includes("supervisor_test.ts"), hasStack);
    ended.abort();
    await done;
  }
});

Deno.test("the signal ends a task, its pause, and its last failure is no failure", async () => {
  const { clock, lines, ended, options } = setup();
  assert.equal(await supervise("by itself", () => Promise.resolve(), options), true);
  const done = supervise(
    "t",
    (signal) =>
      new Promise((_, reject) => signal.addEventListener("abort", () => reject(new Error("torn")), { once: true })),
    options,
  );
  await clock.pass(10);
  ended.abort();
  assert.equal(await done, true);
  assert.deepEqual(lines, []);
  let runs = 0;
  assert.equal(await supervise("never", () => Promise.resolve(void runs++), options), true);
  assert.equal(runs, 0);
});
