import { readIfPresent, replaceFile } from "./durable_file.ts";

/** Ids set aside with one write; those left over at a stop are never used. */
const blockSize = 1000;

/** Gives each idempotent producer a number that no other ever had, over restarts too. */
export class ProducerIds {
  readonly #path: string;
  #next: number;
  #end: number;

  /** `path` holds the first number that was never set aside, as text. */
  constructor(path: string) {
    this.#path = path;
    const text = readIfPresent(path) ?? "1";
    this.#next = this.#end = Number(text);
    if (!Number.isSafeInteger(this.#next) || this.#next < 0) {
      throw new Error(`Cannot read ${path}: "${text}" is not the next producer id`);
    }
  }

  next(): number {
    if (this.#next === this.#end) {
      replaceFile(this.#path, String(this.#end + blockSize), { sync: true });
      this.#end += blockSize;
    }
    return this.#next++;
  }
}
