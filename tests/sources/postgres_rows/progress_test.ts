import assert from "node:assert/strict";
import {
  AHEAD_MAX,
  aheadFrom,
  STEPS_MAX,
  stepsFrom,
  withStep,
} from "../../../pipeline/sources/postgres_rows/progress.ts";
import { POSITION_BYTES_MAX } from "../../../pipeline/sources/source.ts";

const at = (minute: number) => new Date(1_769_850_000_000 + 60_000 * minute).toISOString();

Deno.test("a step counts from its transaction on, and those before stay for the sweep until they are swept", () => {
  const steps = withStep(withStep([[100, at(0)]], 150, at(1)), 200, at(2));
  assert.deepEqual(steps, [[100, at(0)], [150, at(1)], [200, at(2)]]);
  assert.deepEqual(stepsFrom(steps, 149), steps);
  assert.deepEqual(stepsFrom(steps, 150), steps.slice(1));
  assert.deepEqual(stepsFrom(steps, 1_000), steps.slice(2));
  assert.deepEqual(withStep(steps, 250, at(1)), steps, "it never goes back");
  assert.deepEqual(withStep(steps, 200, at(3)), [[100, at(0)], [150, at(1)], [200, at(3)]]);
});

Deno.test("what is read ahead is forgotten once the horizon has passed it", () => {
  assert.deepEqual(aheadFrom(10, [9, 10, 12], [15, 11, 12]), [10, 11, 12, 15]);
});

Deno.test("a position with all that it may remember is no longer than a position may be", () => {
  let steps: readonly (readonly [number, string])[] = [[2 ** 45, at(0)]];
  for (let i = 1; i <= 2 * STEPS_MAX; i++) steps = withStep(steps, 2 ** 45 + i, at(i));
  assert.equal(steps.length, STEPS_MAX);
  const ahead = Array.from({ length: AHEAD_MAX }, (_, i) => 2 ** 45 + i);
  assert.ok(JSON.stringify({ steps, ahead }).length < 0.9 * POSITION_BYTES_MAX);
});
