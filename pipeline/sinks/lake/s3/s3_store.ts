/**
 * A lake in a bucket of a store that speaks S3.
 *
 *     s3://<bucket>/<prefix>/<key>               the objects
 *     s3://<bucket>/<prefix>/.tailrace/probe-*   there for a moment at the start
 *
 * Commits rest on `If-None-Match: *`: of two writers of one key one is refused. Some stores do not know the header and take both
 * writes, and commits would overwrite each other. So before its first commit each store is asked to take one object twice; one that
 * does is refused.
 *
 * @module
 */
import { join } from "node:path";
import { ConfigError } from "../../../errors.ts";
import { FileCache, type Target } from "../file_cache.ts";
import { checkKey } from "../object_key.ts";
import {
  type LocalFiles,
  MissingObjectError,
  type ObjectStore,
  type StoredObject,
  type StoreOptions,
} from "../object_store.ts";
import { S3Client, type S3ClientOptions } from "./client.ts";
import { listObjects } from "./list.ts";
import { parseS3Url, S3_SETTINGS, type S3Options } from "./options.ts";
import { removeObjects } from "./remove.ts";
import type { Refusal } from "./refusal.ts";
import { Slots } from "../slots.ts";
import { upload } from "./upload.ts";

/** Requests with bytes to send at once: each has up to two parts of an upload in memory. */
const SENDS_AT_ONCE = 4;
/** Kept with an object: which write made it, so that a repeated one knows its own. */
const WRITE_HEADER = "x-amz-meta-tailrace-write";
const SWEEP_AGE_MS = 24 * 3_600_000;

export interface S3StoreOptions extends Pick<S3ClientOptions, "clock" | "random" | "answerMsMax" | "idleMsMax"> {
  /** `s3://bucket/prefix` */
  readonly url: string;
  readonly s3: S3Options;
  /** Local folder for files on their way and copies. */
  readonly folder: string;
  /** Bound of the local copies. */
  readonly cacheBytes: number;
}

/** @throws ConfigError when the URL is none */
export function createS3Store(options: S3StoreOptions): S3Store {
  return new S3Store(options);
}

export class S3Store implements ObjectStore {
  readonly url: string;
  readonly #scratch: string;
  readonly #root: string;
  readonly #client: S3Client;
  readonly #cache: FileCache;
  readonly #sends = new Slots(SENDS_AT_ONCE);
  #checked: Promise<void> | null = null;
  #hasScratch = false;

