import type { Clock } from "../clock.ts";
import { UnavailableError } from "../errors.ts";
import type { Cluster } from "../log/cluster.ts";

/** How often it is looked whether the topic got more partitions. */
const PARTITION_CHECK_MS = 30_000;

/**
 * Resolves with why to start again, once the topic has more partitions than `count` or must not be looked at any more; with null
 * at the signal. Goes on beside the epochs: a broker that does not answer must not hold results back.
 */
export async function outgrown(
  topic: string,
  count: number,
  { clock, signal, ask }: {
    readonly clock: Clock;
    readonly signal: AbortSignal;
    readonly ask: <T>(ask: (cluster: Cluster) => Promise<T>) => Promise<T>;
  },
): Promise<Error | null> {
  for (;;) {
    try {
      await clock.sleep(PARTITION_CHECK_MS, signal);
      const found = await ask((cluster) => cluster.leaders(topic));
      const now = found?.leaders.length ?? 0;
      if (now > count) {
        return new UnavailableError(`Topic ${topic} grew to ${now} partitions; starting again with all of them`);
      }
    } catch (error) {
      if (signal.aborted) return null;
      if (!(error instanceof UnavailableError)) return error as Error;
    }
  }
}
