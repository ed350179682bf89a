/**
 * What a shard is asked to do: read partitions of a pipeline's topic from somewhere on, live or a bounded part of the past again.
 *
 * @module
 */
import type { Redriven, Rewound } from "../checkpoint/checkpoint.ts";
import type { Plan } from "../plan/plan.ts";

/** Where to go on in a partition. */
export interface PartitionStart {
  readonly partition: number;
  /** The first offset to read. */
  readonly position: number;
  /** Largest event time of the records before; -Infinity before the first record. */
  readonly maxEventTimeMs: number;
  /** What the watermark was raised to by then; -Infinity when no idle decision was made. */
  readonly raisedToMs: number;
  /** Records that came back and were counted, so that none counts twice. Where the past is read again, only these count. */
  readonly redriven?: readonly Redriven[];
  /** What was computed before and is computed again. */
  readonly rewound?: Rewound | null;
  /** Read from here to `position` first, without an effect, to know what a reader of it would know. */
  readonly learn?: Pick<PartitionStart, "position" | "maxEventTimeMs" | "raisedToMs">;
  /** Idle decisions made from the first offset read on, in order, to be made again at the same places. */
  readonly raises?: readonly Raise[];
  /** The offset after the last one to read; without it reading goes on for ever. */
  readonly until?: number;
}

/** An idle decision: from `position` on the watermark was at least `toMs`. */
export interface Raise {
  readonly position: number;
  readonly toMs: number;
}

export interface ShardTask {
  readonly plan: Plan;
  readonly partitions: readonly PartitionStart[];
  /** Windows that start before this belong to an earlier computation: their records count, and change nothing. */
  readonly floorMs?: number;
  /**
   * Reads the past again for these windows, by their starts: nothing else is kept and nothing is set aside, and records that came
   * back count there though their windows had closed.
   */
  readonly onlyWindows?: readonly number[];
  /** Windows that start at or before this cannot be computed again: the log does not hold all of their records any more. */
  readonly goneMs?: number;
}
