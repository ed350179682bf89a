import assert from "node:assert/strict";
import { join } from "node:path";
import type { Clock } from "../../../../pipeline/clock.ts";
import { ConfigError, UnavailableError } from "../../../../pipeline/errors.ts";
import { MissingObjectError } from "../../../../pipeline/sinks/lake/object_store.ts";
import { TRIES_MAX } from "../../../../pipeline/sinks/lake/s3/client.ts";
import { createS3Store, type S3Store, type S3StoreOptions } from "../../../../pipeline/sinks/lake/s3/s3_store.ts";
import { PART_BYTES, SINGLE_BYTES_MAX } from "../../../../pipeline/sinks/lake/s3/upload.ts";
import { localFile, noise, objectStoreContract, same } from "../../../contracts/object_store_contract.ts";
import { type Call, type Trouble, UnrulyS3 } from "./unruly_s3.ts";

const LOG = "t/_delta_log/00000000000000000001.json";

interface Subject extends AsyncDisposable {
  readonly server: UnrulyS3;
  readonly store: S3Store;
  readonly folder: string;
  /** Pauses so far, which take no time. */
  readonly pauses: number[];
  reopen(options?: Partial<S3StoreOptions>): S3Store;
}

async function subject(given: Partial<S3StoreOptions> = {}): Promise<Subject> {
  const server = await UnrulyS3.start();
  const folder = await Deno.makeTempDir({ prefix: "tailrace-lake-" });
  const pauses: number[] = [];
  const clock: Clock = {
    now: () => Date.now(),
    monotonic: () => performance.now(),
    sleep: (ms, signal) => {
      signal?.throwIfAborted();
      pauses.push(ms);
      return Promise.resolve();
    },
  };
  const opened: S3Store[] = [];
  const reopen = (options: Partial<S3StoreOptions> = {}) => {
    const store = createS3Store({
      ...{ url: "s3://lake/pre", s3: server.s3, folder, cacheBytes: 2 ** 30, clock, random: () => 0 },
      ...given,
      ...options,
    });
    opened.push(store);
    return store;
  };
  return {
    server,
    store: reopen(),
    folder,
    pauses,
    reopen,
    [Symbol.asyncDispose]: async () => {
      for (const store of opened) await store[Symbol.asyncDispose]();
      await server[Symbol.asyncDispose]();
      await Deno.remove(folder, { recursive: true });
    },
  };
}

/** Requests of a kind that are for the lake, not for finding out what the store is. */
function of(method: string, key: string): (call: Call) => boolean {
  return (call) => call.method === method && call.key === `pre/${key}`;
}

function put(server: UnrulyS3, key: string, bytes: Uint8Array): void {
  server.objects.set(`pre/${key}`, { bytes, at: new Date() });
}

objectStoreContract("a store in this process", () => subject());

const PASSING: Record<string, Trouble> = {
  "503 SlowDown": { status: 503, code: "SlowDown" },
  "500 after it was done": { status: 500, code: "InternalError", done: true },
  "429 without words": { status: 429 },
  "408": { status: 408, code: "RequestTimeout" },
  "a body damaged on its way": { status: 400, code: "BadDigest" },
  "a connection that is closed": { drop: true },
  "a connection that is closed after it was done": { drop: true, done: true },
  "no answer": { hang: true },
  "no answer after it was done": { hang: true, done: true },
  "a conflict with another's write": { status: 409, code: "ConditionalRequestConflict" },
};

