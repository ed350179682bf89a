import assert from "node:assert/strict";
import type { Checkpoint } from "../../pipeline/checkpoint/checkpoint.ts";
import type { Disk } from "../../pipeline/disk.ts";
import { FileHistoryStore } from "../../pipeline/checkpoint/file_history.ts";
import { FileCheckpointStore } from "../../pipeline/checkpoint/file_store.ts";
import type { Sample } from "../../pipeline/checkpoint/history.ts";
import { PipelineFolders } from "../../pipeline/checkpoint/pipeline_folders.ts";
import { Random } from "../simulation/random.ts";
import { SimDisk } from "../simulation/sim_disk.ts";

class PowerCut extends Error {}

const SEEDS = 40;

function checkpointOf(epoch: number): Checkpoint {
  return {
    fingerprint: "f",
    generation: 0,
    floorMs: null,
    finalBeforeMs: null,
    topicId: null,
    epoch,
    savedAtMs: 1,
    sinks: { results: null, setAside: null },
    partitions: [],
    panes: [],
  };
}

function sampleOf(position: number, partition: number): Sample {
  const buckets = { consumed: 0, aggregated: 0, filtered: 0, late: 0, dead: 0, duplicate: 0 };
  return { partition, position, maxEventTimeMs: position, raisedToMs: null, buckets };
}

/** Runs `work` and cuts the power at its `at`th step; false when it ended before. */
async function cutAt(at: number, disk: SimDisk, work: (view: ReturnType<SimDisk["view"]>) => Promise<void>) {
  let steps = 0;
  const view = disk.view(() => ++steps > at ? Promise.reject(new PowerCut()) : Promise.resolve());
  return await work(view).then(() => false, () => true);
}

const calm = () => Promise.resolve();
const checkpoints = (disk: Disk) => new FileCheckpointStore(new PipelineFolders("d", disk));
const historyIn = (disk: Disk) => new FileHistoryStore(new PipelineFolders("d", disk));

Deno.test("a power cut at any step of a save leaves the checkpoint before or the new one, whole", async () => {
  const seen = new Set<string>();
  for (let seed = 0; seed < SEEDS; seed++) {
    for (let at = 0, isCut = true; isCut; at++) {
      const random = new Random(1000 * seed + at);
      const disk = new SimDisk();
      let epoch = random.int(0, 2);
      for (let i = 1; i <= epoch; i++) await checkpoints(disk.view(calm)).save("p", checkpointOf(i));
      isCut = await cutAt(at, disk, (view) => checkpoints(view).save("p", checkpointOf(epoch + 1)));
      if (!isCut) epoch++;
      disk.powerCut(random);
      const found = (await checkpoints(disk.view(calm)).load("p"))?.epoch ?? 0;
      seen.add(isCut ? `${found - epoch} while saving` : `${found - epoch} once saved`);
      // Leftovers of the cut do not harm what is saved after it.
      await checkpoints(disk.view(calm)).save("p", checkpointOf(9));
      disk.powerCut(random);
      assert.equal((await checkpoints(disk.view(calm)).load("p"))!.epoch, 9);
    }
  }
  assert.deepEqual([...seen].sort(), ["0 once saved", "0 while saving", "1 while saving"]);
});

Deno.test("a power cut at any step of an append or a replacement leaves the history before or after it", async () => {
  const seen = new Set<string>();
  const kept = [[sampleOf(1, 0), sampleOf(1, 1)], [sampleOf(2, 0), sampleOf(2, 1)]];
  const next = [sampleOf(3, 0), sampleOf(3, 1), sampleOf(3, 2)];
  for (let seed = 0; seed < SEEDS; seed++) {
    for (const how of ["append", "replace"] as const) {
      for (let at = 0, isCut = true; isCut; at++) {
        const random = new Random(1000 * seed + at);
        const disk = new SimDisk();
        const before = kept.slice(0, random.int(0, 2));
        for (const samples of before) await historyIn(disk.view(calm)).append("p", samples);
        isCut = await cutAt(at, disk, (view) => historyIn(view)[how]("p", next));
        disk.powerCut(random);
        const found = await historyIn(disk.view(calm)).load("p");
        const isOld = JSON.stringify(found) === JSON.stringify(before.flat());
        if (!isOld) assert.deepEqual(found, how === "append" ? [...before.flat(), ...next] : next);
        seen.add(`${how}: ${isOld ? "before" : "after"} ${isCut ? "while" : "once"} written`);
        const on = historyIn(disk.view(calm));
        await on.append("p", [sampleOf(8, 0)]);
        await on.append("p", [sampleOf(9, 0)]);
        disk.powerCut(random);
        assert.deepEqual(await on.load("p"), [...found, sampleOf(8, 0), sampleOf(9, 0)]);
      }
    }
  }
  assert.deepEqual([...seen].sort(), [
    "append: after once written",
    "append: after while written",
    "append: before while written",
    "replace: after once written",
    "replace: after while written",
    "replace: before while written",
  ]);
});
