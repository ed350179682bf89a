/**
 * Local copies of a store's objects, bounded in bytes; what was not used for longest goes first, what is held stays.
 *
 *     <folder>/<n>/lock             locked by the one cache that has it
 *     <folder>/<n>/<hash>-<bytes>-<unique>   a copy, whole and synced: the hash is the key's, the bytes are checked after a start
 *     <folder>/<n>/<anything>.part  on its way
 *
 * Several caches over one folder, of threads or processes, do not meet: each takes the first number that is free. Copies in 0 outlast
 * a restart; the others' go with them.
 *
 * @module
 */
import { createHash } from "node:crypto";
import { join } from "node:path";
import { ConfigError, UnavailableError } from "../../errors.ts";
import { takeLock } from "../../file_lock.ts";
import type { LocalFiles } from "./object_store.ts";
import { forEachOf } from "./slots.ts";

/** Copies fetched at once for one caller. */
export const FETCHES_AT_ONCE = 4;
/** Caches over one folder at once. */
const CACHES_MAX = 64;

export interface FileCacheOptions {
  readonly folder: string;
  /** Names the store in keys' hashes: two stores' objects of one key are two. */
  readonly url: string;
  readonly bytesMax: number;
  /** Name of the setting that bounds the cache, for errors. */
  readonly setting: string;
}

/** Writes an object's bytes to the file. It tells how many will come before the first, and may begin anew with another number. */
export type Fetch = (key: string, into: Target, signal?: AbortSignal) => Promise<void>;

export interface Target {
  /** Empties the file and makes room. @throws ConfigError, UnavailableError when there is none to be made */
  begin(bytes: number): Promise<void>;
  write(piece: Uint8Array): Promise<void>;
}

interface Entry {
  readonly id: string;
  path: string;
  bytes: number;
  holders: number;
  /** Stays when nobody holds it. */
  readonly keep: boolean;
  /** Settles when the copy is whole, or will never be. */
  ready: Promise<void>;
  isWhole: boolean;
}

export class FileCache implements AsyncDisposable {
  readonly #options: FileCacheOptions;
  /** In the order of their last use. */
  readonly #entries = new Map<string, Entry>();
  #bytes = 0;
  #opening: Promise<string> | null = null;
  #lock: Disposable | null = null;
  #lasts = true;

  constructor(options: FileCacheOptions) {
    this.#options = options;
  }

  /** Bytes that copies take now, those on their way included. */
  get bytes(): number {
    return this.#bytes;
  }

