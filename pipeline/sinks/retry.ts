/**
 * Waiting out an outage: a wrapper that repeats a write until the other side takes it.
 *
 * @module
 */
import { type Clock, systemClock } from "../clock.ts";
import { UnavailableError } from "../errors.ts";
import type { SetAsideSink, Sink } from "./sink.ts";

/** Longest wait between two tries, milliseconds, unless told otherwise. */
const DELAY_MS_MAX = 15_000;
const FIRST_DELAY_MS = 100;

export interface RetryOptions {
  readonly clock?: Clock;
  /** A number in [0, 1), for the jitter. */
  readonly random?: () => number;
  /** Wait after the first failure, milliseconds; doubles with each further one. Default 100. */
  readonly firstDelayMs?: number;
  /** Bound of the wait, milliseconds. Default 15,000. */
  readonly delayMsMax?: number;
  /** Told why before each wait, and null once the write went through after all. */
  readonly onWaiting?: (reason: string | null) => void;
}

/**
 * Runs `work` until it does not throw UnavailableError, waiting longer each time; other errors pass through at once. There
 * is no limit to the tries: giving up would lose rows, and the caller holds no more of them meanwhile.
 *
 * The wait is between half and all of `firstDelayMs * 2^failures`, so that processes that failed together do not return
 * together.
 *
 * @throws the signal's reason when it ends the waiting
 */
export async function untilAvailable<T>(
  work: () => Promise<T>,
  options: RetryOptions & { readonly signal: AbortSignal },
): Promise<T> {
  const { clock = systemClock, random = Math.random, signal, onWaiting } = options;
  const { firstDelayMs = FIRST_DELAY_MS, delayMsMax = DELAY_MS_MAX } = options;
  for (let failures = 0;; failures++) {
    try {
      signal.throwIfAborted();
      const result = await work();
      if (failures > 0) onWaiting?.(null);
      return result;
    } catch (error) {
      if (signal.aborted) throw signal.reason;
      if (!(error instanceof UnavailableError)) throw error;
      onWaiting?.(error.message);
      const delayMs = Math.min(firstDelayMs * 2 ** failures, delayMsMax);
      await clock.sleep(delayMs * (0.5 + random() / 2), signal);
    }
  }
}

/** A sink whose writes wait until `sink` takes them. */
export function withRetry(sink: Sink, options: RetryOptions = {}): Sink {
  const { delivered } = sink;
  return {
    name: sink.name,
    resume: (position, { signal }) => untilAvailable(() => sink.resume(position, { signal }), { ...options, signal }),
    position: () => sink.position(),
    write: (rows, write) => untilAvailable(() => sink.write(rows, write), { ...options, signal: write.signal }),
    ...(delivered
      ? {
        delivered: (partition, { signal }) =>
          untilAvailable(() => delivered.call(sink, partition, { signal }), { ...options, signal }),
      }
      : {}),
    [Symbol.asyncDispose]: () => Promise.resolve(sink[Symbol.asyncDispose]()),
  };
}

/** The same for late records and dead letters. */
export function setAsideWithRetry(sink: SetAsideSink, options: RetryOptions = {}): SetAsideSink {
  return {
    resume: (position, { signal }) => untilAvailable(() => sink.resume(position, { signal }), { ...options, signal }),
    position: () => sink.position(),
    write: (records, write) => untilAvailable(() => sink.write(records, write), { ...options, signal: write.signal }),
    [Symbol.asyncDispose]: () => Promise.resolve(sink[Symbol.asyncDispose]()),
  };
}
