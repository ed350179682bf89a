import type { PartitionCheckpoint, Redriven, Rewound } from "../checkpoint/checkpoint.ts";
import type { Sample } from "../checkpoint/history.ts";
import type { Plan } from "../plan/plan.ts";
import type { Buckets, LedgerEntry } from "../ledger.ts";
import type { PartitionProgress } from "./partition_state.ts";
import { RewoundStretch } from "./rewound_stretch.ts";
import type { PartitionStart, Raise } from "./shard_task.ts";
import type { PartitionStatus } from "./status.ts";

const NOTHING: Buckets = { consumed: 0, aggregated: 0, filtered: 0, late: 0, dead: 0, duplicate: 0 };

/** Records were counted more than once, or not at all: a bug, after which no result can be trusted. Nothing goes on by itself. */
export class BrokenLedgerError extends Error {
  override readonly name = "BrokenLedgerError";
}

/** What the runner knows of one partition: position, watermark, and where its records ended. */
export class PartitionLedger {
  readonly partition: number;
  readonly #plan: Plan;
  readonly #start: number;
  #position: number;
  #maxEventTimeMs: number;
  #raisedToMs: number;
  /** The part of `raisedToMs` that a checkpoint holds: only that may close windows. */
  #savedRaiseMs: number;
  #buckets: Buckets;
  /** As of the last checkpoint. */
  #committed: Buckets;
  #committedPosition: number;
  readonly #redriven: Redriven[];
  #ahead: readonly Sample[];
  readonly #rewound: RewoundStretch | null;
  #highWatermark = -1;
  #timestampMs = -1;
  #quietMs = 0;
  #hasSpoken = false;

  constructor(plan: Plan, saved: PartitionCheckpoint) {
    this.#plan = plan;
    this.partition = saved.partition;
    this.#start = saved.start;
    this.#position = this.#committedPosition = saved.position;
    this.#maxEventTimeMs = saved.maxEventTimeMs ?? -Infinity;
    this.#raisedToMs = this.#savedRaiseMs = saved.raisedToMs ?? -Infinity;
    this.#buckets = this.#committed = saved.buckets;
    this.#redriven = [...saved.redriven];
    this.#ahead = saved.ahead ?? [];
    this.#rewound = saved.rewound ? new RewoundStretch(saved.rewound) : null;
    assertAddsUp(plan, saved);
  }

  /** A partition that nothing was read of: from `position` on, late for windows that end at or before `raisedToMs`. */
  static fresh(
    plan: Plan,
    at: { partition: number; position: number; raisedToMs?: number | null; rewound?: Rewound | null },
  ): PartitionLedger {
    const { partition, position, raisedToMs = null, rewound = null } = at;
    return new PartitionLedger(plan, {
      partition,
      start: position,
      position,
      maxEventTimeMs: null,
      raisedToMs,
      buckets: NOTHING,
      redriven: [],
      rewound,
    });
  }

  get buckets(): Buckets {
    return this.#buckets;
  }

  get position(): number {
    return this.#position;
  }

  /** Records that came back and were counted, in the order in which they were. */
  get redriven(): readonly Redriven[] {
    return this.#redriven;
  }

