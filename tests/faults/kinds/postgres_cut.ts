import { sleep, until } from "../../e2e/harness.ts";
import { type Fate, Proxy } from "../../log/proxy.ts";
import type { FaultRun, Kind } from "../kind.ts";

const CHECK_EVERY = 30;
/** Statements that pass before the one that is hit: each position has its turn. */
const POSITIONS = 12;
const HOLE_MS = 1_200;
/** A hole that is not cut open: Tailrace has to give up by itself, which it does after a minute. */
const LASTING_EVERY = 60;

interface Way {
  readonly of: "request" | "answer";
  readonly fate: Fate | "delay";
}

const WAYS: readonly Way[] = [
  { of: "request", fate: "cut" },
  { of: "request", fate: "half" },
  { of: "request", fate: "swallow" },
  // The statement was carried out, and nobody is told.
  { of: "answer", fate: "cut" },
  { of: "answer", fate: "half" },
  { of: "answer", fate: "swallow" },
  { of: "request", fate: "delay" },
];

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
      await hit(proxy!, run);
      await run.recovers(world);
      if (run.injected % CHECK_EVERY === 0) await run.check(world);
    }
    await run.finish(world);
  },
};

/** Lets some statements pass, hits one, and mends the connection again. */
async function hit(proxy: Proxy, run: FaultRun): Promise<void> {
  const way = WAYS[run.injected % WAYS.length];
  const isLasting = way.fate === "swallow" && run.injected % LASTING_EVERY === LASTING_EVERY - 1;
  let left = Math.floor(run.injected / WAYS.length) % POSITIONS;
  let isHit = false;
  const fate = (): Fate => {
    if (left-- > 0) return "pass";
    // A hole swallows all that comes after, too: what lacks its middle is no connection.
    if (isHit && way.fate !== "swallow") return "pass";
    isHit = true;
    if (way.fate === "delay") {
      proxy.delayMs = 150;
      return "pass";
    }
    return way.fate;
  };
  if (way.of === "request") proxy.onRequest = fate;
  else proxy.onAnswer = fate;
  await until("a statement was hit", () => isHit, 60_000);
  run.inject();
  if (way.fate === "delay") await sleep(600);
  if (way.fate === "swallow") await sleep(isLasting ? 65_000 : HOLE_MS);
  proxy.onRequest = proxy.onAnswer = () => "pass";
  proxy.delayMs = 0;
  if (way.fate === "swallow" && !isLasting) proxy.cut();
}
