/**
 * Replaces a small file by `text` in one step: whoever reads it, also after a crash, finds the old or the new content, whole.
 * With `sync` the new content is on disk when this returns.
 */
export function replaceFile(path: string, text: string, options: { sync: boolean }): void {
  const temporary = `${path}.new`;
  {
    using file = Deno.openSync(temporary, { write: true, create: true, truncate: true });
    const bytes = new TextEncoder().encode(text);
    for (let at = 0; at < bytes.length;) at += file.writeSync(bytes.subarray(at));
    if (options.sync) file.syncSync();
  }
  Deno.renameSync(temporary, path);
  if (!options.sync || Deno.build.os === "windows") return;
  using folder = Deno.openSync(path.slice(0, path.lastIndexOf("/")));
  folder.syncSync();
}

/** The content of a text file, null when there is none. */
export function readIfPresent(path: string): string | null {
  try {
    return Deno.readTextFileSync(path);
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return null;
    throw error;
  }
}
