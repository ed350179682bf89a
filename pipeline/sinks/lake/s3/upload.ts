/**
 * A local file into a bucket: in one request when it is small, else in parts, a few at once.
 *
 *     POST key?uploads ▶ id     PUT key?partNumber=N&uploadId=id ▶ ETag     POST key?uploadId=id with all ETags
 *
 * Each part is read when its turn comes, so memory is bounded by the parts on their way, of all files together. A broken upload is
 * aborted, or its parts would stay and cost; where the process died, the bucket's own rule has to do it.
 *
 * @module
 */
import type { S3Client } from "./client.ts";
import { Refusal } from "./refusal.ts";
import { forEachOf, type Slots } from "../slots.ts";
import { escapeXml, textOf } from "./xml.ts";

/** Files above this go in parts. */
export const SINGLE_BYTES_MAX = 16 * 1024 * 1024;
export const PART_BYTES = 8 * 1024 * 1024;
/** S3's own bound. */
const PARTS_MAX = 10_000;
/** Parts of one file asked for at once; those of all files share the store's slots. */
const PARTS_AT_ONCE = 4;
/** Putting the parts together may take a store minutes. */
const COMPLETE_MS_MAX = 300_000;
const ABORT_MS_MAX = 10_000;

export interface Upload {
  readonly path: string;
  /** Whole, the root included. */
  readonly key: string;
  readonly bytes: number;
  /** Shared by all that send: what they hold in memory. */
  readonly slots: Slots;
  readonly signal?: AbortSignal;
  /** Bytes of the object as the store has it; null when there is none. */
  readonly stored: () => Promise<number | null>;
}

export async function upload(client: S3Client, file: Upload): Promise<void> {
  if (file.bytes > SINGLE_BYTES_MAX) return await uploadParts(client, file);
  await file.slots.use(async () => {
    const body = await readPart(file, { start: 0, bytes: file.bytes });
    await client.send({ method: "PUT", key: file.key, body }, { signal: file.signal });
  }, file.signal);
}

async function uploadParts(client: S3Client, file: Upload): Promise<void> {
  const uploadId = await begin(client, file);
  try {
    const partBytes = Math.max(PART_BYTES, Math.ceil(file.bytes / PARTS_MAX));
    const tags = new Array<string>(Math.ceil(file.bytes / partBytes));
    await forEachOf([...tags.keys()], async (index, signal) => {
      tags[index] = await file.slots.use(async () => {
        const start = index * partBytes;
        const body = await readPart(file, { start, bytes: Math.min(partBytes, file.bytes - start) });
        const query = { partNumber: String(index + 1), uploadId };
        return await client.exchange({ method: "PUT", key: file.key, query, body }, { read: entityTag, signal });
      }, signal);
    }, { atOnce: PARTS_AT_ONCE, signal: file.signal });
    await complete(client, file, { uploadId, tags });
  } catch (error) {
    // Best effort: what broke the upload may break this too, and is what there is to tell.
    await client.send({ method: "DELETE", key: file.key, query: { uploadId } }, {
      signal: AbortSignal.timeout(ABORT_MS_MAX),
    }).catch(() => {});
    throw error;
  }
}

async function begin(client: S3Client, { key, signal }: Upload): Promise<string> {
  const xml = new TextDecoder().decode(await client.send({ method: "POST", key, query: { uploads: "" } }, { signal }));
  const id = textOf(xml, "UploadId");
  if (id === "") throw new Error(`The store began no upload of ${key}: ${xml.slice(0, 200)}`);
  return id;
}

async function complete(
  client: S3Client,
  { key, bytes, signal, stored }: Upload,
  { uploadId, tags }: { readonly uploadId: string; readonly tags: readonly string[] },
): Promise<void> {
  const parts = tags.map((tag, index) =>
    `<Part><PartNumber>${index + 1}</PartNumber><ETag>${escapeXml(tag)}</ETag></Part>`
  );
  const xml = `<CompleteMultipartUpload xmlns="http://s3.amazonaws.com/doc/2006-03-01/">${
    parts.join("")
  }</CompleteMultipartUpload>`;
  const body = new TextEncoder().encode(xml);
  await client.exchange({ method: "POST", key, query: { uploadId }, body, answerMsMax: COMPLETE_MS_MAX }, {
    signal,
    read: async (answer) => {
      let text = "";
      const decoder = new TextDecoder();
      for await (const piece of answer.pieces()) text += decoder.decode(piece, { stream: true });
      // S3 answers 200 before it knows, and may then say in the body that it failed.
      if (text.includes("<Error>")) throw new Refusal(500, answer.headers, text);
      return true;
    },
    // Done by an earlier try whose answer was lost: no upload is left, and the object is there.
    refused: async ({ code }) => code === "NoSuchUpload" && await stored() === bytes ? true : undefined,
  });
}

// deno-lint-ignore require-await -- the caller waits for a promise
async function entityTag({ headers }: { readonly headers: Headers }): Promise<string> {
  const tag = headers.get("etag");
  if (tag === null) throw new Error("The store took a part and told no ETag");
  return tag;
}

/** A stretch of the file. @throws Error when the file is shorter than it was */
async function readPart(
  { path }: Upload,
  { start, bytes }: { readonly start: number; readonly bytes: number },
): Promise<Uint8Array<ArrayBuffer>> {
  const part = new Uint8Array(bytes);
  using file = await Deno.open(path, { read: true });
  await file.seek(start, Deno.SeekMode.Start);
  for (let at = 0; at < bytes;) {
    const count = await file.read(part.subarray(at));
    if (count === null) throw new Error(`${path} ends at ${start + at}: it was changed while it is sent`);
    at += count;
  }
  return part;
}
