import { sleep } from "../../e2e/harness.ts";
import type { Kind } from "../kind.ts";

const CHECK_EVERY = 25;
/** A start is over after about so long. */
const START_MS = 900;

/** Killed while it starts after a kill, several times in a row. */
export const killInRecovery: Kind = {
  name: "kill-in-recovery",
  what: "kill -9 while it recovers from kill -9, several times in a row",
  counts: { full: 200, short: 4 },
  async run(run) {
    await using world = await run.world();
    let unrecovered = 0;
    while (run.injected < run.count) {
      await sleep(run.between(50, 500));
      await world.kill();
      run.inject();
      unrecovered++;
      for (let times = Math.floor(run.between(1, 4)); times > 0 && run.injected < run.count; times--) {
        await using child = world.spawn();
        await sleep(run.between(100, START_MS));
        child.kill("SIGKILL");
        await child.exited();
        run.inject();
        unrecovered++;
      }
      const began = performance.now();
      await world.start();
      await world.recovered();
      for (; unrecovered > 0; unrecovered--) run.recoveredIn(performance.now() - began);
      if (run.injected % CHECK_EVERY < 4) await run.check(world);
    }
    await run.finish(world);
  },
};
