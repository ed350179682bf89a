import { sleep } from "../../e2e/harness.ts";
import type { Kind } from "../kind.ts";
import { SmallDisk } from "../small_disk.ts";

const DISK = "64m";
const CHECK_EVERY = 10;

/** The disk of broker, registry and checkpoints has no room left for a while. */
export const diskFull: Kind = {
  name: "disk-full",
  what: "the disk of broker, registry and checkpoints full for a while",
  counts: { full: 50, short: 2 },
  async run(run) {
    const disk = await SmallDisk.open(DISK);
    if ("why" in disk) {
      run.remarks.push(`left out: ${disk.why}`);
      return;
    }
    await using _ = disk;
    await using world = await run.world({ postgres: "apart", dataDir: `${disk.folder}/data` });
    while (run.injected < run.count) {
      await sleep(run.between(50, 500));
      await disk.fill();
      run.inject();
      await sleep(run.between(200, 2_500));
      await disk.empty();
      await run.recovers(world);
      if (run.injected % CHECK_EVERY === 0) await run.check(world);
    }
    await run.finish(world);
  },
};
