/**
 * A request's body as bytes: bounded in size and time, unpacked, and known again by its hash.
 *
 * @module
 */
import { createHash, type Hash } from "node:crypto";
import { Readable } from "node:stream";
import { createGunzip } from "node:zlib";
import { type BulkLimits, BulkRefusal, type BulkRequest } from "./bulk.ts";

/** A buffer that is pulled by its reader; nothing is held but what is being looked at. */
export class Body {
  readonly #request: BulkRequest;
  readonly #limits: BulkLimits;
  readonly #hash: Hash;
  #unpacked = 0;

  constructor(request: BulkRequest, limits: BulkLimits) {
    this.#request = request;
    this.#limits = limits;
    const { topic, format, lines, key } = request;
    // What else decides what is written.
    this.#hash = createHash("sha256").update(JSON.stringify([topic, format, lines, key]));
  }

  /** Of all that makes the request what it is; once, when the body is read. */
  digest(): string {
    return this.#hash.digest("base64url");
  }

  /** The unpacked bytes. @throws BulkRefusal when they are too many, too slow, cut or damaged */
  async *chunks(): AsyncGenerator<Uint8Array> {
    const { bodyBytesMax } = this.#limits;
    for await (const chunk of this.#request.isGzip ? this.#gunzip() : this.#received()) {
      this.#unpacked += chunk.length;
      if (this.#unpacked > bodyBytesMax) {
        throw new BulkRefusal({ kind: "too large", problem: `at most ${bodyBytesMax} bytes, unpacked` });
      }
      this.#hash.update(chunk);
      yield chunk;
    }
  }

  async *#received(): AsyncGenerator<Uint8Array> {
    const { bodyBytesMax, bodyMs } = this.#limits;
    const reader = this.#request.body.getReader();
    let isLate = false;
    const timer = setTimeout(() => {
      isLate = true;
      reader.cancel().catch(() => {});
    }, bodyMs);
    let received = 0;
    try {
      for (;;) {
        const { done, value } = await reader.read().catch((error) => {
          // A chunked body without its last chunk, or a connection that is gone: nobody hears the answer then.
          throw new BulkRefusal({ kind: "unreadable", problem: `the body ended before its end: ${error.message}` });
        });
        if (isLate) throw new BulkRefusal({ kind: "slow", problem: `the body took more than ${bodyMs / 1000} s` });
        if (done) return;
        received += value.length;
        if (received > bodyBytesMax) {
          throw new BulkRefusal({ kind: "too large", problem: `at most ${bodyBytesMax} bytes` });
        }
        yield value;
      }
    } finally {
      clearTimeout(timer);
      // Of what is refused the rest is not read.
      await reader.cancel().catch(() => {});
      reader.releaseLock();
    }
  }

  /** The stream of zlib gives small chunks and waits for its reader, so that a bomb goes off as a "too large". */
  async *#gunzip(): AsyncGenerator<Uint8Array> {
    const source = Readable.from(this.#received(), { objectMode: true });
    const unpacked = createGunzip();
    source.on("error", (error) => unpacked.destroy(error));
    source.pipe(unpacked);
    try {
      yield* unpacked as AsyncIterable<Uint8Array>;
    } catch (error) {
      if (!String((error as { code?: unknown }).code).startsWith("Z_")) throw error;
      throw new BulkRefusal({ kind: "unreadable", problem: `is no whole gzip: ${(error as Error).message}` });
    } finally {
      source.destroy();
      unpacked.destroy();
    }
  }
}
