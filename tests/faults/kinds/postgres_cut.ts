import { sleep } from "../../e2e/harness.ts";
import { Proxy } from "../../log/proxy.ts";
import type { Kind } from "../kind.ts";
import { hit } from "../network.ts";

const CHECK_EVERY = 30;
/** A hole that is not cut open: Tailrace has to give up by itself, which it does after a minute. */
const LASTING_EVERY = 60;
const LASTING_MS = 65_000;

/** A proxy between Tailrace and PostgreSQL does to each statement in turn what networks do. */
export const postgresCut: Kind = {
  name: "postgres-cut",
  what: "the connection to PostgreSQL cut, halved, delayed, black-holed at each statement in turn; its reply lost",
  counts: { full: 500, short: 7 },
  async run(run) {
    await using parts = new AsyncDisposableStack();
    let proxy: Proxy | null = null;
    const world = parts.use(
      await run.world({
        postgres: "apart",
        through: ({ databaseUrl }) => {
          const url = new URL(databaseUrl);
          proxy = parts.use(
            new Proxy({ hostname: "127.0.0.1", port: 0 }, { hostname: url.hostname, port: Number(url.port) }),
          );
          url.host = proxy.address;
          return { databaseUrl: url.href };
        },
      }),
    );
    while (run.injected < run.count) {
      await sleep(run.between(0, 120));
      await hit(proxy!, run, run.injected % LASTING_EVERY === LASTING_EVERY - 1 ? { lastingMs: LASTING_MS } : {});
      await run.recovers(world);
      if (run.injected % CHECK_EVERY === 0) await run.check(world);
    }
    await run.finish(world);
  },
};