  constructor(options: S3StoreOptions) {
    const place = parseS3Url(options.url);
    if (place === null) {
      throw new ConfigError({ where: S3_SETTINGS.url, problem: `"${options.url}" must be s3://bucket/prefix` });
    }
    this.url = options.url.replace(/\/$/, "");
    this.#root = place.root;
    this.#scratch = join(options.folder, "scratch");
    this.#client = new S3Client({ ...options, ...options.s3, bucket: place.bucket });
    this.#cache = new FileCache({
      folder: join(options.folder, "cache"),
      url: `${options.s3.endpoint} ${this.url}`,
      bytesMax: options.cacheBytes,
      setting: "TAILRACE_LAKE_CACHE",
    });
  }

  get scratch(): string {
    if (!this.#hasScratch) {
      Deno.mkdirSync(this.#scratch, { recursive: true });
      sweep(this.#scratch, Date.now() - SWEEP_AGE_MS);
      this.#hasScratch = true;
    }
    return this.#scratch;
  }

  /**
   * Makes sure that the store is there, takes our keys, and refuses a second write of the same key. `putIfAbsent` does so by itself
   * the first time; asked at the start, what is wrong is told before there is work.
   *
   * @throws ConfigError, UnavailableError
   */
  check(options: StoreOptions = {}): Promise<void> {
    this.#checked ??= this.#probe(options).catch((error) => {
      // The next one asks again; an outage passes.
      this.#checked = null;
      throw error;
    });
    return this.#checked;
  }

  async get(key: string, { signal }: StoreOptions = {}): Promise<Uint8Array | null> {
    const found = await this.#client.exchange<{ readonly bytes: Uint8Array | null }>(
      { method: "GET", key: this.#at(key) },
      {
        signal,
        read: async (answer) => ({ bytes: await answer.whole() }),
        refused: (refusal) => isMissing(refusal) ? { bytes: null } : undefined,
      },
    );
    return found.bytes;
  }

  async putIfAbsent(key: string, bytes: Uint8Array, options: StoreOptions = {}): Promise<boolean> {
    checkKey(key);
    await this.check(options);
    return await this.#putOnce(key, bytes, options);
  }

  async put(key: string, bytes: Uint8Array, { signal }: StoreOptions = {}): Promise<void> {
    await this.#sends.use(async () => {
      await this.#client.send({ method: "PUT", key: this.#at(key), body: owned(bytes) }, { signal });
    }, signal);
  }

  async take(localPath: string, key: string, { signal }: StoreOptions = {}): Promise<void> {
    const { size } = await Deno.stat(localPath);
    const whole = this.#at(key);
    const stored = async () => {
      for await (const object of this.#list(whole, { signal })) return object.key === whole ? object.bytes : null;
      return null;
    };
    await upload(this.#client, { path: localPath, key: whole, bytes: size, slots: this.#sends, signal, stored });
    await this.#cache.adopt(key, localPath);
  }

  async local(keys: readonly string[], { signal }: StoreOptions = {}): Promise<LocalFiles> {
    return await this.#cache.local(keys, (key, into, either) => this.#download(key, into, either), signal);
  }

  async *list(prefix: string, options: StoreOptions & { readonly after?: string } = {}): AsyncIterable<StoredObject> {
    const folder = prefix.slice(0, prefix.lastIndexOf("/"));
    if (folder !== "") checkKey(folder);
    const after = options.after === undefined ? undefined : this.#root + options.after;
    for await (const object of this.#list(this.#root + prefix, { ...options, after })) {
      const key = object.key.slice(this.#root.length);
      // Ours, not the lake's: what begins with a dot, and the marks that other tools leave for folders.
      if (key !== "" && !key.startsWith(".") && !key.endsWith("/")) yield { ...object, key };
    }
  }

  async remove(keys: readonly string[], { signal }: StoreOptions = {}): Promise<void> {
    await removeObjects(this.#client, keys.map((key) => this.#at(key)), signal);
    this.#cache.drop(keys);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#cache[Symbol.asyncDispose]();
  }

  #at(key: string): string {
    return this.#root + checkKey(key);
  }

  #list(prefix: string, options: StoreOptions & { readonly after?: string }): AsyncIterable<StoredObject> {
    return listObjects(this.#client, prefix, options);
  }

  async #putOnce(key: string, bytes: Uint8Array, { signal }: StoreOptions): Promise<boolean> {
    const whole = this.#root + key;
    const write = crypto.randomUUID();
    const headers = { "if-none-match": "*", [WRITE_HEADER]: write };
    return await this.#sends.use(
      () =>
        this.#client.exchange<boolean>({ method: "PUT", key: whole, headers, body: owned(bytes) }, {
          signal,
          read: () => Promise.resolve(true),
          refused: async ({ status }, uncertain) => {
            if (status !== 412) return undefined;
            // An earlier try may have put it there, and of one that the runtime's fetch repeated by itself we know nothing.
            const there = await this.#identity(whole, signal);
            if (there === null) return false;
            return there.write === null ? uncertain && isSame(there.bytes, bytes) : there.write === write;
          },
        }),
      signal,
    );
  }

  /** Which of our writes made an object, if it was one, and its bytes; null when it is gone already. */
  async #identity(whole: string, signal?: AbortSignal): Promise<Identity | null> {
    const found = await this.#client.exchange<{ readonly object: Identity | null }>({ method: "GET", key: whole }, {
      signal,
      read: async (answer) => ({
        object: { write: answer.headers.get(WRITE_HEADER), bytes: await answer.whole() },
      }),
      refused: (refusal) => isMissing(refusal) ? { object: null } : undefined,
    });
    return found.object;
  }

  async #download(key: string, into: Target, signal?: AbortSignal): Promise<void> {
    await this.#client.exchange<boolean>({ method: "GET", key: this.#at(key) }, {
      signal,
      read: async (answer) => {
        if (answer.bytes === null) {
          throw new ConfigError({
            where: S3_SETTINGS.endpoint,
            problem: `the store does not tell the length of ${key}`,
          });
        }
        await into.begin(answer.bytes);
        for await (const piece of answer.pieces()) await into.write(piece);
        return true;
      },
      refused: (refusal) => {
        if (isMissing(refusal)) throw new MissingObjectError(this.url, key);
        return undefined;
      },
    });
  }

  async #probe(options: StoreOptions): Promise<void> {
    const key = `.tailrace/probe-${crypto.randomUUID()}`;
    const text = (words: string) => new TextEncoder().encode(`${words} ${crypto.randomUUID()}\n`);
    let first = false;
    let second = false;
    try {
      first = await this.#putOnce(key, text("first"), options);
      second = await this.#putOnce(key, text("second"), options);
    } finally {
      if (first) await removeObjects(this.#client, [this.#root + key], options.signal);
    }
    if (first && !second) return;
    throw new ConfigError({
      where: S3_SETTINGS.url,
      problem: first
        ? "the store took a second write of the same object although it was told If-None-Match: *, so commits of a table would " +
          "overwrite each other: use a store that has conditional writes"
        : "the store refused the first write of a new object as if it were there (If-None-Match: *): use another store",
    });
  }
}

interface Identity {
  readonly write: string | null;
  readonly bytes: Uint8Array;
}

function isMissing({ status, code }: Refusal): boolean {
  // Stores answer without a code too; a bucket that is not there says so.
  return status === 404 && (code === "NoSuchKey" || code === "" || code === "NotFound");
}

function isSame(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && a.every((byte, index) => byte === b[index]);
}

/** fetch takes no bytes in memory that threads share. */
function owned(bytes: Uint8Array): Uint8Array<ArrayBuffer> {
  return bytes.buffer instanceof ArrayBuffer ? bytes as Uint8Array<ArrayBuffer> : new Uint8Array(bytes);
}

/** Files that lie in the scratch folder for longer were left by a process that ended. Folders stay: DuckDB's may be in use and empty. */
function sweep(folder: string, beforeMs: number): void {
  for (const { name, isDirectory } of Deno.readDirSync(folder)) {
    const path = join(folder, name);
    if (isDirectory) sweep(path, beforeMs);
    else if ((Deno.lstatSync(path).mtime?.getTime() ?? 0) < beforeMs) Deno.removeSync(path);
  }
}
