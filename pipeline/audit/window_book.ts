import type { Difference, DifferenceKind } from "./compare.ts";
import type { AuditStatus, FoundDifference, PlaceDifferences, PlaceName } from "./audit.ts";

/** Windows that are known; of more, the oldest are forgotten, and audited no longer. */
export const WINDOWS_MAX = 200_000;
/** Differences that are kept, and of one window; all are counted. */
export const DIFFERENCES_MAX = 2_000;
export const DIFFERENCES_OF_WINDOW_MAX = 200;

/** Differences of one window, in one place. */
export interface PlacedDifference {
  readonly place: PlaceName;
  readonly difference: Difference;
}

/** What is known of a window that has rows, or should have. */
export interface AuditedWindow {
  /** By table, what its rows came to when they were compared. */
  readonly digests: ReadonlyMap<string, string>;
  /** It was as it must be once: whatever is doubtful about the archive, it is not about this window. */
  readonly hasAgreed: boolean;
  readonly counts: readonly PlaceDifferences[];
  readonly kept: readonly FoundDifference[];
  /** Why it is not audited; null for others. */
  readonly notAuditable: string | null;
}

/** A difference that has to stand a second look. */
export interface Suspicion {
  /** What was found, as text. */
  readonly signature: string;
  readonly atMs: number;
  /** What the pipeline had read then. */
  readonly positions: ReadonlyMap<number, number>;
}

interface Figures extends Pick<AuditStatus, "audited" | "agreeing" | "differing" | "suspected" | "differences"> {
  readonly notAuditable: ReadonlyMap<string, number>;
}

/** The windows of one pipeline as they were audited last, by their start. */
export class WindowBook {
  readonly suspicions = new Map<number, Suspicion>();
  readonly #sizeMs: number;
  readonly #offsetMs: number;
  readonly #windows = new Map<number, AuditedWindow>();
  /** Those that start where no window does: somebody wrote them. */
  readonly #odd = new Set<number>();
  #kept = 0;
  #figures: Figures | null = null;

  constructor({ sizeMs, offsetMs }: { readonly sizeMs: number; readonly offsetMs: number }) {
    this.#sizeMs = sizeMs;
    this.#offsetMs = offsetMs;
  }

  get size(): number {
    return this.#windows.size;
  }

  get(startMs: number): AuditedWindow | undefined {
    return this.#windows.get(startMs);
  }

  /** Windows that start in `[fromMs, toMs)`, where windows start; in no order. */
  between(fromMs: number, toMs: number): [startMs: number, window: AuditedWindow][] {
    const isIn = (start: number) => start >= fromMs && start < toMs;
    if ((toMs - fromMs) / this.#sizeMs > this.#windows.size) return [...this.#windows].filter(([start]) => isIn(start));
    const starts = [...this.#odd].filter(isIn);
    for (let start = fromMs; start < toMs; start += this.#sizeMs) if (this.#windows.has(start)) starts.push(start);
    return starts.map((start) => [start, this.#windows.get(start)!]);
  }

  agree(startMs: number, digests: ReadonlyMap<string, string>): void {
    this.suspicions.delete(startMs);
    this.#put(startMs, { digests, hasAgreed: true, counts: [], kept: [], notAuditable: null });
  }

  differ(
    startMs: number,
    found: readonly PlacedDifference[],
    { digests, foundMs }: { readonly digests: ReadonlyMap<string, string>; readonly foundMs: number },
  ): void {
    this.suspicions.delete(startMs);
    const hasAgreed = this.#windows.get(startMs)?.hasAgreed ?? false;
    this.#delete(startMs);
    const room = Math.max(1, Math.min(DIFFERENCES_OF_WINDOW_MAX, DIFFERENCES_MAX - this.#kept));
    const kept = found.slice(0, room).map(({ place, difference }) => ({ ...difference, place, foundMs }));
    this.#put(startMs, { digests, hasAgreed, counts: countsOf(found), kept, notAuditable: null });
  }

  /** `digests` tell when to look again. */
  leave(startMs: number, reason: string, digests: ReadonlyMap<string, string>): void {
    this.suspicions.delete(startMs);
    this.#put(startMs, { digests, hasAgreed: false, counts: [], kept: [], notAuditable: reason });
  }

  forget(startMs: number): void {
    this.suspicions.delete(startMs);
    this.#delete(startMs);
  }

  clear(): void {
    this.#windows.clear();
    this.#odd.clear();
    this.suspicions.clear();
    this.#kept = 0;
    this.#figures = null;
  }

  /** Forgets the oldest windows beyond `WINDOWS_MAX`; the start of the first that is left, or null when none was forgotten. */
  trim(most = WINDOWS_MAX): number | null {
    if (this.#windows.size <= most) return null;
    const starts = [...this.#windows.keys()].sort((a, b) => a - b);
    const cut = starts[starts.length - Math.floor(most * 0.9)];
    for (const start of starts) if (start < cut) this.forget(start);
    return cut;
  }

  /** Starts of windows that differ. */
  differing(kind?: PlaceName["kind"]): number[] {
    return [...this.#windows].filter(([, { counts }]) =>
      counts.some((place) => kind === undefined || place.kind === kind)
    ).map(([start]) => start).sort((a, b) => a - b);
  }

  differences(limit: number): FoundDifference[] {
    const found = this.differing().reverse();
    return found.flatMap((start) => this.#windows.get(start)!.kept).slice(0, limit);
  }

  /** The part of a status that the windows tell. */
  figures(): Figures {
    // Asked often, also when nothing changed.
    if (this.#figures) return { ...this.#figures, suspected: this.suspicions.size };
    const places = new Map<string, PlaceDifferences & { counts: Record<DifferenceKind, number> }>();
    const notAuditable = new Map<string, number>();
    let [agreeing, differing] = [0, 0];
    for (const { counts, notAuditable: reason } of this.#windows.values()) {
      if (reason !== null) notAuditable.set(reason, (notAuditable.get(reason) ?? 0) + 1);
      else if (counts.length > 0) differing++;
      else agreeing++;
      for (const { kind, name, counts: of } of counts) {
        const sum = places.get(`${kind} ${name}`) ?? { kind, name, counts: { wrong: 0, missing: 0, extra: 0 } };
        places.set(`${kind} ${name}`, sum);
        for (const one of Object.keys(of) as DifferenceKind[]) sum.counts[one] += of[one];
      }
    }
    return this.#figures = {
      audited: agreeing + differing,
      agreeing,
      differing,
      suspected: this.suspicions.size,
      differences: [...places.values()],
      notAuditable,
    };
  }

  #put(startMs: number, window: AuditedWindow): void {
    this.#delete(startMs);
    this.#windows.set(startMs, window);
    if ((startMs - this.#offsetMs) % this.#sizeMs !== 0) this.#odd.add(startMs);
    this.#kept += window.kept.length;
  }

  #delete(startMs: number): void {
    this.#kept -= this.#windows.get(startMs)?.kept.length ?? 0;
    this.#windows.delete(startMs);
    this.#odd.delete(startMs);
    this.#figures = null;
  }
}

function countsOf(found: readonly PlacedDifference[]): PlaceDifferences[] {
  return Array.from(
    Map.groupBy(found, ({ place: { kind, name } }) => `${kind} ${name}`).values(),
    (of) => {
      const counts = { wrong: 0, missing: 0, extra: 0 };
      for (const { difference } of of) counts[difference.kind]++;
      return { kind: of[0].place.kind, name: of[0].place.name, counts };
    },
  );
}
