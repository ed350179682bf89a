import { sleep } from "../../e2e/harness.ts";
import { kafkaAt } from "../../e2e/topic_reader.ts";
import type { Kind } from "../kind.ts";
import { TOPIC, type World } from "../world.ts";

const CHECK_EVERY = 20;
/** Of so many one is a second process on the same pipeline, the others are consumers in its group. */
const PROCESS_EVERY = 3;

/** Others come into the pipeline's group and leave it; a second process takes the pipeline over and ends. */
export const secondMember: Kind = {
  name: "second-member",
  what: "a second member joins and leaves the pipeline's group; a second process takes over and stops",
  counts: { full: 100, short: 3 },
  async run(run) {
    await using world = await run.world({ broker: "apart", postgres: "apart" });
    while (run.injected < run.count) {
      await sleep(run.between(50, 400));
      run.inject();
      if (run.injected % PROCESS_EVERY === 0) {
        await takeOver(world, run.between(200, 1_000));
      } else {
        await join(world, run.between(300, 1_500));
      }
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

/** Another process with a data folder of its own computes everything again, then ends; the first is started again. */
async function takeOver(world: World, forMs: number): Promise<void> {
  const first = world.tailrace!;
  await using second = await world.startAnother({ dataDir: `${world.folder}/second-${performance.now()}` });
  await sleep(forMs);
  await second.stop();
  first.child.kill("SIGINT");
  await first.child.exited();
  await world.forget();
  await world.start();
}
