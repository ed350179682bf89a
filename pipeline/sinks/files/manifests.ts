/**
 * Which files count: of each partition a chain of manifests, one for each file, from its first offset on without a gap.
 *
 *     _manifest/<topic>/00003/start.json                       { "from": 0 }
 *     _manifest/<topic>/00003/00000000000000000000.json        { "from": 0, "to": 120, "file": "consumer-1/..", .. }
 *     _manifest/<topic>/00003/00000000000000000120.json        { "from": 120, "to": 200, .. }
 *                              └ the offset where the one before ends, and nothing else
 *     _manifest/<topic>/00003/latest.json                      { "from": 120 }
 *
 * A manifest is put where there is none yet, or not at all. Whoever writes goes on where the chain ends, so of several that write the
 * same offsets, a process that was cut off and its successor, one has its manifest and the others' files do not count.
 *
 * `latest.json` names a manifest to look for the end from, so that a long chain is not listed whole. It is a hint: any manifest of
 * the chain will do, the older the longer it takes, and without it, or the one it names, the chain is listed from its beginning.
 *
 * @module
 */
import { ConfigError } from "../../errors.ts";
import type { ObjectStore, StoreOptions } from "../lake/object_store.ts";

const FOLDER = "_manifest";
const START = "start.json";
const LATEST = "latest.json";
/** Manifests that may be beyond the one that the hint names, about: in one answer of S3's there are 1,000 keys. */
export const HINT_EVERY = 100;
const OFFSET_DIGITS = 20;
const PARTITION_DIGITS = 5;

export interface Manifest {
  readonly topic: string;
  /** Kafka's id of the topic, where it is known. */
  readonly topicId?: string;
  readonly partition: number;
  /** The offsets `[from, to)` are in the file: those of its rows, of letters, and of what is no record. */
  readonly from: number;
  readonly to: number;
  /** Lines. */
  readonly rows: number;
  /** Below the folder that the manifests are in. */
  readonly file: string;
  readonly bytes: number;
  /** Of the file's bytes, in hexadecimal. */
  readonly sha256: string;
}

export type Place = Pick<Manifest, "topic" | "topicId" | "partition">;

export function partitionText(partition: number): string {
  return String(partition).padStart(PARTITION_DIGITS, "0");
}

export function offsetText(offset: number): string {
  return String(offset).padStart(OFFSET_DIGITS, "0");
}

function folderOf({ topic, partition }: Place): string {
  return `${FOLDER}/${topic}/${partitionText(partition)}/`;
}

function keyOf(place: Place, from: number): string {
  return `${folderOf(place)}${offsetText(from)}.json`;
}

/** The chains of a folder. All methods throw as the store does. */
export class Manifests {
  readonly #store: ObjectStore;
  readonly #hintEvery: number;

  /** @param options.hintEvery instead of `HINT_EVERY` */
  constructor(store: ObjectStore, { hintEvery = HINT_EVERY }: { readonly hintEvery?: number } = {}) {
    this.#store = store;
    this.#hintEvery = hintEvery;
  }

