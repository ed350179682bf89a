import { readLong, TOO_LONG } from "../codec/varint.ts";
import { BulkRefusal } from "./bulk.ts";

/** A varint of 64 bits takes so many bytes at most. */
const LONG_BYTES_MAX = 10;

/** Bytes of a stream by the piece, as a format that says how long things are wants them. */
export class PulledBytes {
  readonly #chunks: AsyncIterator<Uint8Array>;
  readonly #words = new Int32Array(2);
  #buffer = new Uint8Array(64 * 1024);
  #start = 0;
  #end = 0;

  constructor(chunks: AsyncIterator<Uint8Array>) {
    this.#chunks = chunks;
  }

  /** The next `length` bytes, valid until the next call. @throws BulkRefusal when the stream ends before */
  async take(length: number, what: string): Promise<Uint8Array> {
    await this.#have(length);
    if (this.#end - this.#start < length) throw cut(what);
    const start = this.#start;
    this.#start += length;
    return this.#buffer.subarray(start, start + length);
  }

  /** The next long. @throws BulkRefusal when it is none that a double holds exactly */
  async long(what: string): Promise<number> {
    await this.#have(LONG_BYTES_MAX);
    const at = readLong(this.#buffer, this.#start, this.#end, this.#words);
    if (at < 0 && at !== TOO_LONG) throw cut(what);
    const value = this.#words[1] * 2 ** 32 + (this.#words[0] >>> 0);
    if (at < 0 || !Number.isSafeInteger(value)) throw unreadable(`${what} is no number that can be`);
    this.#start = at;
    return value;
  }

  async isAtEnd(): Promise<boolean> {
    await this.#have(1);
    return this.#end === this.#start;
  }

  /** Reads on until so many bytes are there, or no more come. */
  async #have(length: number): Promise<void> {
    while (this.#end - this.#start < length) {
      const { done, value } = await this.#chunks.next();
      if (done) return;
      this.#push(value);
    }
  }

  #push(chunk: Uint8Array): void {
    const held = this.#end - this.#start;
    if (this.#end + chunk.length > this.#buffer.length) {
      const isTooSmall = held + chunk.length > this.#buffer.length;
      const target = isTooSmall ? new Uint8Array(2 * (held + chunk.length)) : this.#buffer;
      target.set(this.#buffer.subarray(this.#start, this.#end));
      this.#buffer = target;
      this.#start = 0;
      this.#end = held;
    }
    this.#buffer.set(chunk, this.#end);
    this.#end += chunk.length;
  }
}

export function unreadable(problem: string): BulkRefusal {
  return new BulkRefusal({ kind: "unreadable", problem });
}

function cut(what: string): BulkRefusal {
  return unreadable(`ends inside ${what}`);
}
