import assert from "node:assert/strict";
import { DeadThreshold } from "../../pipeline/runtime/dead_threshold.ts";

Deno.test("it tells when so many of the last are dead, and not one sooner", () => {
  const threshold = new DeadThreshold({ dead: 3, of: 5 });
  const told = [1, 0, 1, 0, 0, 1, 1, 0, 0, 1, 1].map((dead) => threshold.note(1, dead));
  // Of the last five at a time: 1, 1, 2, 2, 2, 2, 3, ...
  assert.deepEqual(told.indexOf(true), 6);
});

Deno.test("before so many were read, what is dead counts already", () => {
  const threshold = new DeadThreshold({ dead: 900, of: 1_000 });
  assert.equal(threshold.note(899, 899), false);
  assert.equal(threshold.note(1, 1), true);
});

Deno.test("good records of long ago do not thin out the bad ones of now", () => {
  const threshold = new DeadThreshold({ dead: 9, of: 10 });
  assert.equal(threshold.note(1_000_000, 0), false);
  assert.equal(threshold.note(9, 9), true);
});

Deno.test("bad records of long ago are forgotten", () => {
  const threshold = new DeadThreshold({ dead: 9, of: 10 });
  assert.equal(threshold.note(8, 8), false);
  assert.equal(threshold.note(10, 0), false);
  assert.equal(threshold.note(8, 8), false);
});

Deno.test("of a call with more records than are looked at, the share counts", () => {
  assert.equal(new DeadThreshold({ dead: 90, of: 100 }).note(100_000, 89_000), false);
  assert.equal(new DeadThreshold({ dead: 90, of: 100 }).note(100_000, 90_000), true);
});

Deno.test("calls without records change nothing", () => {
  const threshold = new DeadThreshold({ dead: 1, of: 2 });
  assert.equal(threshold.note(0, 0), false);
  assert.equal(threshold.note(2, 1), true);
  assert.equal(threshold.note(2, 0), false);
});

Deno.test("it agrees with counting one by one, but for a part, and holds few parts whatever comes", () => {
  const of = 100_000;
  const dead = 60_000;
  const threshold = new DeadThreshold({ dead, of });
  const last: number[] = [];
  let held = 0;
  let told = 0;
  let most = 0;
  for (let i = 0; i < 400_000; i++) {
    // Waves of bad records, ever higher.
    const isDead = Math.sin(i / 40_000) * 0.5 + 0.35 + i / 4_000_000 > (i * 0.618_033_988_7) % 1 ? 1 : 0;
    last.push(isDead);
    held += isDead;
    if (last.length > of) held -= last[last.length - 1 - of];
    const reached = threshold.note(1, isDead);
    if (held >= dead + of / 256) assert.ok(reached, `record ${i}: ${held} of the last are dead`);
    if (held <= dead - of / 256) assert.ok(!reached, `record ${i}: only ${held} of the last are dead`);
    if (reached) told++;
    most = Math.max(most, threshold.parts);
  }
  assert.ok(told > 0 && told < 400_000);
  assert.ok(most > 256 && most <= 514, `${most} parts`);
});
