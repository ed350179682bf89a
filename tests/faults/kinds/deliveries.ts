import { sleep } from "../../e2e/harness.ts";
import { LATE, PLAIN } from "../expected.ts";
import type { Kind } from "../kind.ts";
import { chance, good, type Recipe, startOfRun, transaction } from "../records.ts";

/** A record that is delivered again was first delivered at most so many records before. */
const AGAIN_WITHIN = 80;
/** How late a late one is, at most: within the time that duplicates are looked for in. */
const LATE_MS_MAX = 300_000;
const BATCH = 200;
const CHECK_EVERY = 2_000;

/** A tenth is delivered twice, a twentieth late; all are out of order by up to forty seconds. */
function unruly(seed: number, schemaId: number, startMs: number): Recipe {
  const delivered = (n: number) => {
    const of = transaction(seed, n, startMs);
    return chance(seed, n, 30) < 0.05
      ? { ...of, eventMs: of.eventMs - Math.floor(chance(seed, n, 31) * LATE_MS_MAX) }
      : of;
  };
  return (n) => {
    const isAgain = n > AGAIN_WITHIN && chance(seed, n, 32) < 0.1;
    return good(n, delivered(isAgain ? n - 1 - Math.floor(chance(seed, n, 33) * AGAIN_WITHIN) : n), schemaId);
  };
}

/** One pipeline has the lateness to wait for most, the other has little and counts each transaction once. */
export const deliveries: Kind = {
  name: "deliveries",
  what: "duplicate, reordered and late deliveries, with kills",
  counts: { full: 20_000, short: 1_000 },
  async run(run) {
    const startMs = startOfRun();
    await using world = await run.world({
      rules: [PLAIN, LATE],
      recipe: ({ schemaId }) => unruly(run.seed, schemaId, startMs),
    });
    for (let checked = 0; run.injected < run.count;) {
      await world.load.send(BATCH);
      for (let i = 0; i < BATCH; i++) run.inject();
      await sleep(run.between(20, 300));
      if (run.random() < 0.3) {
        await world.kill();
        await world.start();
      }
      await run.recovers(world);
      run.recovered = run.injected;
      if (run.injected - checked >= CHECK_EVERY) {
        checked = run.injected;
        await run.check(world);
      }
    }
    await run.finish(world);
  },
};