for (const [name, trouble] of Object.entries(PASSING)) {
  Deno.test(`a commit is made once and known to be ours after ${name}`, async () => {
    await using it = await subject({ answerMsMax: 100 });
    await it.store.check();
    // fetch repeats by itself what a closed connection broke off.
    const pauses = "drop" in trouble ? [50, 100] : [50, 100, 200];
    it.server.next(of("PUT", LOG), trouble, trouble, trouble);
    const bytes = noise(500);
    assert.equal(await it.store.putIfAbsent(LOG, bytes), true);
    assert.deepEqual(await it.store.get(LOG), bytes);
    assert.deepEqual(it.pauses, pauses);
    for (const again of [noise(500), bytes]) assert.equal(await it.store.putIfAbsent(LOG, again), false);
  });

  Deno.test(`a commit that another made is not taken for ours after ${name}`, async () => {
    await using it = await subject({ answerMsMax: 100 });
    await it.store.check();
    const theirs = noise(500);
    put(it.server, LOG, theirs);
    it.server.next(of("PUT", LOG), trouble);
    assert.equal(await it.store.putIfAbsent(LOG, noise(500)), false);
    assert.deepEqual(await it.store.get(LOG), theirs);
  });

  Deno.test(`a commit is known by its bytes where a store keeps nothing else, after ${name}`, async () => {
    await using it = await subject({ answerMsMax: 100 });
    it.server.forgetsMetadata = true;
    await it.store.check();
    const bytes = noise(500);
    it.server.next(of("PUT", LOG), trouble, trouble);
    assert.equal(await it.store.putIfAbsent(LOG, bytes), true);
    assert.equal(await it.store.putIfAbsent(LOG, bytes), false);
  });

  Deno.test(`reading, listing and removing go on after ${name}`, async () => {
    await using it = await subject({ answerMsMax: 100 });
    put(it.server, "a", noise(300));
    put(it.server, "b", noise(300));
    const once = () => {
      let left = 1;
      it.server.trouble = () => left-- > 0 ? trouble : undefined;
    };
    once();
    assert.equal((await it.store.get("a"))!.length, 300);
    once();
    using files = await it.store.local(["a"]);
    assert.equal((await Deno.readFile(files.paths[0])).length, 300);
    once();
    assert.deepEqual((await Array.fromAsync(it.store.list(""))).map(({ key }) => key), ["a", "b"]);
    once();
    await it.store.remove(["a", "b"]);
    assert.equal(it.server.objects.size, 0);
    once();
    await it.store.put("a", noise(10));
    assert.equal(it.server.objects.get("pre/a")!.bytes.length, 10);
  });
}

Deno.test("an outage is told after a few tries, with pauses that double and jitter, and says which request", async () => {
  await using it = await subject();
  it.server.trouble = () => ({ status: 503, code: "SlowDown" });
  await assert.rejects(it.store.get("t/x"), (error: unknown) => {
    assert.ok(error instanceof UnavailableError);
    assert.match(error.message, /GET s3:\/\/lake\/pre\/t\/x.*http:\/\/127.0.0.1:\d+.*6 tries: 503 SlowDown in words/);
    return true;
  });
  assert.equal(it.server.calls.length, TRIES_MAX);
  assert.deepEqual(it.pauses, [50, 100, 200, 400, 800]);
  const other = it.reopen({ random: () => 0.999 });
  await assert.rejects(other.get("x"), UnavailableError);
  assert.ok(Math.abs(it.pauses.at(-1)! - 1_600) < 2, `${it.pauses.at(-1)}`);
  await using gone = await subject();
  await gone.server[Symbol.asyncDispose]();
  await assert.rejects(gone.store.get("x"), (error: unknown) => {
    assert.ok(error instanceof UnavailableError);
    assert.match(error.message, /refused/i);
    return true;
  });
});

Deno.test("a store that asks for patience gets it, within a bound", async () => {
  await using it = await subject();
  it.server.next(
    () => true,
    { status: 503, headers: { "retry-after": "7" } },
    { status: 503, headers: { "retry-after": "86400" } },
    { status: 503, headers: { "retry-after": "Fri, 20 Nov 2026 07:28:00 GMT" } },
  );
  assert.equal(await it.store.get("x"), null);
  assert.deepEqual(it.pauses, [7_000, 20_000, 200]);
});

for (const then of ["close", "hang"] as const) {
  Deno.test(`a body that stops in the middle (${then}) is asked for again, in memory and on disk`, async () => {
    await using it = await subject({ idleMsMax: 100 });
    const bytes = noise(700_000);
    put(it.server, "t/part.parquet", bytes);
    const broken: Trouble[] = [{ bodyBytes: 0, then }, { bodyBytes: 400_000, then }];
    it.server.next(() => true, ...broken);
    assert.ok(same((await it.store.get("t/part.parquet"))!, bytes));
    it.server.next(() => true, ...broken);
    using files = await it.store.local(["t/part.parquet"]);
    assert.ok(same(await Deno.readFile(files.paths[0]), bytes));
    assert.equal(it.pauses.length, 4);
  });
}

