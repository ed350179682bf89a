import { sleep } from "../../e2e/harness.ts";
import { whyNoKafka } from "../../servers/kafka.ts";
import type { FaultRun, Kind } from "../kind.ts";

const CHECK_EVERY = 20;
/** Of so many restarts one is Apache Kafka's: its start takes seconds. */
const APACHE_EVERY = 5;

/** The broker is killed and comes back, the embedded one in its own process and Apache Kafka. */
export const brokerKill: Kind = {
  name: "broker-kill",
  what: "kill -9 and restart of the embedded broker, and of Apache Kafka",
  counts: { full: 200, short: 5 },
  async run(run) {
    const why = await whyNoKafka();
    const apache = why === null ? Math.floor(run.count / APACHE_EVERY) : 0;
    if (why !== null) run.remarks.push(`Apache Kafka was left out: ${why}`);
    await embedded(run, run.count - apache);
    if (apache > 0) await withApache(run, run.count);
  },
};

async function embedded(run: FaultRun, until: number): Promise<void> {
  await using world = await run.world({ broker: "apart" });
  while (run.injected < until) {
    await sleep(run.between(20, 500));
    await world.broker!.kill();
    run.inject();
    await sleep(run.between(0, 600));
    await world.broker!.up();
    await run.recovers(world);
    if (run.injected % CHECK_EVERY === 0) await run.check(world);
  }
  await run.finish(world);
}

async function withApache(run: FaultRun, until: number): Promise<void> {
  await using world = await run.world({ broker: "apache" });
  while (run.injected < until) {
    await sleep(run.between(20, 500));
    await world.apache!.kill();
    run.inject();
    await world.apache!.restart();
    await run.recovers(world);
    if (run.injected % CHECK_EVERY === 0) await run.check(world);
  }
  await run.finish(world);
}
