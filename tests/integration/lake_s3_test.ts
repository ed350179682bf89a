import assert from "node:assert/strict";
import { ConfigError, UnavailableError } from "../../pipeline/errors.ts";
import type { S3Options } from "../../pipeline/sinks/lake/s3/options.ts";
import { localFile, noise, objectStoreContract, same } from "../contracts/object_store_contract.ts";
import { createS3Store, type S3Store, type S3StoreOptions } from "../../pipeline/sinks/lake/s3/s3_store.ts";
import { type S3Program, type S3Server, startS3, whyNoS3 } from "../servers/s3.ts";

const PROGRAMS: readonly S3Program[] = ["versitygw", "moto"];

for (const program of PROGRAMS) {
  const why = await whyNoS3(program);
  if (why !== null) console.log(`skipped: ${why}`);
  let server: S3Server | null = null;
  Deno.test.beforeAll(async () => {
    if (why === null) server = await startS3(program);
  });
  Deno.test.afterAll(async () => await server?.[Symbol.asyncDispose]());
  objectStoreContract(program, () => subject(server!), { ignore: why !== null });
}

const whyNoGateway = await whyNoS3("versitygw");

/** versitygw checks signatures and keeps what it took, as real stores do. */
function test(name: string, run: (server: S3Server) => Promise<void>, options: Parameters<typeof startS3>[1] = {}) {
  Deno.test({
    name,
    ignore: whyNoGateway !== null,
    async fn() {
      await using server = await startS3("versitygw", options);
      await run(server);
    },
  });
}

const isConfigError = (where: string, says: RegExp) => (error: unknown) => {
  assert.ok(error instanceof ConfigError, String(error));
  assert.equal(error.faults[0].where, where);
  assert.match(error.message, says);
  return true;
};

test("wrong keys, a bucket that is not there and another region are told with the setting to change", async (server) => {
  const wrong: readonly [Partial<S3Options>, string, RegExp][] = [
    [{ accessKeyId: "nobody" }, "TAILRACE_S3_ACCESS_KEY_ID", /does not know this key/],
    [{ secretAccessKey: "wrong" }, "TAILRACE_S3_SECRET_ACCESS_KEY", /does not belong to the access key/],
    [{ region: "eu-west-1" }, "TAILRACE_S3_REGION", /region/],
  ];
  for (const [change, where, says] of wrong) {
    await using it = await subject(server, { s3: { ...server.s3, ...change } });
    await assert.rejects(it.store.check(), isConfigError(where, says));
    await assert.rejects(it.store.get("x"), isConfigError(where, says));
  }
  await using it = await subject(server, { url: "s3://not-there/x" });
  await assert.rejects(it.store.check(), isConfigError("TAILRACE_LAKE", /make the bucket not-there/));
  await assert.rejects(it.store.local(["x"]), isConfigError("TAILRACE_LAKE", /make the bucket not-there/));
});

test("a clock that is wrong is told with both times", async (server) => {
  const clock = { now: () => Date.now() - 3_600_000, monotonic: () => 0, sleep: () => Promise.resolve() };
  await using it = await subject(server, { clock });
  await assert.rejects(
    it.store.check(),
    isConfigError("clock", /this machine's clock says .*the store's .*set the wrong one/),
  );
});

test("a store that goes away and comes back, killed or stopped for a while, loses and doubles nothing", async (server) => {
  await using it = await subject(server, { answerMsMax: 2_000, idleMsMax: 2_000 });
  const bytes = noise(30_000_000);
  const path = await localFile(it.store, bytes);
  await it.store.check();
  await server.kill();
  await assert.rejects(it.store.take(path, "t/x.parquet"), UnavailableError);
  await assert.rejects(it.store.putIfAbsent("t/1.json", noise(1)), UnavailableError);
  await server.restart();
  // Again while it is under way: killed in the middle, there again before the tries are over.
  const taken = it.store.take(path, "t/x.parquet");
  taken.catch(() => {});
  await server.restart();
  await taken;
  const log = noise(100);
  server.pause();
  const put = it.store.putIfAbsent("t/1.json", log);
  setTimeout(() => server.resume(), 3_000);
  assert.equal(await put, true);
  assert.deepEqual(await it.store.get("t/1.json"), log);
  using files = await it.reopen().local(["t/x.parquet"]);
  assert.ok(same(await Deno.readFile(files.paths[0]), bytes));
  const keys = (await Array.fromAsync(it.store.list(""))).map(({ key }) => key);
  assert.deepEqual(keys, ["t/1.json", "t/x.parquet"]);
});

