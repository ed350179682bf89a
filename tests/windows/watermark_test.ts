import assert from "node:assert/strict";
import fc from "fast-check";
import { tumblingStart } from "../../pipeline/windows/tumbling.ts";
import { PartitionWatermark } from "../../pipeline/windows/watermark.ts";

Deno.test("every time is in exactly one tumbling window, whose start is a multiple of the size after the offset", () => {
  const time = fc.integer({ min: -8.64e15, max: 8.64e15 });
  fc.assert(
    fc.property(time, fc.integer({ min: 1, max: 31_536_000_000 }), fc.nat(100_000), (time, size, offset) => {
      const start = tumblingStart(time, size, offset);
      assert.ok(start <= time && time < start + size);
      assert.equal(Math.abs((start - offset) % size), 0);
      assert.equal(tumblingStart(start, size, offset), start);
      assert.equal(tumblingStart(start + size, size, offset), start + size);
    }),
    { numRuns: 1_000 },
  );
  assert.equal(tumblingStart(-Infinity, 1000, 0), -Infinity);
});

Deno.test("a watermark trails the largest time, and a raise only ever moves it forward", () => {
  const watermark = new PartitionWatermark(500);
  assert.equal(watermark.currentMs, -Infinity);
  watermark.maxEventTimeMs = 2000;
  assert.equal(watermark.currentMs, 1500);
  watermark.raise(1000);
  assert.equal(watermark.currentMs, 1500);
  watermark.raise(1800);
  watermark.raise(1700);
  assert.equal(watermark.currentMs, 1800);
  watermark.maxEventTimeMs = 2400;
  assert.equal(watermark.currentMs, 1900);
  const resumed = new PartitionWatermark(500, { maxEventTimeMs: 2400, raisedToMs: 1800 });
  assert.equal(resumed.currentMs, 1900);
});
