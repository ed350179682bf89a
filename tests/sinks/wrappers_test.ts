import assert from "node:assert/strict";
import { ConflictError, UnavailableError } from "../../pipeline/errors.ts";
import { batched } from "../../pipeline/sinks/batched.ts";
import { withCircuitBreaker } from "../../pipeline/sinks/circuit_breaker.ts";
import { type RejectedRow, withDeadLetters } from "../../pipeline/sinks/dead_letters.ts";
import { fanOut } from "../../pipeline/sinks/fan_out.ts";
import { withRetry } from "../../pipeline/sinks/retry.ts";
import { joinRows, pickRows, sliceRows } from "../../pipeline/sinks/rows.ts";
import {
  NO_POSITION,
  RejectedRowsError,
  type ResultRows,
  type Sink,
  type WriteOptions,
} from "../../pipeline/sinks/sink.ts";
import { VirtualClock } from "../../pipeline/testing/virtual_clock.ts";
import { sinkContract } from "../contracts/sink_contract.ts";
import { productRows, span } from "./delivered_rows.ts";
import { MemorySink } from "./memory_sink.ts";

const WRAPPERS: Readonly<Record<string, (sink: Sink) => Sink>> = {
  batched: (sink) => batched(sink, { ageMs: 1 }),
  "circuit breaker": (sink) => withCircuitBreaker(sink),
  "dead letters": (sink) => withDeadLetters(sink, { setAside: () => Promise.reject(new Error("nothing is refused")) }),
  "all together": (sink) =>
    withDeadLetters(batched(withRetry(withCircuitBreaker(sink)), { ageMs: 1 }), { setAside: () => Promise.resolve() }),
};

for (const [name, wrap] of Object.entries(WRAPPERS)) {
  sinkContract(`${name} around a sink in memory`, (columns) => {
    const inner = new MemorySink(columns);
    const sink = wrap(inner);
    return Promise.resolve({
      sink,
      read: () => Promise.resolve(inner.rows()),
      reopen: () => Promise.resolve(wrap(inner.reopen())),
      loseAnswer: () => inner.losesAnswer = true,
      [Symbol.asyncDispose]: () => Promise.resolve(sink[Symbol.asyncDispose]()),
    });
  }, { noOutage: "a sink in memory has no other side" });
}

/** Tells what it is given, and does with it what it is told. */
function told(write: (rows: ResultRows, options: WriteOptions) => Promise<void> = () => Promise.resolve()) {
  const given: ResultRows[] = [];
  const sink: Sink & { disposed: boolean } = {
    ...NO_POSITION,
    name: "told",
    disposed: false,
    write: (rows, options) => {
      given.push(rows);
      return write(rows, options);
    },
    [Symbol.asyncDispose]() {
      this.disposed = true;
      return Promise.resolve();
    },
  };
  return { sink, given, offsets: () => given.map(({ origin }) => origin!.offsets) };
}

const live = new AbortController().signal;
const write = (sink: Sink, rows: ResultRows, signal = live) => sink.write(rows, { epoch: 1, signal });
const away = () => new UnavailableError("away");
const refusal = (...rows: number[]) => new RejectedRowsError(rows.map((row) => ({ row, reason: `bad ${row}` })));

Deno.test("rows are cut and joined with where they were", () => {
  const rows = productRows([3, 5, 6, 9]);
  const parts = [sliceRows(rows, 0, 1), sliceRows(rows, 1, 3), sliceRows(rows, 3, 4)];
  assert.deepEqual(parts.map(({ origin }) => [origin!.from, origin!.to]), [[3, 5], [5, 9], [9, 10]]);
  assert.deepEqual(joinRows(parts), rows);
});

Deno.test("rows that say that a key is gone still say so when they are cut, picked and joined", () => {
  const rows = productRows([3, 4, 5, 7, 9], { gone: [4, 9] });
  const gone = (part: ResultRows) => [...part.origin!.tombstones ?? []].map((row) => part.origin!.offsets[row]);
  const parts = [sliceRows(rows, 0, 1), sliceRows(rows, 1, 3), sliceRows(rows, 3, 5)];
  assert.deepEqual(parts.map(gone), [[], [4], [9]]);
  assert.deepEqual(joinRows(parts), rows);
  assert.deepEqual(gone(pickRows(rows, [0, 3, 4])), [9]);
});

