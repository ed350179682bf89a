import assert from "node:assert/strict";
import { RewoundStretch, rewoundTo } from "../../pipeline/runtime/rewound_stretch.ts";

Deno.test("letters hold outside the stretch, and in it where their records were set aside again", () => {
  const stretch = new RewoundStretch(rewoundTo(10, 30, null));
  assert.deepEqual([9, 12, 13, 14, 20, 30].map((offset) => stretch.note(offset)), [
    false,
    true,
    true,
    true,
    true,
    false,
  ]);
  const told = (offsets: number[]) => offsets.map((offset) => stretch.letterAt(offset));
  assert.deepEqual(told([0, 9, 30, 99]), ["holds", "holds", "holds", "holds"]);
  assert.deepEqual(told([12, 14, 20]), ["holds", "holds", "holds"]);
  assert.deepEqual(told([10, 11, 15, 19, 21, 29]), ["void", "void", "void", "void", "void", "void"]);
  assert.deepEqual(stretch.saved(), { from: 10, to: 30, aside: [[12, 15], [20, 21]], isFull: false });
});

Deno.test("at the bound of what is remembered nothing is known of what comes after", () => {
  const stretch = new RewoundStretch(rewoundTo(0, 1_000, null), 3);
  for (let offset = 0; offset < 20; offset += 2) stretch.note(offset);
  assert.deepEqual(stretch.saved(), { from: 0, to: 1_000, aside: [[0, 1], [2, 3], [4, 5]], isFull: true });
  const told = [0, 3, 4, 5, 6, 999, 1_000].map((offset) => stretch.letterAt(offset));
  assert.deepEqual(told, ["holds", "void", "holds", "unknown", "unknown", "unknown", "holds"]);
  const again = new RewoundStretch(stretch.saved(), 3);
  assert.deepEqual([again.letterAt(3), again.letterAt(7)], ["void", "unknown"]);
});

Deno.test("a further rewind keeps what was found out before the place it goes back to", () => {
  const before = { from: 10, to: 50, aside: [[12, 15], [20, 25], [40, 41]] as const, isFull: true };
  assert.deepEqual(rewoundTo(22, 60, before), { from: 10, to: 60, aside: [[12, 15], [20, 22]], isFull: false });
  assert.deepEqual(rewoundTo(45, 30, before), { ...before, to: 50, isFull: true });
  // 50 to 70 were read once, and stay so.
  const whole = rewoundTo(70, 90, { ...before, isFull: false });
  assert.deepEqual(whole, { from: 10, to: 90, aside: [...before.aside, [50, 70]], isFull: false });
  assert.deepEqual(rewoundTo(5, 60, before), { from: 5, to: 60, aside: [], isFull: false });
  assert.deepEqual(rewoundTo(10, 60, null), { from: 10, to: 60, aside: [], isFull: false });
});
