import assert from "node:assert/strict";
import { retryAfterMs } from "../../pipeline/net/retry_after.ts";

Deno.test("Retry-After is seconds or a date, and has a bound", () => {
  const now = Date.UTC(2026, 0, 1);
  const after = (text: string) => retryAfterMs(new Headers({ "retry-after": text }), now);
  assert.equal(after("120"), 120_000);
  assert.equal(after("1.5"), 1_500);
  assert.equal(after("Thu, 01 Jan 2026 00:00:30 GMT"), 30_000);
  assert.equal(after("Wed, 31 Dec 2025 23:00:00 GMT"), 0);
  assert.equal(after("999999999"), 3_600_000);
  for (const nothing of ["", "soon", "-1", "0x10"]) assert.equal(after(nothing), null);
  assert.equal(retryAfterMs(new Headers(), now), null);
});
