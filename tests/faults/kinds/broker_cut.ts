import { sleep } from "../../e2e/harness.ts";
import type { Kind } from "../kind.ts";
import { hit } from "../network.ts";

const CHECK_EVERY = 30;

/** A proxy before the broker does to requests and answers, transactions among them, what networks do. */
export const brokerCut: Kind = {
  name: "broker-cut",
  what: "the connections to the broker cut, halved, delayed, black-holed at each request in turn; answers lost",
  counts: { full: 500, short: 5 },
  async run(run) {
    await using world = await run.world({ broker: "apart", brokerBehindProxy: true });
    const proxy = world.brokerProxy!;
    proxy.byFrame = true;
    while (run.injected < run.count) {
      await sleep(run.between(0, 200));
      await hit(proxy, run);
      await run.recovers(world);
      if (run.injected % CHECK_EVERY === 0) await run.check(world);
    }
    await run.finish(world);
  },
};
