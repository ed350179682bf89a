import assert from "node:assert/strict";
import type { Clock } from "../../pipeline/clock.ts";
import { ConfigError, UnavailableError } from "../../pipeline/errors.ts";
import { setAsideWithRetry, withRetry } from "../../pipeline/sinks/retry.ts";
import { NO_POSITION, type ResultRows, type Sink, type SinkPosition } from "../../pipeline/sinks/sink.ts";
import { sinkContract } from "../contracts/sink_contract.ts";
import { MemorySink } from "./memory_sink.ts";

const NO_ROWS: ResultRows = { columns: [], length: 0, values: [] };

/** A clock whose sleeps end at once and are noted. */
function notingClock(sleeps: number[]): Clock {
  return {
    now: () => 0,
    monotonic: () => 0,
    sleep: (ms, signal) => {
      sleeps.push(ms);
      return signal?.aborted ? Promise.reject(signal.reason) : Promise.resolve();
    },
  };
}

/** A sink that throws these errors, one a write, and then takes everything. */
function failing(errors: Error[]): Sink {
  return {
    ...NO_POSITION,
    name: "failing",
    write: () => errors.length > 0 ? Promise.reject(errors.shift()) : Promise.resolve(),
    [Symbol.asyncDispose]: () => Promise.resolve(),
  };
}

const signal = new AbortController().signal;

sinkContract("memory sink with retry", (columns) => {
  const memory = new MemorySink(columns);
  let away = false;
  let broken = 0;
  const breaking = (memory: MemorySink): Sink => ({
    name: "memory",
    resume: () => away ? Promise.reject(new UnavailableError("away")) : memory.resume(),
    position: () => memory.position(),
    write: (rows, options) => {
      if (options.signal.aborted) return Promise.reject(options.signal.reason);
      if (away || broken-- > 0) return Promise.reject(new UnavailableError("away"));
      return memory.write(rows, options);
    },
    [Symbol.asyncDispose]: () => Promise.resolve(),
  });
  const open = (memory: MemorySink) => withRetry(breaking(memory), { firstDelayMs: 1, delayMsMax: 10 });
  const sink = open(memory);
  const set = (now: boolean) => {
    away = now;
    return Promise.resolve();
  };
  return Promise.resolve({
    sink,
    read: () => Promise.resolve(memory.rows()),
    reopen: () => Promise.resolve(open(memory.reopen())),
    loseAnswer: () => memory.losesAnswer = true,
    outage: {
      begin: () => set(true),
      end: () => set(false),
      interrupt: () => {
        broken = 3;
        return Promise.resolve();
      },
    },
    [Symbol.asyncDispose]: () => Promise.resolve(sink[Symbol.asyncDispose]()),
  });
});

Deno.test("resuming waits out an outage, with the position it was given, and the position is the sink's own", async () => {
  const given: SinkPosition[] = [];
  const inner = {
    resume: (position: SinkPosition) => {
      given.push(position);
      return given.length < 3 ? Promise.reject(new UnavailableError("away")) : Promise.resolve();
    },
    position: () => ({ offset: 7 }),
    write: () => Promise.resolve(),
    [Symbol.asyncDispose]: () => Promise.resolve(),
  };
  for (const wrap of [withRetry, setAsideWithRetry]) {
    const sink = wrap({ ...inner, name: "inner" }, { clock: notingClock([]) });
    await sink.resume({ offset: 5 }, { signal });
    assert.deepEqual(given.splice(0), [{ offset: 5 }, { offset: 5 }, { offset: 5 }]);
    assert.deepEqual(sink.position(), { offset: 7 });
  }
});

Deno.test("the wait doubles up to its bound, with half of it left to chance", async () => {
  const sleeps: number[] = [];
  const away = () => Array.from({ length: 6 }, () => new UnavailableError("away"));
  const options = { clock: notingClock(sleeps), firstDelayMs: 100, delayMsMax: 1_000 };
  await withRetry(failing(away()), { ...options, random: () => 0 }).write(NO_ROWS, { epoch: 1, signal });
  assert.deepEqual(sleeps.splice(0), [50, 100, 200, 400, 500, 500]);
  await withRetry(failing(away()), { ...options, random: () => 0.5 }).write(NO_ROWS, { epoch: 1, signal });
  assert.deepEqual(sleeps, [75, 150, 300, 600, 750, 750]);
});

Deno.test("an outage of ten thousand tries ends in a write, with the wait still bounded", async () => {
  const sleeps: number[] = [];
  const errors = Array.from({ length: 10_000 }, () => new UnavailableError("away"));
  await withRetry(failing(errors), { clock: notingClock(sleeps), delayMsMax: 15_000, random: () => 0.999 })
    .write(NO_ROWS, { epoch: 1, signal });
  assert.equal(sleeps.length, 10_000);
  assert.ok(Math.max(...sleeps) <= 15_000);
});

Deno.test("who waits is told why, and that the waiting is over", async () => {
  const told: (string | null)[] = [];
  const options = { clock: notingClock([]), onWaiting: (reason: string | null) => told.push(reason) };
  const sink = withRetry(failing([new UnavailableError("no answer"), new UnavailableError("disk full")]), options);
  await sink.write(NO_ROWS, { epoch: 1, signal });
  await sink.write(NO_ROWS, { epoch: 2, signal });
  assert.deepEqual(told, ["no answer", "disk full", null]);
});

Deno.test("an error that waiting does not mend passes through at once", async () => {
  const sleeps: number[] = [];
  for (const error of [new ConfigError({ where: "table", problem: "gone" }), new TypeError("bug")]) {
    const sink = withRetry(failing([error]), { clock: notingClock(sleeps) });
    await assert.rejects(Promise.resolve(sink.write(NO_ROWS, { epoch: 1, signal })), error);
  }
  assert.deepEqual(sleeps, []);
});

Deno.test("late records and dead letters wait out an outage too", async () => {
  let failures = 2;
  const sink = setAsideWithRetry({
    ...NO_POSITION,
    write: () => failures-- > 0 ? Promise.reject(new UnavailableError("away")) : Promise.resolve(),
    [Symbol.asyncDispose]: () => Promise.resolve(),
  }, { clock: notingClock([]) });
  await sink.write([], { epoch: 1, signal });
  assert.equal(failures, -1);
});
