/** The store that a lake's URL names. @module */
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { ConfigError, UnavailableError } from "../../errors.ts";
import { createDiskStore } from "./disk_store.ts";
import type { ObjectStore, StoreOptions } from "./object_store.ts";
import { S3_SETTINGS, type S3Options } from "./s3/options.ts";
import { createS3Store, S3Store } from "./s3/s3_store.ts";

export interface OpenStoreOptions {
  /** `file:///srv/lake`, `s3://bucket/prefix`; empty for the folder `lake` in the data folder. */
  readonly url: string;
  /** Needed for s3:// */
  readonly s3: S3Options | null;
  readonly dataDir: string;
  /** Bound of the local copies of a bucket's objects. */
  readonly cacheBytes: number;
}

/** Nothing is read or sent yet; {@linkcode checkStore} does. @throws ConfigError when the URL names no store */
export function openStore({ url, s3, dataDir, cacheBytes }: OpenStoreOptions): ObjectStore {
  if (url === "") return createDiskStore({ folder: join(dataDir, "lake") });
  if (url.startsWith("file:///")) return createDiskStore({ folder: fileURLToPath(url) });
  if (url.startsWith("s3://") && s3 !== null) {
    return createS3Store({ url, s3, folder: join(dataDir, "lake-s3"), cacheBytes });
  }
  throw new ConfigError({
    where: S3_SETTINGS.url,
    problem: `"${url}" must be file:///folder, or s3://bucket/prefix with the settings of its store`,
  });
}

/**
 * Finds out at the start what would hinder the first write: a folder that may not be written, no such bucket,
 * wrong keys, a store without conditional writes.
 *
 * @throws ConfigError; UnavailableError when the store is away, which passes
 */
export async function checkStore(store: ObjectStore, options: StoreOptions = {}): Promise<void> {
  if (store instanceof S3Store) return await store.check(options);
  const probe = join(store.scratch, `probe-${crypto.randomUUID()}`);
  try {
    await Deno.mkdir(store.scratch, { recursive: true });
    await Deno.writeTextFile(probe, "");
    await Deno.remove(probe);
  } catch (error) {
    const { name, message } = error as Error;
    // A full disk passes.
    if (name === "Error") throw new UnavailableError(`${store.url}: ${message}`);
    const problem = name === "NotCapable"
      ? "deno.json does not let this task write there: data, /data and temporary folders, unless you add to them"
      : message;
    throw new ConfigError({ where: S3_SETTINGS.url, problem: `nothing can be written to ${store.url}: ${problem}` });
  }
}
