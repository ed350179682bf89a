/**
 * The worker thread's side of `thread_shard_host.ts`: runs shards for whoever asks.
 *
 * @module
 */
import { systemClock } from "../clock.ts";
import { transferable } from "../operators/panes.ts";
import { LocalShardHost, type SourceOptions } from "./local_shard_host.ts";
import type { ShardFlush } from "./shard.ts";
import type { ShardHandle } from "./shard_host.ts";
import type { ShardTask } from "./shard_task.ts";

/** What the runner's thread asks for. `shard` names one shard of this worker, `request` the answer waited for. */
export type ToWorker =
  | {
    readonly kind: "open";
    readonly shard: number;
    readonly request: number;
    readonly task: ShardTask;
    readonly source: SourceOptions;
  }
  | {
    readonly kind: "flush";
    readonly shard: number;
    readonly request: number;
    readonly raises: ReadonlyMap<number, number>;
    readonly paused: readonly number[];
    readonly perSecond?: number;
  }
  | { readonly kind: "close"; readonly shard: number; readonly request: number };

/** What this side answers and tells. */
export type FromWorker =
  | { readonly kind: "done"; readonly request: number; readonly flush?: ShardFlush }
  | { readonly kind: "refused"; readonly request: number; readonly error: unknown }
  | { readonly kind: "full"; readonly shard: number }
  | { readonly kind: "waiting"; readonly shard: number; readonly reason: string | null }
  | { readonly kind: "failed"; readonly shard: number; readonly error: WireError };

/** An error as it crosses threads; its class is told by `name`. */
export interface WireError {
  readonly name: string;
  readonly message: string;
}

// The worker's own global, which the default library types as a window.
const thread = self as unknown as {
  postMessage(message: FromWorker, transfer?: Transferable[]): void;
  onmessage: ((event: MessageEvent<ToWorker>) => void) | null;
};
const shards = new Map<number, ShardHandle>();

thread.onmessage = async ({ data: message }) => {
  const { request } = message;
  try {
    if (message.kind === "open") {
      const { shard } = message;
      const host = new LocalShardHost(message.source, systemClock);
      shards.set(
        shard,
        await host.open(message.task, {
          onFull: () => thread.postMessage({ kind: "full", shard }),
          onWaiting: (reason) => thread.postMessage({ kind: "waiting", shard, reason }),
          onFailed: ({ name, message }) => thread.postMessage({ kind: "failed", shard, error: { name, message } }),
        }),
      );
      thread.postMessage({ kind: "done", request });
    } else if (message.kind === "flush") {
      const flush = await shards.get(message.shard)!.flush(message);
      const bytes = flush.setAside.flatMap(({ key, value }) => [key, value]).filter((part) => part !== null);
      thread.postMessage({ kind: "done", request, flush }, [
        ...transferable(flush.panes),
        ...(flush.reopened ? transferable(flush.reopened) : []),
        ...bytes.map((part) => part.buffer as ArrayBuffer),
      ]);
    } else {
      await shards.get(message.shard)?.close();
      shards.delete(message.shard);
      thread.postMessage({ kind: "done", request });
    }
  } catch (error) {
    thread.postMessage({
      kind: "refused",
      request,
      error: { name: (error as Error).name, message: (error as Error).message },
    });
  }
};
