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
 */
export class Lookback {
  readonly #plan: Plan;
  readonly #samples: ReadonlyMap<number, readonly Sample[]>;

  /** `samples`: of all partitions, oldest first. */
  constructor(plan: Plan, samples: readonly Sample[]) {
    this.#plan = plan;
    this.#samples = Map.groupBy(samples, ({ partition }) => partition);
  }

  /** The last sample before which the partition held nothing of `timeMs` or later; null when the history does not reach there. */
  before(partition: number, timeMs: number): Sample | null {
    return this.#of(partition).findLast(({ maxEventTimeMs }) => (maxEventTimeMs ?? -Infinity) < timeMs) ?? null;
  }

  /** The last sample at or before an offset; null when the history does not reach there. */
  at(partition: number, offset: number): Sample | null {
    return this.#of(partition).findLast(({ position }) => position <= offset) ?? null;
  }

  /** The first sample at or after an offset; null when there is none. */
  from(partition: number, offset: number): Sample | null {
    return this.#of(partition).find(({ position }) => position >= offset) ?? null;
  }

  /** The first sample at which records of a window that ends at `endMs` were late; null when they still are not. */
  closed(partition: number, endMs: number): Sample | null {
    return this.#of(partition).find((sample) => this.#watermarkMs(sample) >= endMs) ?? null;
  }

  /**
   * How to read a partition from a sample on. With `dedupe` the part before has to be learnt: as far back as a record may be
   * that one from here on repeats.
   */
  startAt(sample: Sample): PartitionStart {
    const { partition, position } = sample;
    const learn = this.#learnFor(sample);
    return {
      partition,
      position,
      maxEventTimeMs: sample.maxEventTimeMs ?? -Infinity,
      raisedToMs: sample.raisedToMs ?? -Infinity,
      raises: this.#raisesFrom(partition, learn?.position ?? position),
      ...(learn ? { learn } : {}),
    };
  }

  /** What to learn before going on from `sample`; undefined when nothing that comes depends on what was. */
  #learnFor(sample: Sample): PartitionStart["learn"] {
    const { dedupe, window } = this.#plan;
    const watermarkMs = this.#watermarkMs(sample);
    if (dedupe === null || sample.maxEventTimeMs === null) return undefined;
    const from = this.before(sample.partition, watermarkMs - window.sizeMs - dedupe.withinMs) ??
      this.#of(sample.partition)[0] ?? sample;
    if (from.position >= sample.position) return undefined;
    const { position, maxEventTimeMs, raisedToMs } = from;
    return { position, maxEventTimeMs: maxEventTimeMs ?? -Infinity, raisedToMs: raisedToMs ?? -Infinity };
  }

  #raisesFrom(partition: number, offset: number): Raise[] {
    const samples = this.#of(partition);
    return samples.flatMap(({ position, raisedToMs }, i) => {
      const isRaise = raisedToMs !== null && raisedToMs > (samples[i - 1]?.raisedToMs ?? -Infinity);
      return isRaise && position > offset ? [{ position, toMs: raisedToMs }] : [];
    });
  }

  #watermarkMs({ maxEventTimeMs, raisedToMs }: Sample): number {
    return Math.max((maxEventTimeMs ?? -Infinity) - this.#plan.allowedLatenessMs, raisedToMs ?? -Infinity);
  }

  #of(partition: number): readonly Sample[] {
    return this.#samples.get(partition) ?? [];
  }
}
