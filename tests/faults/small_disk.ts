/** A file system so small that it can be filled: a tmpfs, which needs the right to mount. */
export class SmallDisk implements AsyncDisposable {
  readonly folder: string;

  private constructor(folder: string) {
    this.folder = folder;
  }

  /** @param size as mount takes it, such as "64m". Why there is none, in words, where it cannot be mounted. */
  static async open(size: string): Promise<SmallDisk | { readonly why: string }> {
    const folder = await Deno.makeTempDir({ prefix: "tailrace_faults_disk_" });
    const why = await command("mount", ["-t", "tmpfs", "-o", `size=${size}`, "tmpfs", folder]);
    if (why === null) return new SmallDisk(folder);
    await Deno.remove(folder);
    return { why: `it needs a small disk of its own, and mount says: ${why}` };
  }

  /** Takes all room there is. */
  async fill(): Promise<void> {
    using file = await Deno.open(this.#filler, { create: true, write: true });
    for (let size = 1 << 20; size > 0; size >>= 1) {
      try {
        for (;;) await file.write(new Uint8Array(size));
      } catch {
        // Smaller pieces may still fit.
      }
    }
  }

  /** Gives it back. */
  async empty(): Promise<void> {
    await Deno.remove(this.#filler);
  }

  get #filler(): string {
    return `${this.folder}/filler`;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await command("umount", ["-l", this.folder]);
    await Deno.remove(this.folder);
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
