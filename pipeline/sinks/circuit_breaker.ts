/**
 * Leaving the other side alone while it is down: a wrapper that stops asking after some failures, and tries with one write at a time
 * whether it is back.
 *
 *     closed ── n failures in a row ──▶ open ── time is over ──▶ half open ── the probe succeeds ──▶ closed
 *                                        ▲                          │
 *                                        └──── it fails: twice the time ◀┘
 *
 * @module
 */
import { type Clock, systemClock } from "../clock.ts";
import { UnavailableError } from "../errors.ts";
import { RejectedRowsError, type ResultRows, type Sink, type SinkPosition, type WriteOptions } from "./sink.ts";

const FAILURES = 5;
const OPEN_MS = { first: 5_000, most: 60_000 };

export interface CircuitBreakerOptions {
  readonly clock?: Clock;
  /** So many times in a row the other side is away before it is left alone. Default 5. */
  readonly failures?: number;
  /** For how long then, milliseconds; doubles each time a probe fails. Default 5,000. */
  readonly openMs?: number;
  /** Bound of that. Default 60,000. */
  readonly openMsMax?: number;
  /** Told why it is left alone, and null once it is back. */
  readonly onWaiting?: (reason: string | null) => void;
}

/** A sink that is asked nothing while it is down: who asks is told `UnavailableError` at once. Worn under a retry. */
export function withCircuitBreaker(sink: Sink, options: CircuitBreakerOptions = {}): Sink {
  const breaker = new Breaker(sink.name, options);
  const { delivered } = sink;
  return {
    name: sink.name,
    resume: (position: SinkPosition, { signal }) => breaker.run(() => sink.resume(position, { signal })),
    position: () => sink.position(),
    write: (rows: ResultRows, write: WriteOptions) => breaker.run(() => sink.write(rows, write)),
    ...(delivered
      ? { delivered: (partition, { signal }) => breaker.run(() => delivered.call(sink, partition, { signal })) }
      : {}),
    [Symbol.asyncDispose]: () => Promise.resolve(sink[Symbol.asyncDispose]()),
  } satisfies Sink;
}

class Breaker {
  readonly #name: string;
  readonly #clock: Clock;
  readonly #options: CircuitBreakerOptions;
  #failures = 0;
  #openMs = 0;
  #openUntilMs = -Infinity;
  #isProbing = false;
  #last = "";

  constructor(name: string, options: CircuitBreakerOptions) {
    this.#name = name;
    this.#options = options;
    this.#clock = options.clock ?? systemClock;
  }

  get #isOpen(): boolean {
    return this.#openMs > 0;
  }

  async run<T>(work: () => Promise<T>): Promise<T> {
    const isProbe = this.#isOpen;
    if (isProbe && (this.#isProbing || this.#clock.monotonic() < this.#openUntilMs)) {
      throw new UnavailableError(`${this.#name} is left alone for a while: ${this.#last}`);
    }
    if (isProbe) this.#isProbing = true;
    try {
      const result = await work();
      this.#succeeded();
      return result;
    } catch (error) {
      if (error instanceof UnavailableError) this.#failed(error.message, isProbe);
      // It answered, though not as one would like.
      else if (error instanceof RejectedRowsError) this.#succeeded();
      throw error;
    } finally {
      if (isProbe) this.#isProbing = false;
    }
  }

  #succeeded(): void {
    const wasOpen = this.#isOpen;
    this.#failures = 0;
    this.#openMs = 0;
    if (wasOpen) this.#options.onWaiting?.(null);
  }

  #failed(message: string, wasProbe: boolean): void {
    const { failures = FAILURES, openMs = OPEN_MS.first, openMsMax = OPEN_MS.most, onWaiting } = this.#options;
    this.#last = message;
    if (++this.#failures < failures && !wasProbe) return;
    // Writes that began before it opened tell nothing new.
    if (this.#isOpen && !wasProbe) return;
    this.#openMs = wasProbe ? Math.min(2 * this.#openMs, openMsMax) : openMs;
    this.#openUntilMs = this.#clock.monotonic() + this.#openMs;
    onWaiting?.(`${this.#name} is left alone for ${this.#openMs / 1000} s: ${message}`);
  }
}
