import type { Rewound } from "../checkpoint/checkpoint.ts";

/** Ranges of set-aside offsets remembered of a stretch; one takes some twenty bytes of a checkpoint. */
export const ASIDE_RANGES_MAX = 50_000;

/**
 * What became of the letters of a stretch of a partition that was computed before, and is computed again.
 *
 * The letters are of the computation before, which may have judged otherwise: with less lateness allowed, or without a schema that
 * is registered by now. So a record that comes back from there counts only if its original was set aside this time, too; otherwise
 * the original counts by itself.
 */
export class RewoundStretch {
  readonly #from: number;
  readonly #to: number;
  readonly #aside: [from: number, to: number][];
  readonly #asideMax: number;
  #isFull: boolean;

  /** `asideMax` instead of `ASIDE_RANGES_MAX`. */
  constructor({ from, to, aside, isFull }: Rewound, asideMax = ASIDE_RANGES_MAX) {
    this.#from = from;
    this.#to = to;
    this.#aside = aside.map(([from, to]) => [from, to]);
    this.#asideMax = asideMax;
    this.#isFull = isFull;
  }

  /** Notes that the record at an offset was set aside. Offsets grow; true when it was news. */
  note(offset: number): boolean {
    if (offset < this.#from || offset >= this.#to || this.#isFull) return false;
    const last = this.#aside.at(-1);
    if (last?.[1] === offset) last[1]++;
    else if (this.#aside.length < this.#asideMax) this.#aside.push([offset, offset + 1]);
    else this.#isFull = true;
    return true;
  }

  /** Whether a letter about an offset holds: `void` when its record counts by itself, `unknown` when too many were set aside. */
  letterAt(offset: number): "holds" | "void" | "unknown" {
    if (offset < this.#from || offset >= this.#to) return "holds";
    const aside = this.#aside;
    if (this.#isFull && offset >= (aside.at(-1)?.[1] ?? this.#from)) return "unknown";
    let low = 0;
    // The first range that ends after the offset.
    for (let high = aside.length; low < high;) {
      const middle = (low + high) >>> 1;
      if (aside[middle][1] <= offset) low = middle + 1;
      else high = middle;
    }
    return low < aside.length && aside[low][0] <= offset ? "holds" : "void";
  }

  /** For the checkpoint. */
  saved(): Rewound {
    const aside = this.#aside.map(([from, to]) => [from, to] as const);
    return { from: this.#from, to: this.#to, aside, isFull: this.#isFull };
  }
}

/** What is known when a partition goes back to `position`, and its log ends at `end`. */
export function rewoundTo(position: number, end: number, before: Rewound | null): Rewound {
  if (before === null || before.from >= position) {
    return { from: position, to: Math.max(end, before?.to ?? 0), aside: [], isFull: false };
  }
  const aside = before.aside.filter(([from]) => from < position).map(([from, to]) =>
    [from, Math.min(to, position)] as const
  );
  const isFull = before.isFull && (before.aside.at(-1)?.[1] ?? before.from) < position;
  // What was read for the first time then is not read again: all its letters hold.
  if (!isFull && before.to < position) aside.push([before.to, position]);
  return { from: before.from, to: Math.max(end, before.to), aside, isFull };
}
