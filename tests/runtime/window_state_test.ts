import assert from "node:assert/strict";
import type { PaneBatch } from "../../pipeline/operators/panes.ts";
import { Shard } from "../../pipeline/runtime/shard.ts";
import { WindowState } from "../../pipeline/runtime/window_state.ts";
import { VirtualClock } from "../../pipeline/testing/virtual_clock.ts";
import { encode, eventPlan, PartitionLog, recordOf, SCHEMAS } from "./logs.ts";

const plan = await eventPlan({ allowedLateness: "60000ms" });

/** The panes that records of these keys and times make. */
async function panesOf(...records: readonly [k: string, at: number][]): Promise<PaneBatch> {
  const partitions = [{ partition: 0, position: 0, maxEventTimeMs: -Infinity, raisedToMs: -Infinity }];
  const shard = new Shard({ plan, partitions }, {
    clock: new VirtualClock(),
    schemaById: (id) => Promise.resolve(SCHEMAS[id]),
    onFull: () => {},
  });
  const log = new PartitionLog();
  log.append(records.map(([k, at]) => recordOf(encode({ k, v: 1, at }))));
  await shard.take(log.fetch(0, 0, 1));
  return shard.flush(new Map()).panes;
}

Deno.test("of panes that are computed again only those are kept that are asked for, however many keys their windows have", async () => {
  const wanted = new WindowState(plan);
  wanted.merge(await panesOf(["a", 100], ["b", 1_100]));
  const windows = new WindowState(plan);
  const everyKey = Array.from({ length: 500 }, (_, i) => [`k${i}`, 100] as [string, number]);
  windows.mergeKnown(
    await panesOf(["a", 100], ["a", 900], ["b", 100], ["b", 1_200], ["a", 1_300], ...everyKey),
    wanted,
  );
  assert.equal(windows.openPanes, 2);
  const { values, length } = windows.rowsOf(wanted.batches());
  assert.deepEqual([length, values[0], values[1], values[3]], [2, ["a", "b"], [0, 1_000], [2, 1]]);
  const elsewhere = new WindowState(plan);
  elsewhere.merge(await panesOf(["a", 7_000]));
  assert.throws(() => windows.rowsOf(elsewhere.batches()), /is not found there again: this is a bug/);
});

Deno.test("windows of before a rewind are taken out when they have ended, not published", async () => {
  const windows = new WindowState(plan, { floorMs: 2_000 });
  windows.merge(await panesOf(["a", 100], ["a", 1_100], ["a", 2_100]));
  assert.equal(windows.takeEnded(999).length, 0);
  assert.deepEqual(windows.takeEnded(1_000).map(({ windows }) => [...windows]), [[0]]);
  assert.deepEqual(windows.takeEnded(9_000).map(({ windows }) => [...windows]), [[1_000]]);
  assert.deepEqual(windows.publish(9_000, false).values[1], [2_000]);
});
