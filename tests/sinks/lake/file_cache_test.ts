import assert from "node:assert/strict";
import { join } from "node:path";
import { ConfigError, UnavailableError } from "../../../pipeline/errors.ts";
import { type Fetch, FETCHES_AT_ONCE, FileCache } from "../../../pipeline/sinks/lake/file_cache.ts";

const BYTES_MAX = 1_000;

interface Subject extends AsyncDisposable {
  readonly folder: string;
  readonly cache: FileCache;
  /** Keys in the order they were fetched. */
  readonly fetched: string[];
  readonly fetch: Fetch;
  reopen(): FileCache;
  /** Names of the files of the cache with that number, the lock left out. */
  files(number?: number): string[];
}

/** A cache of 1,000 bytes over objects `<name>:<bytes>`, whose bytes are the name's first letter. */
async function subject(): Promise<Subject> {
  const folder = await Deno.makeTempDir({ prefix: "tailrace-cache-" });
  const opened: FileCache[] = [];
  const fetched: string[] = [];
  const reopen = () => {
    const cache = new FileCache({ folder, url: "s3://lake", bytesMax: BYTES_MAX, setting: "TAILRACE_LAKE_CACHE" });
    opened.push(cache);
    return cache;
  };
  return {
    folder,
    cache: reopen(),
    fetched,
    fetch: async (key, into) => {
      fetched.push(key);
      await into.begin(Number(key.split(":")[1]));
      await into.write(content(key));
    },
    reopen,
    files: (number = 0) =>
      Array.from(Deno.readDirSync(join(folder, String(number))), ({ name }) => name).filter((name) => name !== "lock"),
    [Symbol.asyncDispose]: async () => {
      for (const cache of opened) await cache[Symbol.asyncDispose]();
      await Deno.remove(folder, { recursive: true });
    },
  };
}

function content(key: string): Uint8Array {
  return new Uint8Array(Number(key.split(":")[1])).fill(key.split("/").at(-1)!.charCodeAt(0));
}

Deno.test("what was not used for longest goes first, and never more than the bound is there", async () => {
  await using it = await subject();
  const use = async (key: string) => {
    using files = await it.cache.local([key], it.fetch);
    assert.deepEqual(await Deno.readFile(files.paths[0]), content(key));
    assert.ok(it.cache.bytes <= BYTES_MAX);
  };
  for (const key of ["a:400", "b:400", "a:400", "c:300", "a:400", "b:400"]) await use(key);
  assert.deepEqual(it.fetched, ["a:400", "b:400", "c:300", "b:400"]);
  assert.equal(it.cache.bytes, 800);
  assert.equal(it.files().length, 2);
});

Deno.test("what is held stays, and goes when it is let go and there is need", async () => {
  await using it = await subject();
  const held = await it.cache.local(["a:400"], it.fetch);
  const heldToo = await it.cache.local(["a:400", "b:500"], it.fetch);
  await assert.rejects(it.cache.local(["c:300"], it.fetch), (error: unknown) => {
    assert.ok(error instanceof UnavailableError);
    assert.match(error.message, /full of copies in use: try again, or allow more in TAILRACE_LAKE_CACHE/);
    return true;
  });
  heldToo[Symbol.dispose]();
  heldToo[Symbol.dispose]();
  {
    using _ = await it.cache.local(["c:300"], it.fetch);
    assert.deepEqual(await Deno.readFile(held.paths[0]), content("a:400"));
  }
  held[Symbol.dispose]();
  using _ = await it.cache.local(["d:999"], it.fetch);
  assert.equal(it.files().length, 1);
});

