import type { Redriven } from "../checkpoint/checkpoint.ts";
import type { Deduplicator } from "../operators/deduplicate.ts";
import { PartitionWatermark } from "../windows/watermark.ts";
import { RewoundStretch } from "./rewound_stretch.ts";
import type { PartitionStart } from "./shard_task.ts";

/** Records that came back, kept per partition so that none counts twice. */
export const REDRIVEN_MAX = 100_000;

/** What became of records. */
export interface Fates {
  consumed: number;
  aggregated: number;
  filtered: number;
  late: number;
  dead: number;
  duplicate: number;
}

/** How far a partition has come, and what became of its records since the flush before. */
export interface PartitionProgress extends Readonly<Fates> {
  readonly partition: number;
  /** The next offset to read. */
  readonly position: number;
  readonly maxEventTimeMs: number;
  readonly raisedToMs: number;
  readonly highWatermark: number;
  /** Kafka timestamp of the last record, -1 before the first. */
  readonly timestampMs: number;
  /**
   * How long the broker had answered "nothing new" when it last answered, milliseconds. Stands still while nothing is heard:
   * records may wait in a log that is out of reach.
   */
  readonly quietMs: number;
  /** Records that came back and were counted. */
  readonly redriven: readonly Redriven[];
  /** Offsets that were set aside, where that has to be remembered. */
  readonly aside: readonly number[];
}

/** An offset at which something has to happen before the next record is taken. */
interface Stop {
  readonly offset: number;
  readonly pass: () => void;
}

/** What a shard knows of one partition while it reads it. */
export class PartitionState {
  readonly partition: number;
  readonly watermark: PartitionWatermark;
  readonly deduplicator: Deduplicator | null;
  position: number;
  highWatermark = -1;
  timestampMs = -1;
  lastRecordAt: number;
  lastAnswerAt: number;
  /** Where what is read now is counted; of what is only learnt, nowhere that is told. */
  fates: Fates;
  readonly #start: PartitionStart;
  #raisedToMs: number;
  readonly #stops: Stop[];
  readonly #redriven: Map<number, Redriven>;
  #redrivenSince: Redriven[] = [];
  readonly #rewound: RewoundStretch | null;
  #asideSince: number[] = [];
  #learning: boolean;

  constructor(
    start: PartitionStart,
    { allowedLatenessMs, now, deduplicator }: {
      readonly allowedLatenessMs: number;
      readonly now: number;
      readonly deduplicator: Deduplicator | null;
    },
  ) {
    const from = start.learn ?? start;
    this.partition = start.partition;
    this.deduplicator = deduplicator;
    this.position = from.position;
    this.watermark = new PartitionWatermark(allowedLatenessMs, from);
    this.lastRecordAt = this.lastAnswerAt = now;
    this.fates = noFates();
    this.#start = start;
    this.#raisedToMs = start.raisedToMs;
    this.#redriven = new Map(start.redriven?.map((redriven) => [redriven.source, redriven]));
    this.#rewound = start.rewound ? new RewoundStretch(start.rewound) : null;
    this.#learning = start.learn !== undefined;
    this.#stops = [
      ...(start.raises ?? []).map(({ position, toMs }) => ({
        offset: position,
        pass: () => this.watermark.raise(toMs),
      })),
      ...(start.learn ? [{ offset: start.position, pass: () => this.#learnt() }] : []),
    ].sort((a, b) => a.offset - b.offset);
  }

  /** The offset to read up to before `pass` has to be called, and the end of what is to be read. */
  get limit(): number {
    return Math.min(this.#stops[0]?.offset ?? Infinity, this.#start.until ?? Infinity);
  }

  /** Whether all that is read here was read, and judged, before. */
  get isPast(): boolean {
    return this.#start.until !== undefined;
  }

  /** Whether what is read now has been accounted for before. */
  get isLearning(): boolean {
    return this.#learning;
  }

  /** Does what is due at the position. */
  pass(): void {
    while (this.#stops.length > 0 && this.position >= this.#stops[0].offset) this.#stops.shift()!.pass();
  }

  /** Whether the original of a record that came back has counted already, or another record in its place. */
  hasCounted(source: number, offset: number): boolean {
    const known = this.#redriven.get(source);
    return known !== undefined && known.offset !== offset;
  }

  /** Whether it is the record at this offset that counted for its original. */
  hasCountedAt(source: number, offset: number): boolean {
    return this.#redriven.get(source)?.offset === offset;
  }

  /** Whether the letter of a record that came back holds in this computation. */
  letterOf(source: number): ReturnType<RewoundStretch["letterAt"]> {
    return this.#rewound?.letterAt(source) ?? "holds";
  }

  noteAside(offset: number): void {
    if (this.#rewound?.note(offset)) this.#asideSince.push(offset);
  }

  /** Whether one more record that came back can be remembered. */
  hasRoomFor(source: number): boolean {
    return this.#redriven.size < REDRIVEN_MAX || this.#redriven.has(source);
  }

  countRedriven(redriven: Redriven): void {
    if (this.#redriven.has(redriven.source)) return;
    this.#redriven.set(redriven.source, redriven);
    if (!this.#learning) this.#redrivenSince.push(redriven);
  }

  /** Raises the watermark from here on: an idle decision. */
  raise(toMs: number): void {
    this.#raisedToMs = Math.max(this.#raisedToMs, toMs);
    if (!this.#learning) this.watermark.raise(toMs);
  }

  /** Tells what happened since the last call. */
  progress(): PartitionProgress {
    const { partition, timestampMs } = this;
    const quietMs = Math.max(0, this.lastAnswerAt - this.lastRecordAt);
    if (this.#learning) {
      const { position, maxEventTimeMs } = this.#start;
      const raisedToMs = this.#raisedToMs;
      // Not known yet: nobody may take a partition for idle that is still being learnt.
      const heard = { highWatermark: -1, timestampMs, quietMs: 0 };
      return { partition, position, maxEventTimeMs, raisedToMs, ...heard, ...noFates(), redriven: [], aside: [] };
    }
    const redriven = this.#redrivenSince;
    this.#redrivenSince = [];
    const aside = this.#asideSince;
    this.#asideSince = [];
    const { fates, position, highWatermark } = this;
    const { maxEventTimeMs, raisedToMs } = this.watermark;
    this.fates = noFates();
    const reached = { position, maxEventTimeMs, raisedToMs, highWatermark, timestampMs, quietMs };
    return { partition, ...reached, ...fates, redriven, aside };
  }

  #learnt(): void {
    this.#learning = false;
    this.fates = noFates();
    const { watermark } = this;
    watermark.maxEventTimeMs = Math.max(watermark.maxEventTimeMs, this.#start.maxEventTimeMs);
    watermark.raise(this.#raisedToMs);
  }
}

function noFates(): Fates {
  return { consumed: 0, aggregated: 0, filtered: 0, late: 0, dead: 0, duplicate: 0 };
}
