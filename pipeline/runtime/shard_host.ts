/**
 * Where shards run: in this thread, or in a worker behind messages. The runner sees no difference.
 *
 * @module
 */
import type { ShardFlush } from "./shard.ts";
import type { ShardTask } from "./shard_task.ts";

/** What a running shard tells its runner unasked. */
export interface ShardEvents {
  /** Reading waits for a flush, or has come to the end of what was asked for. */
  readonly onFull: () => void;
  /** Why nothing can be read at the moment; null once it goes on. */
  readonly onWaiting: (reason: string | null) => void;
  /** It stopped for good: the pipeline has to start again from its checkpoint. */
  readonly onFailed: (error: Error) => void;
}

export interface FlushRequest {
  /** Watermarks decided for idle partitions, by partition. */
  readonly raises: ReadonlyMap<number, number>;
  /** Partitions to leave unread until told otherwise, because they run too far ahead. */
  readonly paused: readonly number[];
  /** Records per second at most, from here on; as fast as it goes where left out. */
  readonly perSecond?: number;
}

export interface ShardHandle {
  flush(request: FlushRequest): Promise<ShardFlush>;
  close(): Promise<void>;
}

export interface ShardHost {
  open(task: ShardTask, events: ShardEvents): Promise<ShardHandle>;
}