Deno.test("what cannot fit at once is refused with the setting to change, and nothing of it stays held", async () => {
  await using it = await subject();
  for (const keys of [["x:1001"], ["a:600", "b:600"]]) {
    await assert.rejects(it.cache.local(keys, it.fetch), (error: unknown) => {
      assert.ok(error instanceof ConfigError, String(error));
      assert.equal(error.faults[0].where, "TAILRACE_LAKE_CACHE");
      assert.match(error.message, /1000 are allowed/);
      return true;
    });
  }
  using _ = await it.cache.local(["c:1000"], it.fetch);
  assert.equal(it.cache.bytes, 1_000);
});

Deno.test("who asks for the same at once gets one copy; a fetch that one breaks off is done for the other", async () => {
  await using it = await subject();
  const both = await Promise.all([it.cache.local(["a:10"], it.fetch), it.cache.local(["a:10", "a:10"], it.fetch)]);
  assert.deepEqual(it.fetched, ["a:10"]);
  assert.equal(new Set(both.flatMap(({ paths }) => paths)).size, 1);
  for (const files of both) files[Symbol.dispose]();

  const stop = new AbortController();
  let tries = 0;
  const fetch: Fetch = async (key, into, signal) => {
    if (tries++ === 0) {
      await into.begin(5);
      await new Promise((_, reject) => signal!.addEventListener("abort", () => reject(signal!.reason), { once: true }));
    }
    await it.fetch(key, into, signal);
  };
  const first = it.cache.local(["b:20"], fetch, stop.signal);
  while (tries === 0) await new Promise((resolve) => setTimeout(resolve, 1));
  const second = it.cache.local(["b:20"], fetch);
  setTimeout(() => stop.abort(new Error("enough")), 20);
  await assert.rejects(first, /enough/);
  using files = await second;
  assert.deepEqual(await Deno.readFile(files.paths[0]), content("b:20"));
  assert.equal(tries, 2);
  assert.equal(it.cache.bytes, 30);
});

Deno.test("a fetch that begins anew leaves nothing of what came before; one that fails leaves nothing at all", async () => {
  await using it = await subject();
  const again: Fetch = async (_key, into) => {
    await into.begin(900);
    await into.write(new Uint8Array(700));
    await into.begin(3);
    await into.write(new Uint8Array([7]));
    await into.write(new Uint8Array([8, 9]));
  };
  {
    using files = await it.cache.local(["x"], again);
    assert.deepEqual(await Deno.readFile(files.paths[0]), new Uint8Array([7, 8, 9]));
  }
  const failing: Fetch = async (_key, into) => {
    await into.begin(500);
    throw new UnavailableError("gone");
  };
  await assert.rejects(it.cache.local(["y"], failing), /gone/);
  assert.deepEqual([it.cache.bytes, it.files().length], [3, 1]);
});

Deno.test("no more than a few are fetched at once for one caller", async () => {
  await using it = await subject();
  let now = 0;
  let most = 0;
  const few = Promise.withResolvers<void>();
  const fetch: Fetch = async (key, into) => {
    most = Math.max(most, ++now);
    if (now === FETCHES_AT_ONCE) few.resolve();
    await few.promise;
    // One more than may be would begin meanwhile.
    await new Promise((resolve) => setTimeout(resolve, 2));
    now--;
    await it.fetch(key, into);
  };
  const keys = Array.from({ length: 20 }, (_, index) => `${index}:10`);
  using files = await it.cache.local(keys, fetch);
  assert.equal(most, FETCHES_AT_ONCE);
  for (const [index, key] of keys.entries()) assert.deepEqual(await Deno.readFile(files.paths[index]), content(key));
});

Deno.test("copies outlast a restart if they are whole, in the order of their age, within the new bound", async () => {
  await using it = await subject();
  (await it.cache.local(["a:400", "t/_delta_log/1.checkpoint.parquet:50"], it.fetch))[Symbol.dispose]();
  (await it.cache.local(["b:400"], it.fetch))[Symbol.dispose]();
  assert.equal(it.files().length, 2, "a log's copies do not stay");
  await it.cache[Symbol.asyncDispose]();
  const [one] = it.files();
  await Deno.writeTextFile(join(it.folder, "0", "x.part"), "half");
  await Deno.copyFile(join(it.folder, "0", one), join(it.folder, "0", one.replace("-400-", "-401-")));
  const again = it.reopen();
  using _ = await again.local(["a:400", "b:400"], it.fetch);
  assert.deepEqual(it.fetched.slice(3), []);
  assert.equal(it.files().length, 2);
  assert.equal(again.bytes, 800);
});