const FOR_GOOD: readonly (Trouble & { where: string; says: RegExp })[] = [
  { status: 404, code: "NoSuchBucket", where: "TAILRACE_LAKE", says: /make the bucket lake/ },
  { status: 403, code: "InvalidAccessKeyId", where: "TAILRACE_S3_ACCESS_KEY_ID", says: /does not know this key/ },
  { status: 403, code: "SignatureDoesNotMatch", where: "TAILRACE_S3_SECRET_ACCESS_KEY", says: /not belong/ },
  { status: 403, code: "AccessDenied", where: "TAILRACE_S3_ACCESS_KEY_ID", says: /s3:PutObject.*s3:ListBucket/ },
  { status: 403, where: "TAILRACE_S3_ACCESS_KEY_ID", says: /403/ },
  { status: 400, code: "ExpiredToken", where: "TAILRACE_S3_SESSION_TOKEN", says: /new keys/ },
  {
    ...{ status: 400, code: "AuthorizationHeaderMalformed", more: "<Region>eu-west-3</Region>" },
    ...{ where: "TAILRACE_S3_REGION", says: /the bucket is in eu-west-3/ },
  },
  {
    ...{ status: 301, headers: { "x-amz-bucket-region": "ap-south-1", location: "http://elsewhere/" } },
    ...{ where: "TAILRACE_S3_REGION", says: /the bucket is in ap-south-1/ },
  },
  {
    ...{ status: 301, code: "PermanentRedirect", more: "<Endpoint>b.other.example</Endpoint>" },
    ...{ where: "TAILRACE_S3_REGION", says: /answers at b.other.example/ },
  },
  { status: 400, code: "InvalidRequest", where: "TAILRACE_S3_ENDPOINT", says: /400 InvalidRequest in words/ },
  {
    ...{ status: 403, code: "RequestTimeTooSkewed", more: "<ServerTime>2026-01-02T03:04:05Z</ServerTime>" },
    ...{ where: "clock", says: /this machine's clock says 20.*the store's 2026-01-02T03:04:05.000Z/ },
  },
];

for (const { where, says, ...trouble } of FOR_GOOD) {
  const { status, code = "no code" } = trouble as { status: number; code?: string };
  Deno.test(`${status} ${code} is not asked again, and the error names ${where}`, async () => {
    await using it = await subject();
    it.server.trouble = () => trouble as Trouble;
    const asked: (() => Promise<unknown>)[] = [
      () => it.store.get("x"),
      () => it.store.putIfAbsent("x", noise(1)),
      () => it.store.put("x", noise(1)),
      () => it.store.local(["x"]),
      () => Array.fromAsync(it.store.list("")),
      () => it.store.remove(["x"]),
      () => it.store.remove(["x", "y"]),
      () => it.store.check(),
    ];
    for (const ask of asked) {
      it.server.calls.length = 0;
      await assert.rejects(ask(), (error: unknown) => {
        assert.ok(error instanceof ConfigError, String(error));
        assert.equal(error.faults[0].where, where);
        assert.match(error.message, says);
        assert.ok(!error.message.includes(it.server.s3.secretAccessKey + " "));
        return true;
      });
      assert.equal(it.server.calls.length, 1);
    }
    assert.deepEqual(it.pauses, []);
  });
}

Deno.test("a store that takes a second write of the same object is refused before the first commit", async () => {
  await using it = await subject();
  it.server.ignoresConditions = true;
  const isRefused = (error: unknown) =>
    error instanceof ConfigError && error.faults[0].where === "TAILRACE_LAKE" &&
    /overwrite each other/.test(error.message);
  await assert.rejects(it.store.check(), isRefused);
  await assert.rejects(it.store.putIfAbsent(LOG, noise(1)), isRefused);
  assert.equal(it.server.objects.size, 0);
  await using other = await subject();
  other.server.trouble = ({ headers }) =>
    headers["if-none-match"] ? { status: 501, code: "NotImplemented" } : undefined;
  await assert.rejects(
    other.store.check(),
    (error: unknown) => error instanceof ConfigError && /NotImplemented/.test(error.message),
  );
});

Deno.test("a store is found out once, whether asked or at the first commit, and again after an outage", async () => {
  await using it = await subject();
  it.server.trouble = () => ({ status: 500 });
  await assert.rejects(it.store.putIfAbsent(LOG, noise(1)), UnavailableError);
  it.server.trouble = () => undefined;
  const probes = () =>
    it.server.calls.filter(({ method, key }) => method === "PUT" && key.includes("/.tailrace/")).length;
  const before = probes();
  await Promise.all([it.store.check(), it.store.putIfAbsent(LOG, noise(1)), it.store.putIfAbsent("t/x", noise(1))]);
  await it.store.putIfAbsent("t/y", noise(1));
  assert.equal(probes() - before, 2);
  assert.deepEqual([...it.server.objects.keys()].sort(), [`pre/${LOG}`, "pre/t/x", "pre/t/y"]);
});

