/**
 * The body of an answer: unpacked, and bounded in bytes and in time.
 *
 * @module
 */
import type { IncomingMessage } from "node:http";
import { pipeline, type Readable } from "node:stream";
import { createGunzip } from "node:zlib";
import { MalformedRecordError, UnavailableError } from "../errors.ts";

export interface BodyLimits {
  /** Bytes after unpacking. */
  readonly bytesMax: number;
  /** Longest silence between two pieces, milliseconds. */
  readonly idleMs: number;
  /** Longest time for the whole of it, milliseconds; Infinity for streams. */
  readonly totalMs: number;
}

/**
 * The body's pieces as they come. Leaving the iteration early closes the connection.
 *
 * @throws MalformedRecordError when it is longer than may be, or packed otherwise than it says
 * @throws UnavailableError when it stops coming
 */
export async function* readBody(
  message: IncomingMessage,
  { what, limits, signal }: { readonly what: string; readonly limits: BodyLimits; readonly signal: AbortSignal },
): AsyncGenerator<Uint8Array> {
  const { bytesMax, idleMs, totalMs } = limits;
  const stream = unpacked(message, what);
  let failure: Error | null = null;
  const end = (error: Error) => {
    failure ??= error;
    message.destroy();
    stream.destroy();
  };
  const onAbort = () => end(signal.reason instanceof Error ? signal.reason : new Error(String(signal.reason)));
  const silent = () => end(new UnavailableError(`${what}: nothing more came for ${idleMs / 1000} s`));
  const late = () => end(new UnavailableError(`${what}: the answer took longer than ${totalMs / 1000} s`));
  signal.addEventListener("abort", onAbort, { once: true });
  const total = totalMs === Infinity ? undefined : setTimeout(late, totalMs);
  let idle = setTimeout(silent, idleMs);
  let bytes = 0;
  try {
    signal.throwIfAborted();
    for await (const piece of stream) {
      clearTimeout(idle);
      bytes += piece.length;
      if (bytes > bytesMax) {
        throw new MalformedRecordError(`${what}: the answer is longer than ${bytesMax} bytes`);
      }
      yield piece;
      if (failure) throw failure;
      idle = setTimeout(silent, idleMs);
    }
    if (failure) throw failure;
  } catch (error) {
    if (failure) throw failure;
    if (error instanceof MalformedRecordError || signal.aborted) throw signal.aborted ? signal.reason : error;
    if ((error as { code?: string }).code?.startsWith("Z_")) {
      throw new MalformedRecordError(`${what}: the answer is not the gzip that it says it is`);
    }
    throw new UnavailableError(`${what}: the answer broke off: ${(error as Error).message}`);
  } finally {
    clearTimeout(idle);
    clearTimeout(total);
    signal.removeEventListener("abort", onAbort);
    // A body that was read to its end leaves a connection that can be used again.
    if (!message.complete) message.destroy();
    stream.destroy();
  }
}

/** Unpacks piece by piece, as fast as they are taken: a small body that is large when unpacked never is in memory. */
function unpacked(message: IncomingMessage, what: string): Readable {
  const encoding = (message.headers["content-encoding"] ?? "identity").trim().toLowerCase();
  if (encoding === "identity" || encoding === "") return message;
  if (encoding === "gzip" || encoding === "x-gzip") return pipeline(message, createGunzip(), () => {});
  message.destroy();
  throw new MalformedRecordError(`${what}: the answer is packed as ${encoding.slice(0, 40)}, which was not asked for`);
}