Deno.test("writes that wait together become one, by number, size, age and end", async () => {
  const clock = new VirtualClock(0);
  const { sink, offsets } = told();
  const outer = batched(sink, { rows: 10, ageMs: 500, clock });
  const first = [write(outer, productRows(span(0, 4))), write(outer, productRows(span(4, 8)))];
  assert.deepEqual(offsets(), []);
  first.push(write(outer, productRows(span(8, 11))));
  await Promise.all(first);
  assert.deepEqual(offsets(), [span(0, 11)]);
  const aged = write(outer, productRows([11]));
  await clock.pass(499);
  assert.equal(offsets().length, 1);
  await clock.pass(2);
  await aged;
  assert.deepEqual(offsets().at(-1), [11]);
  const large = write(outer, productRows([12], { more: () => ({ name: "x".repeat(5_000_000) }) }));
  await large;
  const last = write(outer, productRows([13]));
  await outer[Symbol.asyncDispose]();
  await last;
  assert.deepEqual(offsets().at(-1), [13]);
  assert.equal(sink.disposed, true);
});

Deno.test("only rows that follow on each other in one partition are joined, and writes keep their order", async () => {
  const { sink, given } = told();
  const outer = batched(sink, { ageMs: 5 });
  await Promise.all([
    write(outer, productRows([1], { partition: 0 })),
    write(outer, productRows([2], { partition: 0 })),
    write(outer, productRows([1], { partition: 1 })),
    write(outer, productRows([2], { partition: 0 })),
    write(outer, productRows([3], { partition: 0 })),
    // Again, after a rewind.
    write(outer, productRows([1], { partition: 0 })),
  ]);
  assert.deepEqual(given.map(({ origin }) => [origin!.partition, origin!.offsets]), [
    [0, [1, 2]],
    [1, [1]],
    [0, [2, 3]],
    [0, [1]],
  ]);
});

Deno.test("each of joined writes is told what is its own: refused rows, failures, and that it was given up", async () => {
  let answer: () => Promise<void> = () => Promise.reject(refusal(1, 5));
  const { sink, given } = told(() => answer());
  const outer = batched(sink, { rows: 6, ageMs: 1_000 });
  const ends = async (signals: AbortSignal[] = []) =>
    (await Promise.allSettled([0, 2, 4].map((from, i) => write(outer, productRows([from, from + 1]), signals[i]))))
      .map((end) => end.status === "fulfilled" ? "there" : (end.reason.rows ?? end.reason.message));
  assert.deepEqual(await ends(), [[{ row: 1, reason: "bad 1" }], "there", [{ row: 1, reason: "bad 5" }]]);
  answer = () => Promise.reject(away());
  assert.deepEqual(await ends(), ["away", "away", "away"]);
  // One is given up while all wait: the others are written.
  answer = () => Promise.resolve();
  const stop = new AbortController();
  const first = write(outer, productRows([0, 1, 2]), stop.signal);
  stop.abort(new Error("stopping"));
  await assert.rejects(first, /stopping/);
  await write(outer, productRows([3, 4, 5]));
  assert.deepEqual(given.at(-1)!.origin!.offsets, [3, 4, 5]);
});

Deno.test("after some failures in a row the other side is left alone, then probed by one write, then open again", async () => {
  const clock = new VirtualClock(0);
  let answer: () => Promise<void> = () => Promise.reject(away());
  const { sink, given } = told(() => answer());
  const waits: (string | null)[] = [];
  const outer = withCircuitBreaker(sink, {
    clock,
    failures: 3,
    openMs: 1_000,
    openMsMax: 3_000,
    onWaiting: (reason) => waits.push(reason),
  });
  const fails = (message: RegExp) => assert.rejects(write(outer, productRows([1])), message);
  for (let i = 0; i < 3; i++) await fails(/^UnavailableError: away$/);
  await fails(/told is left alone for a while: away/);
  assert.equal(given.length, 3);
  await clock.pass(1_001);
  await fails(/^UnavailableError: away$/);
  await clock.pass(1_500);
  await fails(/left alone/);
  await clock.pass(501);
  // One probe at a time.
  const probe = Promise.withResolvers<void>();
  answer = () => probe.promise;
  const probing = write(outer, productRows([1]));
  await fails(/left alone/);
  assert.equal(given.length, 5);
  probe.resolve();
  await probing;
  answer = () => Promise.resolve();
  await write(outer, productRows([1]));
  assert.deepEqual(waits, ["told is left alone for 1 s: away", "told is left alone for 2 s: away", null]);
});

Deno.test("what is refused, fenced or given up does not open the circuit; failures between successes do not add up", async () => {
  const answers: (Error | null)[] = [];
  const { sink, given } = told(() => {
    const answer = answers.shift() ?? null;
    return answer === null ? Promise.resolve() : Promise.reject(answer);
  });
  const outer = withCircuitBreaker(sink, { failures: 2 });
  answers.push(away(), null, away(), refusal(0), away(), null, new ConflictError("fenced"), new Error("stopping"));
  const all = answers.length;
  for (let i = 0; i < all; i++) await write(outer, productRows([1])).catch(() => {});
  assert.equal(given.length, all);
});

