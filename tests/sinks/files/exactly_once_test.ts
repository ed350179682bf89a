import assert from "node:assert/strict";
import { ORIGIN_COLUMNS } from "../../../pipeline/deliveries/columns.ts";
import { UnavailableError } from "../../../pipeline/errors.ts";
import type { ResultColumn } from "../../../pipeline/plan/plan.ts";
import { createDiskStore } from "../../../pipeline/sinks/lake/disk_store.ts";
import type { ObjectStore } from "../../../pipeline/sinks/lake/object_store.ts";
import { ndjson } from "../../../pipeline/sinks/files/ndjson.ts";
import { HINT_EVERY, Manifests } from "../../../pipeline/sinks/files/manifests.ts";
import { sweep } from "../../../pipeline/sinks/files/sweep.ts";
import { createFilesSink } from "../../../pipeline/sinks/files/sink.ts";
import type { ResultRows, Sink } from "../../../pipeline/sinks/sink.ts";
import { readFiles } from "./read_files.ts";

const signal = new AbortController().signal;
const place = { topic: "t-1", partition: 3 };
const columns: ResultColumn[] = [
  { name: "id", type: { type: "int", nullable: false }, role: "value" },
  ...ORIGIN_COLUMNS,
];
/** Every tenth offset is a marker, not a record. */
const isRecord = (offset: number) => offset % 10 !== 9;
const recordsTo = (end: number) => Array.from({ length: end }, (_, i) => i).filter(isRecord);

function rowsOf(from: number, to: number): ResultRows {
  const offsets = Array.from({ length: to - from }, (_, i) => from + i).filter(isRecord);
  const values = [offsets, offsets.map(() => place.partition), offsets, offsets.map(() => 0)];
  return { columns, length: offsets.length, values, origin: { ...place, from, to, offsets } };
}

/** With a hint at every second manifest, so that kills meet it. */
function sinkOver(store: ObjectStore, consumer = 0, hintEvery = 2): Sink {
  const format = {
    extension: "ndjson",
    encode: (rows: ResultRows, first: number) => ndjson(rows, { first, isGzip: false }),
  };
  return createFilesSink({ name: "files", store, consumer, format, hintEvery, log: () => {} });
}

class Killed extends Error {}

/**
 * The store as a process sees it that is killed at its `at`th call: that one is carried out, or not, and none after it. With
 * `isPassing` the call fails in the same way, but the process lives on.
 */
function killedAt(
  store: ObjectStore,
  { at, isDone, isPassing = false }: { at: number; isDone: boolean; isPassing?: boolean },
) {
  let calls = 0;
  const guard = <A extends unknown[], R>(work: (...args: A) => Promise<R>) => async (...args: A): Promise<R> => {
    const call = calls++;
    const error = () => isPassing ? new UnavailableError("the store is away") : new Killed();
    if (call > at && !isPassing) throw error();
    if (call === at && !isDone) throw error();
    const result = await work(...args);
    if (call === at) throw error();
    return result;
  };
  const guarded: ObjectStore = {
    url: store.url,
    scratch: store.scratch,
    get: guard((key) => store.get(key)),
    put: guard((key, bytes) => store.put(key, bytes)),
    putIfAbsent: guard((key, bytes) => store.putIfAbsent(key, bytes)),
    take: guard((path, key) => store.take(path, key)),
    local: guard((keys) => store.local(keys)),
    remove: guard((keys) => store.remove(keys)),
    async *list(prefix, options) {
      await guard(() => Promise.resolve())();
      yield* store.list(prefix, options);
    },
    [Symbol.asyncDispose]: () => Promise.resolve(),
  };
  return { store: guarded, wasReached: () => calls > at };
}

/** Mulberry32, so that a failure can be run again. */
function seeded(seed: number): () => number {
  return () => {
    seed = seed + 0x6d2b79f5 | 0;
    let t = Math.imul(seed ^ seed >>> 15, 1 | seed);
    t = t + Math.imul(t ^ t >>> 7, 61 | t) ^ t;
    return ((t ^ t >>> 14) >>> 0) / 4294967296;
  };
}

