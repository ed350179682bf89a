import { readPostmaster } from "../../../broker/postgres_postmaster.ts";
import { descendantsOf, sleep } from "../../e2e/harness.ts";
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
        const processes = descendantsOf((await readPostmaster(server.cluster))!.pid);
        Deno.kill(run.pick(processes), "SIGKILL");
        run.inject();
      }
      await run.recovers(world);
      if (run.injected % CHECK_EVERY === 0) await run.check(world);
    }
    await run.finish(world);
  },
};
