import assert from "node:assert/strict";
import { RateLimit } from "../../pipeline/runtime/rate_limit.ts";
import { VirtualClock } from "../../pipeline/testing/virtual_clock.ts";

const never = new AbortController().signal;

Deno.test("whoever takes more than a second's worth goes at once, and the next waits until time has made up for it", async () => {
  const clock = new VirtualClock();
  const limit = new RateLimit(clock, 100);
  const went: number[] = [];
  for (const n of [250, 10, 1]) void limit.take(n, never).then(() => went.push(n));
  await clock.settle();
  assert.deepEqual(went, [250]);
  await clock.pass(2_499);
  assert.deepEqual(went, [250]);
  await clock.pass(1);
  assert.deepEqual(went, [250, 10]);
  await clock.pass(100);
  assert.deepEqual(went, [250, 10, 1]);
});

Deno.test("time in which nothing was taken is not saved up", async () => {
  const clock = new VirtualClock();
  const limit = new RateLimit(clock, 10);
  await clock.pass(60_000);
  let taken = 0;
  void (async () => {
    for (; taken < 100; taken++) await limit.take(1, never);
  })();
  await clock.pass(1_000);
  assert.ok(taken >= 10 && taken <= 12, `${taken} in a second`);
  await clock.pass(60_000);
});

Deno.test("a new limit counts for those who wait already, and none lets all go", async () => {
  const clock = new VirtualClock();
  const limit = new RateLimit(clock, 1);
  await limit.take(100, never);
  let gone = false;
  void limit.take(100, never).then(() => gone = true);
  await clock.pass(10_000);
  limit.set(90);
  await clock.pass(999);
  assert.equal(gone, false);
  await clock.pass(1);
  assert.equal(gone, true);
  const all = Promise.all([limit.take(1_000_000, never), limit.take(1_000_000, never)]);
  limit.set(null);
  await all;
  assert.equal(clock.sleeping, 0);
});

Deno.test("who is told to stop while waiting has taken nothing", async () => {
  const clock = new VirtualClock();
  const limit = new RateLimit(clock, 10);
  await limit.take(10, never);
  const stopping = new AbortController();
  const stopped = assert.rejects(limit.take(1_000, stopping.signal), /enough/);
  await clock.settle();
  stopping.abort(new Error("enough"));
  await stopped;
  let gone = false;
  void limit.take(1, never).then(() => gone = true);
  await clock.pass(1_000);
  assert.equal(gone, true);
});

Deno.test("a limit of nothing is refused: that is what pausing is for", () => {
  assert.throws(() => new RateLimit(new VirtualClock(), 0), /above 0/);
  assert.throws(() => new RateLimit(new VirtualClock(), null).set(NaN), RangeError);
});
