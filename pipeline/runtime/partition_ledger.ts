import type { PartitionCheckpoint } from "../checkpoint/checkpoint.ts";
import type { Plan } from "../plan/plan.ts";
import type { PartitionProgress, PartitionStart } from "./shard.ts";
import type { Buckets, PartitionStatus } from "./status.ts";

const NOTHING: Buckets = { consumed: 0, aggregated: 0, filtered: 0, late: 0, dead: 0, duplicate: 0 };

/** What the runner knows of one partition: position, watermark, and where its records ended. */
export class PartitionLedger {
  readonly partition: number;
  readonly #plan: Plan;
  #position: number;
  #maxEventTimeMs: number;
  #raisedToMs: number;
  /** The part of `raisedToMs` that a checkpoint holds: only that may close windows. */
  #savedRaiseMs: number;
  #buckets: Buckets;
  #highWatermark = -1;
  #timestampMs = -1;
  #quietMs = 0;

  constructor(plan: Plan, saved: Omit<PartitionCheckpoint, "buckets"> & { readonly buckets?: Buckets }) {
    this.#plan = plan;
    this.partition = saved.partition;
    this.#position = saved.position;
    this.#maxEventTimeMs = saved.maxEventTimeMs ?? -Infinity;
    this.#raisedToMs = this.#savedRaiseMs = saved.raisedToMs ?? -Infinity;
    this.#buckets = saved.buckets ?? NOTHING;
  }

  get buckets(): Buckets {
    return this.#buckets;
  }

  get position(): number {
    return this.#position;
  }

  /** Up to here this partition's windows may be closed. -Infinity before the first record. */
  get watermarkMs(): number {
    return Math.max(this.#maxEventTimeMs - this.#plan.allowedLatenessMs, this.#savedRaiseMs);
  }

  /** Read to its end and silent for longer than the plan allows. */
  get idle(): boolean {
    return this.#highWatermark >= 0 && this.#position >= this.#highWatermark && this.#quietMs >= this.#plan.idleAfterMs;
  }

  /** Whether an idle decision waits for the checkpoint that makes it binding. */
  get undecided(): boolean {
    return this.#raisedToMs > this.#savedRaiseMs;
  }

  get start(): PartitionStart {
    const { partition } = this;
    return { partition, position: this.#position, maxEventTimeMs: this.#maxEventTimeMs, raisedToMs: this.#raisedToMs };
  }

  /** Takes over what a flush tells. */
  advance(progress: PartitionProgress): void {
    assertNotBackward(this.partition, "position", this.#position, progress.position);
    assertNotBackward(this.partition, "largest event time", this.#maxEventTimeMs, progress.maxEventTimeMs);
    assertNotBackward(this.partition, "raised watermark", this.#raisedToMs, progress.raisedToMs);
    const { aggregated, filtered, late, dead, duplicate } = progress;
    const before = this.#buckets;
    this.#buckets = {
      consumed: before.consumed + aggregated + filtered + late + dead + duplicate,
      aggregated: before.aggregated + aggregated,
      filtered: before.filtered + filtered,
      late: before.late + late,
      dead: before.dead + dead,
      duplicate: before.duplicate + duplicate,
    };
    this.#position = progress.position;
    this.#maxEventTimeMs = progress.maxEventTimeMs;
    this.#raisedToMs = progress.raisedToMs;
    this.#highWatermark = progress.highWatermark;
    this.#timestampMs = progress.timestampMs;
    this.#quietMs = progress.quietMs;
  }

  /** What to save; `saved` tells that it is. */
  checkpoint(): PartitionCheckpoint {
    return {
      partition: this.partition,
      position: this.#position,
      maxEventTimeMs: finiteOrNull(this.#maxEventTimeMs),
      raisedToMs: finiteOrNull(this.#raisedToMs),
      buckets: this.#buckets,
    };
  }

  saved(): void {
    this.#savedRaiseMs = this.#raisedToMs;
  }

  status(nowMs: number): PartitionStatus {
    const known = this.#highWatermark >= 0;
    const lagRecords = known ? Math.max(0, this.#highWatermark - this.#position) : -1;
    return {
      partition: this.partition,
      position: this.#position,
      end: this.#highWatermark,
      lagRecords,
      lagSeconds: lagRecords > 0 && this.#timestampMs >= 0 ? Math.max(0, (nowMs - this.#timestampMs) / 1000) : 0,
      watermarkMs: finiteOrNull(this.watermarkMs),
      idle: this.idle,
    };
  }
}

function assertNotBackward(partition: number, what: string, before: number, after: number): void {
  if (after < before) {
    throw new Error(`The ${what} of partition ${partition} went back from ${before} to ${after}: this is a bug`);
  }
}

function finiteOrNull(value: number): number | null {
  return Number.isFinite(value) ? value : null;
}
