/**
 * What `postmaster.pid` in a cluster's folder tells of the server that runs there, and how to end a server that outlived
 * the process that started it.
 *
 * @module
 */
import { join } from "node:path";
import { ConfigError } from "../pipeline/errors.ts";

/** A server that is asked to end gets this long; after it, and told to end at once, as long as a slow disk may take for its writes. */
const SIGNALS = [["SIGINT", 5_000], ["SIGQUIT", 60_000]] as const;
const LOOK_MS = 40;

/*
 * postmaster.pid, one value a line (src/include/utils/pidfile.h in PostgreSQL):
 *   1 process id   2 data folder   3 start time   4 port   5 socket folder   6 listen address   7 shared memory key
 *   8 status: "starting", "stopping", "ready", "standby", padded with blanks; absent at the very start
 */
export interface Postmaster {
  readonly pid: number;
  readonly dataDir: string;
  readonly status: string;
}

/** Null when there is no such file, or it is empty. */
export async function readPostmaster(cluster: string): Promise<Postmaster | null> {
  let text: string;
  try {
    text = await Deno.readTextFile(join(cluster, "postmaster.pid"));
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return null;
    throw error;
  }
  const lines = text.split("\n");
  const pid = Number(lines[0]);
  if (!Number.isSafeInteger(pid) || pid <= 0) return null;
  return { pid, dataDir: lines[1] ?? "", status: (lines[7] ?? "").trim() };
}

/** What the system tells of a process: a letter for its state, and its command line, "" when it has ended. */
interface Process {
  readonly state: string;
  readonly command: string;
}

/**
 * Runs a line of shell. Under its permission set this process itself may neither signal other processes nor look at them; the
 * shell that starts the server may.
 */
async function shell(script: string, ...args: string[]): Promise<string | null> {
  const command = new Deno.Command("/bin/sh", { args: ["-c", script, "sh", ...args], stdin: "null", stderr: "null" });
  const { success, stdout } = await command.output();
  return success ? new TextDecoder().decode(stdout) : null;
}

/** Null when there is no such process, ours or not. */
async function lookAt(pid: number): Promise<Process | null> {
  if (Deno.build.os !== "linux") {
    const found = /^(\S+) +(.*)/.exec(await shell('ps -o state=,command= -p "$1"', String(pid)) ?? "");
    return found && { state: found[1], command: found[2] };
  }
  // pid (name) state ...; the name may hold anything, brackets and blanks too.
  const stat = await shell('cat "/proc/$1/stat"', String(pid));
  if (stat === null) return null;
  const command = await shell('cat "/proc/$1/cmdline"', String(pid));
  return { state: stat.slice(stat.lastIndexOf(")") + 2, stat.lastIndexOf(")") + 3), command: command ?? "" };
}

/**
 * Whether a process is over. One that nobody waits for, as in a container without an init, stays as a zombie: it has let go
 * of everything but its id.
 */
export async function hasEnded(pid: number): Promise<boolean> {
  const found = await lookAt(pid);
  return found === null || /^[ZX]/.test(found.state);
}

/** A whole argument: the folder `/data/cluster` is not meant where `/other/data/cluster` stands. */
function hasArgument(command: string, argument: string): boolean {
  return ["\0", " "].some((gap) => `${command}${gap}`.includes(`${gap}${argument}${gap}`));
}

/**
 * Ends the server that a killed process left running in `cluster`, or clears what is left of one. The caller holds the
 * folder's lock, so whatever server runs there has no owner any more.
 *
 * @throws ConfigError when it does not end
 */
export async function stopPostmaster(cluster: string, onProgress: (step: string) => void): Promise<void> {
  const postmaster = await readPostmaster(cluster);
  if (postmaster === null) return;
  const { pid } = postmaster;
  const found = await lookAt(pid);
  if (found === null) return;
  const { command } = found;
  if (!command.includes("postgres") || !hasArgument(command, cluster)) {
    // The id was given to another program since: PostgreSQL itself would take that one for a server and refuse. Or the server has
    // just ended and tells no command any more; it may have removed the file itself.
    await Deno.remove(join(cluster, "postmaster.pid")).catch((error) => {
      if (!(error instanceof Deno.errors.NotFound)) throw error;
    });
    return;
  }
  onProgress(`stopping the PostgreSQL (process ${pid}) that an earlier run left behind`);
  for (const [name, withinMs] of SIGNALS) {
    await shell('kill -s "$1" "$2"', name.slice("SIG".length), String(pid));
    for (const deadline = performance.now() + withinMs; performance.now() < deadline;) {
      if (await hasEnded(pid)) return;
      await new Promise((resolve) => setTimeout(resolve, LOOK_MS));
    }
  }
  throw new ConfigError({
    where: "--data (TAILRACE_DATA)",
    problem: `the PostgreSQL of an earlier run (process ${pid}) in ${cluster} does not end: end it, then start again`,
  });
}
