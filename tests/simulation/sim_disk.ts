import type { Disk, DiskFile } from "../../pipeline/checkpoint/disk.ts";
import type { Random } from "./random.ts";

/** Awaited before and after all that a process asks of the disk; throws, or never resolves, to end it there. */
export type Point = (what: string) => Promise<void>;

interface File {
  /** What a running system reads. */
  bytes: Uint8Array;
  /** What is there after a power cut. */
  synced: Uint8Array;
}

/** Sectors are written whole; small here, so that few bytes tear in many ways. */
const SECTOR_BYTES = 16;

/**
 * A disk that keeps only what was synced: after a power cut a file holds any mix of the sectors it had and those written since,
 * and names are as they were at some moment since their folder was synced. The names of one folder change in order.
 */
export class SimDisk {
  #names = new Map<string, File>();
  #syncedNames = new Map<string, File>();
  /** Changes of names that may be undone, in order, by folder. */
  readonly #pending = new Map<string, ((names: Map<string, File>) => void)[]>();

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
      read: (path) => step(`read ${path}`, () => this.#names.get(path)?.bytes.slice() ?? null),
      open: (path, from) => step(`open ${path}`, () => this.#open(path, from, step)),
      rename: (from, to) =>
        step(`rename ${from}`, () => {
          const file = this.#names.get(from);
          if (!file) throw new Error(`No such file: ${from}`);
          this.#change(to, (names) => {
            names.delete(from);
            names.set(to, file);
          });
        }),
      syncFolder: (path) =>
        step(`sync folder ${path}`, () => {
          for (const change of this.#pending.get(path) ?? []) change(this.#syncedNames);
          this.#pending.delete(path);
        }),
    };
  }

  /** What a power cut leaves. */
  powerCut(random: Random): void {
    for (const changes of this.#pending.values()) {
      for (const change of changes.slice(0, random.int(0, changes.length))) change(this.#syncedNames);
    }
    this.#pending.clear();
    this.#names = new Map(this.#syncedNames);
    for (const file of new Set(this.#names.values())) {
      file.bytes = file.synced = torn(file, random);
    }
  }

  /** The bytes of a file, for tests. */
  peek(path: string): Uint8Array | null {
    return this.#names.get(path)?.bytes.slice() ?? null;
  }

  #open(path: string, from: "empty" | "end", step: (what: string, work: () => void) => Promise<void>): DiskFile {
    let file = this.#names.get(path);
    if (!file) {
      const made = file = { bytes: new Uint8Array(0), synced: new Uint8Array(0) };
      this.#change(path, (names) => names.set(path, made));
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

  #change(path: string, change: (names: Map<string, File>) => void): void {
    const folder = path.slice(0, path.lastIndexOf("/"));
    change(this.#names);
    const pending = this.#pending.get(folder);
    if (pending) pending.push(change);
    else this.#pending.set(folder, [change]);
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