  /** Where a partition's chain ends; null where there is none. @throws ConfigError when it is of another topic of that name */
  async end(place: Place, options: StoreOptions): Promise<number | null> {
    const known = await this.#latest(place, options);
    const later = await this.starts(place, { ...options, from: known === null ? 0 : known.to });
    const from = later.at(-1);
    if (later.length >= this.#hintEvery) await this.hint(place, from!, options);
    const last = from === undefined ? known : await this.get(place, from, options);
    if (last === null) return await this.#start(place, options);
    this.#checkTopic(place, last);
    return last.to;
  }

  /** Names the manifest that begins at `from` as one to look for the end from. */
  async hint(place: Place, from: number, options: StoreOptions): Promise<void> {
    await this.#store.put(folderOf(place) + LATEST, json({ from }), options);
  }

  /** The same, but where there is none it begins at `from`, or where somebody else began it meanwhile. */
  async begin(place: Place, from: number, options: StoreOptions): Promise<number> {
    const found = await this.end(place, options);
    if (found !== null) return found;
    await this.#store.putIfAbsent(folderOf(place) + START, json({ from, topicId: place.topicId }), options);
    const start = await this.#start(place, options);
    if (start === null) throw damaged(this.#store, folderOf(place) + START, "it is gone again");
    return start;
  }

  /** Of a topic, those that there is anything of, rising. */
  async partitions(topic: string, options: StoreOptions): Promise<number[]> {
    const found: number[] = [];
    const folder = `${FOLDER}/${topic}/`;
    // Of each partition the first key only, then on behind all of its.
    for (let after: string | undefined = undefined;;) {
      const first: string | undefined = await firstOf(this.#store.list(folder, { ...options, after }));
      if (first === undefined) return found.sort((a, b) => a - b);
      const [own, digits] = /^(\d+)\//.exec(first.slice(folder.length)) ?? [];
      if (digits !== undefined) found.push(Number(digits));
      after = own === undefined ? first : `${folder}${own}~`;
    }
  }

  /** The first offsets of the manifests, rising; with `from` of those that begin there or later. */
  async starts(place: Place, { from = 0, ...options }: StoreOptions & { readonly from?: number }): Promise<number[]> {
    const starts: number[] = [];
    // The key of the offset before, so that the offset's own is the first.
    const after = from > 0 ? keyOf(place, from - 1) : undefined;
    for await (const { key } of this.#store.list(folderOf(place), { ...options, after })) {
      const [, digits] = /\/(\d{20})\.json$/.exec(key) ?? [];
      if (digits !== undefined) starts.push(Number(digits));
    }
    return starts;
  }

  /** @throws ConfigError when there is none, or it is none */
  async get(place: Place, from: number, options: StoreOptions): Promise<Manifest> {
    const key = keyOf(place, from);
    const manifest = await this.#read(key, options) as Manifest | null;
    if (manifest === null) throw damaged(this.#store, key, "it is gone");
    const { to, file } = manifest;
    if (!Number.isSafeInteger(to) || to <= from || typeof file !== "string") {
      throw damaged(this.#store, key, "it does not say which offsets are in which file");
    }
    return manifest;
  }

  /** Puts the manifest unless there is one that begins at the same offset; the one that is there then. */
  async claim(manifest: Manifest, options: StoreOptions): Promise<Manifest> {
    const isFirst = await this.#store.putIfAbsent(keyOf(manifest, manifest.from), json(manifest), options);
    return isFirst ? manifest : await this.get(manifest, manifest.from, options);
  }

  async #start(place: Place, options: StoreOptions): Promise<number | null> {
    const key = folderOf(place) + START;
    const start = await this.#read(key, options) as { readonly from?: unknown; readonly topicId?: string } | null;
    if (start === null) return null;
    if (typeof start.from !== "number") throw damaged(this.#store, key, "it does not say where the files begin");
    this.#checkTopic(place, start);
    return start.from;
  }

  /** What the hint names, where that is still there: old manifests may be removed. */
  async #latest(place: Place, options: StoreOptions): Promise<Manifest | null> {
    const hint = await this.#read(folderOf(place) + LATEST, options).catch((error) => {
      // Nothing hangs on it.
      if (error instanceof ConfigError) return null;
      throw error;
    }) as { readonly from?: unknown } | null;
    const from = hint?.from;
    if (!Number.isSafeInteger(from) || (from as number) < 0) return null;
    if (await this.#store.get(keyOf(place, from as number), options) === null) return null;
    return await this.get(place, from as number, options);
  }

  #checkTopic({ topic, partition, topicId }: Place, there: { readonly topicId?: string }): void {
    if (topicId === undefined || there.topicId === undefined || topicId === there.topicId) return;
    throw new ConfigError({
      where: `${this.#store.url}/${folderOf({ topic, partition })}`,
      problem: `is of a topic ${topic} that was deleted: the one of today has other records at the same offsets. ` +
        "Give the delivery and its destinations new names, so that it begins with what is there",
    });
  }

  async #read(key: string, options: StoreOptions): Promise<unknown> {
    const bytes = await this.#store.get(key, options);
    if (bytes === null) return null;
    try {
      return JSON.parse(new TextDecoder().decode(bytes));
    } catch (error) {
      throw damaged(this.#store, key, (error as Error).message);
    }
  }
}

async function firstOf(objects: AsyncIterable<{ readonly key: string }>): Promise<string | undefined> {
  for await (const { key } of objects) return key;
}

function json(value: unknown): Uint8Array {
  return new TextEncoder().encode(`${JSON.stringify(value)}\n`);
}

function damaged({ url }: ObjectStore, key: string, problem: string): ConfigError {
  return new ConfigError({
    where: `${url}/${key}`,
    problem: `is damaged: ${problem}. Put it back, or name a new folder`,
  });
}