  /** Up to here this partition's windows may be closed. -Infinity before the first record. */
  get watermarkMs(): number {
    return Math.max(this.#maxEventTimeMs - this.#plan.allowedLatenessMs, this.#savedRaiseMs);
  }

  /** Read to its end and silent for longer than the plan allows. */
  get idle(): boolean {
    return this.#highWatermark >= 0 && this.#position >= this.#highWatermark && this.#quietMs >= this.#plan.idleAfterMs;
  }

  /** For how long the broker had nothing new when it last answered, milliseconds. */
  get quietMs(): number {
    return this.#quietMs;
  }

  /** Whether a record of it was read since the start. */
  get hasSpoken(): boolean {
    return this.#hasSpoken;
  }

  /** Whether an idle decision waits for the checkpoint that makes it binding. */
  get undecided(): boolean {
    return this.#raisedToMs > this.#savedRaiseMs;
  }

  get start(): PartitionStart {
    return {
      partition: this.partition,
      position: this.#position,
      maxEventTimeMs: this.#maxEventTimeMs,
      raisedToMs: this.#raisedToMs,
      rewound: this.rewound,
      redriven: this.#redriven,
    };
  }

  /** What was computed before and is computed again. */
  get rewound(): Rewound | null {
    return this.#rewound?.saved() ?? null;
  }

  /** Idle decisions to be made again further on. */
  get decisions(): Raise[] {
    return this.#ahead.map(({ position, raisedToMs }) => ({ position, toMs: raisedToMs! }));
  }

  /** Takes over what a flush tells. @throws BrokenLedgerError when not every record it read is in exactly one bucket */
  advance(progress: PartitionProgress): void {
    assertNotBackward(this.partition, "position", this.#position, progress.position);
    assertNotBackward(this.partition, "largest event time", this.#maxEventTimeMs, progress.maxEventTimeMs);
    assertNotBackward(this.partition, "raised watermark", this.#raisedToMs, progress.raisedToMs);
    const before = this.#buckets;
    this.#buckets = {
      consumed: before.consumed + progress.consumed,
      aggregated: before.aggregated + progress.aggregated,
      filtered: before.filtered + progress.filtered,
      late: before.late + progress.late,
      dead: before.dead + progress.dead,
      duplicate: before.duplicate + progress.duplicate,
    };
    this.#position = progress.position;
    this.#maxEventTimeMs = progress.maxEventTimeMs;
    this.#raisedToMs = progress.raisedToMs;
    this.#highWatermark = progress.highWatermark;
    this.#timestampMs = progress.timestampMs;
    this.#quietMs = progress.quietMs;
    this.#hasSpoken ||= progress.consumed > 0;
    for (const redriven of progress.redriven) this.#redriven.push(redriven);
    for (const offset of progress.aside) this.#rewound?.note(offset);
    assertAddsUp(this.#plan, { partition: this.partition, position: this.#position, buckets: this.#buckets });
  }

  /** What to save; `saved` tells that it is. */
  checkpoint(): PartitionCheckpoint {
    const ahead = this.#ahead.slice(this.#passed().length);
    return { ...this.sample(), start: this.#start, redriven: this.#redriven, ahead, rewound: this.rewound };
  }

  /** What the history does not have yet: where decisions were made again since the last checkpoint, and where it is now. */
  samples(): Sample[] {
    return [...this.#passed(), this.sample()];
  }

  /** Where it is now. */
  sample(): Sample {
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
    this.#committed = this.#buckets;
    this.#committedPosition = this.#position;
    this.#ahead = this.#ahead.slice(this.#passed().length);
  }

  #passed(): readonly Sample[] {
    return this.#ahead.filter(({ position, raisedToMs }) =>
      position <= this.#position && raisedToMs! <= this.#raisedToMs
    );
  }

  /** What was read since the last checkpoint has had no effect: it is read again. */
  revert(): void {
    this.#buckets = this.#committed;
    this.#position = this.#committedPosition;
  }

  /**
   * Forgets records that came back whose offset the log does not hold any more: their windows cannot be computed again, so
   * nothing more counts in them. In a window that is still open something may.
   */
  forgetBefore(offset: number): void {
    const closedMs = this.watermarkMs - this.#plan.window.sizeMs;
    const kept = this.#redriven.filter((redriven) => redriven.offset >= offset || redriven.windowStartMs > closedMs);
    this.#redriven.splice(0, this.#redriven.length, ...kept);
  }

  /** What is committed, and how much was read since. */
  entry(): LedgerEntry {
    const { consumed } = this.#buckets;
    return {
      partition: this.partition,
      start: this.#start,
      position: this.#committedPosition,
      ...this.#committed,
      consumed,
      inFlight: consumed - this.#committed.consumed,
    };
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

function assertAddsUp(
  plan: Plan,
  { partition, position, buckets }: { partition: number; position: number; buckets: Buckets },
): void {
  const { consumed, aggregated, filtered, late, dead, duplicate } = buckets;
  const sum = aggregated + filtered + late + dead + duplicate;
  if (consumed === sum) return;
  throw new BrokenLedgerError(
    `The ledger of ${plan.name}, partition ${partition}, does not add up before offset ${position}: ${consumed} records ` +
      `consumed, but ${aggregated} aggregated + ${filtered} filtered + ${late} late + ${dead} dead + ${duplicate} ` +
      `duplicate = ${sum}. This is a bug; the results since the last checkpoint cannot be trusted. Please report it`,
  );
}

function assertNotBackward(partition: number, what: string, before: number, after: number): void {
  if (after < before) {
    throw new Error(`The ${what} of partition ${partition} went back from ${before} to ${after}: this is a bug`);
  }
}

function finiteOrNull(value: number): number | null {
  return Number.isFinite(value) ? value : null;
}
