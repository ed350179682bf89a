import type { PaneBatch } from "../operators/panes.ts";
import type { Plan } from "../plan/plan.ts";
import type { ResultRows } from "../sinks/sink.ts";
import type { Lookback } from "./lookback.ts";
import type { PartitionLedger } from "./partition_ledger.ts";
import { readAgain, type ReadAgainOptions } from "./read_again.ts";
import type { PartitionStart } from "./shard_task.ts";
import { WindowState } from "./window_state.ts";

/** Windows no further apart than this many are read in one go; the records between them are passed over. */
const APART_WINDOWS_MAX = 60;

export interface RecomputeOptions extends Omit<ReadAgainOptions, "take"> {
  readonly lookback: Lookback;
  readonly ledgers: readonly PartitionLedger[];
  readonly generation: number;
}

/**
 * Computes closed windows again from the log, with the records that came back: gives the final rows of the panes that `reopened`
 * holds, a group of neighbouring windows at a time.
 *
 * The records of a window that were in time lie between two samples of the history; those that came back after are read one by
 * one, where they are.
 *
 * @throws whatever makes a shard give up, such as OffsetOutOfRangeError
 */
export async function* recompute(
  plan: Plan,
  reopened: readonly PaneBatch[],
  options: RecomputeOptions,
): AsyncGenerator<ResultRows> {
  for (const group of groups(plan, reopened)) {
    const windows = new WindowState(plan, options);
    for (const partitions of readings(plan, group, options)) {
      await readAgain({ plan, partitions, onlyWindows: group }, {
        ...options,
        take: ({ panes }) => windows.merge(panes),
      });
    }
    const inGroup = new Set(group);
    const keys = new WindowState(plan);
    for (const batch of reopened) keys.merge(batch, (start) => inGroup.has(start));
    for (const batch of keys.batches()) yield windows.rowsOf(batch);
  }
}

/** The windows' starts, in groups of neighbours. */
function groups(plan: Plan, reopened: readonly PaneBatch[]): number[][] {
  const starts = [...new Set(reopened.flatMap(({ windows }) => [...windows]))].sort((a, b) => a - b);
  const found: number[][] = [];
  for (const start of starts) {
    const last = found.at(-1);
    if (last && start - last.at(-1)! <= APART_WINDOWS_MAX * plan.window.sizeMs) last.push(start);
    else found.push([start]);
  }
  return found;
}

/** What has to be read for a group of windows; a partition occurs once in each reading. */
function readings(plan: Plan, group: readonly number[], { lookback, ledgers }: RecomputeOptions): PartitionStart[][] {
  const endMs = group.at(-1)! + plan.window.sizeMs;
  const wanted = new Set(group);
  const inTime: PartitionStart[] = [];
  const rounds: PartitionStart[][] = [];
  for (const ledger of ledgers) {
    const { partition, redriven } = ledger;
    const sample = lookback.before(partition, group[0]);
    const until = lookback.closed(partition, endMs)?.position ?? ledger.position;
    if (sample !== null && sample.position < until) inTime.push({ ...lookback.startAt(sample), until, redriven });
    const after = redriven.filter(({ offset, windowStartMs }) => offset >= until && wanted.has(windowStartMs));
    after.forEach(({ offset }, round) => {
      // Whatever the watermark was there: a record that came back counts.
      const start = { partition, position: offset, until: offset + 1, maxEventTimeMs: Infinity, raisedToMs: Infinity };
      (rounds[round] ??= []).push({ ...start, redriven });
    });
  }
  return [...(inTime.length > 0 ? [inTime] : []), ...rounds];
}
