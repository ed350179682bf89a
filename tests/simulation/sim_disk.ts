import type { Disk, DiskFile } from "../../pipeline/disk.ts";
import type { Random } from "./random.ts";

/** Awaited before and after all that a process asks of the disk; throws, or never resolves, to end it there. */
export type Point = (what: string) => Promise<void>;

class File {
  /** What a running system reads. */
  bytes: Uint8Array = new Uint8Array(0);
  /** What is there after a power cut. */
  synced: Uint8Array = new Uint8Array(0);
}

type Names = Map<string, File | Folder>;

class Folder {
  names: Names = new Map();
  readonly synced: Names = new Map();
  /** Changes that may be undone, in order. */
  pending: ((names: Names) => void)[] = [];

  change(change: (names: Names) => void): void {
    change(this.names);
    this.pending.push(change);
  }

  sync(changes: number): void {
    for (const change of this.pending.slice(0, changes)) change(this.synced);
    this.pending = [];
  }
}

/** Sectors are written whole; small here, so that few bytes tear in many ways. */
const SECTOR_BYTES = 16;

/**
 * A disk that keeps only what was synced: after a power cut a file holds any mix of the sectors it had and those written since,
 * and names are as they were at some moment since their folder was synced. The names of one folder change in order. An open file
 * stays what it was under whatever name, or none.
 */
export class SimDisk {
  readonly #root = new Folder();

  /** The disk as a process sees it. */
  view(point: Point): Disk {
    const step = async <T>(what: string, work: () => T): Promise<T> => {
      await point(`before ${what}`);
      const result = work();
      await point(`after ${what}`);
      return result;
    };
    return {
      makeFolder: () => Promise.resolve(),
      makeNewFolder: (path) =>
        step(`make ${path}`, () => {
          const [folder, name] = this.#place(path);
          if (folder.names.has(name)) return false;
          const made = new Folder();
          folder.change((names) => names.set(name, made));
          return true;
        }),
      list: (path) => step(`list ${path}`, () => [...this.#folder(path).names.keys()]),
      read: (path) => step(`read ${path}`, () => this.#file(path)?.bytes.slice() ?? null),
      open: (path, from) => step(`open ${path}`, () => this.#open(path, from, step)),
      rename: (from, to) =>
        step(`rename ${from}`, () => {
          const [folder, name] = this.#place(from);
          const [, newName] = this.#place(to);
          const moved = folder.names.get(name);
          if (!moved) throw new Error(`No such file: ${from}`);
          folder.change((names) => {
            names.delete(name);
            names.set(newName, moved);
          });
        }),
      remove: (path) =>
        step(`remove ${path}`, () => {
          const [folder, name] = this.#place(path);
          folder.change((names) => names.delete(name));
        }),
      syncFolder: (path) =>
        step(`sync folder ${path}`, () => {
          const folder = this.#folder(path);
          folder.sync(folder.pending.length);
        }),
    };
  }

  /** What a power cut leaves. */
  powerCut(random: Random, folder = this.#root): void {
    folder.sync(random.int(0, folder.pending.length));
    folder.names = new Map(folder.synced);
    for (const one of folder.names.values()) {
      if (one instanceof Folder) this.powerCut(random, one);
      else one.bytes = one.synced = torn(one, random);
    }
  }

  #open(path: string, from: "empty" | "end", step: (what: string, work: () => void) => Promise<void>): DiskFile {
    const [folder, name] = this.#place(path);
    let file = this.#file(path);
    if (!file) {
      const made = file = new File();
      folder.change((names) => names.set(name, made));
    }
    const opened = file;
    if (from === "empty") opened.bytes = new Uint8Array(0);
    return {
      write: async (bytes) => {
        const half = bytes.length >> 1;
        await step(`write ${path}`, () => append(opened, bytes.subarray(0, half)));
        await step(`write on ${path}`, () => append(opened, bytes.subarray(half)));
      },
      truncate: (length) => step(`truncate ${path}`, () => void (opened.bytes = opened.bytes.slice(0, length))),
      sync: () => step(`sync ${path}`, () => void (opened.synced = opened.bytes.slice())),
      [Symbol.dispose]: () => {},
    };
  }

  #file(path: string): File | null {
    const [folder, name] = this.#place(path);
    const found = folder.names.get(name);
    return found instanceof File ? found : null;
  }

  /** The first part of a path is the disk's root, which is always there. */
  #folder(path: string): Folder {
    let at = this.#root;
    for (const name of path.split("/").slice(1)) {
      const next = at.names.get(name);
      if (!(next instanceof Folder)) throw new Error(`No such folder: ${path}`);
      at = next;
    }
    return at;
  }

  #place(path: string): [folder: Folder, name: string] {
    const at = path.lastIndexOf("/");
    return [this.#folder(path.slice(0, at)), path.slice(at + 1)];
  }
}

function append(file: File, bytes: Uint8Array): void {
  const longer = new Uint8Array(file.bytes.length + bytes.length);
  longer.set(file.bytes);
  longer.set(bytes, file.bytes.length);
  file.bytes = longer;
}

/** A length that the file had at one time or between, and of each sector what was synced or what was written. */
function torn({ bytes, synced }: File, random: Random): Uint8Array {
  if (bytes === synced) return synced;
  const [shorter, longer] = [Math.min(bytes.length, synced.length), Math.max(bytes.length, synced.length)];
  const length = random.pick([bytes.length, synced.length, random.int(shorter, longer)]);
  const result = new Uint8Array(length);
  const share = random.pick([0, 0.5, 1]);
  for (let at = 0; at < length; at += SECTOR_BYTES) {
    const from = random.chance(share) ? bytes : synced;
    result.set(from.subarray(at, Math.min(at + SECTOR_BYTES, length)), Math.min(at, length));
  }
  return result;
}
