/**
 * The files that are read, remembered by sixteen characters each: ten of the name's hash, six of size and time of change.
 *
 * @module
 */
import { createHash } from "node:crypto";
import type { FoundFile } from "./find_files.ts";

/** Files remembered; those that are still in the folder count first. */
export const DONE_MAX = 10_000;
const NAME_LENGTH = 10;
const IDENTITY_LENGTH = 6;

export class DoneFiles {
  /** In the order in which they were read. */
  readonly #done = new Map<string, string>();

  readonly #max: number;

  constructor(texts: readonly string[] = [], { max = DONE_MAX } = {}) {
    this.#max = max;
    for (const text of texts) this.#done.set(text.slice(0, NAME_LENGTH), text.slice(NAME_LENGTH));
  }

  get size(): number {
    return this.#done.size;
  }

  /** Whether it is read; `changed` when it was, and is another one since. */
  look(file: FoundFile): "new" | "done" | "changed" {
    const identity = this.#done.get(hash(file.name, NAME_LENGTH));
    return identity === undefined ? "new" : identity === identityOf(file) ? "done" : "changed";
  }

  add(file: FoundFile): void {
    const name = hash(file.name, NAME_LENGTH);
    this.#done.delete(name);
    this.#done.set(name, identityOf(file));
  }

  /** Makes room for one more, where it can: forgets those that were read first among the files that are gone. False when full. */
  makeRoom(present: readonly FoundFile[]): boolean {
    if (this.#done.size < this.#max) return true;
    const there = new Set(present.map(({ name }) => hash(name, NAME_LENGTH)));
    for (const name of this.#done.keys()) {
      if (this.#done.size <= this.#max / 2) break;
      if (!there.has(name)) this.#done.delete(name);
    }
    return this.#done.size < this.#max;
  }

  toJSON(): string[] {
    return Array.from(this.#done, ([name, identity]) => name + identity);
  }
}

function identityOf({ size, mtimeMs }: FoundFile): string {
  return hash(`${size} ${mtimeMs}`, IDENTITY_LENGTH);
}

function hash(text: string, length: number): string {
  return createHash("sha256").update(text).digest("base64url").slice(0, length);
}
