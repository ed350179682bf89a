import assert from "node:assert/strict";
import type { Sample } from "../../pipeline/checkpoint/history.ts";
import { Lookback } from "../../pipeline/runtime/lookback.ts";
import { eventPlan } from "./logs.ts";

const plan = await eventPlan({ allowedLateness: "500ms" });
const deduped = await eventPlan({ allowedLateness: "500ms", dedupe: { by: "v", within: "1000ms" } });
const buckets = { consumed: 0, aggregated: 0, filtered: 0, late: 0, dead: 0, duplicate: 0 };

function sample(position: number, maxEventTimeMs: number | null, raisedToMs: number | null = null): Sample {
  return { partition: 0, position, maxEventTimeMs, raisedToMs, buckets };
}

const FROM_THE_START = new Map([[0, 0]]);

Deno.test("of samples that share a position the last one tells how the next record was judged", () => {
  const samples = [sample(0, null), sample(0, null, 2_000), sample(7, 2_100, 2_000), sample(7, 2_100, 4_000)];
  const lookback = new Lookback(plan, samples, FROM_THE_START);
  assert.deepEqual(lookback.at(0, 6), samples[1]);
  assert.deepEqual(lookback.at(0, 7), samples[3]);
  assert.deepEqual(lookback.before(0, 3_000), samples[3]);
  assert.deepEqual(lookback.before(0, 2_000), samples[1]);
  assert.deepEqual(lookback.closed(0, 2_000), samples[1], "without a record, by a decision alone");
  assert.deepEqual(lookback.closed(0, 4_000), samples[3]);
  assert.equal(lookback.closed(0, 5_000), null);
  assert.equal(lookback.goneMs, -Infinity, "nothing came before the first");
});

Deno.test("idle decisions are made again from where reading begins, also one at that place itself", () => {
  // The beginning of the history was forgotten, and two samples are of one place.
  const samples = [sample(5, 2_100), sample(5, 2_100, 3_000), sample(9, 2_600, 3_000), sample(9, 2_600, 4_000)];
  const { learn, raises } = new Lookback(deduped, samples, FROM_THE_START).startAt(samples[3]);
  assert.deepEqual(learn, { position: 5, maxEventTimeMs: 2_100, raisedToMs: -Infinity });
  assert.deepEqual(raises, [{ position: 5, toMs: 3_000 }, { position: 9, toMs: 4_000 }]);
});

Deno.test("a decision made together with new records counts after them, not before", () => {
  const samples = [sample(0, null), sample(4, 900), sample(6, 1_200, 3_000)];
  const { position, raises } = new Lookback(plan, samples, FROM_THE_START).startAt(samples[1]);
  assert.deepEqual([position, raises], [4, [{ position: 6, toMs: 3_000 }]]);
});

Deno.test("what is learnt reaches back as far as a record in time can repeat one, and not beyond the log", () => {
  const samples = [sample(0, null), sample(10, 900), sample(20, 1_900), sample(30, 2_900), sample(40, 3_900)];
  // The watermark is 3,400: in time is 2,400 and later (a window more), and repeats what is at most 1,000 before.
  const whole = new Lookback(deduped, samples, FROM_THE_START);
  assert.deepEqual(whole.startAt(samples[4]).learn?.position, 10);
  assert.deepEqual(new Lookback(deduped, samples, new Map([[0, 13]])).startAt(samples[4]).learn?.position, 13);
  assert.equal(new Lookback(deduped, samples, new Map([[0, 40]])).startAt(samples[4]).learn, undefined);
  assert.deepEqual([whole.isWhole(samples[4]), whole.startAt(samples[0]).learn], [true, undefined]);
  assert.equal(new Lookback(deduped, samples, new Map([[0, 13]])).isWhole(samples[4]), false);
});

Deno.test("windows are gone up to the largest event time that may be lost, and what its records may repeat", () => {
  const samples = [sample(0, null), sample(10, 900), sample(20, 1_900)];
  const goneIn = (earliest: number, tested = plan) => new Lookback(tested, samples, new Map([[0, earliest]])).goneMs;
  assert.equal(goneIn(0), -Infinity);
  assert.equal(goneIn(1), 900);
  assert.equal(goneIn(10), 900);
  assert.equal(goneIn(11), 1_900);
  assert.equal(goneIn(11, deduped), 2_900);
  assert.equal(goneIn(21), Infinity, "what was lost was never read");
});