  /** Copies of all objects, each fetched unless it is there. They are held until disposed of. */
  async local(keys: readonly string[], fetch: Fetch, signal?: AbortSignal): Promise<LocalFiles> {
    const held = new Set<Entry>();
    const byKey = new Map<string, Entry>();
    const release = () => {
      for (const entry of held) this.#release(entry);
      held.clear();
    };
    try {
      await forEachOf([...new Set(keys)], async (key, either) => {
        byKey.set(key, await this.#hold(key, { fetch, held, signal: either }));
      }, { atOnce: FETCHES_AT_ONCE, signal });
    } catch (error) {
      release();
      throw error;
    }
    return { paths: keys.map((key) => byKey.get(key)!.path), [Symbol.dispose]: release };
  }

  /** Takes a finished local file as an object's copy if there is room; either way it is gone from where it was. */
  async adopt(key: string, path: string): Promise<void> {
    const { size } = await Deno.stat(path);
    const folder = await this.#open();
    const id = this.#id(key);
    if (this.#entries.has(id) || !this.#makeRoom(size)) return await Deno.remove(path);
    const there = this.#newPath(folder, id, size);
    const entry = this.#add({ id, path: there, bytes: size, keep: lasts(key) });
    try {
      {
        using file = await Deno.open(path, { read: true, write: true });
        await file.sync();
      }
      await Deno.rename(path, there);
      entry.isWhole = true;
    } catch {
      // On another file system, or the disk is full: the copy is fetched when it is asked for.
      this.#forget(entry);
      await unlessMissing(Deno.remove(path));
    }
  }

  /** Forgets copies of objects that are no more. What is held stays until it is let go. */
  drop(keys: readonly string[]): void {
    for (const key of keys) {
      const entry = this.#entries.get(this.#id(key));
      if (entry?.isWhole && entry.holders === 0) this.#discard(entry);
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const folder = await this.#opening?.catch(() => null);
    this.#opening = null;
    if (folder && !this.#lasts) {
      for (const entry of this.#entries.values()) await unlessMissing(Deno.remove(entry.path));
    }
    this.#lock?.[Symbol.dispose]();
    this.#lock = null;
  }

  async #hold(key: string, work: Work): Promise<Entry> {
    const folder = await this.#open();
    const id = this.#id(key);
    for (;;) {
      let entry = this.#entries.get(id);
      if (entry?.isWhole && entry.holders === 0) {
        const isHere = await isThere(entry.path);
        // It may have made room for another meanwhile.
        if (this.#entries.get(id) !== entry) continue;
        if (!isHere) {
          // Somebody tidied up; another may have noticed meanwhile.
          if (entry.holders === 0) this.#forget(entry);
          continue;
        }
      }
      const isMine = entry === undefined;
      if (entry) this.#use(entry);
      else {
        entry = this.#add({ id, path: "", bytes: 0, keep: lasts(key) });
        const fresh = entry;
        fresh.ready = this.#fill(
          folder,
          fresh,
          (file) => work.fetch(key, this.#target(file, fresh, work), work.signal),
        );
      }
      entry.holders++;
      work.held.add(entry);
      try {
        await entry.ready;
        return entry;
      } catch (error) {
        entry.holders--;
        work.held.delete(entry);
        work.signal?.throwIfAborted();
        // Another's fetch broke off because nobody waits for it there any more: that is no failure here.
        const isOthers = !isMine && !(error instanceof UnavailableError || error instanceof ConfigError);
        if (!isOthers || (error as Error)?.name === "MissingObjectError") throw error;
      }
    }
  }

  async #fill(folder: string, entry: Entry, fetch: (file: Deno.FsFile) => Promise<void>): Promise<void> {
    const partPath = join(folder, `${entry.id}.part`);
    try {
      {
        using file = await Deno.open(partPath, { write: true, create: true, truncate: true });
        await fetch(file);
        await file.sync();
      }
      entry.path = this.#newPath(folder, entry.id, entry.bytes);
      await Deno.rename(partPath, entry.path);
      entry.isWhole = true;
    } catch (error) {
      this.#forget(entry);
      await unlessMissing(Deno.remove(partPath));
      throw sorted(error, folder);
    }
  }

  #target(file: Deno.FsFile, entry: Entry, { held }: Work): Target {
    return {
      begin: async (bytes) => {
        this.#bytes -= entry.bytes;
        entry.bytes = 0;
        if (!this.#makeRoom(bytes)) throw this.#noRoom(bytes, held);
        entry.bytes = bytes;
        this.#bytes += bytes;
        await file.truncate(0);
        await file.seek(0, Deno.SeekMode.Start);
      },
      write: async (piece) => {
        for (let at = 0; at < piece.length;) at += await file.write(piece.subarray(at));
      },
    };
  }

  #noRoom(bytes: number, held: ReadonlySet<Entry>): Error {
    const { bytesMax, setting } = this.#options;
    const heldBytes = Array.from(held).reduce((sum, entry) => sum + entry.bytes, 0);
    if (bytes + heldBytes > bytesMax) {
      return new ConfigError({
        where: setting,
        problem: `copies of ${bytes + heldBytes} bytes and more are needed at once, and ${bytesMax} are allowed: ` +
          "allow more, or ask for less of the lake",
      });
    }
    return new UnavailableError(
      `The lake's cache of ${bytesMax} bytes is full of copies in use: try again, or allow more in ${setting}`,
    );
  }

  /** Drops what was not used for longest until so many bytes fit; false, and nothing dropped, when they cannot. */
  #makeRoom(bytes: number): boolean {
    const { bytesMax } = this.#options;
    const idle = [...this.#entries.values()].filter((entry) => entry.isWhole && entry.holders === 0);
    const fixed = this.#bytes - idle.reduce((sum, entry) => sum + entry.bytes, 0);
    if (fixed + bytes > bytesMax) return false;
    for (const entry of idle) {
      if (this.#bytes + bytes <= bytesMax) break;
      this.#discard(entry);
    }
    return true;
  }

  #add(of: Pick<Entry, "id" | "path" | "bytes" | "keep">): Entry {
    const entry: Entry = { ...of, holders: 0, ready: Promise.resolve(), isWhole: false };
    this.#entries.set(entry.id, entry);
    this.#bytes += entry.bytes;
    return entry;
  }

  #use(entry: Entry): void {
    this.#entries.delete(entry.id);
    this.#entries.set(entry.id, entry);
  }

  #release(entry: Entry): void {
    entry.holders--;
    if (entry.holders === 0 && !entry.keep) this.#discard(entry);
  }

