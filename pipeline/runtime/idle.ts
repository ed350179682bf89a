import type { Plan } from "../plan/plan.ts";
import { tumblingStart } from "../windows/tumbling.ts";
import type { PartitionLedger } from "./partition_ledger.ts";

/**
 * Which partitions' watermarks to raise because they have nothing to say, so that they do not hold windows open for ever.
 *
 * Beside partitions that still speak, a silent one follows the slowest of those. When all are silent, event time goes on with
 * the wall clock, behind it by the lateness allowed and the silence allowed, but not beyond the last open window: so the last
 * windows of a live stream close some time after they are over, and those of a replayed past close at once, while what may come
 * after them stays welcome. Producers that were cut off and then send what they missed lose nothing within `idleAfter`.
 *
 * A watermark is raised to a window's end, never into one: only ends make a difference, and each raise has to be saved.
 *
 * @param latestEndMs end of the latest open window, -Infinity when none is open
 */
export function idleRaises(
  partitions: readonly PartitionLedger[],
  times: {
    readonly nowMs: number;
    readonly latestEndMs: number;
    readonly plan: Pick<Plan, "allowedLatenessMs" | "idleAfterMs" | "window">;
  },
): Map<number, number> {
  const { allowedLatenessMs, idleAfterMs, window } = times.plan;
  const speaking = partitions.filter(({ idle }) => !idle);
  const reached = speaking.length > 0
    ? Math.min(...speaking.map(({ watermarkMs }) => watermarkMs))
    : Math.min(times.nowMs - allowedLatenessMs - idleAfterMs, times.latestEndMs);
  const target = tumblingStart(reached, window.sizeMs, window.offsetMs);
  const raises = new Map<number, number>();
  for (const partition of partitions) {
    if (partition.idle && partition.watermarkMs < target) raises.set(partition.partition, target);
  }
  return raises;
}
