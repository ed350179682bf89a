import type { PaneBatch } from "../operators/panes.ts";
import type { Plan } from "../plan/plan.ts";
import type { ResultRows } from "../sinks/sink.ts";
import type { Lookback } from "./lookback.ts";
import type { PartitionLedger } from "./partition_ledger.ts";
import { readAgain, type ReadAgainOptions } from "./read_again.ts";
import type { PartitionStart } from "./shard_task.ts";
import { WindowState } from "./window_state.ts";

/**
 * Parts of the log with no more offsets than this between them are read in one go: to open a shard takes longer than to pass over
 * so many.
 */
const APART_OFFSETS_MAX = 100_000;

export interface RecomputeOptions extends Omit<ReadAgainOptions, "take"> {
  readonly lookback: Lookback;
  readonly ledgers: readonly PartitionLedger[];
  readonly generation: number;
}

/**
 * Computes closed windows again from the log, with the records that came back: gives the final rows of the panes that `reopened`
 * holds, a group of neighbouring windows at a time. Other panes of these windows are not kept: there may be any number.
 *
 * The records of a window that were in time lie between two samples of the history; those that came back after are read where
 * they are, a stretch of the log at a time.
 *
 * @throws whatever makes a shard give up, such as OffsetOutOfRangeError
 */
export async function* recompute(
  plan: Plan,
  reopened: readonly PaneBatch[],
  options: RecomputeOptions,
): AsyncGenerator<ResultRows> {
  for (const group of groups(plan, reopened, options)) {
    const inGroup = new Set(group);
    const wanted = new WindowState(plan);
    for (const batch of reopened) wanted.merge(batch, (start) => inGroup.has(start));
    const windows = new WindowState(plan, options);
    for (const partitions of readings(plan, group, options)) {
      await readAgain({ plan, partitions, onlyWindows: group }, {
        ...options,
        take: ({ panes }) => windows.mergeKnown(panes, wanted),
      });
    }
    yield windows.rowsOf(wanted.batches());
  }
}

/** The windows' starts, in groups whose records lie near each other in the log. */
function groups(plan: Plan, reopened: readonly PaneBatch[], { lookback, ledgers }: RecomputeOptions): number[][] {
  const starts = [...new Set(reopened.flatMap(({ windows }) => [...windows]))].sort((a, b) => a - b);
  const found: number[][] = [];
  const offsetsBetween = (before: number, after: number) =>
    ledgers.reduce((sum, { partition, position }) => {
      const from = lookback.closed(partition, before + plan.window.sizeMs)?.position ?? position;
      const to = lookback.before(partition, after)?.position ?? 0;
      return sum + Math.max(0, to - from);
    }, 0);
  for (const start of starts) {
    const last = found.at(-1);
    if (last && offsetsBetween(last.at(-1)!, start) <= APART_OFFSETS_MAX) last.push(start);
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
    const { partition, redriven, rewound } = ledger;
    // There is one: windows that the history does not reach are gone.
    const start = lookback.startAt(lookback.before(partition, group[0])!);
    const until = lookback.closed(partition, endMs)?.position ?? ledger.position;
    if (start.position < until) inTime.push({ ...start, until, redriven, rewound });
    const after = redriven.filter(({ offset, windowStartMs }) => offset >= until && wanted.has(windowStartMs));
    stretches(after.map(({ offset }) => offset)).forEach(({ from, to }, round) => {
      // Whatever the watermark was there: a record that came back counts, and no other.
      const stretch = { partition, position: from, until: to, maxEventTimeMs: Infinity, raisedToMs: Infinity };
      (rounds[round] ??= []).push({ ...stretch, redriven, rewound });
    });
  }
  return [...(inTime.length > 0 ? [inTime] : []), ...rounds];
}

/** Stretches `[from, to)` of the log that hold all of these offsets. */
function stretches(offsets: readonly number[]): { readonly from: number; readonly to: number }[] {
  const found: { from: number; to: number }[] = [];
  for (const offset of offsets.toSorted((a, b) => a - b)) {
    const last = found.at(-1);
    if (last && offset - last.to <= APART_OFFSETS_MAX) last.to = offset + 1;
    else found.push({ from: offset, to: offset + 1 });
  }
  return found;
}
