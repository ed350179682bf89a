/**
 * The few things that checkpoints and journals ask of a file system, each a point where a machine can stop. The simulation puts a disk in
 * its place that loses what was not synced.
 *
 * @module
 */
import { syncFolder } from "./sync_folder.ts";

/** An open file. What was written is safe from a power cut once `sync` resolved. */
export interface DiskFile extends Disposable {
  /** Writes all bytes at the end of the file. */
  write(bytes: Uint8Array): Promise<void>;
  /** Cuts the file to a length. */
  truncate(length: number): Promise<void>;
  sync(): Promise<void>;
}

/** Files and folders by path. Names (new, renamed, removed) are safe from a power cut once `syncFolder` resolved. */
export interface Disk {
  /** Makes a folder and those above it, and syncs those, where they are missing. */
  makeFolder(path: string): Promise<void>;
  /** Makes a folder in one that is there; false when there is one already. */
  makeNewFolder(path: string): Promise<boolean>;
  /** The names in a folder; none when there is no such folder. */
  list(path: string): Promise<string[]>;
  /** The whole file; null when there is none. */
  read(path: string): Promise<Uint8Array | null>;
  /** Opens a file, new when there is none: `empty` without what it held, `end` with it. */
  open(path: string, from: "empty" | "end"): Promise<DiskFile>;
  /** Gives a file another name, in place of the file that has it; or a folder one that is free. */
  rename(from: string, to: string): Promise<void>;
  remove(path: string): Promise<void>;
  syncFolder(path: string): Promise<void>;
}

/** The machine's own. */
export const systemDisk: Disk = {
  makeFolder,
  makeNewFolder: async (path) => {
    try {
      await Deno.mkdir(path);
      return true;
    } catch (error) {
      if (error instanceof Deno.errors.AlreadyExists) return false;
      throw error;
    }
  },
  list: async (path) => {
    try {
      return await Array.fromAsync(Deno.readDir(path), ({ name }) => name);
    } catch (error) {
      if (error instanceof Deno.errors.NotFound) return [];
      throw error;
    }
  },
  read: async (path) => {
    try {
      return await Deno.readFile(path);
    } catch (error) {
      if (error instanceof Deno.errors.NotFound) return null;
      throw error;
    }
  },
  open: async (path, from) => {
    const empty = from === "empty";
    const file = await Deno.open(path, { create: true, write: empty, truncate: empty, append: !empty });
    return {
      write: async (bytes) => {
        for (let written = 0; written < bytes.length;) written += await file.write(bytes.subarray(written));
      },
      truncate: (length) => file.truncate(length),
      sync: () => file.sync(),
      [Symbol.dispose]: () => file.close(),
    };
  },
  rename: (from, to) => Deno.rename(from, to),
  remove: (path) => Deno.remove(path),
  syncFolder,
};

async function makeFolder(path: string): Promise<void> {
  try {
    await Deno.mkdir(path);
  } catch (error) {
    if (error instanceof Deno.errors.AlreadyExists && (await Deno.stat(path)).isDirectory) return;
    if (!(error instanceof Deno.errors.NotFound)) throw error;
    await makeFolder(parent(path));
    return await makeFolder(path);
  }
  await syncFolder(parent(path));
}

function parent(path: string): string {
  const at = path.lastIndexOf("/");
  return at < 0 ? "." : at === 0 ? "/" : path.slice(0, at);
}
