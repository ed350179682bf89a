/**
 * A lake in a folder of a disk.
 *
 *     <folder>/.scratch/     files on their way in: on the same file system, so that a link or a rename moves them
 *     <folder>/<key>         the objects
 *
 * What must be there only once is written under another name, synced, and hard-linked to its own: a link, unlike a rename, fails
 * when the name is taken. Symbolic links below the folder are not followed: a key is a file in the folder, or nothing.
 *
 * @module
 */
import { basename, dirname, join, resolve } from "node:path";
import { pathToFileURL } from "node:url";
import { ConfigError, UnavailableError } from "../../errors.ts";
import { syncFolder } from "../../sync_folder.ts";
import { checkKey } from "./object_key.ts";
import { type LocalFiles, MissingObjectError, type ObjectStore, type StoredObject } from "./object_store.ts";

/** What lies in the scratch folder for longer was left by a process that ended. */
const SCRATCH_AGE_MAX_MS = 24 * 3_600_000;

const SCRATCH = ".scratch";

/** Of the system's refusals, those that pass: space comes back, and so do handles and a slow disk. */
const PASSING = new Set([
  "ENOSPC",
  "EDQUOT",
  "EMFILE",
  "ENFILE",
  "EIO",
  "EAGAIN",
  "EBUSY",
  "ESTALE",
  "ETIMEDOUT",
  "ENOMEM",
]);

export interface DiskStoreOptions {
  /** Made when it is first needed. */
  readonly folder: string;
}

export function createDiskStore(options: DiskStoreOptions): ObjectStore {
  return new DiskStore(resolve(options.folder));
}

class DiskStore implements ObjectStore {
  readonly url: string;
  readonly scratch: string;
  readonly #folder: string;
  /** The folder without symbolic links: the root itself may be one. Known once the folder is there. */
  #root: Promise<string> | null = null;

  constructor(folder: string) {
    this.#folder = folder;
    this.url = pathToFileURL(folder).href;
    this.scratch = join(folder, SCRATCH);
  }

