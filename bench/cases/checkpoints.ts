import { type Measured, Meter, round } from "../measure.ts";
import type { Servers } from "../servers.ts";
import { drain } from "./drain.ts";
import { live } from "./live.ts";

/** Drains with and without checkpoints, in turn, so that a machine that gets slower does so for both. */
const PAIRS = 3;
/** Five times as often as users have it. */
const CHECKPOINT_EVERY_MS = 1_000;
const LIVE_SECONDS = 15;

/**
 * What exactly-once costs: drain and live with a checkpoint a second against none. `drain_ratio` is the median time with over
 * the median time without; `live_cpu_ratio` the same of processor time at the same rate.
 */
export async function checkpoints(servers: Servers, { rate }: { readonly rate: number }): Promise<Measured> {
  const meter = new Meter();
  const seconds = { on: [] as number[], off: [] as number[] };
  let records = 0;
  await drain(servers);
  for (let pair = 0; pair < PAIRS; pair++) {
    for (const [way, checkpointEveryMs] of [["off", Infinity], ["on", CHECKPOINT_EVERY_MS]] as const) {
      const measured = await drain(servers, { checkpointEveryMs });
      seconds[way].push(measured.seconds);
      records += measured.records;
    }
  }
  const options = { rate, seconds: LIVE_SECONDS };
  const liveOff = await live(servers, { ...options, checkpointEveryMs: Infinity });
  const liveOn = await live(servers, { ...options, checkpointEveryMs: CHECKPOINT_EVERY_MS });
  return {
    ...meter.stop("checkpoints", records + liveOff.records + liveOn.records),
    drain_s_off: median(seconds.off),
    drain_s_on: median(seconds.on),
    drain_ratio: round(median(seconds.on) / median(seconds.off), 3),
    live_cpu_ratio: round(liveOn.cpu_s / liveOff.cpu_s, 3),
    live_p99_ms_off: liveOff.latency_ms_p99,
    live_p99_ms_on: liveOn.latency_ms_p99,
  };
}

function median(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[values.length >> 1];
}
