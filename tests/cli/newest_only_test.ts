import assert from "node:assert/strict";
import { newestOnly } from "../../cli/newest_only.ts";

Deno.test("one value is worked on at a time, and of those that came meanwhile the newest", async () => {
  const worked: number[] = [];
  let going = Promise.withResolvers<void>();
  const note = newestOnly(async (value: number) => {
    worked.push(value);
    await going.promise;
  }, () => assert.fail("nothing failed"));
  for (const value of [1, 2, 3]) note(value);
  assert.deepEqual(worked, [1]);
  const first = going;
  going = Promise.withResolvers();
  first.resolve();
  await new Promise((resolve) => setTimeout(resolve));
  assert.deepEqual(worked, [1, 3]);
  going.resolve();
});

Deno.test("a failure is told, and holds up no later value", async () => {
  const failures: string[] = [];
  const worked: number[] = [];
  const note = newestOnly((value: number) => {
    worked.push(value);
    // Thrown at once, and as a rejection.
    if (value === 1) throw new Error("at once");
    return value === 2 ? Promise.reject(new Error("later")) : Promise.resolve();
  }, ({ message }) => failures.push(message));
  for (const value of [1, 2, 3]) {
    note(value);
    await new Promise((resolve) => setTimeout(resolve));
  }
  assert.deepEqual([worked, failures], [[1, 2, 3], ["at once", "later"]]);
});
