import { readPostmaster } from "../../broker/postgres_postmaster.ts";
import { isRunning, sleep } from "./harness.ts";

/** Kills the cluster's server, and again each time that it is up; returns how often. */
export async function killWhenever(cluster: string, signal: AbortSignal): Promise<number> {
  const killed = new Set<number>();
  while (!signal.aborted) {
    const server = await readPostmaster(cluster);
    if (server?.status === "ready" && isRunning(server.pid)) {
      Deno.kill(server.pid, "SIGKILL");
      killed.add(server.pid);
    }
    await sleep(20);
  }
  return killed.size;
}

/** What a process holds in memory now. */
export function memoryBytes(pid: number): number {
  return 1024 * Number(/^VmRSS:\s+(\d+) kB$/m.exec(Deno.readTextFileSync(`/proc/${pid}/status`))![1]);
}
