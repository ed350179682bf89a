import { systemClock } from "../../pipeline/clock.ts";
import { Shard } from "../../pipeline/runtime/shard.ts";
import { batchesInMemory } from "../memory.ts";
import { type Measured, Meter } from "../measure.ts";
import { racePlan } from "../plan.ts";
import { SCHEMA } from "../workload.ts";

const RECORDS = 500_000;
const ROUNDS = 10;

/** One thread: record batches in memory to panes, all that a worker does but fetching. */
export async function fold(): Promise<Measured> {
  const frame = batchesInMemory(RECORDS);
  const plan = racePlan("memory", "memory");
  let aggregated = 0;
  const round = async () => {
    const start = { partition: 0, position: 0, maxEventTimeMs: -Infinity, raisedToMs: -Infinity };
    const options = { clock: systemClock, schemaById: () => Promise.resolve(SCHEMA), onFull: () => {} };
    const shard = new Shard({ plan, partitions: [start] }, options);
    await shard.take({ partition: 0, frame, start: 0, end: frame.length, fromOffset: 0, highWatermark: RECORDS });
    aggregated += shard.flush(new Map()).partitions[0].aggregated;
  };
  await round();
  aggregated = 0;
  const meter = new Meter();
  for (let i = 0; i < ROUNDS; i++) await round();
  return meter.stop("fold", aggregated);
}
