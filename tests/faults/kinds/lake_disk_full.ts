import { sleep } from "../../e2e/harness.ts";
import type { Kind } from "../kind.ts";
import { SmallDisk } from "../small_disk.ts";
import { lakeIn } from "../world.ts";

const DISK = "64m";
const CHECK_EVERY = 10;

/** The lake's disk has no room left for a while, and nothing else has less. */
export const lakeDiskFull: Kind = {
  name: "lake-disk-full",
  what: "the lake's disk full for a while; now and then a kill -9 before there is room again",
  counts: { full: 50, short: 2 },
  async run(run) {
    const disk = await SmallDisk.open(DISK);
    if ("why" in disk) {
      run.remarks.push(`left out: ${disk.why}`);
      return;
    }
    await using _ = disk;
    await using world = await run.world({ postgres: "apart", lake: lakeIn(`${disk.folder}/lake`) });
    while (run.injected < run.count) {
      await sleep(run.between(50, 500));
      await disk.fill();
      run.inject();
      await sleep(run.between(200, 2_500));
      const isKilled = run.injected % 3 === 0;
      if (isKilled) await world.kill();
      await disk.empty();
      if (isKilled) await world.start();
      await run.recovers(world);
      if (run.injected % CHECK_EVERY === 0) await run.check(world);
    }
    await run.finish(world);
  },
};