Deno.test("a second cache over the folder keeps to itself and leaves nothing behind", async () => {
  await using it = await subject();
  using _ = await it.cache.local(["a:400"], it.fetch);
  const other = it.reopen();
  using theirs = await other.local(["a:400"], it.fetch);
  assert.deepEqual(it.fetched, ["a:400", "a:400"]);
  assert.equal(it.files(1).length, 1);
  assert.ok(theirs.paths[0].startsWith(join(it.folder, "1")));
  await other[Symbol.asyncDispose]();
  assert.deepEqual(it.files(1), []);
  await it.cache[Symbol.asyncDispose]();
  const heir = it.reopen();
  using files = await heir.local(["a:400"], it.fetch);
  assert.ok(files.paths[0].startsWith(join(it.folder, "0")));
});

Deno.test("a file that was finished here is a copy at once where there is room, and is gone from where it was", async () => {
  await using it = await subject();
  const file = async (key: string) => {
    const path = join(it.folder, "finished");
    await Deno.writeFile(path, content(key));
    await it.cache.adopt(key, path);
    await assert.rejects(Deno.lstat(path), Deno.errors.NotFound);
  };
  await file("a:600");
  await file("a:600");
  {
    using files = await it.cache.local(["a:600"], it.fetch);
    assert.deepEqual(await Deno.readFile(files.paths[0]), content("a:600"));
    await file("b:600");
    assert.equal(it.cache.bytes, 600);
  }
  await file("b:600");
  await file("c:2000");
  using _ = await it.cache.local(["b:600"], it.fetch);
  assert.deepEqual(it.fetched, []);
});

Deno.test("a copy that somebody tidied up is fetched again, and what is dropped is forgotten unless it is held", async () => {
  await using it = await subject();
  (await it.cache.local(["a:10", "b:10"], it.fetch))[Symbol.dispose]();
  for (const name of it.files()) await Deno.remove(join(it.folder, "0", name));
  using files = await it.cache.local(["a:10"], it.fetch);
  assert.deepEqual(await Deno.readFile(files.paths[0]), content("a:10"));
  it.cache.drop(["a:10", "b:10", "never"]);
  assert.equal((await Deno.stat(files.paths[0])).size, 10);
  assert.equal(it.cache.bytes, 10);
  (await it.cache.local(["b:10"], it.fetch))[Symbol.dispose]();
  // The first two are fetched at once.
  assert.deepEqual([...it.fetched.slice(0, 2).sort(), ...it.fetched.slice(2)], ["a:10", "b:10", "a:10", "b:10"]);
});

Deno.test("a copy that makes room for another while it is looked for is fetched again", async () => {
  await using it = await subject();
  for (const key of ["a:400", "c:300"]) (await it.cache.local([key], it.fetch))[Symbol.dispose]();
  const begin = Promise.withResolvers<void>();
  const other = it.cache.local(["b:600"], async (key, into) => {
    await begin.promise;
    await it.fetch(key, into);
  });
  // Until its fetch waits.
  await new Promise((resolve) => setTimeout(resolve, 50));
  const again = it.cache.local(["a:400"], it.fetch);
  for (let i = 0; i < 10; i++) await Promise.resolve();
  begin.resolve();
  (await other)[Symbol.dispose]();
  using files = await again;
  assert.deepEqual(await Deno.readFile(files.paths[0]), content("a:400"));
  assert.equal(it.cache.bytes, 1_000);
});
