/**
 * How a child is started: through `/bin/sh`, which sets the operating system's limits and then becomes the child.
 *
 * What the machine lets us do is done, and what it does not is left: the child is nice to everybody else and the first to go when
 * memory runs out; it has no network (`unshare`), no rights of root and no way to get any (`setpriv`). Its limits hold everywhere:
 *
 * | limit | value |
 * |---|---|
 * | data (`-d`) | DuckDB's memory and room for the runtime's own |
 * | size of a file written (`-f`) | 0: pipes can be written, files cannot |
 * | processor seconds (`-t`), open files (`-n`), core files (`-c`) | below |
 *
 * Its Deno permissions: read and load DuckDB's library, nothing else; no environment, network, programs, writing.
 *
 * @module
 */
import { fileURLToPath } from "node:url";

const SHELL = "/bin/sh";
const OPEN_FILES_MAX = 4_096;
/** The runtime, its code, DuckDB's and the library of Arrow, beside what DuckDB counts as its memory. */
const RUNTIME_BYTES = 1024 * 1024 * 1024;
/** MB of JavaScript's heap: rows pass through it a chunk at a time. */
const HEAP_MB = 384;
const NICENESS = 10;

export interface LaunchOptions {
  readonly memoryBytesMax: number;
  readonly processorSecondsMax: number;
}

/** Finds out which wrappers work here, as one line of words to put before a command. */
const PROBE = `
words="nice -n ${NICENESS}"
$words true 2>/dev/null || words=
for net in "unshare -n" "unshare -rn"; do
  if $net true 2>/dev/null; then words="$words $net"; break; fi
done
for drop in "setpriv --no-new-privs --bounding-set=-all --inh-caps=-all --" "setpriv --no-new-privs --"; do
  if $words $drop true 2>/dev/null; then words="$words $drop"; break; fi
done
echo $words
`;

/** What can be put before a command on this machine; "" where nothing can. Asked once. */
export async function probeWrappers(): Promise<string> {
  const command = new Deno.Command(SHELL, { args: ["-c", PROBE], stdin: "null", stderr: "null" });
  const { success, stdout } = await command.output();
  return success ? new TextDecoder().decode(stdout).trim() : "";
}

const SCRIPT = `
ulimit -c 0
ulimit -t "$1" 2>/dev/null
ulimit -d "$2" 2>/dev/null
ulimit -n "$3" 2>/dev/null
trap '' XFSZ
ulimit -f 0
echo 1000 2>/dev/null > /proc/self/oom_score_adj
wrappers=$4
shift 4
exec $wrappers env -i DENO_DIR=/dev/null/none DENO_NO_UPDATE_CHECK=1 "$@"
`;

/** Starts a child; its three streams are pipes. */
export function launch(wrappers: string, { memoryBytesMax, processorSecondsMax }: LaunchOptions): Deno.ChildProcess {
  const program = fileURLToPath(new URL("./child.ts", import.meta.url));
  const modules = fileURLToPath(new URL("../../node_modules", import.meta.url));
  return new Deno.Command(SHELL, {
    args: [
      "-c",
      SCRIPT,
      "sh",
      String(processorSecondsMax),
      String(Math.ceil((memoryBytesMax + RUNTIME_BYTES) / 1024)),
      String(OPEN_FILES_MAX),
      wrappers,
      Deno.execPath(),
      "run",
      "--quiet",
      "--no-prompt",
      "--no-remote",
      "--cached-only",
      "--no-lock",
      "--no-code-cache",
      "--node-modules-dir=manual",
      `--v8-flags=--max-old-space-size=${HEAP_MB}`,
      `--allow-read=${modules}`,
      `--allow-ffi=${modules}`,
      program,
    ],
    stdin: "piped",
    stdout: "piped",
    stderr: "piped",
    // Ctrl-C in the terminal is for us: whoever waits for an answer is told that we stop.
    detached: true,
  }).spawn();
}
