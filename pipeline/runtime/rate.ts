/** Seconds a rate is averaged over. */
const SPAN_MS = 5_000;

/** How fast a counter has grown over the last seconds. */
export class Rate {
  readonly #samples: { readonly atMs: number; readonly total: number }[] = [];

  /** Notes the counter's value. Call it a few times a second. */
  note(atMs: number, total: number): void {
    this.#samples.push({ atMs, total });
    while (this.#samples.length > 2 && this.#samples[1].atMs <= atMs - SPAN_MS) this.#samples.shift();
  }

  get perSecond(): number {
    const first = this.#samples[0];
    const last = this.#samples.at(-1);
    if (!first || !last || last.atMs === first.atMs) return 0;
    return 1000 * (last.total - first.total) / (last.atMs - first.atMs);
  }
}
