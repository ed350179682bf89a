import { ConfigError, ConflictError, UnavailableError } from "../errors.ts";
import type { Archive, ArchiveStatus, ArchiveTail } from "../sinks/lake/archive/archive.ts";
import type { WrittenTail } from "../sinks/lake/archive/archiver.ts";
import type { StoreOptions } from "../sinks/lake/object_store.ts";
import type { LakeAddress } from "../sinks/lake/lake_address.ts";
import type { ArchiveTask } from "./archive_run.ts";
import type { FromArchive, ToArchive } from "./archive_worker.ts";
import type { WireError } from "./shard_worker.ts";

type Asked = { readonly resolve: (tail?: WrittenTail) => void; readonly reject: (error: Error) => void };

export interface ArchiveThreadOptions {
  readonly lake: LakeAddress;
  readonly log: (level: "info" | "warn" | "error", message: string) => void;
}

/** A topic's archive in a thread of its own. A thread that dies is started again; it reads on from where its table is. */
export class ArchiveThread implements Archive, AsyncDisposable {
  readonly topic: string;
  readonly table: string;
  readonly #task: ArchiveTask;
  readonly #options: ArchiveThreadOptions;
  readonly #asked = new Map<number, Asked>();
  #worker: Worker | null = null;
  #requests = 0;
  #status: ArchiveStatus;
  #restart: ReturnType<typeof setTimeout> | undefined;
  #stopping: Promise<void> | null = null;

  constructor(task: ArchiveTask, options: ArchiveThreadOptions) {
    const { topic, table } = task;
    this.topic = topic;
    this.table = table;
    this.#task = task;
    this.#options = options;
    this.#status = {
      topic,
      table,
      state: "starting",
      reason: null,
      version: null,
      rowsArchived: 0,
      rowsWaiting: 0,
      bytesWritten: 0,
      committedMs: null,
      inPerSecond: 0,
      lagRecords: 0,
    };
    this.#start();
  }

  status(): ArchiveStatus {
    return this.#status;
  }

  async tail({ signal }: StoreOptions = {}): Promise<ArchiveTail> {
    const tail = (await this.#ask("tail", signal))!;
    return {
      ...tail,
      [Symbol.dispose]() {
        if (tail.path !== null) Deno.remove(tail.path).catch(() => {});
      },
    };
  }

  async flush({ signal }: StoreOptions = {}): Promise<void> {
    await this.#ask("flush", signal);
  }

  /** Ends it with a last flush, as far as that goes within seconds. */
  [Symbol.asyncDispose](): Promise<void> {
    return this.#stopping ??= this.#stop();
  }

  async #stop(): Promise<void> {
    clearTimeout(this.#restart);
    const worker = this.#worker;
    if (!worker) return;
    await this.#ask("stop").catch(() => {});
    worker.terminate();
    this.#lose(new UnavailableError("The archive was stopped"));
  }

  #ask(kind: "tail" | "flush" | "stop", signal?: AbortSignal): Promise<WrittenTail | undefined> {
    const worker = this.#worker;
    if (!worker) return Promise.reject(new UnavailableError(`The archive of ${this.topic} does not run`));
    const request = ++this.#requests;
    return new Promise((resolve, reject) => {
      signal?.throwIfAborted();
      const onAbort = () => {
        this.#asked.delete(request);
        reject(signal!.reason);
      };
      signal?.addEventListener("abort", onAbort, { once: true });
      const done = <T>(then: (value: T) => void) => (value: T) => {
        signal?.removeEventListener("abort", onAbort);
        then(value);
      };
      this.#asked.set(request, { resolve: done(resolve), reject: done(reject) });
      worker.postMessage({ kind, request } satisfies ToArchive);
    });
  }

  #start(): void {
    const worker = new Worker(new URL("./archive_worker.ts", import.meta.url), {
      type: "module",
      name: `tailrace-archive-${this.topic}`,
    });
    this.#worker = worker;
    worker.onmessage = ({ data }: MessageEvent<FromArchive>) => this.#receive(data);
    worker.onerror = (event) => {
      event.preventDefault();
      if (this.#worker !== worker) return;
      worker.terminate();
      const problem = `The archive's thread of ${this.topic} crashed: ${event.message}`;
      this.#options.log("error", `${problem}; starting again in ${RESTART_MS / 1000} s`);
      this.#status = { ...this.#status, state: "waiting", reason: problem };
      this.#lose(new UnavailableError(problem));
      if (this.#stopping === null) this.#restart = setTimeout(() => this.#start(), RESTART_MS);
    };
    worker.postMessage({ kind: "start", task: this.#task, lake: this.#options.lake } satisfies ToArchive);
  }

  #receive(message: FromArchive): void {
    if (message.kind === "status") this.#take(message.status);
    else if (message.kind === "log") this.#options.log(message.level, message.message);
    else {
      const asked = this.#asked.get(message.request);
      this.#asked.delete(message.request);
      if (message.kind === "done") asked?.resolve(message.tail);
      else {
        asked?.reject(revived(message.error));
      }
      // Nobody waits for it any more.
      if (!asked && message.kind === "done" && message.tail?.path) Deno.remove(message.tail.path).catch(() => {});
    }
  }

  /** Says when it begins to wait while it runs, and when it goes on. */
  #take(status: ArchiveStatus): void {
    const { state } = this.#status;
    this.#status = status;
    if (status.state === "waiting" && state === "running") {
      this.#options.log("warn", `archive of ${this.topic} waits: ${status.reason}`);
    } else if (status.state === "running" && state === "waiting") {
      this.#options.log("info", `archive of ${this.topic} goes on`);
    }
  }

  #lose(error: Error): void {
    this.#worker = null;
    const asked = [...this.#asked.values()];
    this.#asked.clear();
    for (const { reject } of asked) reject(error);
  }
}

const RESTART_MS = 2_000;

function revived({ name, message }: WireError): Error {
  switch (name) {
    case "ConfigError":
      return new ConfigError({ where: "archive", problem: message });
    case "ConflictError":
      return new ConflictError(message);
    default:
      return new UnavailableError(message);
  }
}