Deno.test("a sink under retry and circuit breaker has everything once it is back", async () => {
  let failures = 12;
  const { sink, offsets } = told(() => failures-- > 0 ? Promise.reject(away()) : Promise.resolve());
  const waits: (string | null)[] = [];
  const onWaiting = (reason: string | null) => void waits.push(reason);
  const outer = withRetry(withCircuitBreaker(sink, { failures: 3, openMs: 20, openMsMax: 40, onWaiting }), {
    firstDelayMs: 1,
    delayMsMax: 10,
  });
  await write(outer, productRows([1, 2]));
  assert.deepEqual(offsets().at(-1), [1, 2]);
  assert.equal(offsets().length, 13);
  assert.equal(waits.at(-1), null);
});

Deno.test("refused rows are set aside before the write resolves; when that fails the write is repeated as a whole", async () => {
  const { sink, given } = told(() => Promise.reject(refusal(1, 2)));
  const aside: (readonly RejectedRow[])[] = [];
  let failures = 1;
  const inner = withDeadLetters(sink, {
    setAside: (rejected, rows) => {
      assert.equal(rows.length, 3);
      if (failures-- > 0) return Promise.reject(away());
      aside.push(rejected);
      return Promise.resolve();
    },
  });
  await write(withRetry(inner, { firstDelayMs: 1 }), productRows([7, 8, 9]));
  assert.equal(given.length, 2);
  assert.deepEqual(aside, [[{ row: 1, reason: "bad 1" }, { row: 2, reason: "bad 2" }]]);
  const conflict = new ConflictError("fenced");
  const other = withDeadLetters(told(() => Promise.reject(conflict)).sink, { setAside: () => Promise.resolve() });
  await assert.rejects(write(other, productRows([1])), conflict);
});

Deno.test("rows that one sink of a fan-out refuses keep no other from having them, nor hide that another is away", async () => {
  const slow = Promise.withResolvers<void>();
  const one = told(() => Promise.reject(refusal(0, 2)));
  const other = told(() => slow.promise);
  const sink = fanOut([{ ...one.sink, name: "one" }, { ...other.sink, name: "other" }]);
  const written = write(sink, productRows([4, 5, 6])).catch((error) => error);
  slow.resolve();
  const error = await written;
  assert.ok(error instanceof RejectedRowsError);
  assert.deepEqual(error.rows, [{ row: 0, reason: "one: bad 0" }, { row: 2, reason: "one: bad 2" }]);
  assert.deepEqual(other.offsets(), [[4, 5, 6]]);
  const both = fanOut([told(() => Promise.reject(refusal(1))).sink, told(() => Promise.reject(refusal(1))).sink]);
  const merged = await write(both, productRows([4, 5])).catch((error) => error);
  assert.deepEqual(merged.rows, [{ row: 1, reason: "told: bad 1; told: bad 1" }]);
  const down = fanOut([told(() => Promise.reject(refusal(1))).sink, told(() => Promise.reject(away())).sink]);
  await assert.rejects(write(down, productRows([4, 5])), UnavailableError);
});

Deno.test("wrappers pass on what a sink has already, and a fan-out gives each only what it lacks", async () => {
  const has = (sink: Sink, offset: number | null): Sink => ({ ...sink, delivered: () => Promise.resolve(offset) });
  const [ahead, behind, unknowing] = [told(), told(), told()];
  const wrapped = withDeadLetters(batched(withCircuitBreaker(withRetry(has(ahead.sink, 15)))), {
    setAside: () => Promise.resolve(),
  });
  const partition = { topic: "products", partition: 0 };
  assert.equal(await wrapped.delivered!(partition, { signal: live }), 15);
  assert.equal(withRetry(unknowing.sink).delivered, undefined);
  const two = fanOut([has(ahead.sink, 15), has(behind.sink, 12)]);
  assert.equal(await two.delivered!(partition, { signal: live }), 12);
  await write(two, productRows(span(12, 14)));
  await write(two, productRows(span(14, 18)));
  await write(two, productRows(span(18, 20)));
  await write(two, productRows([12], { partition: 1 }));
  assert.deepEqual(behind.offsets(), [span(12, 14), span(14, 18), span(18, 20), [12]]);
  assert.deepEqual(ahead.offsets(), [span(15, 18), span(18, 20), [12]]);
  assert.equal(await fanOut([has(ahead.sink, 3), unknowing.sink]).delivered!(partition, { signal: live }), null);
});
