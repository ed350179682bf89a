import { sleep } from "../../e2e/harness.ts";
import type { Kind } from "../kind.ts";

const CHECK_EVERY = 25;

/** The process with everything inside is killed at any moment and started again. */
export const kill9: Kind = {
  name: "kill9",
  what: "kill -9 of the process, broker and all, at random",
  counts: { full: 1000, short: 6 },
  async run(run) {
    await using world = await run.world();
    while (run.injected < run.count) {
      await sleep(run.between(20, 900));
      await world.kill();
      run.inject();
      const began = performance.now();
      await world.start();
      await world.recovered();
      run.recoveredIn(performance.now() - began);
      if (run.injected % CHECK_EVERY === 0) await run.check(world);
    }
    await run.finish(world);
  },
};
