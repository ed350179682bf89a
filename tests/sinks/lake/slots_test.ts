import assert from "node:assert/strict";
import { forEachOf, Slots } from "../../../pipeline/sinks/lake/slots.ts";

const turn = () => new Promise((resolve) => setTimeout(resolve, 1));

Deno.test("no more than the slots are used at once, in the order of coming, failures included", async () => {
  const slots = new Slots(2);
  let now = 0;
  let most = 0;
  const began: number[] = [];
  const all = Array.from({ length: 9 }, (_, index) =>
    slots.use(async () => {
      began.push(index);
      most = Math.max(most, ++now);
      await turn();
      now--;
      if (index % 3 === 0) throw new Error(`${index}`);
      return index;
    }).catch((error: Error) => `failed ${error.message}`));
  assert.deepEqual(await Promise.all(all), ["failed 0", 1, 2, "failed 3", 4, 5, "failed 6", 7, 8]);
  assert.equal(most, 2);
  assert.deepEqual(began, [0, 1, 2, 3, 4, 5, 6, 7, 8]);
});

Deno.test("who stops waiting for a slot takes none", async () => {
  const slots = new Slots(1);
  const { promise, resolve } = Promise.withResolvers<void>();
  const first = slots.use(() => promise);
  const stop = new AbortController();
  const second = slots.use(() => Promise.reject(new Error("must not run")), stop.signal);
  const third = slots.use(() => Promise.resolve("third"));
  stop.abort(new Error("enough"));
  await assert.rejects(second, /enough/);
  await assert.rejects(slots.use(() => Promise.reject(new Error("must not run")), stop.signal), /enough/);
  resolve();
  await first;
  assert.equal(await third, "third");
  assert.equal(await slots.use(() => Promise.resolve("free")), "free");
});

Deno.test("the first failure ends the rest, and is thrown when all have stopped", async () => {
  const begun: number[] = [];
  let running = 0;
  const work = async (item: number, signal: AbortSignal) => {
    begun.push(item);
    running++;
    await turn();
    running--;
    if (item === 2) throw new Error("two");
    if (item === 3) assert.ok(signal.aborted || begun.length < 4);
  };
  await assert.rejects(forEachOf([1, 2, 3, 4, 5, 6], work, { atOnce: 2 }), /two/);
  assert.equal(running, 0);
  assert.ok(begun.length <= 4, String(begun));
  await forEachOf([], work, { atOnce: 3 });
  await assert.rejects(forEachOf([1], work, { atOnce: 3, signal: AbortSignal.abort(new Error("enough")) }), /enough/);
  assert.ok(!begun.slice(4).length);
});
