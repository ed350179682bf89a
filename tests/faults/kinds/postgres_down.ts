import { memoryBytes } from "../../e2e/faults.ts";
import { sleep } from "../../e2e/harness.ts";
import type { Kind } from "../kind.ts";

const MIB = 2 ** 20;
/** What the process may grow by while PostgreSQL is away. */
const GROWN_BYTES_MAX = 200 * MIB;
const MEMORY_BYTES_MAX = 1024 * MIB;
const LOOK_MS = 500;

/** PostgreSQL is away for minutes while records come as fast as they can be sent. */
export const postgresDown: Kind = {
  name: "postgres-down",
  what: "PostgreSQL away under full load: 3 minutes in a full run, 10 seconds in a short one; memory flat",
  counts: { full: 2, short: 1 },
  async run(run) {
    await using world = await run.world({ postgres: "apart", rate: run.short ? 3_000 : 15_000 });
    for (let i = 0; i < run.count; i++) {
      await sleep(3_000);
      const { pid } = world.tailrace!.child;
      await world.postgres!.down({ kill: i % 2 === 0 });
      run.inject();
      await sleep(3_000);
      const before = memoryBytes(pid);
      let most = before;
      for (const end = performance.now() + (run.short ? 7_000 : 177_000); performance.now() < end;) {
        await sleep(LOOK_MS);
        most = Math.max(most, memoryBytes(pid));
      }
      await world.postgres!.up();
      const told = `${Math.round(before / MIB)} MiB held, at most ${Math.round(most / MIB)} MiB`;
      run.remarks.push(told);
      // What comes in a short run's seconds would not be seen beside what a collection leaves.
      const grew = !run.short && most - before > GROWN_BYTES_MAX;
      if (grew || most > MEMORY_BYTES_MAX) {
        run.findings.note("wrong", "behaviour", `memory grew while PostgreSQL was away: ${told}`);
      }
      await run.recovers(world);
    }
    await run.finish(world);
  },
};
