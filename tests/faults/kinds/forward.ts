import { sleep } from "../../e2e/harness.ts";
import { ForwardWorld } from "../forward_world.ts";
import { type Kind, NotExactError } from "../kind.ts";
import { hit } from "../network.ts";

const CHECK_EVERY = 20;

/** Everything between two clusters is killed or cut in turn; what comes out there must be what went in here, record by record. */
export const forward: Kind = {
  name: "forward",
  what:
    "kill -9 of the source between two clusters and of either broker; the link cut, halved, delayed, swallowed, down",
  counts: { full: 200, short: 6 },
  async run(run) {
    await using world = await ForwardWorld.open();
    world.proxy.byFrame = true;
    const ways: readonly (() => Promise<void>)[] = [
      async () => {
        await world.killForwarder();
        run.inject();
        await sleep(run.between(0, 300));
        world.startForwarder();
      },
      () => hit(world.proxy, run),
      async () => {
        await world.far.kill();
        run.inject();
        await sleep(run.between(0, 600));
        await world.far.up();
      },
      () => hit(world.proxy, run),
      async () => {
        await world.near.kill();
        run.inject();
        await sleep(run.between(0, 600));
        await world.near.up();
      },
      // The link is down, and the forwarding starts again meanwhile.
      async () => {
        world.proxy.onRequest = () => "cut";
        world.proxy.cut();
        run.inject();
        await world.killForwarder();
        world.startForwarder();
        await sleep(run.between(500, 1_500));
        world.proxy.onRequest = () => "pass";
      },
    ];
    while (run.injected < run.count) {
      await sleep(run.between(20, 400));
      await ways[run.injected % ways.length]();
      run.recoveredIn(await world.recovered());
      if (run.injected % CHECK_EVERY === 0 || run.injected === run.count) {
        run.records = await world.check(run.findings);
        if (run.findings.total > 0) throw new NotExactError("what came out is not what went in");
      }
    }
  },
};