  async get(key: string): Promise<Uint8Array | null> {
    return await this.#doing("read", key, async () => {
      const path = await this.#find(key);
      return path === null ? null : await unlessMissing(Deno.readFile(path));
    });
  }

  async putIfAbsent(key: string, bytes: Uint8Array): Promise<boolean> {
    return await this.#doing("write", key, async () => {
      const path = await this.#place(key);
      const temporary = await this.#temporary(bytes);
      try {
        await Deno.link(temporary, path);
      } catch (error) {
        if (!(error instanceof Deno.errors.AlreadyExists)) throw error;
        return false;
      } finally {
        await Deno.remove(temporary);
      }
      await syncFolder(dirname(path));
      return true;
    });
  }

  async put(key: string, bytes: Uint8Array): Promise<void> {
    await this.#doing("write", key, async () => {
      const path = await this.#place(key);
      const temporary = await this.#temporary(bytes);
      try {
        await Deno.rename(temporary, path);
      } catch (error) {
        await Deno.remove(temporary).catch(() => {});
        throw error;
      }
      await syncFolder(dirname(path));
    });
  }

  async take(localPath: string, key: string): Promise<void> {
    await this.#doing("write", key, async () => {
      const path = await this.#place(key);
      {
        using file = await Deno.open(localPath, { read: true, write: true });
        await file.sync();
      }
      await Deno.rename(localPath, path);
      await syncFolder(dirname(path));
    });
  }

  async local(keys: readonly string[]): Promise<LocalFiles> {
    const paths: string[] = [];
    for (const key of keys) {
      const path = await this.#doing("read", key, () => this.#find(key));
      if (path === null) throw new MissingObjectError(this.url, key);
      paths.push(path);
    }
    return { paths, [Symbol.dispose]: () => {} };
  }

  async *list(prefix: string, options: { readonly after?: string } = {}): AsyncIterable<StoredObject> {
    const folder = prefix.slice(0, prefix.lastIndexOf("/") + 1);
    if (folder !== "") checkKey(folder.slice(0, -1));
    const root = await this.#doing("list", prefix, () => this.#openRoot(false));
    if (root !== null) yield* this.#walk(root, folder, { prefix, after: options.after ?? "" });
  }

  async remove(keys: readonly string[]): Promise<void> {
    for (const key of keys) {
      await this.#doing("remove", key, async () => {
        const path = await this.#find(key);
        if (path !== null) await unlessMissing(Deno.remove(path));
      });
    }
  }

  [Symbol.asyncDispose](): Promise<void> {
    return Promise.resolve();
  }

  /** The objects of a folder (`""` or with `/` at its end), in the order of their keys' bytes, as S3 lists them. */
  async *#walk(
    root: string,
    folder: string,
    want: { readonly prefix: string; readonly after: string },
  ): AsyncIterable<StoredObject> {
    const entries = await this.#doing("list", folder, () => this.#entries(root, folder));
    for (const name of entries) {
      const key = folder + name;
      if (!key.startsWith(want.prefix) && !want.prefix.startsWith(key)) continue;
      if (name.endsWith("/")) {
        // Every key in there begins like this; all are before `after` when it is not among them and greater.
        if (compareKeys(key, want.after) < 0 && !want.after.startsWith(key)) continue;
        yield* this.#walk(root, key, want);
      } else if (key.startsWith(want.prefix) && compareKeys(key, want.after) > 0) {
        const about = await this.#doing("list", key, () => unlessMissing(Deno.lstat(join(root, key))));
        if (about?.isFile) yield { key, bytes: about.size, modifiedMs: about.mtime?.getTime() ?? 0 };
      }
    }
  }

  /** Names in a folder, in order; those of folders with `/` at the end, which is where they come among the keys. */
  async #entries(root: string, folder: string): Promise<string[]> {
    const path = folder === "" ? root : await this.#findAny(folder.slice(0, -1));
    if (path === null) return [];
    const names: string[] = [];
    try {
      for await (const entry of Deno.readDir(path)) {
        if (folder === "" && entry.name.startsWith(".")) continue;
        if (entry.isFile) names.push(entry.name);
        if (entry.isDirectory) names.push(`${entry.name}/`);
      }
    } catch (error) {
      if (!(error instanceof Deno.errors.NotFound)) throw error;
    }
    return names.sort(compareKeys);
  }

  /** Where an object is; null when there is none. */
  async #find(key: string): Promise<string | null> {
    const path = await this.#findAny(key);
    if (path === null) return null;
    const about = await unlessMissing(Deno.lstat(path));
    return about?.isFile ? path : null;
  }

  /** Where a key or a folder of keys is, or null; a link on the way is a fault that somebody has to mend. */
  async #findAny(key: string): Promise<string | null> {
    checkKey(key);
    const root = await this.#openRoot(false);
    if (root === null) return null;
    const path = join(root, key);
    const real = await unlessMissing(Deno.realPath(path));
    if (real !== null && real !== path) this.#refuseLink(path);
    return real;
  }

  /** Where a key is to be, with the folders to it; new ones are found after a power cut. */
  async #place(key: string): Promise<string> {
    checkKey(key);
    const root = await this.#openRoot(true);
    const path = join(root, key);
    const folder = dirname(path);
    await makeFolders(root, folder);
    if (await Deno.realPath(folder) !== folder) this.#refuseLink(folder);
    return path;
  }

  #refuseLink(path: string): never {
    throw new ConfigError({
      where: "lake",
      problem:
        `${path} is reached through a symbolic link; those are not followed in a lake: put what is meant there itself`,
    });
  }

  async #temporary(bytes: Uint8Array): Promise<string> {
    const path = join(this.scratch, `${crypto.randomUUID()}.tmp`);
    try {
      using file = await Deno.open(path, { write: true, createNew: true });
      for (let at = 0; at < bytes.length;) at += await file.write(bytes.subarray(at));
      await file.sync();
    } catch (error) {
      await Deno.remove(path).catch(() => {});
      throw error;
    }
    return path;
  }

  async #openRoot(make: true): Promise<string>;
  async #openRoot(make: boolean): Promise<string | null>;
  async #openRoot(make: boolean): Promise<string | null> {
    if (this.#root === null && !make) return await unlessMissing(Deno.realPath(this.#folder));
    this.#root ??= this.#makeRoot().catch((error) => {
      this.#root = null;
      throw error;
    });
    return await this.#root;
  }

  async #makeRoot(): Promise<string> {
    await Deno.mkdir(this.scratch, { recursive: true });
    await sweep(this.scratch, Date.now() - SCRATCH_AGE_MAX_MS);
    return await Deno.realPath(this.#folder);
  }

  /** Says of a failure which kind it is. */
  async #doing<T>(verb: string, key: string, work: () => Promise<T>): Promise<T> {
    try {
      return await work();
    } catch (error) {
      if (error instanceof ConfigError || error instanceof UnavailableError) throw error;
      const { code, message } = error as Error & { code?: string };
      const problem = `cannot ${verb} ${this.#folder}/${key}: ${message}`;
      if (code !== undefined && PASSING.has(code)) throw new UnavailableError(problem, { cause: error });
      if (code === undefined && !(error instanceof Deno.errors.NotCapable)) throw error;
      throw new ConfigError({ where: "lake", problem });
    }
  }
}

/** Makes a folder and those above it, from the root on; each new entry is synced. */
async function makeFolders(root: string, folder: string): Promise<void> {
  if (folder === root) return;
  try {
    await Deno.mkdir(folder);
  } catch (error) {
    if (error instanceof Deno.errors.AlreadyExists) return;
    if (!(error instanceof Deno.errors.NotFound)) throw error;
    await makeFolders(root, dirname(folder));
    await makeFolders(root, folder);
    return;
  }
  await syncFolder(dirname(folder));
}

/** Removes what is older from a folder, folders in it too. */
async function sweep(folder: string, beforeMs: number): Promise<void> {
  for await (const { name } of Deno.readDir(folder)) {
    const path = join(folder, basename(name));
    const about = await unlessMissing(Deno.lstat(path));
    if (about?.mtime !== null && about?.mtime !== undefined && about.mtime.getTime() < beforeMs) {
      await unlessMissing(Deno.remove(path, { recursive: true }));
    }
  }
}

async function unlessMissing<T>(work: Promise<T>): Promise<T | null> {
  try {
    return await work;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound || error instanceof Deno.errors.NotADirectory) return null;
    throw error;
  }
}

/** The order of S3's lists: by code point, which is that of UTF-8's bytes. */
function compareKeys(a: string, b: string): number {
  const ends = Math.min(a.length, b.length);
  for (let i = 0; i < ends; i++) {
    const one = a.charCodeAt(i);
    const other = b.charCodeAt(i);
    if (one === other) continue;
    // Halves of pairs stand for code points above all others.
    const surrogates = Number(one >= 0xd800 && one < 0xe000) - Number(other >= 0xd800 && other < 0xe000);
    return surrogates !== 0 ? surrogates : one - other;
  }
  return a.length - b.length;
}
