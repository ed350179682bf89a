import assert from "node:assert/strict";
import { ConfigError } from "../../../pipeline/errors.ts";
import { checkStore, openStore } from "../../../pipeline/sinks/lake/open_store.ts";
import { UnrulyS3 } from "./s3/unruly_s3.ts";

const SIZE = { cacheBytes: 1_000_000 };

Deno.test("the lake's URL says where it is; without one it is in the data folder", async () => {
  const folder = await Deno.makeTempDir({ prefix: "tailrace-lake-" });
  try {
    await using own = openStore({ url: "", s3: null, dataDir: folder, ...SIZE });
    assert.equal(own.url, new URL(`file://${folder}/lake`).href);
    await using other = openStore({ url: `file://${folder}/a%20lake`, s3: null, dataDir: "data", ...SIZE });
    await checkStore(other);
    await other.put("x", new Uint8Array([1]));
    assert.deepEqual(await Deno.readFile(`${folder}/a lake/x`), new Uint8Array([1]));
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});

Deno.test("a bucket's store keeps what is local in the data folder, and is found out when asked", async () => {
  const folder = await Deno.makeTempDir({ prefix: "tailrace-lake-" });
  await using server = await UnrulyS3.start();
  try {
    await using store = openStore({ url: "s3://lake/a", s3: server.s3, dataDir: folder, ...SIZE });
    assert.equal(store.url, "s3://lake/a");
    assert.ok(store.scratch.startsWith(`${folder}/lake-s3/`));
    await checkStore(store);
    assert.ok(server.calls.length > 0);
    await store.put("x", new Uint8Array([1]));
    using files = await store.local(["x"]);
    assert.ok(files.paths[0].startsWith(`${folder}/lake-s3/`));
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});

Deno.test("what names no store is refused", () => {
  for (const url of ["s3://lake", "gs://lake", "/srv/lake", "file://host/lake"]) {
    assert.throws(() => openStore({ url, s3: null, dataDir: "data", ...SIZE }), ConfigError, url);
  }
});

Deno.test("a lake in a folder that cannot be written is told at the start", async () => {
  const folder = await Deno.makeTempDir();
  try {
    await Deno.writeTextFile(`${folder}/taken`, "this is a file");
    await using store = openStore({ url: `file://${folder}/taken`, s3: null, dataDir: folder, cacheBytes: 2 ** 26 });
    await assert.rejects(checkStore(store), /TAILRACE_LAKE: nothing can be written to file:.*taken/);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});
