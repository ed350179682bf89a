import type { Clock } from "../clock.ts";

/** A wait is looked at again after this long, so that no timer is longer than timers can be. */
const SLEEP_MS_MAX = 60_000;

/**
 * So many records a second, for all who take from it, in the order they come. What was taken is owed and worn off by time: whoever
 * takes goes at once when nothing is owed, however much it takes, and the next waits for that. Unused time is not saved up.
 */
export class RateLimit {
  readonly #clock: Clock;
  #perSecond: number | null;
  /** Records taken that time has not worn off, as of `#at`. */
  #owed = 0;
  #at: number;
  #turn: Promise<void> = Promise.resolve();
  #changed = new AbortController();

  /** @param perSecond null for no limit @throws RangeError unless above 0 */
  constructor(clock: Clock, perSecond: number | null) {
    this.#clock = clock;
    this.#at = clock.monotonic();
    this.#perSecond = checked(perSecond);
  }

  get perSecond(): number | null {
    return this.#perSecond;
  }

  /** From now on; those who wait already wait by the new limit. @throws RangeError unless above 0 */
  set(perSecond: number | null): void {
    const next = checked(perSecond);
    this.#settle();
    this.#perSecond = next;
    this.#changed.abort();
    this.#changed = new AbortController();
  }

  /** Resolves when `n` more may go. @throws the signal's reason, when it comes first; nothing is taken then */
  take(n: number, signal: AbortSignal): Promise<void> {
    const turn = this.#turn.then(() => this.#wait(n, signal));
    this.#turn = turn.catch(() => {});
    return turn;
  }

  async #wait(n: number, signal: AbortSignal): Promise<void> {
    for (;;) {
      signal.throwIfAborted();
      this.#settle();
      if (this.#perSecond === null) return;
      if (this.#owed <= 0) {
        this.#owed += n;
        return;
      }
      const ms = Math.min(Math.ceil(this.#owed / this.#perSecond * 1_000), SLEEP_MS_MAX);
      const changed = this.#changed.signal;
      await this.#clock.sleep(ms, AbortSignal.any([signal, changed])).catch((error) => {
        if (!changed.aborted) throw error;
      });
    }
  }

  #settle(): void {
    const now = this.#clock.monotonic();
    const worn = this.#perSecond === null ? Infinity : this.#perSecond * (now - this.#at) / 1_000;
    this.#owed = Math.max(0, this.#owed - worn);
    this.#at = now;
  }
}

function checked(perSecond: number | null): number | null {
  if (perSecond !== null && !(perSecond > 0)) {
    throw new RangeError(`Cannot let ${perSecond} records a second through: a limit is above 0, or null for none`);
  }
  return perSecond;
}
