import { ConfigError, ConflictError, UnavailableError } from "../errors.ts";
import type { SourceOptions } from "./local_shard_host.ts";
import type { ShardFlush } from "./shard.ts";
import type { ShardEvents, ShardHandle, ShardHost } from "./shard_host.ts";
import type { ShardTask } from "./shard_task.ts";
import type { FromWorker, ToWorker, WireError } from "./shard_worker.ts";

type Asked = { readonly resolve: (flush?: ShardFlush) => void; readonly reject: (error: Error) => void };

/** `ToWorker` without what this side fills in. */
type Message<K extends ToWorker["kind"]> = Omit<Extract<ToWorker, { kind: K }>, "kind" | "request">;

/** Runs shards in one worker thread. A thread that dies fails all its shards; the next `open` starts a new one. */
export class ThreadShardHost implements ShardHost, AsyncDisposable {
  readonly #source: SourceOptions;
  #worker: Worker | null = null;
  readonly #asked = new Map<number, Asked>();
  readonly #events = new Map<number, ShardEvents>();
  #requests = 0;
  #shards = 0;

  constructor(source: SourceOptions) {
    this.#source = source;
  }

  async open(task: ShardTask, events: ShardEvents): Promise<ShardHandle> {
    const shard = ++this.#shards;
    this.#events.set(shard, events);
    try {
      await this.#ask("open", { shard, task, source: this.#source });
    } catch (error) {
      this.#events.delete(shard);
      throw error;
    }
    return {
      flush: async (request) => (await this.#ask("flush", { shard, ...request }))!,
      close: async () => {
        this.#events.delete(shard);
        if (this.#worker) await this.#ask("close", { shard });
      },
    };
  }

  // deno-lint-ignore require-await -- AsyncDisposable
  async [Symbol.asyncDispose](): Promise<void> {
    this.#worker?.terminate();
    this.#lose(new UnavailableError("The worker was ended"));
  }

  #ask<K extends ToWorker["kind"]>(kind: K, message: Message<K>): Promise<ShardFlush | undefined> {
    const worker = this.#worker ??= this.#start();
    const request = ++this.#requests;
    return new Promise((resolve, reject) => {
      this.#asked.set(request, { resolve, reject });
      worker.postMessage({ kind, request, ...message });
    });
  }

  #start(): Worker {
    const worker = new Worker(new URL("./shard_worker.ts", import.meta.url), {
      type: "module",
      name: "tailrace-shards",
    });
    worker.onmessage = ({ data }: MessageEvent<FromWorker>) => this.#receive(data);
    worker.onerror = (event) => {
      event.preventDefault();
      if (this.#worker !== worker) return;
      worker.terminate();
      this.#lose(new Error(`A worker thread crashed: ${event.message}`));
    };
    return worker;
  }

  #receive(message: FromWorker): void {
    switch (message.kind) {
      case "done":
      case "refused": {
        const asked = this.#asked.get(message.request);
        this.#asked.delete(message.request);
        if (message.kind === "done") asked?.resolve(message.flush);
        else asked?.reject(revived(message.error as WireError));
        break;
      }
      case "full":
        this.#events.get(message.shard)?.onFull();
        break;
      case "waiting":
        this.#events.get(message.shard)?.onWaiting(message.reason);
        break;
      case "failed":
        this.#events.get(message.shard)?.onFailed(revived(message.error));
    }
  }

  /** The thread is gone: everyone who waits for it is told. */
  #lose(error: Error): void {
    this.#worker = null;
    const asked = [...this.#asked.values()];
    const events = [...this.#events.values()];
    this.#asked.clear();
    this.#events.clear();
    for (const { reject } of asked) reject(error);
    for (const { onFailed } of events) onFailed(error);
  }
}

/** The error of the right class again. */
function revived({ name, message }: WireError): Error {
  switch (name) {
    case "ConfigError":
      return new ConfigError({ where: "worker", problem: message });
    case "UnavailableError":
      return new UnavailableError(message);
    case "ConflictError":
      return new ConflictError(message);
    default: {
      const error = new Error(message);
      error.name = name;
      return error;
    }
  }
}
