import assert from "node:assert/strict";
import fc from "fast-check";
import { Failures, FAILURES_MAX, SOURCES_MAX, WINDOW_MS } from "../../api/security/failures.ts";
import { equalInConstantTime, newKey, verifyKey } from "../../api/security/keys.ts";
import { SESSION_MS, Sessions, SESSIONS_MAX } from "../../api/security/sessions.ts";
import { VirtualClock } from "../../pipeline/testing/virtual_clock.ts";

Deno.test("a session ends after its time, when it is ended, and when there are too many", async () => {
  const clock = new VirtualClock();
  const sessions = new Sessions(clock);
  const first = await sessions.start("k1");
  assert.equal(await sessions.keyOf(first), "k1");
  assert.equal(await sessions.keyOf(first.toUpperCase()), null);
  await clock.pass(SESSION_MS - 1);
  assert.equal(await sessions.keyOf(first), "k1");
  await clock.pass(1);
  assert.equal(await sessions.keyOf(first), null);
  const second = await sessions.start("k2");
  await sessions.end(second);
  assert.equal(await sessions.keyOf(second), null);
  const oldest = await sessions.start("k3");
  for (let i = 0; i < SESSIONS_MAX; i++) await sessions.start("k4");
  assert.equal(sessions.size, SESSIONS_MAX);
  assert.equal(await sessions.keyOf(oldest), null);
});

Deno.test("wrong keys are counted per source for a minute, for a bounded number of sources", async () => {
  const clock = new VirtualClock();
  const failures = new Failures(clock);
  for (let i = 0; i < FAILURES_MAX; i++) {
    assert.equal(failures.waitSeconds("a"), 0);
    failures.add("a");
  }
  assert.equal(failures.waitSeconds("a"), WINDOW_MS / 1000);
  assert.equal(failures.waitSeconds("b"), 0);
  await clock.pass(WINDOW_MS - 500);
  assert.equal(failures.waitSeconds("a"), 1);
  await clock.pass(500);
  assert.equal(failures.waitSeconds("a"), 0);
  for (let i = 0; i < SOURCES_MAX + 10; i++) failures.add(`source ${i}`);
  assert.equal(failures.size, SOURCES_MAX);
});

Deno.test("only the very text of a key is that key", async () => {
  const { text, stored } = await newKey({ name: "a", role: "viewer", nowMs: 0 });
  const other = await newKey({ name: "b", role: "admin", nowMs: 0 });
  const keys = [stored, other.stored];
  assert.equal((await verifyKey(text, keys))?.name, "a");
  assert.equal(await verifyKey(text.slice(0, 21) + other.text.slice(21), keys), null);
  await fc.assert(
    fc.asyncProperty(fc.nat(text.length - 1), fc.string({ minLength: 1, maxLength: 1 }), async (at, character) => {
      const changed = text.slice(0, at) + character + text.slice(at + 1);
      assert.equal((await verifyKey(changed, keys)) !== null, changed === text);
    }),
    { numRuns: 300 },
  );
});

Deno.test("comparing in constant time agrees with ===", () => {
  fc.assert(fc.property(fc.string(), fc.string(), (a, b) => {
    assert.equal(equalInConstantTime(a, b), a === b);
    assert.ok(equalInConstantTime(a, `${a}`));
  }));
});
