/** Milliseconds that one request works without letting others. */
const BREATH_MS = 10;
/** Looking at the clock takes longer than many a record. */
const LOOK_EVERY = 256;

/** To be awaited between records: lets other requests work every few milliseconds, and costs nothing otherwise. */
export function breather(): () => Promise<void> | undefined {
  let calls = 0;
  let since = performance.now();
  return () => {
    if (++calls % LOOK_EVERY !== 0 || performance.now() - since < BREATH_MS) return undefined;
    return new Promise((resolve) =>
      setTimeout(() => {
        since = performance.now();
        resolve();
      })
    );
  };
}
