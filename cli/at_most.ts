/**
 * Lets so many works go on at a time; the others wait their turn in the order they came, or until their signal ends it. For what
 * takes memory and time of its own, and may be asked for by anybody.
 */
export function atMost(most: number): <T>(signal: AbortSignal, work: () => Promise<T>) => Promise<T> {
  let going = 0;
  const waiting = new Set<() => void>();
  const turn = async (signal: AbortSignal) => {
    signal.throwIfAborted();
    if (going < most) return void going++;
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    const onAbort = () => {
      waiting.delete(resolve);
      reject(signal.reason);
    };
    waiting.add(resolve);
    signal.addEventListener("abort", onAbort, { once: true });
    await promise.finally(() => signal.removeEventListener("abort", onAbort));
  };
  const end = () => {
    const [next] = waiting;
    // Its place passes on, so nobody comes in between.
    if (next) waiting.delete(next);
    else going--;
    next?.();
  };
  return async (signal, work) => {
    await turn(signal);
    try {
      return await work();
    } finally {
      end();
    }
  };
}
