/**
 * The receiving side of a connection: reads the socket in large pieces and cuts the stream into frames.
 *
 *     frame: length int32, then that many bytes
 *
 * @module
 */
import { MalformedRecordError } from "../../pipeline/errors.ts";
import type { ByteBudget } from "./buffers.ts";

/** Room for requests without records, and what every connection has. */
const smallBytes = 16 * 1024;
/** What a connection that produces reads at a time, unless its requests are larger. */
const readBytes = 512 * 1024;
/** After so many frames that would have fit a smaller buffer, the buffer shrinks. */
const shrinkAfterFrames = 256;

export class RequestBuffer {
  data: Uint8Array<ArrayBuffer> = new Uint8Array(smallBytes);
  #start = 0;
  #filled = 0;
  #smallFrames = 0;
  #taken = 0;
  readonly #budget: ByteBudget;
  readonly #frameBytesMax: number;

  constructor(options: { budget: ByteBudget; frameBytesMax: number }) {
    this.#budget = options.budget;
    this.#frameBytesMax = options.frameBytesMax;
  }

  /** Whether a frame has begun and not ended. */
  get isPartial(): boolean {
    return this.#filled > this.#start;
  }

  /** The next whole frame, null when more must be read; throws `MalformedRecordError` when it is none. */
  next(): { start: number; end: number } | null {
    const length = this.#frameLength();
    if (length === null || this.#filled - this.#start < 4 + length) return null;
    const start = this.#start + 4;
    this.#start = start + length;
    this.#smallFrames = 4 + length > this.data.length / 4 ? 0 : this.#smallFrames + 1;
    return { start, end: this.#start };
  }

  /** Reads more from the socket; false at its end. All frames given out before are gone afterwards. */
  async fill(conn: Deno.Conn): Promise<boolean> {
    const length = this.#frameLength();
    await this.#makeRoom(length === null ? 0 : 4 + length);
    const count = await conn.read(this.data.subarray(this.#filled));
    if (count === null) return false;
    this.#filled += count;
    return true;
  }

  /** Gives back what was taken of the budget. */
  release(): void {
    this.#budget.give(this.#taken);
    this.#taken = 0;
  }

  #frameLength(): number | null {
    if (this.#filled - this.#start < 4) return null;
    const { data } = this;
    const at = this.#start;
    const length = (data[at] << 24) | (data[at + 1] << 16) | (data[at + 2] << 8) | data[at + 3];
    if (length >= 8 && length <= this.#frameBytesMax) return length;
    const text = new TextDecoder("latin1").decode(data.subarray(at, at + 4));
    const hint = /^[A-Z]{3,4} ?$/.test(text)
      ? `; it begins with "${text}" as in HTTP`
      : data[at] === 22 && data[at + 1] === 3
      ? "; it looks like TLS, which this broker does not speak"
      : "";
    throw new MalformedRecordError(`a frame of ${length >>> 0} bytes is outside of 8 to ${this.#frameBytesMax}${hint}`);
  }

  async #makeRoom(frameBytes: number): Promise<void> {
    const pending = this.#filled - this.#start;
    if (frameBytes > this.data.length) {
      // All at once, so that no two connections ever hold half of what both need.
      await this.#resize(Math.max(frameBytes, readBytes));
    } else if (this.#isTooLarge(frameBytes)) {
      await this.#resize(Math.max(frameBytes, smallBytes));
    } else if (
      this.#start > 0 && (pending === 0 || this.data.length - this.#start < Math.max(frameBytes, smallBytes / 2))
    ) {
      this.data.copyWithin(0, this.#start, this.#filled);
      this.#start = 0;
      this.#filled = pending;
    }
  }

  #isTooLarge(frameBytes: number): boolean {
    if (this.data.length === smallBytes || frameBytes > this.data.length / 4) return false;
    return this.#smallFrames > shrinkAfterFrames ||
      (this.#taken > 0 && this.#budget.isWanted && frameBytes <= readBytes);
  }

  async #resize(bytes: number): Promise<void> {
    this.release();
    const old = this.data;
    const pending = old.slice(this.#start, this.#filled);
    this.data = pending;
    this.#start = 0;
    this.#filled = pending.length;
    if (bytes > readBytes) {
      await this.#budget.take(bytes);
      this.#taken = bytes;
    }
    const data = new Uint8Array(bytes);
    data.set(pending);
    this.data = data;
    this.#smallFrames = 0;
  }
}
