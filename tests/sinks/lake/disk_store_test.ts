import assert from "node:assert/strict";
import { join } from "node:path";
import { ConfigError } from "../../../pipeline/errors.ts";
import { createDiskStore } from "../../../pipeline/sinks/lake/disk_store.ts";
import type { ObjectStore } from "../../../pipeline/sinks/lake/object_store.ts";
import { localFile, noise, objectStoreContract, type StoreSubject } from "../../contracts/object_store_contract.ts";

function subject(): Promise<StoreSubject> {
  const parent = Deno.makeTempDirSync();
  const folder = join(parent, "lake");
  const reopen = () => createDiskStore({ folder });
  return Promise.resolve({
    store: reopen(),
    reopen,
    [Symbol.asyncDispose]: () => Deno.remove(parent, { recursive: true }),
  });
}

objectStoreContract("a lake on disk", subject);

Deno.test("a lake's folder is made by the first write, not by a look", async () => {
  await using made = await subject();
  const { store } = made;
  const folder = new URL(store.url).pathname;
  assert.equal(await store.get("t/x"), null);
  assert.deepEqual(await Array.fromAsync(store.list("")), []);
  await store.remove(["t/x"]);
  await assert.rejects(Deno.lstat(folder), Deno.errors.NotFound);
  await store.put("t/x", noise(1));
  assert.ok((await Deno.lstat(folder)).isDirectory);
});

Deno.test("symbolic links in a lake are not followed, by reads, writes and lists", async () => {
  await using made = await subject();
  const { store } = made;
  await store.put("t/x", noise(1));
  const folder = new URL(store.url).pathname;
  const outside = join(folder, "..", "outside");
  await Deno.mkdir(outside);
  await Deno.writeTextFile(join(outside, "secret"), "secret");
  await Deno.symlink(outside, join(folder, "t", "folder"));
  await Deno.symlink(join(outside, "secret"), join(folder, "t", "file"));
  const isTold = (error: unknown) => error instanceof ConfigError && /symbolic link/.test(error.message);
  for (const key of ["t/file", "t/folder/secret"]) {
    await assert.rejects(store.get(key), isTold);
    await assert.rejects(store.local([key]), isTold);
    await assert.rejects(store.remove([key]), isTold);
  }
  await assert.rejects(store.put("t/folder/new", noise(1)), isTold);
  await assert.rejects(store.putIfAbsent("t/folder/new", noise(1)), isTold);
  await assert.rejects(store.take(await localFile(store, noise(1)), "t/folder/new"), isTold);
  assert.deepEqual((await Array.fromAsync(store.list(""))).map(({ key }) => key), ["t/x"]);
  assert.deepEqual(Array.from(Deno.readDirSync(outside), ({ name }) => name), ["secret"]);
});

Deno.test("the root itself may be a symbolic link", async () => {
  const parent = await Deno.makeTempDir();
  try {
    await Deno.mkdir(join(parent, "disk"));
    await Deno.symlink(join(parent, "disk"), join(parent, "lake"));
    await using store = createDiskStore({ folder: join(parent, "lake") });
    const bytes = noise(9);
    assert.equal(await store.putIfAbsent("t/x", bytes), true);
    assert.deepEqual(await store.get("t/x"), bytes);
  } finally {
    await Deno.remove(parent, { recursive: true });
  }
});

Deno.test("what a process that ended left in the scratch folder is removed after a day, and nothing younger", async () => {
  await using made = await subject();
  const old = await localFile(made.store, noise(3));
  const young = await localFile(made.store, noise(3));
  const folder = join(made.store.scratch, "folder");
  await Deno.mkdir(folder);
  await Deno.writeTextFile(join(folder, "file"), "x");
  const before = new Date(Date.now() - 25 * 3_600_000);
  await Deno.utime(old, before, before);
  await Deno.utime(folder, before, before);
  await made.store.put("t/x", noise(1));
  assert.deepEqual(Array.from(Deno.readDirSync(made.store.scratch), ({ name }) => join(made.store.scratch, name)), [
    young,
  ]);
});

Deno.test("a put that lost against another leaves nothing behind", async () => {
  await using made = await subject();
  await made.store.putIfAbsent("t/x", noise(1));
  assert.equal(await made.store.putIfAbsent("t/x", noise(1)), false);
  assert.deepEqual(Array.from(Deno.readDirSync(made.store.scratch)), []);
});

Deno.test("a folder where an object should be, and an object where a folder should, are told", async () => {
  await using made = await subject();
  const { store } = made;
  await store.put("t/x/y", noise(1));
  const isTold = (error: unknown) => error instanceof ConfigError && error.message.includes(`t/x`);
  await assert.rejects(store.put("t/x", noise(1)), isTold);
  await assert.rejects(store.put("t/x/y/z", noise(1)), isTold);
  assert.deepEqual(Array.from(Deno.readDirSync(store.scratch)), []);
});

Deno.test("processes that put the same keys at once have each key from one of them", async () => {
  await using made = await subject();
  const folder = new URL(made.store.url).pathname;
  const script = join(import.meta.dirname!, "delta", "put_process.ts");
  const children = Array.from({ length: 3 }, (_, index) =>
    new Deno.Command(Deno.execPath(), {
      args: ["run", "-A", "--no-lock", script, folder, String(index), "60"],
      stdout: "piped",
      stderr: "inherit",
    }).spawn());
  const won: number[][] = [];
  for (const child of children) {
    const { success, stdout } = await child.output();
    assert.ok(success);
    won.push(JSON.parse(new TextDecoder().decode(stdout)));
  }
  const all = won.flat().sort((a, b) => a - b);
  assert.deepEqual(all, Array.from({ length: 60 }, (_, key) => key));
  for (const [index, keys] of won.entries()) {
    for (const key of keys) assert.equal(await text(made.store, `t/${key}`), String(index));
  }
});

async function text(store: ObjectStore, key: string): Promise<string> {
  return new TextDecoder().decode(await store.get(key) ?? new Uint8Array());
}
