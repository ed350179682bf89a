/** Puts a folder's entries on disk, so that files created or renamed in it are found after a power cut. */
export async function syncFolder(path: string): Promise<void> {
  // Windows cannot open a folder as a file, and needs no such call.
  if (Deno.build.os === "windows") return;
  using folder = await Deno.open(path);
  await folder.sync();
}
