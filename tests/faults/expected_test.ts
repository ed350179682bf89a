import assert from "node:assert/strict";
import { temporaryFolder } from "../e2e/harness.ts";
import { LATE, PLAIN, ReadBack } from "./expected.ts";
import type { MadeRecord, Nature } from "./records.ts";

const T = Date.UTC(2026, 0, 1);

/** A record of account a at `seconds`; partitions 0 to 3 each need one before a window can be final. */
function record(
  n: number,
  {
    partition = 0,
    offset = n,
    seconds = 0,
    status = "approved",
    cents = 100,
    id = `id-${n}`,
    nature = "good" as Nature,
  },
): MadeRecord & { readonly offset: number; readonly timestampMs: number } {
  const transaction = { id, account: "a", category: "other", status, cents, eventMs: T + 1000 * seconds };
  const isGood = nature === "good";
  const key = new Uint8Array();
  return { n, partition, offset, timestampMs: 0, key, value: null, nature, transaction: isGood ? transaction : null };
}

Deno.test("the oracle sorts records into buckets and windows by the documented rules", async () => {
  await using folder = temporaryFolder();
  using log = await ReadBack.open(`${folder.path}/log.csv`);
  await log.add([
    record(0, { seconds: 1, cents: 100 }),
    record(1, { seconds: 9, cents: 301 }),
    record(2, { seconds: 9, status: "declined" }),
    record(3, { seconds: 9, cents: 0 }),
    record(4, { nature: "dead" }),
    record(5, { nature: "empty" }),
    // Again what was sent first: one definition counts it, the other does not.
    record(6, { seconds: 1, cents: 100, id: "id-0" }),
    // Declined, and yet it tells the time: the first window is over where only 5 seconds are allowed.
    record(7, { seconds: 15, status: "declined" }),
    record(8, { seconds: 8 }),
  ]);
  const plain = await log.expect(PLAIN);
  assert.deepEqual(plain.buckets, { aggregated: 4, filtered: 4, late: 0, dead: 1, duplicate: 0 });
  assert.deepEqual([...plain.rows], [
    [`a ${T}`, { n: 4, totalCents: 601, mean: 1.5025, largestCents: 301, final: false }],
  ]);
  assert.deepEqual(plain.aside, [{ why: "dead", partition: 0, offset: 4, n: 4 }]);
  const late = await log.expect(LATE);
  assert.deepEqual(late.buckets, { aggregated: 2, filtered: 4, late: 1, dead: 1, duplicate: 1 });
  assert.deepEqual(late.rows.get(`a ${T}`)?.totalCents, 401);
  assert.deepEqual(late.aside.map(({ why, offset }) => [why, offset]).sort(), [["dead", 4], ["late", 8]]);
});

Deno.test("to the oracle a window is final once all four partitions are past its end", async () => {
  await using folder = temporaryFolder();
  using log = await ReadBack.open(`${folder.path}/log.csv`);
  const finals = async () => [...(await log.expect(LATE)).rows.values()].map(({ final }) => final);
  await log.add([0, 1, 2].map((partition) => record(partition, { partition, seconds: 20 })));
  assert.deepEqual(await finals(), [false]);
  await log.add([record(3, { partition: 3, seconds: 34 }), record(4, { partition: 0, offset: 9, seconds: 36 })]);
  assert.deepEqual((await finals()).sort(), [false, false]);
  await log.add([1, 2, 3].map((partition) => record(4 + partition, { partition, offset: 9, seconds: 35 })));
  assert.deepEqual((await finals()).sort(), [false, true]);
});

Deno.test("to the oracle a record is late by its own partition alone, in order of offset", async () => {
  await using folder = temporaryFolder();
  using log = await ReadBack.open(`${folder.path}/log.csv`);
  // Added the wrong way round, and partition 1 is far ahead.
  await log.add([record(2, { offset: 2, seconds: 1 }), record(9, { partition: 1, seconds: 500 })]);
  await log.add([record(1, { offset: 1, seconds: 14 }), record(0, { offset: 0, seconds: 2 })]);
  assert.equal((await log.expect(LATE)).buckets.late, 0);
  await log.add([record(3, { offset: 3, seconds: 15 }), record(4, { offset: 4, seconds: 9 })]);
  assert.deepEqual((await log.expect(LATE)).aside.map(({ n }) => n), [4]);
});
