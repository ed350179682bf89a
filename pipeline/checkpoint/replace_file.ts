import type { Disk } from "./disk.ts";

/** Puts `bytes` in the place of a file: whenever the machine stops, the file is whole, the old one or the new one. */
export async function replaceFile(disk: Disk, path: string, bytes: Uint8Array): Promise<void> {
  const temporary = `${path}.new`;
  {
    using file = await disk.open(temporary, "empty");
    await file.write(bytes);
    // Before the rename: a name may reach the disk earlier than the bytes it stands for.
    await file.sync();
  }
  await disk.rename(temporary, path);
  await disk.syncFolder(path.slice(0, path.lastIndexOf("/")));
}
