import type { Clock } from "../clock.ts";
import type { ShardFlush } from "./shard.ts";
import type { ShardHandle, ShardHost } from "./shard_host.ts";
import type { ShardTask } from "./shard_task.ts";

/** How often what was read again is handed over. */
const FLUSH_MS = 10;

export interface ReadAgainOptions {
  readonly hosts: readonly ShardHost[];
  readonly clock: Clock;
  readonly signal: AbortSignal;
  /** Called with what was read, in the order in which it was. */
  readonly take: (flush: ShardFlush) => void;
  /** Told why nothing can be read at the moment, and null once it goes on. */
  readonly onWaiting?: (reason: string | null) => void;
}

/**
 * Reads bounded parts of partitions (each has an `until`) through the same shards that read live, and resolves when all are read.
 *
 * @throws whatever makes a shard give up, such as OffsetOutOfRangeError
 */
export async function readAgain(task: ShardTask, options: ReadAgainOptions): Promise<void> {
  const { hosts, clock, signal, take, onWaiting = () => {} } = options;
  const untils = new Map(task.partitions.map(({ partition, until }) => [partition, until!]));
  const byHost = Map.groupBy(task.partitions, ({ partition }) => partition % hosts.length);
  const failed = new AbortController();
  const shards: ShardHandle[] = [];
  let full = Promise.withResolvers<void>();
  try {
    for (const [host, partitions] of byHost) {
      shards.push(
        await hosts[host].open({ ...task, partitions }, {
          onFull: () => full.resolve(),
          onWaiting,
          onFailed: (error) => {
            failed.abort(error);
            full.resolve();
          },
        }),
      );
    }
    const reached = new Set<number>();
    while (reached.size < untils.size) {
      signal.throwIfAborted();
      failed.signal.throwIfAborted();
      full = Promise.withResolvers();
      for (
        const flush of await Promise.all(shards.map((shard) => shard.flush({ raises: NONE, paused: [...reached] })))
      ) {
        take(flush);
        for (const { partition, position } of flush.partitions) {
          if (position >= untils.get(partition)!) reached.add(partition);
        }
      }
      if (reached.size < untils.size) {
        const ended = new AbortController();
        const onAbort = () => full.resolve();
        signal.addEventListener("abort", onAbort, { once: true });
        await Promise.race([clock.sleep(FLUSH_MS, ended.signal).catch(() => {}), full.promise]);
        signal.removeEventListener("abort", onAbort);
        ended.abort();
      }
    }
  } finally {
    await Promise.allSettled(shards.map((shard) => shard.close()));
  }
}

const NONE: ReadonlyMap<number, number> = new Map();
