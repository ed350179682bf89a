import { sleep, type Tailrace, until } from "../../e2e/harness.ts";
import type { FaultRun, Kind } from "../kind.ts";
import { copyCheckpoints, type World } from "../world.ts";

const CHECK_EVERY = 20;
/** How long the older one may take to find out. */
const FENCED_WITHIN_MS = 90_000;
/** Once in so many it is frozen past all time-outs of brokers and database. */
const LONG_EVERY = 100;
const LONG_MS = 75_000;

/** The owner is frozen, a second one takes over from another data folder, the first wakes up in the middle of what it did. */
export const frozenOwner: Kind = {
  name: "frozen-owner",
  what: "SIGSTOP of the owner, a second one takes over, SIGCONT: the older stops and nothing of it sticks",
  counts: { full: 300, short: 2 },
  async run(run) {
    await using world = await run.world({ broker: "apart", postgres: "apart" });
    await using folders = new AsyncDisposableStack();
    for (let last = world.dataDir; run.injected < run.count;) {
      await sleep(run.between(20, 500));
      const older = folders.use(world.tailrace!);
      older.child.kill("SIGSTOP");
      run.inject();
      const isLong = !run.short && run.injected % LONG_EVERY === 0;
      await sleep(isLong ? LONG_MS : run.between(50, 400));
      const began = performance.now();
      const dataDir = `${world.folder}/data-${run.injected}`;
      // With a copy of what was saved, or with nothing: then the whole topic is computed again.
      if (run.injected % 5 !== 0) await copyCheckpoints(last, dataDir);
      world.tailrace = null;
      await world.start({ dataDir });
      await sleep(run.between(0, 400));
      older.child.kill("SIGCONT");
      await world.recovered();
      run.recoveredIn(performance.now() - began);
      await isFenced(older, world, run);
      older.child.kill("SIGKILL");
      await older.child.exited();
      last = dataDir;
      if (run.injected % CHECK_EVERY === 0) await run.check(world);
    }
    await run.finish(world);
  },
};

/** The older one must say that another took over, and must have stopped. */
async function isFenced(older: Tailrace, world: World, run: FaultRun): Promise<void> {
  let last = "";
  try {
    await until("the older owner stops", async () => {
      if (older.child.hasEnded) {
        last = older.child.stderr.slice(-2_000);
        return true;
      }
      const { state, reason } = await older.status(world.pipeline);
      last = `${state}: ${reason}`;
      return state === "failed";
    }, FENCED_WITHIN_MS);
    if (!/another|taken over|took over|owner/i.test(last)) {
      run.findings.note("wrong", "behaviour", `the older owner does not say that another took over: ${last}`);
    }
  } catch {
    run.findings.note("wrong", "behaviour", `the older owner goes on beside the newer one: ${last}`);
  }
}
