import type { Sample } from "../checkpoint/history.ts";
import type { Plan } from "../plan/plan.ts";
import type { PartitionStart, Raise } from "./shard_task.ts";

/**
 * Finds in a pipeline's history where in the log to read a part of the past again, so that each record is judged as it was
 * judged then.
 *
 *     offsets   0 ........ sample ........ sample ........ sample ....... position
 *                            before(W)        records of window W       closed(W)
 *
 * Event time only goes forward in a partition's samples. So no record of a window lies before the last sample whose largest
 * event time is before the window's start, and none that was in time lies after the first sample whose watermark had passed
 * the window's end.
 *
 * Neither the history nor the log reach back for ever. Windows up to `goneMs` may lack records; for later ones it is no matter
 * that reading begins where the log does: what was deleted before that is older than they are.
 */
export class Lookback {
  /** Windows that start at or before this cannot be computed again: not all of their records, or of what these may repeat, are there. */
  readonly goneMs: number;
  readonly #plan: Plan;
  readonly #samples: ReadonlyMap<number, readonly Sample[]>;
  readonly #earliest: ReadonlyMap<number, number>;

  /**
   * @param samples of all partitions, oldest first; the last of each is where it is now
   * @param earliest the first offset that the log holds of each partition
   */
  constructor(plan: Plan, samples: readonly Sample[], earliest: ReadonlyMap<number, number>) {
    this.#plan = plan;
    this.#samples = Map.groupBy(samples, ({ partition }) => partition);
    this.#earliest = earliest;
    this.goneMs = Math.max(-Infinity, ...Array.from(this.#samples.keys(), (partition) => this.goneIn(partition)));
  }

  /** `goneMs` by what one partition lacks. */
  goneIn(partition: number): number {
    const first = this.from(partition, this.#earliestOf(partition));
    const lost = first === null ? Infinity : first.maxEventTimeMs ?? -Infinity;
    return lost + (this.#plan.dedupe?.withinMs ?? 0);
  }

  /** The last sample before which the partition held nothing of `timeMs` or later; null when the history does not reach there. */
  before(partition: number, timeMs: number): Sample | null {
    const after = this.#first(partition, ({ maxEventTimeMs }) => (maxEventTimeMs ?? -Infinity) >= timeMs);
    return this.#of(partition)[after - 1] ?? null;
  }

  /** The last sample at or before an offset; null when the history does not reach there. */
  at(partition: number, offset: number): Sample | null {
    const after = this.#first(partition, ({ position }) => position > offset);
    return this.#of(partition)[after - 1] ?? null;
  }

  /** The first sample at or after an offset; null when there is none. */
  from(partition: number, offset: number): Sample | null {
    return this.#of(partition)[this.#first(partition, ({ position }) => position >= offset)] ?? null;
  }

  /** The first sample at which records of a window that ends at `endMs` were late; null when they still are not. */
  closed(partition: number, endMs: number): Sample | null {
    return this.#of(partition)[this.#first(partition, (sample) => this.watermarkMs(sample) >= endMs)] ?? null;
  }

  /** Whether the log holds all that reading from a sample on takes: what comes after it, and what has to be learnt before. */
  isWhole(sample: Sample): boolean {
    const first = this.#learnFor(sample) ?? sample;
    return first.position >= this.#earliestOf(sample.partition);
  }

  /**
   * How to read a partition from a sample on, or from where the log begins. With `dedupe` the part before has to be learnt: as
   * far back as a record may be that one from here on repeats.
   */
  startAt(sample: Sample): PartitionStart {
    const { partition } = sample;
    const learn = this.#learnFor(sample);
    return {
      partition,
      ...this.#placeOf(sample),
      raises: this.#raisesFrom(learn ?? sample),
      ...(learn ? { learn: this.#placeOf(learn) } : {}),
    };
  }

  watermarkMs({ maxEventTimeMs, raisedToMs }: Sample): number {
    return Math.max((maxEventTimeMs ?? -Infinity) - this.#plan.allowedLatenessMs, raisedToMs ?? -Infinity);
  }

  /** Where to begin to learn before going on from `sample`; undefined when nothing that comes depends on what was. */
  #learnFor(sample: Sample): Sample | undefined {
    const { dedupe, window } = this.#plan;
    const { partition } = sample;
    if (dedupe === null || sample.maxEventTimeMs === null) return undefined;
    const timeMs = this.watermarkMs(sample) - window.sizeMs - dedupe.withinMs;
    const from = this.before(partition, timeMs) ?? this.#of(partition)[0] ?? sample;
    if (from.position >= sample.position) return undefined;
    return this.#placeOf(from).position < this.#placeOf(sample).position ? from : undefined;
  }

  /** Where reading from a sample on begins, and what was known there: what the sample knew, where the log begins later. */
  #placeOf({ partition, position, maxEventTimeMs, raisedToMs }: Sample): NonNullable<PartitionStart["learn"]> {
    return {
      position: Math.max(position, this.#earliestOf(partition)),
      maxEventTimeMs: maxEventTimeMs ?? -Infinity,
      raisedToMs: raisedToMs ?? -Infinity,
    };
  }

  /** Also those made at the sample's own position: several samples may share one. */
  #raisesFrom({ partition, position: from }: Sample): Raise[] {
    const first = this.#first(partition, ({ position }) => position >= from);
    let before = this.#of(partition)[first - 1]?.raisedToMs ?? -Infinity;
    return this.#of(partition).slice(first).flatMap(({ position, raisedToMs }) => {
      if (raisedToMs === null || raisedToMs <= before) return [];
      before = raisedToMs;
      return [{ position, toMs: raisedToMs }];
    });
  }

  /** The place of the first sample that is so; all after it are so, too, as nothing goes back. The number of samples when none is. */
  #first(partition: number, isSo: (sample: Sample) => boolean): number {
    const samples = this.#of(partition);
    let low = 0;
    for (let high = samples.length; low < high;) {
      const middle = (low + high) >>> 1;
      if (isSo(samples[middle])) high = middle;
      else low = middle + 1;
    }
    return low;
  }

  #earliestOf(partition: number): number {
    return this.#earliest.get(partition) ?? 0;
  }

  #of(partition: number): readonly Sample[] {
    return this.#samples.get(partition) ?? [];
  }
}
