/**
 * A bucket's objects, page by page: ListObjectsV2.
 *
 *     <ListBucketResult>
 *       <EncodingType>url</EncodingType>   keys are percent-encoded, if the store says so
 *       <IsTruncated>true</IsTruncated><NextContinuationToken>...</NextContinuationToken>
 *       <Contents><Key/><LastModified/><Size/></Contents>...
 *
 * @module
 */
import type { StoredObject } from "../object_store.ts";
import type { S3Client } from "./client.ts";
import { elements, textOf } from "./xml.ts";

/** S3's own bound. */
const KEYS_PER_PAGE = 1_000;

/** Objects whose whole key begins with `prefix`, in the order of the store: of the keys' UTF-8 bytes. */
export async function* listObjects(
  client: S3Client,
  prefix: string,
  { after, signal }: { readonly after?: string; readonly signal?: AbortSignal } = {},
): AsyncIterable<StoredObject> {
  const first = {
    "list-type": "2",
    "encoding-type": "url",
    "max-keys": String(KEYS_PER_PAGE),
    ...(prefix === "" ? {} : { prefix }),
  };
  let where: Record<string, string> = after === undefined ? {} : { "start-after": after };
  let last = "";
  for (;;) {
    const query = { ...first, ...where };
    const xml = new TextDecoder().decode(await client.send({ method: "GET", key: "", query }, { signal }));
    const isEncoded = textOf(xml, "EncodingType") === "url";
    for (const content of elements(xml, "Contents")) {
      const key = textOf(content, "Key");
      yield {
        key: isEncoded ? decodeURIComponent(key.replaceAll("+", " ")) : key,
        bytes: Number(textOf(content, "Size")),
        modifiedMs: Date.parse(textOf(content, "LastModified")),
      };
    }
    if (textOf(xml, "IsTruncated") !== "true") return;
    const token = textOf(xml, "NextContinuationToken");
    // A page that leads back to itself would never end.
    if (token === "" || token === last) throw new Error(`The store's list of ${prefix} breaks off without a next page`);
    last = token;
    where = { "continuation-token": token };
  }
}
