import type { Clock } from "../../pipeline/clock.ts";

/** Wrong keys in one {@linkcode WINDOW_MS} before further tries are not looked at. */
export const FAILURES_MAX = 10;
export const WINDOW_MS = 60_000;
/** Sources remembered; one more makes the oldest forgotten. */
export const SOURCES_MAX = 10_000;

/**
 * Counts wrong keys per source. A source is a client's address with the id of the key that was tried when there is such a
 * key, so that an old key left in some script locks out that script and nobody else behind the same proxy.
 */
export class Failures {
  readonly #clock: Clock;
  readonly #sources = new Map<string, { readonly sinceMs: number; count: number }>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Seconds until a source may try again, 0 when it may now. */
  waitSeconds(source: string): number {
    const seen = this.#sources.get(source);
    if (!seen || seen.count < FAILURES_MAX) return 0;
    const left = seen.sinceMs + WINDOW_MS - this.#clock.monotonic();
    if (left > 0) return Math.ceil(left / 1000);
    this.#sources.delete(source);
    return 0;
  }

  add(source: string): void {
    const now = this.#clock.monotonic();
    const seen = this.#sources.get(source);
    if (seen && now < seen.sinceMs + WINDOW_MS) {
      seen.count++;
      return;
    }
    this.#sources.delete(source);
    if (this.#sources.size >= SOURCES_MAX) this.#sources.delete(this.#sources.keys().next().value!);
    this.#sources.set(source, { sinceMs: now, count: 1 });
  }

  get size(): number {
    return this.#sources.size;
  }
}