Deno.test("a large file goes in parts, a few at once, all files together", async () => {
  await using it = await subject();
  const files = [noise(SINGLE_BYTES_MAX + 1), noise(5 * PART_BYTES + 17), noise(3 * PART_BYTES)];
  const paths = await Promise.all(files.map((bytes) => localFile(it.store, bytes)));
  await Promise.all(paths.map((path, index) => it.store.take(path, `t/${index}.parquet`)));
  for (const [index, bytes] of files.entries()) {
    assert.ok(same(it.server.objects.get(`pre/t/${index}.parquet`)!.bytes, bytes));
  }
  const parts = it.server.calls.filter(({ query, method }) => method === "PUT" && query.has("partNumber"));
  assert.equal(parts.length, 3 + 6 + 3);
  assert.ok(parts.every(({ body }) => body.length <= PART_BYTES));
  assert.ok(it.server.atOnceMax <= 4 + files.length, `${it.server.atOnceMax}`);
  assert.equal(it.server.uploads.size, 0);
});

Deno.test("a part that fails is sent again, and no answer to the last request is none to worry about", async () => {
  await using it = await subject({ answerMsMax: 2_000 });
  const bytes = noise(SINGLE_BYTES_MAX + 5);
  const troubles = new Map<string, Trouble[]>([
    ["begin", [{ status: 503 }]],
    ["2", [{ drop: true }, { status: 500, code: "InternalError" }]],
    ["end", [{ drop: true, done: true }]],
  ]);
  it.server.trouble = ({ method, query }) =>
    troubles.get(query.get("partNumber") ?? (query.has("uploads") ? "begin" : method === "POST" ? "end" : ""))?.shift();
  const path = await localFile(it.store, bytes);
  await it.store.take(path, "t/x.parquet");
  assert.ok(same(it.server.objects.get("pre/t/x.parquet")!.bytes, bytes));
  assert.deepEqual([...troubles.values()].flat(), []);
  assert.equal(it.server.calls.filter(({ query }) => query.get("partNumber") === "2").length, 3);
});

Deno.test("an upload that ends in an answer of 200 with an error in it is not taken for done", async () => {
  await using it = await subject();
  const isEnd = ({ method, query }: Call) => method === "POST" && query.has("uploadId");
  const failed: Trouble = { status: 200, code: "InternalError" };
  it.server.next(isEnd, failed, failed);
  const path = await localFile(it.store, noise(SINGLE_BYTES_MAX + 1));
  await it.store.take(path, "t/x.parquet");
  assert.equal(it.server.objects.get("pre/t/x.parquet")!.bytes.length, SINGLE_BYTES_MAX + 1);
  assert.equal(it.pauses.length, 2);
});

Deno.test("a broken upload is taken back, its file stays, and it can be taken later", async () => {
  await using it = await subject();
  const bytes = noise(SINGLE_BYTES_MAX + 1);
  const path = await localFile(it.store, bytes);
  it.server.trouble = ({ query }) => query.get("partNumber") === "2" ? { status: 503 } : undefined;
  await assert.rejects(it.store.take(path, "t/x.parquet"), UnavailableError);
  assert.equal(it.server.uploads.size, 0);
  const stop = new AbortController();
  it.server.trouble = ({ query }) => {
    if (query.get("partNumber") === "1") stop.abort(new Error("enough"));
    return undefined;
  };
  await assert.rejects(it.store.take(path, "t/x.parquet", { signal: stop.signal }), /enough/);
  assert.equal(it.server.uploads.size, 0);
  assert.equal(it.server.objects.size, 0);
  it.server.trouble = () => undefined;
  await it.store.take(path, "t/x.parquet");
  assert.ok(same(it.server.objects.get("pre/t/x.parquet")!.bytes, bytes));
});

Deno.test("what was taken is at hand afterwards, and so is what was fetched: nothing is asked for twice", async () => {
  await using it = await subject();
  const bytes = noise(1_000);
  await it.store.take(await localFile(it.store, bytes), "t/a.parquet");
  put(it.server, "t/b.parquet", bytes);
  const asked = async (store: S3Store) => {
    it.server.calls.length = 0;
    using files = await store.local(["t/a.parquet", "t/b.parquet"]);
    for (const path of files.paths) assert.deepEqual(await Deno.readFile(path), bytes);
    return it.server.calls.map(({ key }) => key);
  };
  assert.deepEqual(await asked(it.store), ["pre/t/b.parquet"]);
  assert.deepEqual(await asked(it.store), []);
  // A copy does not outlive what somebody removed through us.
  await it.store.remove(["t/a.parquet"]);
  await assert.rejects(it.store.local(["t/a.parquet"]), MissingObjectError);
});

