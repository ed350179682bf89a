import type { Constant } from "./resolve.ts";
import { writeUuidText } from "./uuid.ts";

/**
 * The values of a bytes column that do not all lie in the records' own bytes: defaults mixed with written values, or text
 * made from 16 bytes. Holds at most the defaults once, what was copied from one chunk's records, and 36 bytes a UUID.
 */
export class OwnedBytes {
  /** Where each default lies, by its number; 0 to 0 for those that are not bytes. */
  readonly starts: number[] = [];
  readonly ends: number[] = [];
  data: Uint8Array;
  readonly #kept: number;
  #length: number;

  constructor(constants: readonly Constant[]) {
    const parts = constants.map((constant) => constant.kind === "bytes" ? constant.bytes : new Uint8Array(0));
    this.#kept = parts.reduce((sum, { length }) => sum + length, 0);
    this.#length = 0;
    this.data = new Uint8Array(Math.max(256, this.#kept));
    for (const part of parts) this.starts.push(this.copy(part, 0, part.length)), this.ends.push(this.#length);
  }

  /** Forgets all but the defaults. A new buffer, since the last chunk's column may still be read. */
  clear(): void {
    const defaults = this.data.subarray(0, this.#kept);
    this.data = new Uint8Array(this.data.length);
    this.data.set(defaults);
    this.#length = this.#kept;
  }

  /** Copies `from[start, end)`; where it lies now. */
  copy(from: Uint8Array, start: number, end: number): number {
    const at = this.#make(end - start);
    this.data.set(from.subarray(start, end), at);
    return at;
  }

  /** Writes the text of the UUID whose 16 bytes begin at `from[start]`; where it lies. */
  uuid(from: Uint8Array, start: number): number {
    const at = this.#make(36);
    writeUuidText(from, start, this.data, at);
    return at;
  }

  #make(length: number): number {
    const at = this.#length;
    this.#length += length;
    if (this.#length > this.data.length) {
      const larger = new Uint8Array(Math.max(this.#length, 2 * this.data.length));
      larger.set(this.data);
      this.data = larger;
    }
    return at;
  }
}
