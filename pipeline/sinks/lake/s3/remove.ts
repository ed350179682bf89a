/**
 * Removes objects, a thousand in one request: DeleteObjects.
 *
 *     POST ?delete  <Delete><Quiet>true</Quiet><Object><Key/></Object>...</Delete>
 *     200           <DeleteResult><Error><Key/><Code/><Message/></Error>...</DeleteResult>   only what failed
 *
 * @module
 */
import { createHash } from "node:crypto";
import type { S3Client } from "./client.ts";
import { Refusal } from "./refusal.ts";
import { forEachOf } from "../slots.ts";
import { elements, escapeXml, textOf } from "./xml.ts";

/** S3's own bound. */
const KEYS_PER_REQUEST = 1_000;
/** Where a store removes only one by one. */
const REMOVALS_AT_ONCE = 8;

/** Those that are not there are no failure. `keys` are whole, the root included. */
export async function removeObjects(client: S3Client, keys: readonly string[], signal?: AbortSignal): Promise<void> {
  for (let start = 0; start < keys.length; start += KEYS_PER_REQUEST) {
    const batch = keys.slice(start, start + KEYS_PER_REQUEST);
    if (batch.length === 1) await removeOne(client, batch[0], signal);
    else await removeBatch(client, batch, signal);
  }
}

async function removeBatch(client: S3Client, keys: readonly string[], signal?: AbortSignal): Promise<void> {
  const objects = keys.map((key) => `<Object><Key>${escapeXml(key)}</Key></Object>`).join("");
  const body = new TextEncoder().encode(
    `<Delete xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><Quiet>true</Quiet>${objects}</Delete>`,
  );
  // S3 asks for it here, beside the SHA-256 that is signed.
  const headers = { "content-md5": createHash("md5").update(body).digest("base64"), "content-type": "application/xml" };
  const way = await client.exchange<"done" | "singly">({
    method: "POST",
    key: "",
    query: { delete: "" },
    headers,
    body,
  }, {
    signal,
    read: async (answer) => {
      const xml = new TextDecoder().decode(await answer.whole());
      const failed = elements(xml, "Error").filter((error) => !/^(NoSuchKey|NotFound)$/.test(textOf(error, "Code")));
      if (failed.length > 0) throw refusalOf(failed[0], answer.headers);
      return "done";
    },
    refused: ({ status, code }) => status === 501 || status === 405 || code === "NotImplemented" ? "singly" : undefined,
  });
  if (way === "done") return;
  await forEachOf(keys, (key, either) => removeOne(client, key, either), { atOnce: REMOVALS_AT_ONCE, signal });
}

/** A refusal of one object, as if it had been asked for alone. */
function refusalOf(error: string, headers: Headers): Refusal {
  const passes = /^(InternalError|SlowDown|ServiceUnavailable|OperationAborted|RequestTimeout)$/;
  return new Refusal(passes.test(textOf(error, "Code")) ? 503 : 403, headers, error);
}

async function removeOne(client: S3Client, key: string, signal?: AbortSignal): Promise<void> {
  await client.exchange<boolean>({ method: "DELETE", key }, {
    signal,
    // deno-lint-ignore require-await -- the caller waits for a promise
    read: async () => true,
    refused: ({ status, code }) => status === 404 && code !== "NoSuchBucket" ? true : undefined,
  });
}
