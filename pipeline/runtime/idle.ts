import type { Plan } from "../plan/plan.ts";
import { tumblingStart } from "../windows/tumbling.ts";
import type { PartitionLedger } from "./partition_ledger.ts";

/**
 * Which partitions' watermarks to raise because they have nothing to say, so that they do not hold windows open for ever.
 *
 * Beside partitions that speak, a silent one follows the slowest of those, once it has been silent beside them for `idleAfter`:
 * where all were silent, one is always the first to speak again, and what the others have may be read a moment later. When all
 * are silent, event time goes on with the wall clock, behind it by the lateness allowed and the silence allowed, but not beyond the
 * last open window: so the last windows of a live stream close some time after they are over, and those of a replayed past close
 * at once, while what may come after them stays welcome. Producers that were cut off and then send what they missed lose nothing
 * within `idleAfter`.
 *
 * A watermark is raised to a window's end, never into one: only ends make a difference, and each raise has to be saved.
 */
export class IdleRaises {
  readonly #plan: Pick<Plan, "allowedLatenessMs" | "idleAfterMs" | "window">;
  /** By partition, for how long each had been silent when one began to speak, milliseconds; null while none does. */
  #silentBefore: ReadonlyMap<number, number> | null = null;

  constructor(plan: Pick<Plan, "allowedLatenessMs" | "idleAfterMs" | "window">) {
    this.#plan = plan;
  }

  /**
   * The watermarks to raise now, by partition. To be asked each time the partitions have told how far they are.
   *
   * @param latestEndMs end of the latest open window, -Infinity when none is open
   */
  next(
    partitions: readonly PartitionLedger[],
    { nowMs, latestEndMs }: { readonly nowMs: number; readonly latestEndMs: number },
  ): Map<number, number> {
    const { allowedLatenessMs, idleAfterMs, window } = this.#plan;
    const speaking = partitions.filter(({ idle }) => !idle);
    if (!speaking.some(({ hasSpoken }) => hasSpoken)) this.#silentBefore = null;
    else this.#silentBefore ??= new Map(partitions.map(({ partition, quietMs }) => [partition, quietMs]));
    const reached = speaking.length > 0
      ? Math.min(...speaking.map(({ watermarkMs }) => watermarkMs))
      : Math.min(nowMs - allowedLatenessMs - idleAfterMs, latestEndMs);
    const target = tumblingStart(reached, window.sizeMs, window.offsetMs);
    const raises = new Map<number, number>();
    for (const partition of partitions) {
      if (!partition.idle || partition.watermarkMs >= target) continue;
      if (speaking.length === 0 || this.#wasSilentBeside(partition)) raises.set(partition.partition, target);
    }
    return raises;
  }

  /** Whether an idle partition has been silent for long enough since one began to speak. */
  #wasSilentBeside({ partition, quietMs }: PartitionLedger): boolean {
    if (this.#silentBefore === null) return false;
    const before = this.#silentBefore.get(partition)!;
    // One that is silent for less time than before has spoken since.
    return quietMs < before || quietMs - before >= this.#plan.idleAfterMs;
  }
}
