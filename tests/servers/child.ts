/** Server processes of the tests: none outlives the test run, however that ends. */

/** A running process. */
export interface Child {
  readonly pid: number;
  /** Resolves when it has ended. */
  readonly ended: Promise<Deno.CommandStatus>;
  /** Sends a signal, SIGTERM unless given, and SIGKILL when it has not ended in time; resolves when it has. */
  stop(signal?: Deno.Signal, withinMs?: number): Promise<void>;
}

/**
 * Starts a program whose output goes to a file. In a process group of its own, so that Ctrl-C reaches the tests first; a
 * shell beside it kills it when this process is gone.
 */
export function startChild(
  program: string,
  args: readonly string[],
  options: { logFile: string; cwd?: string },
): Child {
  // The shell only redirects: the program takes its place and its process id.
  const script = 'log="$1"; shift; exec "$@" >>"$log" 2>&1';
  const child = new Deno.Command("/bin/sh", {
    args: ["-c", script, "sh", options.logFile, program, ...args],
    cwd: options.cwd,
    stdin: "null",
    stdout: "null",
    stderr: "null",
    detached: true,
  }).spawn();
  const watcher = new Deno.Command("/bin/sh", {
    args: ["-c", 'while read -r _; do :; done; kill -KILL "$1" 2>/dev/null', "sh", String(child.pid)],
    stdin: "piped",
    stdout: "null",
    stderr: "null",
    detached: true,
  }).spawn();
  let isOver = false;
  const ended = child.status.then(async (status) => {
    isOver = true;
    // Before the process id can be given to someone else.
    watcher.kill("SIGKILL");
    await watcher.stdin.close().catch(() => {});
    await watcher.status;
    return status;
  });
  const send = (signal: Deno.Signal) => {
    try {
      if (!isOver) child.kill(signal);
    } catch {
      // It ended in this moment.
    }
  };
  return {
    pid: child.pid,
    ended,
    stop: async (signal = "SIGTERM", withinMs = 10_000) => {
      send(signal);
      const timer = setTimeout(() => send("SIGKILL"), withinMs);
      await ended;
      clearTimeout(timer);
    },
  };
}

/** The last lines of a log file, for errors. */
export async function lastLines(file: string, count = 15): Promise<string> {
  const text = await Deno.readTextFile(file).catch(() => "");
  return text.trimEnd().split("\n").slice(-count).join("\n");
}
