/**
 * How many requests are under way: more while all goes well, half as many when the other side says that it is too much.
 *
 * @module
 */

/**
 * The limit grows to here; every request waits in the memory of a node. With fewer than a node works on in the time that it takes to
 * wake a process, both wait for each other: at 16 a row costs a node twice the processor time that it does at 256.
 */
export const REQUESTS_MAX = 256;

export class InFlight {
  readonly #max: number;
  #limit: number;
  #running = 0;
  #waiting: (() => void)[] = [];

  constructor({ max = REQUESTS_MAX }: { readonly max?: number } = {}) {
    this.#limit = max;
    this.#max = max;
  }

  /** Requests that may be under way now; never under one. */
  get limit(): number {
    return Math.floor(this.#limit);
  }

  get running(): number {
    return this.#running;
  }

  /** Resolves when there is room for one more; then `leave` has to follow. */
  async enter(): Promise<void> {
    while (this.#running >= this.limit) await new Promise<void>((resolve) => this.#waiting.push(resolve));
    this.#running++;
  }

  leave(): void {
    this.#running--;
    this.#waiting.shift()?.();
  }

  /** A request went well: after as many as there may be, one more may be. */
  succeeded(): void {
    this.#limit = Math.min(this.#max, this.#limit + 1 / this.#limit);
    if (this.#running < this.limit) this.#waiting.shift()?.();
  }

  /** A request was too much. */
  overloaded(): void {
    this.#limit = Math.max(1, this.#limit / 2);
  }
}
