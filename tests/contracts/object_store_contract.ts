/**
 * What every store of a lake must do, run against every implementation.
 *
 * @module
 */
import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { join } from "node:path";
import { ConfigError } from "../../pipeline/errors.ts";
import { MissingObjectError, type ObjectStore } from "../../pipeline/sinks/lake/object_store.ts";

/** More than a store lists or removes in one request. */
const MANY = 1_203;
/** More than a store sends in one piece. */
const LARGE_BYTES = 20_000_001;

export interface StoreSubject extends AsyncDisposable {
  readonly store: ObjectStore;
  /** A store over the same place, as another process has it; the subject disposes it. */
  reopen(): ObjectStore;
}

/** Makes an empty place and a store over it. */
export type MakeStore = () => Promise<StoreSubject>;

/** Keys as a lake has them, and as a prefix or a name may make them. */
const KEYS = [
  "a.json",
  "t/_delta_log/00000000000000000000.json",
  "t/window_date=2026-11-20/part-1.parquet",
  "t/window_date=2026-11-20/with space & more + 100% (x)'!*~.json",
  "t/zoë/ключ 🜁.json",
];

export function objectStoreContract(name: string, make: MakeStore, options: { readonly ignore?: boolean } = {}): void {
  const test = (what: string, run: (subject: StoreSubject) => Promise<void>) =>
    Deno.test({
      name: `${name}: ${what}`,
      ignore: options.ignore,
      async fn() {
        await using subject = await make();
        await run(subject);
      },
    });

  test("what is put is there, byte for byte, under any key, and for others too", async ({ store, reopen }) => {
    const other = reopen();
    for (const key of KEYS) {
      assert.equal(await store.get(key), null);
      const bytes = noise(1_000);
      await store.put(key, bytes);
      assert.deepEqual(await store.get(key), bytes, key);
      assert.deepEqual(await other.get(key), bytes, key);
    }
    await store.put("empty", new Uint8Array(0));
    assert.deepEqual(await store.get("empty"), new Uint8Array(0));
    assert.equal(other.url, store.url);
  });

  test("a second put replaces the whole object", async ({ store }) => {
    await store.put("t/x", noise(5_000));
    const last = noise(10);
    await store.put("t/x", last);
    assert.deepEqual(await store.get("t/x"), last);
  });

  test("what is there is not put again, and stays as it was", async ({ store, reopen }) => {
    const first = noise(100);
    assert.equal(await store.putIfAbsent("t/_delta_log/1.json", first), true);
    assert.equal(await store.putIfAbsent("t/_delta_log/1.json", noise(100)), false);
    assert.equal(await reopen().putIfAbsent("t/_delta_log/1.json", first), false);
    assert.deepEqual(await store.get("t/_delta_log/1.json"), first);
    await store.remove(["t/_delta_log/1.json"]);
    assert.equal(await store.putIfAbsent("t/_delta_log/1.json", first), true);
  });

  test("of many who put the same key at once exactly one does", async ({ store, reopen }) => {
    const stores = [store, reopen(), reopen()];
    for (let round = 0; round < 5; round++) {
      const key = `t/_delta_log/${round}.json`;
      const given = Array.from({ length: 9 }, () => noise(2_000));
      const won = await Promise.all(given.map((bytes, index) => stores[index % 3].putIfAbsent(key, bytes)));
      assert.equal(won.filter((one) => one).length, 1);
      assert.deepEqual(await store.get(key), given[won.indexOf(true)]);
    }
  });

  test("a local file is taken whole, however long, and is gone where it was", async ({ store, reopen }) => {
    for (const bytes of [noise(0), noise(1), noise(LARGE_BYTES)]) {
      const key = `t/part-${bytes.length}.parquet`;
      const path = await localFile(store, bytes);
      await store.take(path, key);
      await assert.rejects(Deno.lstat(path), Deno.errors.NotFound);
      for (const one of [store, reopen()]) {
        using files = await one.local([key]);
        assert.ok(same(await Deno.readFile(files.paths[0]), bytes), `${bytes.length} bytes`);
      }
      const [listed] = await Array.fromAsync(store.list(key));
      assert.deepEqual([listed.key, listed.bytes], [key, bytes.length]);
      assert.ok(Math.abs(listed.modifiedMs - Date.now()) < 120_000);
    }
  });

  test("local files come in the order of the keys, each as often as it is named", async ({ store }) => {
    const all = new Map(KEYS.map((key) => [key, noise(300)]));
    for (const [key, bytes] of all) await store.put(key, bytes);
    const asked = [...KEYS, ...KEYS.toReversed()];
    using files = await store.local(asked);
    using again = await store.local(asked);
    assert.equal(files.paths.length, asked.length);
    for (const [index, key] of asked.entries()) {
      assert.deepEqual(await Deno.readFile(files.paths[index]), all.get(key));
      assert.deepEqual(await Deno.readFile(again.paths[index]), all.get(key));
    }
    assert.deepEqual((await store.local([])).paths, []);
  });

  test("a log's name that comes again with other bytes has them locally too", async ({ store }) => {
    const key = "t/_delta_log/00000000000000000010.checkpoint.parquet";
    for (const bytes of [noise(400), noise(400)]) {
      await store.put(key, bytes);
      using files = await store.local([key]);
      assert.deepEqual(await Deno.readFile(files.paths[0]), bytes);
      await store.remove([key]);
    }
  });

  test("an object that is not there is told by its name", async ({ store, reopen }) => {
    await store.put("t/one", noise(5));
    const isTold = (error: unknown) =>
      error instanceof MissingObjectError && error.message.includes(`${store.url}/t/two`);
    await assert.rejects(store.local(["t/one", "t/two"]), isTold);
    await assert.rejects(reopen().local(["t/two"]), isTold);
    // What is a folder on a disk is nothing: only objects are.
    assert.equal(await store.get("t"), null);
    await assert.rejects(store.local(["t"]), MissingObjectError);
  });

  test("lists are in the order of the keys' bytes, of what begins with the prefix, after a key", async ({ store }) => {
    const keys = ["a", "b/-", "b/1", "b/10", "b/2", "b/c/d", "b/z", "b/é", "b/\uffee", "b/🜁", "b0", "c/_delta_log/1"];
    for (const key of keys.toReversed()) await store.put(key, noise(3));
    const list = async (prefix: string, after?: string) =>
      (await Array.fromAsync(store.list(prefix, { after }))).map(({ key }) => key);
    assert.deepEqual(await list(""), keys);
    assert.deepEqual(await list("b/"), keys.slice(1, 10));
    assert.deepEqual(await list("b"), keys.slice(1, 11));
    assert.deepEqual(await list("b/1"), ["b/1", "b/10"]);
    assert.deepEqual(await list("b/", "b/10"), keys.slice(4, 10));
    assert.deepEqual(await list("b/", "b/c"), keys.slice(5, 10));
    assert.deepEqual(await list("", "b/c/d"), keys.slice(6));
    assert.deepEqual(await list("", "b0"), ["c/_delta_log/1"]);
    assert.deepEqual(await list("b/", "c"), []);
    assert.deepEqual(await list("nothing/"), []);
    for await (const first of store.list("b/")) {
      assert.equal(first.key, "b/-");
      break;
    }
  });

  test("more objects than fit in one page are listed, and removed with those that are not there", async ({ store }) => {
    const keys = Array.from({ length: MANY }, (_, index) => `t/many/${String(index).padStart(5, "0")}.json`);
    await inLanes(keys, (key) => store.put(key, noise(1)));
    await store.put("t/other", noise(1));
    const listed = async () => (await Array.fromAsync(store.list("t/many/"))).map(({ key }) => key);
    assert.deepEqual(await listed(), keys);
    await store.remove(["t/many/gone", ...keys.slice(1)]);
    assert.deepEqual(await listed(), keys.slice(0, 1));
    await store.remove([keys[0], keys[0]]);
    await store.remove([keys[0]]);
    await store.remove([]);
    assert.deepEqual((await Array.fromAsync(store.list(""))).map(({ key }) => key), ["t/other"]);
  });

  test("what is no key is refused everywhere", async ({ store }) => {
    const path = await localFile(store, noise(2));
    for (
      const key of ["", "/a", "a/", "a//b", "../a", "a/../b", "a/./b", ".hidden", "a\\b", "a\nb", "a".repeat(1_025)]
    ) {
      const refused = (work: Promise<unknown>) => assert.rejects(work, ConfigError, JSON.stringify(key));
      await refused(store.get(key));
      await refused(store.put(key, noise(1)));
      await refused(store.putIfAbsent(key, noise(1)));
      await refused(store.take(path, key));
      await refused(store.local([key]));
      await refused(store.remove([key]));
    }
    assert.equal((await Deno.stat(path)).size, 2);
    await Deno.remove(path);
    assert.deepEqual(await Array.fromAsync(store.list("")), []);
  });
}

/** Bytes that no two objects share. */
export function noise(length: number): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(length);
  for (let at = 0; at < length; at += 65_536) crypto.getRandomValues(bytes.subarray(at, at + 65_536));
  return bytes;
}

/** `assert.deepEqual` is slow for megabytes. */
export function same(a: Uint8Array, b: Uint8Array): boolean {
  return Buffer.compare(a, b) === 0;
}

/** A file in the store's scratch folder, as a writer leaves it. */
export async function localFile(store: ObjectStore, bytes: Uint8Array): Promise<string> {
  await Deno.mkdir(store.scratch, { recursive: true });
  const path = join(store.scratch, `${crypto.randomUUID()}.parquet`);
  await Deno.writeFile(path, bytes);
  return path;
}

async function inLanes(keys: readonly string[], work: (key: string) => Promise<void>): Promise<void> {
  const rest = keys[Symbol.iterator]();
  await Promise.all(Array.from({ length: 8 }, async () => {
    for (const key of rest) await work(key);
  }));
}