Deno.test("lists go on from page to page, and one that goes round in circles ends", async () => {
  await using it = await subject();
  it.server.pageKeys = 3;
  for (let index = 0; index < 10; index++) put(it.server, `t/${index} & <more>`, noise(1));
  const keys = async () => (await Array.fromAsync(it.store.list("t/"))).map(({ key }) => key);
  assert.deepEqual(await keys(), Array.from({ length: 10 }, (_, index) => `t/${index} & <more>`));
  assert.equal(it.server.calls.length, 4);
  it.server.pageKeys = 0;
  await assert.rejects(keys(), /breaks off/);
});

Deno.test("objects are removed a thousand at once; what one of them is refused for counts", async () => {
  await using it = await subject();
  const keys = Array.from({ length: 2_001 }, (_, index) => `t/<${index}>`);
  for (const key of keys) put(it.server, key, noise(1));
  await it.store.remove(keys);
  assert.equal(it.server.objects.size, 0);
  assert.deepEqual(it.server.calls.map(({ method }) => method), ["POST", "POST", "DELETE"]);
  const failing = (code: string) => ({
    status: 200,
    body: `<DeleteResult><Error><Key>a</Key><Code>${code}</Code><Message>in words</Message></Error></DeleteResult>`,
  });
  const isDelete = ({ query }: Call) => query.has("delete");
  it.server.next(isDelete, failing("SlowDown"), failing("InternalError"));
  put(it.server, "a", noise(1));
  await it.store.remove(["a", "b"]);
  assert.equal(it.server.objects.size, 0);
  it.server.next(isDelete, failing("NoSuchKey"));
  await it.store.remove(["a", "b"]);
  it.server.next(isDelete, failing("AccessDenied"));
  await assert.rejects(it.store.remove(["a", "b"]), (error: unknown) => {
    return error instanceof ConfigError && /POST delete s3:\/\/lake\/ .*AccessDenied in words/.test(error.message);
  });
});

Deno.test("a store that removes only one by one is asked so", async () => {
  await using it = await subject();
  for (const key of ["a", "b", "c"]) put(it.server, key, noise(1));
  it.server.trouble = ({ query }) => query.has("delete") ? { status: 501, code: "NotImplemented" } : undefined;
  await it.store.remove(["a", "b", "c", "d"]);
  assert.equal(it.server.objects.size, 0);
});

Deno.test("waiting ends when it is told to: before a request, during one, in a pause", async () => {
  await using it = await subject();
  await it.store.check();
  const enough = new Error("enough");
  await assert.rejects(it.store.get("x", { signal: AbortSignal.abort(enough) }), enough);
  it.server.trouble = () => ({ hang: true });
  for (const ask of [it.store.get.bind(it.store, "x"), it.store.putIfAbsent.bind(it.store, "x", noise(1))]) {
    const stop = new AbortController();
    const asked = ask({ signal: stop.signal });
    setTimeout(() => stop.abort(enough), 20);
    await assert.rejects(asked, enough);
  }
  const stop = new AbortController();
  it.server.trouble = () => {
    stop.abort(enough);
    return { status: 503 };
  };
  await assert.rejects(it.store.list("", { signal: stop.signal })[Symbol.asyncIterator]().next(), enough);
});

Deno.test("a lent key's token is sent and signed; nothing of it is in the store's URL", async () => {
  await using it = await subject();
  const store = it.reopen({ s3: { ...it.server.s3, sessionToken: "lent+/=" } });
  await store.get("x");
  const { headers } = it.server.calls.at(-1)!;
  assert.equal(headers["x-amz-security-token"], "lent+/=");
  assert.match(headers.authorization!, /SignedHeaders=[^,]*x-amz-security-token/);
  assert.equal(store.url, "s3://lake/pre");
  assert.throws(() => it.reopen({ url: "s3://lake/../x" }), ConfigError);
});

Deno.test("scratch is there when it is asked for, without what lay there for days", async () => {
  await using it = await subject();
  const old = join(it.store.scratch, "old.parquet");
  await Deno.writeTextFile(old, "x");
  await Deno.writeTextFile(join(it.store.scratch, "new.parquet"), "x");
  await Deno.utime(old, 1, 1);
  const { scratch } = it.reopen();
  assert.deepEqual(Array.from(Deno.readDirSync(scratch), ({ name }) => name), ["new.parquet"]);
});
