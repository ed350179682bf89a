import assert from "node:assert/strict";
import { IdleRaises } from "../../pipeline/runtime/idle.ts";
import { PartitionLedger } from "../../pipeline/runtime/partition_ledger.ts";
import { Rate } from "../../pipeline/runtime/rate.ts";
import { eventPlan } from "./logs.ts";

const plan = await eventPlan();

interface Given {
  readonly watermark: number;
  readonly quietMs: number;
  /** Records not read yet. */
  readonly lag?: number;
}

function ledgerOf({ watermark, quietMs, lag = 0 }: Given, partition: number): PartitionLedger {
  const ledger = PartitionLedger.fresh(plan, { partition, position: 0 });
  ledger.advance({
    partition,
    position: 10,
    maxEventTimeMs: watermark + plan.allowedLatenessMs,
    raisedToMs: -Infinity,
    highWatermark: 10 + lag,
    timestampMs: 1,
    quietMs,
    aggregated: 10,
    filtered: 0,
    late: 0,
    dead: 0,
    duplicate: 0,
    redriven: [],
    aside: [],
    consumed: 10,
  });
  return ledger;
}

/** What is raised when the partitions tell this, after they told `before`: that all have just spoken, unless given. */
function raises(
  partitions: readonly Given[],
  { nowMs = 1e9, latestEndMs = 9_000, before = partitions.map((one) => ({ ...one, quietMs: 0 })) } = {},
): [number, number][] {
  const idle = new IdleRaises(plan);
  assert.deepEqual([...idle.next(before.map(ledgerOf), { nowMs, latestEndMs: -Infinity })], []);
  return [...idle.next(partitions.map(ledgerOf), { nowMs, latestEndMs })];
}

const IDLE = plan.idleAfterMs;

Deno.test("an idle partition follows the slowest that speaks, to the end of a window", () => {
  const partitions = [
    { watermark: 7_800, quietMs: 0 },
    { watermark: 5_400, quietMs: 10 },
    { watermark: 1_000, quietMs: IDLE },
  ];
  assert.deepEqual(raises(partitions), [[2, 5_000]]);
  assert.deepEqual(raises([...partitions.slice(0, 2), { watermark: 5_000, quietMs: IDLE }]), [], "it is there already");
});

Deno.test("a partition that has records unread, or was silent for less than allowed, is not idle", () => {
  const speaking = { watermark: 7_800, quietMs: 0 };
  assert.deepEqual(raises([speaking, { watermark: 1_000, quietMs: 10 * IDLE, lag: 1 }]), []);
  assert.deepEqual(raises([speaking, { watermark: 1_000, quietMs: IDLE - 1 }]), []);
  assert.deepEqual(raises([speaking, { watermark: -Infinity, quietMs: IDLE }]), [[1, 7_000]]);
});

Deno.test("the first partition to speak again takes no other with it, until that was silent beside it for as long as any", () => {
  const first = { watermark: 7_800, quietMs: 0 };
  const silentFor = (quietMs: number) => [first, { watermark: -Infinity, quietMs }];
  const before = silentFor(3 * IDLE);
  assert.deepEqual(raises(silentFor(3 * IDLE), { before }), []);
  assert.deepEqual(raises(silentFor(4 * IDLE - 1), { before }), []);
  assert.deepEqual(raises(silentFor(4 * IDLE), { before }), [[1, 7_000]]);
  assert.deepEqual(raises(silentFor(IDLE), { before }), [[1, 7_000]], "it spoke in between");
});

Deno.test("each silence of all begins anew", () => {
  const idle = new IdleRaises(plan);
  const next = (
    ...quiet: number[]
  ) => [...idle.next(quiet.map((quietMs, n) => ledgerOf({ watermark: 7_800 - 7_000 * n, quietMs }, n)), {
    nowMs: 1e9,
    latestEndMs: -Infinity,
  })];
  assert.deepEqual(next(0, IDLE / 2), []);
  assert.deepEqual(next(0, IDLE), [], "half of it was before the first record");
  assert.deepEqual(next(0, 1.5 * IDLE), [[1, 7_000]]);
  assert.deepEqual(next(IDLE, 3 * IDLE), []);
  assert.deepEqual(next(0, 3 * IDLE), []);
  assert.deepEqual(next(0, 4 * IDLE), [[1, 7_000]]);
});

Deno.test("nothing follows a partition that may still begin anywhere", () => {
  assert.deepEqual(raises([{ watermark: -Infinity, quietMs: 0 }, { watermark: 1_000, quietMs: IDLE }]), []);
});

Deno.test("when all are silent event time goes on with the wall clock, up to the end of the last window", () => {
  const silent = [{ watermark: 1_200, quietMs: IDLE }, { watermark: 4_000, quietMs: IDLE }];
  assert.deepEqual(raises(silent), [[0, 9_000], [1, 9_000]]);
  assert.deepEqual(
    raises(silent, { nowMs: 7_600 + IDLE }),
    [[0, 6_000], [1, 6_000]],
    "less lateness and silence allowed",
  );
  assert.deepEqual(raises(silent, { latestEndMs: -Infinity }), [], "nothing is open");
});

Deno.test("a ledger refuses to go back", () => {
  const ledger = ledgerOf({ watermark: 5_000, quietMs: 0 }, 3);
  const progress = {
    ...ledger.start,
    highWatermark: 10,
    timestampMs: 1,
    quietMs: 0,
    aggregated: 0,
    filtered: 0,
    late: 0,
    dead: 0,
    duplicate: 0,
    redriven: [],
    aside: [],
    consumed: 0,
  };
  assert.throws(() => ledger.advance({ ...progress, position: 9 }), /position of partition 3 went back from 10 to 9/);
  assert.throws(
    () => ledger.advance({ ...progress, maxEventTimeMs: 1 }),
    /largest event time of partition 3 went back/,
  );
});

Deno.test("only a raise that is saved closes windows", () => {
  const ledger = ledgerOf({ watermark: 5_000, quietMs: 0 }, 0);
  const progress = {
    ...ledger.start,
    highWatermark: 10,
    timestampMs: 1,
    quietMs: 0,
    aggregated: 0,
    filtered: 0,
    late: 0,
    dead: 0,
    duplicate: 0,
    redriven: [],
    aside: [],
    consumed: 0,
  };
  ledger.advance({ ...progress, raisedToMs: 8_000 });
  assert.deepEqual([ledger.watermarkMs, ledger.undecided], [5_000, true]);
  assert.equal(ledger.checkpoint().raisedToMs, 8_000);
  ledger.saved();
  assert.deepEqual([ledger.watermarkMs, ledger.undecided], [8_000, false]);
});

Deno.test("a rate is that of the last five seconds, and falls to nothing when nothing is noted", () => {
  const rate = new Rate();
  assert.equal(rate.perSecond(0), 0);
  rate.note(0, 1_000);
  assert.equal(rate.perSecond(0), 0);
  for (let at = 200; at <= 10_000; at += 200) rate.note(at, 1_000 + at * 3);
  assert.equal(rate.perSecond(10_000), 3_000);
  for (let at = 10_200; at <= 20_000; at += 200) rate.note(at, 31_000);
  assert.equal(rate.perSecond(20_000), 0);
  const stopped = new Rate();
  stopped.note(0, 0);
  stopped.note(1_000, 5_000);
  assert.equal(stopped.perSecond(1_000), 5_000);
  assert.equal(stopped.perSecond(2_000), 2_500);
  assert.equal(stopped.perSecond(7_000), 0);
});
