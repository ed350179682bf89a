/**
 * Takes a data folder for this broker alone, until the returned function is called or the process ends, however it ends: the lock is
 * the operating system's, on an open file, so a killed broker leaves none behind. Throws when another broker has the folder.
 */
export function lockFolder(folder: string): () => void {
  Deno.mkdirSync(folder, { recursive: true });
  const path = `${folder}/lock`;
  const file = Deno.openSync(path, { write: true, create: true });
  if (!file.tryLockSync(true)) {
    file.close();
    throw new Error(
      `Cannot start the broker: another one uses the data folder ${folder}; stop it or choose another folder`,
    );
  }
  return () => {
    file.unlockSync();
    file.close();
  };
}
