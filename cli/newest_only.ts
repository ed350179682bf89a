/**
 * Calls `work` with one value at a time, and with the newest of those that came meanwhile; the others are passed over. For what
 * is noted again and again, where only the last state counts.
 */
export function newestOnly<T>(work: (value: T) => Promise<void>): (value: T) => void {
  let newest: { readonly value: T } | null = null;
  let isBusy = false;
  const run = async () => {
    isBusy = true;
    while (newest) {
      const { value } = newest;
      newest = null;
      await work(value);
    }
    isBusy = false;
  };
  return (value) => {
    newest = { value };
    if (!isBusy) void run();
  };
}
