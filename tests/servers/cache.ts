/** What tests fetch once and keep outside the repository: `TAILRACE_CACHE`, or .cache beside this file. */
import { dirname, join } from "node:path";

/** Written last: a folder without it was not finished. */
const COMPLETE = ".complete";

/** The path of a folder in the cache, whether it is there or not. */
export function cacheFolder(name: string): string {
  return join(Deno.env.get("TAILRACE_CACHE") || join(import.meta.dirname!, ".cache"), name);
}

export async function isCached(name: string): Promise<boolean> {
  return await Deno.stat(join(cacheFolder(name), COMPLETE)).then(() => true, () => false);
}

/** Makes a folder of the cache by `make` unless it is there, also when several processes ask at the same time; returns its path. */
export async function cached(name: string, make: (folder: string) => Promise<void>): Promise<string> {
  const folder = cacheFolder(name);
  await Deno.mkdir(dirname(folder), { recursive: true });
  using lock = await Deno.open(`${folder}.lock`, { create: true, write: true });
  await lock.lock(true);
  if (await isCached(name)) return folder;
  await thrice(async () => {
    await Deno.remove(folder, { recursive: true }).catch(() => {});
    await make(folder);
  });
  await Deno.writeTextFile(join(folder, COMPLETE), "");
  return folder;
}

/** Fetches what a registry may refuse for a moment. @throws what the third try threw */
export async function thrice(fetch: () => Promise<void>): Promise<void> {
  for (let tries = 1;; tries++) {
    try {
      return await fetch();
    } catch (error) {
      if (tries === 3) throw error;
      console.log(`once more: ${(error as Error).message.split("\n")[0]}`);
      await new Promise((resolve) => setTimeout(resolve, tries * 5_000));
    }
  }
}

/** What a program printed, or why it did not run or failed, in words. */
export async function output(
  program: string,
  args: readonly string[],
  options: { readonly withinMs?: number; readonly env?: Record<string, string> } = {},
): Promise<{ readonly stdout: string } | { readonly why: string }> {
  try {
    const signal = options.withinMs === undefined ? undefined : AbortSignal.timeout(options.withinMs);
    const { success, stdout, stderr } = await new Deno.Command(program, {
      args: [...args],
      env: options.env,
      stdin: "null",
      signal,
    }).output();
    const text = new TextDecoder();
    if (success) return { stdout: text.decode(stdout) };
    if (signal?.aborted) return { why: `${program} did not end within ${options.withinMs} ms` };
    return { why: `${text.decode(stdout)}${text.decode(stderr)}`.trim() || `${program} failed and said nothing` };
  } catch (error) {
    return { why: (error as Error).message };
  }
}
