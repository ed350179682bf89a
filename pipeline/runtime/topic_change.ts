import type { Clock } from "../clock.ts";
import { UnavailableError } from "../errors.ts";
import type { Cluster } from "../log/cluster.ts";

/** How often it is looked whether the topic got more partitions, or was made anew. */
const TOPIC_CHECK_MS = 30_000;

/**
 * Resolves with why to start again: the topic has more partitions than `count`, is another one of the same name, or must not be
 * looked at any more; with null at the signal. Goes on beside the epochs: a broker that does not answer must not hold results back.
 */
export async function topicChange(
  topic: { readonly name: string; readonly id: string | null },
  count: number,
  { clock, signal, ask }: {
    readonly clock: Clock;
    readonly signal: AbortSignal;
    readonly ask: <T>(ask: (cluster: Cluster) => Promise<T>) => Promise<T>;
  },
): Promise<Error | null> {
  const { name, id } = topic;
  for (;;) {
    try {
      await clock.sleep(TOPIC_CHECK_MS, signal);
      const found = await ask((cluster) => cluster.leaders(name));
      // Where it is longer already than what was read, fetching goes on as if nothing had happened.
      if (found && id !== null && found.id !== null && found.id !== id) {
        return new UnavailableError(`Topic ${name} was deleted and created anew; starting again, to say what to do`);
      }
      const now = found?.leaders.length ?? 0;
      if (now > count) {
        return new UnavailableError(`Topic ${name} grew to ${now} partitions; starting again with all of them`);
      }
    } catch (error) {
      if (signal.aborted) return null;
      if (!(error instanceof UnavailableError)) return error as Error;
    }
  }
}
