import assert from "node:assert/strict";
import { atMost } from "../../cli/at_most.ts";

const never = new AbortController().signal;
const settle = () => new Promise((resolve) => setTimeout(resolve));

Deno.test("so many go on at a time, the others in the order they came", async () => {
  const inTurn = atMost(2);
  const begun: number[] = [];
  const ends = Array.from({ length: 5 }, () => Promise.withResolvers<number>());
  const works = ends.map(({ promise }, i) =>
    inTurn(never, () => {
      begun.push(i);
      return promise;
    })
  );
  await settle();
  assert.deepEqual(begun, [0, 1]);
  ends[1].resolve(10);
  await settle();
  assert.deepEqual(begun, [0, 1, 2]);
  ends[0].reject(new Error("no"));
  await assert.rejects(works[0], /no/);
  await settle();
  assert.deepEqual(begun, [0, 1, 2, 3]);
  for (const { resolve } of ends) resolve(1);
  assert.deepEqual(await Promise.all(works.slice(1)), [10, 1, 1, 1]);
  assert.equal(await inTurn(never, () => Promise.resolve(7)), 7);
});

Deno.test("waiting ends with the signal, and takes no place then", async () => {
  const inTurn = atMost(1);
  const first = Promise.withResolvers<void>();
  const going = inTurn(never, () => first.promise);
  const ended = new AbortController();
  const waiting = inTurn(ended.signal, () => assert.fail("it does not begin"));
  const last = inTurn(never, () => Promise.resolve("last"));
  ended.abort(new Error("too late"));
  await assert.rejects(waiting, /too late/);
  await assert.rejects(inTurn(ended.signal, () => assert.fail("it does not begin")), /too late/);
  first.resolve();
  await going;
  assert.equal(await last, "last");
});
