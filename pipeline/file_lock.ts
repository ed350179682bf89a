/**
 * Takes a file for this process alone, until it is disposed of or the process ends, however it ends: the lock is the operating
 * system's, on an open file, so a killed process leaves none behind.
 *
 * @returns null when somebody else has it
 */
export async function takeLock(path: string, { mode }: { readonly mode?: number } = {}): Promise<Disposable | null> {
  const file = await Deno.open(path, { create: true, write: true, mode });
  if (await file.tryLock(true)) return { [Symbol.dispose]: () => releaseLock(file) };
  file.close();
  return null;
}

/**
 * Closes a file that is locked. To close it alone would not do: a child process that another thread is just starting has the open
 * file too, and so the lock, until it runs its own program.
 */
export function releaseLock(file: Deno.FsFile): void {
  file.unlockSync();
  file.close();
}
