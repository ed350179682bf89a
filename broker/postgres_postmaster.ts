/**
 * What `postmaster.pid` in a cluster's folder tells of the server that runs there, and how to end a server that outlived
 * the process that started it.
 *
 * @module
 */
import { join } from "node:path";
import process from "node:process";
import { ConfigError } from "../pipeline/errors.ts";

const STOP_WITHIN_MS = 10_000;

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

/** Whether a process with this id exists, ours or not. */
export function isRunning(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as { code?: string }).code === "EPERM";
  }
}

/**
 * Whether a process is over. One that nobody waits for, as in a container without an init, stays as a zombie: it has let go
 * of everything but its id.
 */
export async function hasEnded(pid: number): Promise<boolean> {
  if (!isRunning(pid)) return true;
  if (Deno.build.os !== "linux") return false;
  // pid (name) state ...; the name may hold anything, brackets too.
  const stat = await Deno.readTextFile(`/proc/${pid}/stat`).catch(() => ") X");
  return /^[ZX]/.test(stat.slice(stat.lastIndexOf(")") + 2));
}

/** The command line of a process, or "" when it cannot be had. */
async function commandLine(pid: number): Promise<string> {
  if (Deno.build.os === "linux") return await Deno.readTextFile(`/proc/${pid}/cmdline`).catch(() => "");
  const output = await new Deno.Command("ps", { args: ["-o", "command=", "-p", String(pid)], stderr: "null" }).output();
  return new TextDecoder().decode(output.stdout);
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
  if (postmaster === null || !isRunning(postmaster.pid)) return;
  const { pid } = postmaster;
  const command = await commandLine(pid);
  if (!command.includes("postgres") || !hasArgument(command, cluster)) {
    // The id was given to another program since; PostgreSQL itself would take that one for a server and refuse.
    await Deno.remove(join(cluster, "postmaster.pid"));
    return;
  }
  onProgress(`stopping the PostgreSQL (process ${pid}) that an earlier run left behind`);
  const deadline = performance.now() + STOP_WITHIN_MS;
  for (const name of ["SIGINT", "SIGQUIT"] as const) {
    try {
      process.kill(pid, name);
    } catch {
      return;
    }
    while (performance.now() < deadline - (name === "SIGINT" ? STOP_WITHIN_MS / 2 : 0)) {
      if (await hasEnded(pid)) return;
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  }
  throw new ConfigError({
    where: "--data (TAILRACE_DATA)",
    problem: `the PostgreSQL of an earlier run (process ${pid}) in ${cluster} does not end: end it, then start again`,
  });
}