  #forget(entry: Entry): void {
    if (this.#entries.get(entry.id) !== entry) return;
    this.#entries.delete(entry.id);
    this.#bytes -= entry.bytes;
  }

  /** Its path is no other copy's, so it does not matter when the file goes; one that a system keeps is found at the next start. */
  #discard(entry: Entry): void {
    this.#forget(entry);
    try {
      Deno.removeSync(entry.path);
    } catch (error) {
      if (!(error instanceof Deno.errors.NotFound)) throw error;
    }
  }

  #id(key: string): string {
    return createHash("sha256").update(`${this.#options.url}\n${key}`).digest("hex");
  }

  #newPath(folder: string, id: string, bytes: number): string {
    return join(folder, `${id}-${bytes}-${crypto.randomUUID()}`);
  }

  #open(): Promise<string> {
    this.#opening ??= this.#lockFolder().catch((error) => {
      this.#opening = null;
      throw sorted(error, this.#options.folder);
    });
    return this.#opening;
  }

  async #lockFolder(): Promise<string> {
    for (let number = 0; number < CACHES_MAX; number++) {
      const folder = join(this.#options.folder, String(number));
      await Deno.mkdir(folder, { recursive: true });
      this.#lock = await takeLock(join(folder, "lock"));
      if (this.#lock === null) continue;
      this.#lasts = number === 0;
      await this.#takeUp(folder);
      return folder;
    }
    throw new ConfigError({ where: this.#options.folder, problem: `${CACHES_MAX} lake caches are open there already` });
  }

  /** What an earlier cache left: whole copies are kept where they last, the rest goes. */
  async #takeUp(folder: string): Promise<void> {
    const found: { entry: Pick<Entry, "id" | "path" | "bytes">; usedMs: number }[] = [];
    for await (const { name } of Deno.readDir(folder)) {
      if (name === "lock") continue;
      const path = join(folder, name);
      const { size, mtime } = await Deno.stat(path);
      const [, id, bytes] = /^([0-9a-f]{64})-(\d+)-[0-9a-f-]{36}$/.exec(name) ?? [];
      const isWhole = id !== undefined && Number(bytes) === size && !found.some(({ entry }) => entry.id === id);
      if (isWhole && this.#lasts) found.push({ entry: { id, path, bytes: size }, usedMs: mtime?.getTime() ?? 0 });
      else await Deno.remove(path);
    }
    found.sort((a, b) => a.usedMs - b.usedMs);
    for (const { entry } of found) this.#add({ ...entry, keep: true }).isWhole = true;
    this.#makeRoom(0);
  }
}

interface Work {
  readonly fetch: Fetch;
  /** What the same caller holds already, or waits for. */
  readonly held: Set<Entry>;
  readonly signal?: AbortSignal;
}

/** Names in a log come again when a table is removed and made anew: copies of them are not for later. All others are unique. */
function lasts(key: string): boolean {
  return !/(^|\/)_delta_log\//.test(key);
}

/** A full disk passes. */
function sorted(error: unknown, folder: string): unknown {
  const code = (error as { code?: string } | null)?.code;
  if (code !== "ENOSPC" && code !== "EDQUOT" && code !== "EMFILE" && code !== "EIO") return error;
  return new UnavailableError(`The lake's cache in ${folder} cannot be written: ${(error as Error).message}`, {
    cause: error,
  });
}

async function isThere(path: string): Promise<boolean> {
  return await Deno.lstat(path).then(({ isFile }) => isFile, () => false);
}

async function unlessMissing(work: Promise<void>): Promise<void> {
  try {
    await work;
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
  }
}
