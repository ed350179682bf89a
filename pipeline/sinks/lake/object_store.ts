/**
 * Where the files of a lake are: a folder on disk, or a bucket of a store that speaks S3. Keys are relative to the lake's root,
 * with `/` between their parts and no `..`, `//` or leading `/`: `transactions/_delta_log/00000000000000000000.json`.
 *
 * @module
 */

/** Ends waiting; whether what was asked for happened is then not known. */
export interface StoreOptions {
  readonly signal?: AbortSignal;
}

export interface StoredObject {
  readonly key: string;
  readonly bytes: number;
  readonly modifiedMs: number;
}

/**
 * A flat store of immutable objects. Every method repeats by itself what a passing failure broke off, a few times.
 *
 * Every method throws UnavailableError when the other side stays away or refuses for now (a full disk too), and ConfigError when
 * it refuses for good: wrong keys, no such bucket, no right to write.
 */
export interface ObjectStore extends AsyncDisposable {
  /** The root as users write it: `file:///srv/lake`, `s3://bucket/prefix`. Without secrets. */
  readonly url: string;
  /** A local folder for files on their way in; where the lake is a folder, on the same file system. Made when it is first needed. */
  readonly scratch: string;
  /** Null when there is none. Whole in memory: for the log's small objects. */
  get(key: string, options?: StoreOptions): Promise<Uint8Array | null>;
  /** Writes a whole object unless there is one; false when there is. Durable when it resolves. */
  putIfAbsent(key: string, bytes: Uint8Array, options?: StoreOptions): Promise<boolean>;
  /** Writes a whole object over what may be there; readers see the old or the new, never a part. */
  put(key: string, bytes: Uint8Array, options?: StoreOptions): Promise<void>;
  /** Takes a finished local file in, under a key that nothing else has; the local file is gone afterwards. Durable when it resolves. */
  take(localPath: string, key: string, options?: StoreOptions): Promise<void>;
  /**
   * A local file with the object's bytes, which may not be changed: the object itself, or a copy from a cache of bounded size.
   * Copies asked for in one call are kept until `release`.
   *
   * @throws MissingObjectError when there is none
   */
  local(keys: readonly string[], options?: StoreOptions): Promise<LocalFiles>;
  /** Objects whose key begins with `prefix`, in order of keys; only those with a key after `after`, if told. */
  list(prefix: string, options?: StoreOptions & { readonly after?: string }): AsyncIterable<StoredObject>;
  /** Removes objects; those that are not there are no failure. */
  remove(keys: readonly string[], options?: StoreOptions): Promise<void>;
}

/** A file that a table's log names is not there: somebody removed it. */
export class MissingObjectError extends Error {
  override readonly name = "MissingObjectError";

  constructor(url: string, key: string) {
    super(`${url}/${key} is not there (any more)`);
  }
}

/** Local paths, in the order of the keys. Disposing lets the cache drop them. */
export interface LocalFiles extends Disposable {
  readonly paths: readonly string[];
}
