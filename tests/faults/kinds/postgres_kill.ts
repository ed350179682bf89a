import { readPostmaster } from "../../../broker/postgres_postmaster.ts";
import { descendantsOf, sleep, until } from "../../e2e/harness.ts";
import type { Kind } from "../kind.ts";

const CHECK_EVERY = 25;
/** Of so many kills one takes the whole server, the others one of its processes. */
const WHOLE_EVERY = 4;

/** SIGKILL of one of PostgreSQL's processes, upon which it throws out all clients and recovers; or of all of it. */
export const postgresKill: Kind = {
  name: "postgres-kill",
  what: "SIGKILL of PostgreSQL or one of its processes",
  counts: { full: 500, short: 3 },
  async run(run) {
    await using world = await run.world({ postgres: "apart" });
    const server = world.postgres!;
    while (run.injected < run.count) {
      await sleep(run.between(20, 500));
      if (run.injected % WHOLE_EVERY === 0) {
        await server.down({ kill: true });
        run.inject();
        await sleep(run.between(0, 400));
        await server.up();
      } else {
        await until("one of its processes is killed", async () => {
          const postmaster = await readPostmaster(server.cluster);
          const processes = postmaster ? descendantsOf(postmaster.pid) : [];
          return processes.length > 0 && killed(run.pick(processes));
        });
        run.inject();
      }
      await run.recovers(world);
      if (run.injected % CHECK_EVERY === 0) await run.check(world);
    }
    await run.finish(world);
  },
};

/** False for a process that has ended since it was found. */
function killed(pid: number): boolean {
  try {
    Deno.kill(pid, "SIGKILL");
    return true;
  } catch {
    return false;
  }
}
