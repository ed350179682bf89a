/**
 * A file's bytes from an offset on, decompressed where its name ends in `.gz`.
 *
 * @module
 */
import { Readable } from "node:stream";
import { createGunzip } from "node:zlib";
import { FileFault } from "./file_reader.ts";

const READ_BYTES = 256 * 1024;

/**
 * Chunks, each valid until the next is asked for. Memory does not grow with the file.
 *
 * @throws FileFault when the gzip is damaged or ends in the middle, or the file shorter than `offset`
 */
export async function* fileBytes(path: string, offset: number): AsyncGenerator<Uint8Array> {
  using file = await Deno.open(path);
  if (!path.toLowerCase().endsWith(".gz")) {
    if ((await file.stat()).size < offset) throw new FileFault("became shorter while it was read");
    await file.seek(offset, Deno.SeekMode.Start);
    return yield* chunksOf(file);
  }
  const source = Readable.from(chunksOf(file, { isOwned: true }), { objectMode: true });
  const unpacked = createGunzip();
  source.on("error", (error) => unpacked.destroy(error));
  source.pipe(unpacked);
  let before = offset;
  try {
    for await (const chunk of unpacked as AsyncIterable<Uint8Array>) {
      const skipped = Math.min(before, chunk.length);
      before -= skipped;
      if (skipped < chunk.length) yield chunk.subarray(skipped);
    }
  } catch (error) {
    if (!String((error as { code?: unknown }).code).startsWith("Z_")) throw error;
    const isCut = /unexpected end/.test((error as Error).message);
    throw new FileFault(
      isCut
        ? "ends in the middle of its gzip: it was not written to the end. Put the whole file there under another name"
        : `is no gzip, or is damaged: ${(error as Error).message}`,
    );
  } finally {
    source.destroy();
    unpacked.destroy();
  }
  if (before > 0) throw new FileFault("became shorter while it was read");
}

async function* chunksOf(file: Deno.FsFile, { isOwned = false } = {}): AsyncGenerator<Uint8Array> {
  let buffer = new Uint8Array(READ_BYTES);
  for (;;) {
    const read = await file.read(buffer);
    if (read === null) return;
    if (read > 0) yield buffer.subarray(0, read);
    // A stream keeps chunks for a while.
    if (isOwned) buffer = new Uint8Array(READ_BYTES);
  }
}
