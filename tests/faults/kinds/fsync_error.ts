import { descendantsOf, isInstalled, sleep, until } from "../../e2e/harness.ts";
import type { Kind } from "../kind.ts";

const CHECK_EVERY = 10;

/** fsync fails with an input/output error, once or from some call on; strace sees to it. */
export const fsyncError: Kind = {
  name: "fsync-error",
  what: "fsync and fdatasync fail with EIO under load, then a start on a disk that works",
  counts: { full: 60, short: 2 },
  async run(run) {
    if (!await isInstalled("strace")) {
      run.remarks.push("left out: strace is not installed");
      return;
    }
    await using world = await run.world({ postgres: "apart" });
    while (run.injected < run.count) {
      await world.stop();
      // Threads count for themselves.
      const from = Math.floor(run.between(1, 12));
      const when = run.random() < 0.5 ? `${from}` : `${from}+`;
      const output = `${world.folder}/strace`;
      const strace = ["strace", "-f", "-qq", "--seccomp-bpf", "-o", output, "-e", "trace=fsync,fdatasync"];
      await using child = world.spawn({
        wrap: (words) => [...strace, "-e", `inject=fsync,fdatasync:error=EIO:when=${when}`, ...words],
      });
      await until("an fsync failed", async () => {
        const seen = await Deno.readTextFile(output).catch(() => "");
        return child.hasEnded || seen.includes("INJECTED");
      });
      run.inject();
      await sleep(run.between(100, 1_500));
      // Not strace first, which would let go of the program and leave it running.
      for (const pid of descendantsOf(child.pid)) kill(pid);
      child.kill("SIGKILL");
      await child.exited();
      const began = performance.now();
      await world.start();
      await world.recovered();
      run.recoveredIn(performance.now() - began);
      if (run.injected % CHECK_EVERY === 0) await run.check(world);
    }
    await run.finish(world);
  },
};

function kill(pid: number): void {
  try {
    Deno.kill(pid, "SIGKILL");
  } catch {
    // It has ended already.
  }
}