async function inFolder(work: (folder: string) => Promise<void>): Promise<void> {
  const folder = await Deno.makeTempDir({ prefix: "tailrace-files-" });
  try {
    await work(folder);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

/** What the first consumer does beside its work when it starts. */
async function swept(folder: string): Promise<void> {
  const store = createDiskStore({ folder });
  await sweep(store, { manifests: new Manifests(store), signal });
}

async function idsIn(folder: string): Promise<number[]> {
  const { lines } = await readFiles(createDiskStore({ folder }));
  return lines.map(({ id }) => id as number).sort((a, b) => a - b);
}

Deno.test("a process killed at any call of its store, and one that takes over with other batches: each record counts once", async () => {
  let points = 0;
  for (const isDone of [false, true]) {
    for (let at = 0, reached = true; reached; at++) {
      await inFolder(async (folder) => {
        const { store, wasReached } = killedAt(createDiskStore({ folder }), { at, isDone });
        await using first = sinkOver(store);
        let committed = 0;
        try {
          await first.resume(null, { signal });
          await first.delivered!(place, { signal });
          for (const to of [25, 50, 75]) {
            await first.write(rowsOf(committed, to), { epoch: 1, signal });
            committed = to;
          }
        } catch (error) {
          assert.ok(error instanceof Killed, String(error));
        }
        reached = wasReached();
        if (reached) points++;
        // Every other time in the place of another consumer, and with batches that are cut elsewhere.
        await using second = sinkOver(createDiskStore({ folder }), at % 2);
        await second.resume(null, { signal });
        const delivered = await second.delivered!(place, { signal });
        assert.ok((delivered ?? 0) >= committed, "what was written is there");
        for (const to of [committed + 17, committed + 34, 120]) {
          if (to <= committed) continue;
          await second.write(rowsOf(committed, to), { epoch: 1, signal });
          committed = to;
        }
        assert.deepEqual(await idsIn(folder), recordsTo(120), `killed at call ${at}, ${isDone ? "done" : "not done"}`);
        await swept(folder);
        assert.deepEqual((await readFiles(createDiskStore({ folder }))).orphans, []);
      });
    }
  }
  assert.ok(points > 20, `${points} calls were killed`);
});

Deno.test("a call that fails, done or not, is made good by the same write again", async () => {
  for (const isDone of [false, true]) {
    for (let at = 0, reached = true; reached; at++) {
      await inFolder(async (folder) => {
        const { store, wasReached } = killedAt(createDiskStore({ folder }), { at, isDone, isPassing: true });
        await using sink = sinkOver(store);
        const again = async <T>(work: () => Promise<T>) => {
          try {
            return await work();
          } catch (error) {
            if (!(error instanceof UnavailableError)) throw error;
            return await work();
          }
        };
        await again(() => sink.resume(null, { signal }));
        for (const [from, to] of [[0, 25], [25, 50]]) {
          await again(() => sink.write(rowsOf(from, to), { epoch: 1, signal }));
        }
        reached = wasReached();
        assert.deepEqual(await idsIn(folder), recordsTo(50), `failed at call ${at}`);
      });
    }
  }
});

Deno.test("of two that write the same partition at the same time, each from where it thinks it is, each record counts once", async () => {
  for (let seed = 1; seed <= 10; seed++) {
    await inFolder(async (folder) => {
      const random = seeded(seed);
      const writer = async (consumer: number) => {
        await using sink = sinkOver(createDiskStore({ folder }), consumer);
        await sink.resume(null, { signal });
        for (let from = 0; from < 300;) {
          const to = Math.min(300, from + 1 + Math.floor(random() * 60));
          await sink.write(rowsOf(from, to), { epoch: 1, signal });
          from = to;
          if (random() < 0.3) await sink.delivered!(place, { signal });
        }
      };
      await Promise.all([writer(0), writer(1), writer(0)]);
      assert.deepEqual(await idsIn(folder), recordsTo(300), `seed ${seed}`);
      await swept(folder);
      assert.deepEqual((await readFiles(createDiskStore({ folder }))).orphans, [], `seed ${seed}`);
    });
  }
});

Deno.test("a file that may be on its way is left alone, and goes once another has its place", async () => {
  await inFolder(async (folder) => {
    const store = createDiskStore({ folder });
    const name = (to: number) => `consumer-5/t-1-00003-00000000000000000000-${String(to).padStart(20, "0")}.ndjson`;
    await store.putIfAbsent(name(7), new TextEncoder().encode("{}\n"));
    await using sink = sinkOver(store);
    await swept(folder);
    assert.deepEqual((await readFiles(store)).orphans, [name(7)]);
    await sink.write(rowsOf(0, 30), { epoch: 1, signal });
    await sink.resume(null, { signal });
    for (let tries = 0; tries < 200 && (await readFiles(store)).orphans.length > 0; tries++) {
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
    assert.deepEqual((await readFiles(store)).orphans, []);
    assert.deepEqual(await idsIn(folder), recordsTo(30));
  });
});

Deno.test("what the log lost before it was read is inside the next file's offsets, so that the chain has no gap", async () => {
  await inFolder(async (folder) => {
    await using sink = sinkOver(createDiskStore({ folder }));
    await sink.write(rowsOf(0, 20), { epoch: 1, signal });
    await sink.write(rowsOf(50, 60), { epoch: 1, signal });
    const { manifests } = await readFiles(createDiskStore({ folder }));
    assert.deepEqual(manifests.map(({ from, to, rows }) => [from, to, rows]), [[0, 20, 18], [20, 60, 9]]);
  });
});

Deno.test("a manifest that somebody damaged stops the writing, and says which", async () => {
  await inFolder(async (folder) => {
    const store = createDiskStore({ folder });
    await sinkOver(store).write(rowsOf(0, 20), { epoch: 1, signal });
    await store.put("_manifest/t-1/00003/00000000000000000000.json", new TextEncoder().encode(`{"to": 20}`));
    await assert.rejects(
      sinkOver(store).write(rowsOf(20, 30), { epoch: 1, signal }),
      /00000000000000000000\.json: is damaged/,
    );
  });
});

Deno.test("in a long chain the end is found from the hint, which anybody may put back, damage or remove", async () => {
  await inFolder(async (folder) => {
    const disk = createDiskStore({ folder });
    let listed = 0;
    const counting: ObjectStore = {
      ...killedAt(disk, { at: Infinity, isDone: true }).store,
      async *list(prefix, options) {
        for await (const object of disk.list(prefix, options)) {
          listed++;
          yield object;
        }
      },
    };
    const count = 3 * HINT_EVERY + 50;
    {
      await using sink = sinkOver(disk, 0, HINT_EVERY);
      for (let i = 0; i < count; i++) await sink.write(rowsOf(2 * i, 2 * i + 2), { epoch: 1, signal });
    }
    const end = async () => {
      listed = 0;
      return await new Manifests(counting).end(place, { signal });
    };
    assert.equal(await end(), 2 * count);
    assert.ok(listed < HINT_EVERY, `${listed} keys were listed`);
    const hint = "_manifest/t-1/00003/latest.json";
    for (const text of [`{"from":0}`, `{"from":1}`, `{"from":-1}`, "{", `{}`]) {
      await disk.put(hint, new TextEncoder().encode(text));
      assert.equal(await end(), 2 * count, text);
      // What was a long way is a short one from now on.
      assert.equal(await end(), 2 * count, text);
      assert.ok(listed < HINT_EVERY, `${listed} keys were listed after ${text}`);
    }
    await disk.remove([hint]);
    assert.equal(await end(), 2 * count);
    // Old files and manifests may be removed, and with them what a hint of old names.
    await disk.put(hint, new TextEncoder().encode(`{"from":4}`));
    await disk.remove([0, 2, 4].map((from) => `_manifest/t-1/00003/${String(from).padStart(20, "0")}.json`));
    assert.equal(await end(), 2 * count);
    assert.deepEqual(await new Manifests(disk).starts(place, { from: 2 * count - 4, signal }), [
      2 * count - 4,
      2 * count - 2,
    ]);
  });
});

Deno.test("the partitions of a topic are found without listing what is in them", async () => {
  await inFolder(async (folder) => {
    const disk = createDiskStore({ folder });
    await using sink = sinkOver(disk);
    for (const partition of [0, 3, 12, 100_000]) {
      const rows = rowsOf(0, 4);
      const origin = { ...rows.origin!, partition };
      await sink.write({ ...rows, origin }, { epoch: 1, signal });
      await sink.write({ ...rowsOf(4, 6), origin: { ...rowsOf(4, 6).origin!, partition } }, { epoch: 1, signal });
    }
    assert.deepEqual(await new Manifests(disk).partitions("t-1", { signal }), [0, 3, 12, 100_000]);
    assert.deepEqual(await new Manifests(disk).partitions("t", { signal }), []);
  });
});

Deno.test("files of a topic that was deleted and made anew are not gone on with: it is said", async () => {
  await inFolder(async (folder) => {
    await using sink = sinkOver(createDiskStore({ folder }));
    const rows = rowsOf(0, 20);
    await sink.write({ ...rows, origin: { ...rows.origin!, topicId: "one" } }, { epoch: 1, signal });
    assert.equal(await sink.delivered!({ ...place, topicId: "one" }, { signal }), 20);
    assert.equal(await sink.delivered!(place, { signal }), 20);
    await assert.rejects(
      sink.delivered!({ ...place, topicId: "two" }, { signal }),
      /_manifest\/t-1\/00003\/: is of a topic t-1 that was deleted/,
    );
  });
});
