import { sleep } from "../../e2e/harness.ts";
import type { Kind } from "../kind.ts";

const DISK = "64m";
const CHECK_EVERY = 10;

/** The disk of broker, registry and checkpoints has no room left for a while. */
export const diskFull: Kind = {
  name: "disk-full",
  what: "the disk of broker, registry and checkpoints full for a while",
  counts: { full: 50, short: 2 },
  async run(run) {
    const folder = await Deno.makeTempDir({ prefix: "tailrace_faults_disk_" });
    const mount = await command("mount", ["-t", "tmpfs", "-o", `size=${DISK}`, "tmpfs", folder]);
    if (mount !== null) {
      run.remarks.push(`left out: it needs a small disk of its own, and mount says: ${mount}`);
      await Deno.remove(folder);
      return;
    }
    try {
      await using world = await run.world({ postgres: "apart", dataDir: `${folder}/data` });
      while (run.injected < run.count) {
        await sleep(run.between(50, 500));
        await fill(`${folder}/filler`);
        run.inject();
        await sleep(run.between(200, 2_500));
        await Deno.remove(`${folder}/filler`);
        await run.recovers(world);
        if (run.injected % CHECK_EVERY === 0) await run.check(world);
      }
      await run.finish(world);
    } finally {
      await command("umount", ["-l", folder]);
      await Deno.remove(folder);
    }
  },
};

/** Takes all room there is. */
async function fill(path: string): Promise<void> {
  using file = await Deno.open(path, { create: true, write: true });
  for (let size = 1 << 20; size > 0; size >>= 1) {
    try {
      for (;;) await file.write(new Uint8Array(size));
    } catch {
      // Smaller pieces may still fit.
    }
  }
}

/** Null when it went well, else what it said. */
async function command(name: string, args: string[]): Promise<string | null> {
  try {
    const { success, stderr } = await new Deno.Command(name, { args }).output();
    return success ? null : new TextDecoder().decode(stderr).trim();
  } catch (error) {
    return (error as Error).message;
  }
}
