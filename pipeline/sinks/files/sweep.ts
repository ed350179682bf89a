import type { ObjectStore, StoreOptions } from "../lake/object_store.ts";
import { CONSUMER_PREFIX, type FileRange, parseFileName } from "./file_names.ts";
import type { Manifests } from "./manifests.ts";

/** Files looked at in one sweep; with more, those of further names are looked at by none. */
export const SWEPT_FILES_MAX = 200_000;

interface Found extends FileRange {
  readonly key: string;
}

/**
 * Removes the files that can never count: those of writers that were cut off before their manifest, where another's has its place.
 * A file beyond the end of its partition's chain may be on its way; it stays. Gives the keys that were removed.
 *
 * The files are listed before the manifests, so one whose manifest comes meanwhile is found named, or beyond the end.
 */
export async function sweep(
  store: ObjectStore,
  { manifests, ...options }: StoreOptions & { readonly manifests: Manifests },
): Promise<string[]> {
  const found: Found[] = [];
  for await (const { key } of store.list(CONSUMER_PREFIX, options)) {
    const range = parseFileName(key);
    if (range !== null) found.push({ ...range, key });
    if (found.length >= SWEPT_FILES_MAX) break;
  }
  const orphans: string[] = [];
  for (const files of Map.groupBy(found, ({ topic, partition }) => `${topic}/${partition}`).values()) {
    orphans.push(...await orphansOf(files, { manifests, ...options }));
  }
  if (orphans.length > 0) await store.remove(orphans, options);
  return orphans;
}

/** Of one partition. */
async function orphansOf(
  files: readonly Found[],
  { manifests, ...options }: StoreOptions & { readonly manifests: Manifests },
): Promise<string[]> {
  const [place] = files;
  const end = await manifests.end(place, options);
  if (end === null) return [];
  const starts = await manifests.starts(place, options);
  // The chain has no gaps: a manifest ends where the next begins.
  const ends = new Map(starts.map((from, i) => [from, starts[i + 1] ?? end]));
  const orphans: string[] = [];
  for (const same of Map.groupBy(files, ({ from }) => from).values()) {
    const [{ from }] = same;
    if (from >= end) continue;
    const named = same.filter(({ to }) => ends.get(from) === to);
    // Two writers may have made the same offsets into a file.
    const counted = named.length > 1 ? [(await manifests.get(place, from, options)).file] : named.map(({ key }) => key);
    orphans.push(...same.filter(({ key }) => !counted.includes(key)).map(({ key }) => key));
  }
  return orphans;
}
