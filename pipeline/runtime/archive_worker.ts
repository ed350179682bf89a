/**
 * The worker thread's side of `archive_thread.ts`: one topic's archive.
 *
 * @module
 */
import { systemClock } from "../clock.ts";
import { type LakeAddress, openLakeAt } from "../sinks/lake/lake_address.ts";
import type { ArchiveStatus } from "../sinks/lake/archive/archive.ts";
import type { WrittenTail } from "../sinks/lake/archive/archiver.ts";
import { ArchiveRun, type ArchiveTask } from "./archive_run.ts";
import type { WireError } from "./shard_worker.ts";
import { supervise } from "./supervisor.ts";

/** What the other thread asks for; `request` names the answer waited for. */
export type ToArchive =
  | { readonly kind: "start"; readonly task: ArchiveTask; readonly lake: LakeAddress }
  | { readonly kind: "tail" | "flush" | "stop"; readonly request: number };

/** What this side answers and tells. */
export type FromArchive =
  | { readonly kind: "done"; readonly request: number; readonly tail?: WrittenTail }
  | { readonly kind: "refused"; readonly request: number; readonly error: WireError }
  | { readonly kind: "status"; readonly status: ArchiveStatus }
  | { readonly kind: "log"; readonly level: "info" | "warn" | "error"; readonly message: string };

const STATUS_MS = 500;

// The worker's own global, which the default library types as a window.
const thread = self as unknown as {
  postMessage(message: FromArchive): void;
  onmessage: ((event: MessageEvent<ToArchive>) => void) | null;
};
const stop = new AbortController();
let running: { readonly run: ArchiveRun; readonly ended: Promise<void> } | null = null;

thread.onmessage = async ({ data: message }) => {
  if (message.kind === "start") {
    running = start(message.task, message.lake);
    return;
  }
  const { request } = message;
  const { run, ended } = running!;
  try {
    if (message.kind === "tail") {
      thread.postMessage({ kind: "done", request, tail: await run.tail() });
    } else if (message.kind === "flush") {
      await run.flush();
      thread.postMessage({ kind: "done", request });
    } else {
      stop.abort(new DOMException("The archive was stopped", "AbortError"));
      await ended;
      thread.postMessage({ kind: "done", request });
    }
  } catch (error) {
    const { name, message } = error as Error;
    thread.postMessage({ kind: "refused", request, error: { name, message } });
  }
};

function start(task: ArchiveTask, options: LakeAddress): NonNullable<typeof running> {
  const log = (level: "info" | "warn" | "error", message: string) =>
    thread.postMessage({ kind: "log", level, message });
  const lake = openLakeAt(options);
  const run = new ArchiveRun(task, { clock: systemClock, lake, onLost: (problem) => log("error", problem) });
  const timer = setInterval(() => thread.postMessage({ kind: "status", status: run.status() }), STATUS_MS);
  const ended = supervise(`archive of ${task.topic}`, async (signal) => {
    try {
      await run.run(signal);
    } catch (error) {
      run.rest("waiting", (error as Error).message);
      throw error;
    }
  }, { clock: systemClock, signal: stop.signal, log }).then(async (isWhole) => {
    run.rest(isWhole ? "stopped" : "failed", isWhole ? null : run.status().reason);
    clearInterval(timer);
    thread.postMessage({ kind: "status", status: run.status() });
    await lake[Symbol.asyncDispose]();
  });
  return { run, ended };
}
