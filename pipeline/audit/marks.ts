import type { Settled } from "../runtime/settled.ts";

/** Commits remembered while the archive is behind them; of more, the newest and every second one before it. */
export const MARKS_MAX = 64;

/** The pipeline's last commits: by one whose records the archive holds it is known what results must be. */
export class Marks {
  #marks: Settled[] = [];

  /** Notes a commit; one of another generation or topic makes all before it void. */
  note(settled: Settled): void {
    const last = this.#marks.at(-1);
    if (last && last.epoch === settled.epoch && last.savedAtMs === settled.savedAtMs) return;
    const isOther = last && (last.generation !== settled.generation || last.topicId !== settled.topicId);
    // After a crash less may be committed than before: what went beyond is read again.
    if (isOther || last && !isBehind(last, positionsOf(settled))) this.#marks = [];
    this.#marks.push(settled);
    const { length } = this.#marks;
    if (length > MARKS_MAX) this.#marks = this.#marks.filter((_, i) => i % 2 === (length - 1) % 2);
  }

  /** The newest commit whose records all lie before these positions. */
  newest(positions: ReadonlyMap<number, number>): Settled | null {
    return this.#marks.findLast((mark) => isBehind(mark, positions)) ?? null;
  }

  /** The newest commit that was saved before a time. */
  before(ms: number): Settled | null {
    return this.#marks.findLast(({ savedAtMs }) => savedAtMs < ms) ?? null;
  }
}

function isBehind({ partitions }: Settled, positions: ReadonlyMap<number, number>): boolean {
  return partitions.every(({ partition, start, position }) =>
    position === start || (positions.get(partition) ?? 0) >= position
  );
}

const counts = new WeakMap<Settled, ReadonlyMap<number, number>>();

/** How many records came back to a window, and counted. */
export function cameBackTo(windowStartMs: number, settled: Settled): number {
  let known = counts.get(settled);
  if (known === undefined) {
    const found = new Map<number, number>();
    for (const { redriven } of settled.partitions) {
      for (const { windowStartMs } of redriven) found.set(windowStartMs, (found.get(windowStartMs) ?? 0) + 1);
    }
    counts.set(settled, known = found);
  }
  return known.get(windowStartMs) ?? 0;
}

export function positionsOf({ partitions }: Settled): Map<number, number> {
  return new Map(partitions.map(({ partition, position }) => [partition, position]));
}
