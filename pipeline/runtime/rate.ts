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

  /** The average up to `nowMs`; nothing noted for a while means that nothing grew. */
  perSecond(nowMs: number): number {
    const last = this.#samples.at(-1);
    if (!last) return 0;
    const first = this.#samples.findLast(({ atMs }) => atMs <= nowMs - SPAN_MS) ?? this.#samples[0];
    return nowMs > first.atMs ? 1000 * (last.total - first.total) / (nowMs - first.atMs) : 0;
  }
}
