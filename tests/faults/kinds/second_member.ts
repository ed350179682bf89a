import { sleep } from "../../e2e/harness.ts";
import { kafkaAt } from "../../e2e/topic_reader.ts";
import type { Kind } from "../kind.ts";
import { copyCheckpoints, TOPIC, type World } from "../world.ts";

const CHECK_EVERY = 20;

/** Others come into the pipeline's group and leave it; a second process takes the pipeline over and ends. */
export const secondMember: Kind = {
  name: "second-member",
  what: "a second member joins and leaves the pipeline's group; a second process takes over and stops",
  counts: { full: 100, short: 3 },
  async run(run) {
    await using world = await run.world({ broker: "apart", postgres: "apart" });
    const ways = [
      () => join(world, run.between(300, 1_500)),
      () => takeOver(world, { forMs: run.between(200, 1_000), withCopy: true }),
      () => takeOver(world, { forMs: run.between(200, 1_000), withCopy: false }),
    ];
    while (run.injected < run.count) {
      await sleep(run.between(50, 400));
      await ways[run.injected % ways.length]();
      run.inject();
      await run.recovers(world);
      if (run.injected % CHECK_EVERY === 0) await run.check(world);
    }
    await run.finish(world);
  },
};

/** A consumer of the group that the pipeline notes its offsets in, which commits offsets of its own. */
async function join(world: World, forMs: number): Promise<void> {
  const consumer = kafkaAt(world.addresses.brokers).consumer({
    groupId: `tailrace.${world.pipeline}`,
    heartbeatInterval: 500,
    maxWaitTimeInMs: 200,
  });
  await consumer.connect();
  try {
    await consumer.subscribe({ topic: TOPIC, fromBeginning: true });
    await consumer.run({ autoCommitInterval: 100, eachBatch: () => Promise.resolve() });
    await sleep(forMs);
  } finally {
    await consumer.disconnect();
  }
}

/**
 * Another process with a data folder of its own goes on from a copy of the first one's checkpoint, or computes everything again
 * from none; it ends, and the first is started again. A first one that finds its checkpoint overtaken may refuse it, if it
 * says so: without it, it computes everything again.
 */
async function takeOver(world: World, { forMs, withCopy }: { forMs: number; withCopy: boolean }): Promise<void> {
  const first = world.tailrace!;
  const dataDir = `${world.folder}/second-${Math.floor(performance.now())}`;
  if (withCopy) await copyCheckpoints(world.dataDir, dataDir);
  await using second = await world.startAnother({ dataDir });
  await sleep(forMs);
  await second.stop();
  first.child.kill("SIGINT");
  await first.child.exited();
  await world.forget();
  const again = await world.start();
  await sleep(300);
  const { state, reason } = await again.status(world.pipeline);
  if (state === "failed" && /rewind|checkpoint/.test(reason ?? "")) {
    await world.stop({ code: 1 });
    await Deno.remove(`${world.dataDir}/checkpoints`, { recursive: true });
    await world.start();
  }
}
