/**
 * Calls `work` with one value at a time, and with the newest of those that came meanwhile; the others are passed over. For what
 * is noted again and again, where only the last state counts: a failure is told, and the next value makes it good.
 */
export function newestOnly<T>(
  work: (value: T) => Promise<void>,
  onFailed: (error: Error) => void,
): (value: T) => void {
  let newest: { readonly value: T } | null = null;
  let isBusy = false;
  const run = async () => {
    isBusy = true;
    while (newest) {
      const { value } = newest;
      newest = null;
      try {
        await work(value);
      } catch (error) {
        onFailed(error as Error);
      }
    }
    isBusy = false;
  };
  return (value) => {
    newest = { value };
    if (!isBusy) void run();
  };
}