test("a bucket in the host's name is found where it is told so", async (server) => {
  // No name server knows the bucket: the store itself stands as the proxy that does.
  await using it = await subject(server);
  const s3 = { ...server.s3, endpoint: "http://s3.test", pathStyle: false };
  const { commits } = await useIn("run", { it, s3, env: { HTTP_PROXY: server.s3.endpoint, NO_PROXY: "" } });
  assert.deepEqual(commits, [true, false]);
}, { virtualHost: "s3.test" });

test("large files pass through little memory, both ways", async (server) => {
  await using it = await subject(server);
  // A process of its own: the memory of this one is that of other tests too.
  const { size, took } = await useIn("run", { it, s3: server.s3, env: {}, pieces: 60 });
  assert.equal(size, 60 * 8 * 2 ** 20);
  assert.ok(took < 384 * 2 ** 20, `${took / 2 ** 20} MiB for a file of 480`);
});

test("the sets of permissions that run Tailrace are enough for a bucket, and the environment has no say", async (server) => {
  await using it = await subject(server);
  const env = { AWS_ACCESS_KEY_ID: "another", AWS_REGION: "another", AWS_ENDPOINT_URL: "http://127.0.0.1:1" };
  for (const set of ["dev", "run"]) {
    const { commits, size } = await useIn(set, { it, s3: server.s3, env });
    assert.deepEqual([commits, size], [[true, false], 3 * 8 * 2 ** 20]);
  }
});

/** What a process under a set of permissions says that uses the store, with a file of so many pieces of 8 MiB. */
async function useIn(
  set: string,
  { it, s3, env, pieces = 3 }: {
    readonly it: { readonly store: S3Store; readonly folder: string };
    readonly s3: S3Options;
    readonly env: Record<string, string>;
    readonly pieces?: number;
  },
): Promise<{ readonly commits: readonly boolean[]; readonly size: number; readonly took: number }> {
  const child = new URL("lake_s3_child.ts", import.meta.url).pathname;
  const { stdout, stderr } = await new Deno.Command(Deno.execPath(), {
    args: [
      "run",
      "-q",
      "--no-prompt",
      `-P=${set}`,
      child,
      JSON.stringify({ url: it.store.url, s3, folder: it.folder, pieces }),
    ],
    cwd: new URL("../..", import.meta.url).pathname,
    env,
    stdin: "null",
  }).output();
  const said = new TextDecoder().decode(stdout) + new TextDecoder().decode(stderr);
  assert.match(said, /^\{.*\}\n$/, said);
  return JSON.parse(said);
}

/** A store over a new bucket of the server, under a prefix. */
async function subject(server: S3Server, options: Partial<S3StoreOptions> = {}) {
  const folder = await Deno.makeTempDir({ prefix: "tailrace-lake-" });
  const url = `s3://${await server.bucket()}/env=test/lake`;
  const opened: S3Store[] = [];
  const open = () => {
    const store = createS3Store({ url, s3: server.s3, folder, cacheBytes: 256 * 2 ** 20, ...options });
    opened.push(store);
    return store;
  };
  return {
    store: open(),
    folder,
    reopen: open,
    [Symbol.asyncDispose]: async () => {
      for (const store of opened) await store[Symbol.asyncDispose]();
      await Deno.remove(folder, { recursive: true });
    },
  };
}
