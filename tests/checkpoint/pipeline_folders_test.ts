import assert from "node:assert/strict";
import type { Checkpoint } from "../../pipeline/checkpoint/checkpoint.ts";
import { type Disk, systemDisk } from "../../pipeline/disk.ts";
import { FileHistoryStore } from "../../pipeline/checkpoint/file_history.ts";
import { FileCheckpointStore } from "../../pipeline/checkpoint/file_store.ts";
import type { Sample } from "../../pipeline/checkpoint/history.ts";
import { PipelineFolders } from "../../pipeline/checkpoint/pipeline_folders.ts";
import { ConflictError, UnavailableError } from "../../pipeline/errors.ts";
import { SimDisk } from "../simulation/sim_disk.ts";

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

function sampleOf(position: number): Sample {
  const buckets = { consumed: 0, aggregated: 0, filtered: 0, late: 0, dead: 0, duplicate: 0 };
  return { partition: 0, position, maxEventTimeMs: position, raisedToMs: null, buckets };
}

function temporaryFolder(): { path: string } & Disposable {
  const path = Deno.makeTempDirSync({ prefix: "tailrace_folders_" });
  return { path, [Symbol.dispose]: () => Deno.removeSync(path, { recursive: true }) };
}

function processOn(disk: Disk, path: string) {
  const folders = new PipelineFolders(path, disk);
  return { folders, checkpoints: new FileCheckpointStore(folders), history: new FileHistoryStore(folders) };
}

Deno.test("what is saved is found, also while another process takes the folder over", async () => {
  using folder = temporaryFolder();
  const owner = processOn(systemDisk, folder.path);
  await owner.checkpoints.save("p", checkpointOf(4));
  await owner.history.append("p", [sampleOf(1)]);
  for (const what of ["checkpoint", "history"]) {
    let claims = 0;
    const disk: Disk = {
      ...systemDisk,
      read: async (path) => {
        // In the moment between looking for the folder and reading the file in it.
        if (path.endsWith(what) && claims++ < 2) await processOn(systemDisk, folder.path).folders.claim("p");
        return await systemDisk.read(path);
      },
    };
    const reader = processOn(disk, folder.path);
    assert.equal((await reader.checkpoints.load("p"))?.epoch, 4, what);
    assert.deepEqual((await reader.history.load("p")).length, 1, what);
    assert.ok(claims > 2);
  }
});

Deno.test("who claims a pipeline later finds what was saved, and who had it before can save nothing more", async () => {
  using folder = temporaryFolder();
  const [older, newer] = [processOn(systemDisk, folder.path), processOn(systemDisk, folder.path)];
  await older.folders.claim("p");
  await older.checkpoints.save("p", checkpointOf(1));
  await older.history.append("p", [sampleOf(1)]);
  await older.checkpoints.save("other", checkpointOf(5));

  await newer.folders.claim("p");
  assert.equal((await newer.checkpoints.load("p"))!.epoch, 1);
  await assert.rejects(older.checkpoints.save("p", checkpointOf(2)), (error) => {
    assert.ok(error instanceof ConflictError);
    assert.match(error.message, /another process has taken over pipeline p in .*Run a pipeline in one process only/);
    return true;
  });
  await assert.rejects(older.history.append("p", [sampleOf(2)]), ConflictError);
  await assert.rejects(older.history.replace("p", []), ConflictError);
  await assert.rejects(older.folders.claim("p"), ConflictError);

  await newer.folders.claim("p");
  await newer.checkpoints.save("p", checkpointOf(3));
  await newer.history.append("p", [sampleOf(3)]);
  assert.deepEqual((await newer.history.load("p")).map(({ position }) => position), [1, 3]);
  assert.equal((await older.checkpoints.load("p"))!.epoch, 3, "whoever only looks sees the newest");
  await older.checkpoints.save("other", checkpointOf(6));
});

Deno.test("a pipeline that was let go can be claimed again by the same process, whoever had it meanwhile", async () => {
  using folder = temporaryFolder();
  const [one, two] = [processOn(systemDisk, folder.path), processOn(systemDisk, folder.path)];
  await one.checkpoints.save("p", checkpointOf(1));
  one.folders.release("p");
  await two.checkpoints.save("p", checkpointOf(2));
  await one.folders.claim("p");
  assert.equal((await one.checkpoints.load("p"))!.epoch, 2);
  await one.checkpoints.save("p", checkpointOf(3));
  await assert.rejects(two.checkpoints.save("p", checkpointOf(4)), ConflictError);
});

Deno.test("several that claim at once get it one after the other; the last has it", async () => {
  using folder = temporaryFolder();
  const all = Array.from({ length: 8 }, () => processOn(systemDisk, folder.path));
  const paths = await Promise.all(all.map(({ folders }) => folders.claim("p").catch(() => null)));
  const claimed = paths.filter((path) => path !== null);
  assert.equal(new Set(claimed).size, claimed.length, "no two have the same");
  const saves = await Promise.allSettled(
    all.map(({ checkpoints }, epoch) => checkpoints.save("p", checkpointOf(epoch))),
  );
  assert.ok(saves.some(({ status }) => status === "fulfilled"));
});

Deno.test("an owner frozen at any step of a save or an append changes nothing once another has claimed", async () => {
  for (const what of ["save", "append", "replace"] as const) {
    let steps = 0;
    for (let isFrozen = true; isFrozen; steps++) {
      const disk = new SimDisk();
      const goOn = Promise.withResolvers<void>();
      let frozenAt = -1;
      let count = 0;
      const old = processOn(disk.view(() => count++ === frozenAt ? goOn.promise : Promise.resolve()), "d");
      await old.checkpoints.save("p", checkpointOf(1));
      await old.history.append("p", [sampleOf(1)]);
      frozenAt = count + steps;
      const work = what === "save" ? old.checkpoints.save("p", checkpointOf(2)) : old.history[what]("p", [sampleOf(2)]);
      const ended = work.then(() => null, (error) => error);
      for (let turn = 0; turn < 60; turn++) await Promise.resolve();
      isFrozen = count === frozenAt + 1;

      const newer = processOn(disk.view(() => Promise.resolve()), "d");
      await newer.folders.claim("p");
      const found = (await newer.checkpoints.load("p"))!.epoch;
      const samples = (await newer.history.load("p")).map(({ position }) => position);
      goOn.resolve();
      const error = await ended;
      assert.ok(error === null || error instanceof ConflictError, String(error));
      assert.equal((await newer.checkpoints.load("p"))!.epoch, found, `${what}, step ${steps}`);
      assert.deepEqual(
        (await newer.history.load("p")).map(({ position }) => position),
        samples,
        `${what}, step ${steps}`,
      );
      await newer.checkpoints.save("p", checkpointOf(9));
      await newer.history.append("p", [sampleOf(9)]);
      assert.equal((await newer.checkpoints.load("p"))!.epoch, 9);
      assert.deepEqual((await newer.history.load("p")).map(({ position }) => position), [...samples, 9]);
    }
    assert.ok(steps > 5, `${steps} steps of ${what}`);
  }
});

Deno.test("a disk that refuses a claim is waited for", async () => {
  using folder = temporaryFolder();
  Deno.writeTextFileSync(`${folder.path}/file`, "");
  await assert.rejects(new PipelineFolders(`${folder.path}/file/sub`).claim("p"), UnavailableError);
});
