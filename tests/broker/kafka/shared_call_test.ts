import assert from "node:assert/strict";
import { SharedCall } from "../../../broker/kafka/shared_call.ts";

Deno.test("who asks while a call is under way shares the next one, also after one that failed", async () => {
  const calls: PromiseWithResolvers<void>[] = [];
  const shared = new SharedCall(() => {
    const call = Promise.withResolvers<void>();
    calls.push(call);
    return call.promise;
  });
  const first = shared.run();
  const [second, third] = [shared.run(), shared.run()];
  assert.equal(calls.length, 1, "one at a time");
  const failed = assert.rejects(first, /disk/);
  calls[0].reject(new Error("disk"));
  await failed;
  assert.equal(calls.length, 2, "those who came later share one");
  calls[1].resolve();
  await Promise.all([second, third]);
  const fourth = shared.run();
  assert.equal(calls.length, 3);
  calls[2].resolve();
  await fourth;
});
