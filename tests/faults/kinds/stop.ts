import { sleep } from "../../e2e/harness.ts";
import type { Kind } from "../kind.ts";

const CHECK_EVERY = 25;

/** Ctrl-C under load, and a start that goes on exactly there. */
export const stop: Kind = {
  name: "stop",
  what: "Ctrl-C under load and a new start",
  counts: { full: 100, short: 2 },
  async run(run) {
    await using world = await run.world();
    while (run.injected < run.count) {
      await sleep(run.between(20, 900));
      await world.stop();
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
