import assert from "node:assert/strict";
import { type Disk, systemDisk } from "../../pipeline/disk.ts";
import { FileHistoryStore } from "../../pipeline/checkpoint/file_history.ts";
import { PipelineFolders } from "../../pipeline/checkpoint/pipeline_folders.ts";
import type { Sample } from "../../pipeline/checkpoint/history.ts";
import { SAMPLE_BYTES } from "../../pipeline/checkpoint/history_file.ts";
import { ConfigError, UnavailableError } from "../../pipeline/errors.ts";

function sampleOf(position: number, { partition = 0, maxEventTimeMs = null as number | null } = {}): Sample {
  const buckets = { consumed: position, aggregated: position - 1, filtered: 1, late: 0, dead: 0, duplicate: 0 };
  return { partition, position, maxEventTimeMs, raisedToMs: maxEventTimeMs === null ? -7.5 : null, buckets };
}

const FIRST = [sampleOf(3), sampleOf(2 ** 52, { partition: 1, maxEventTimeMs: -1 })];
const SECOND = [sampleOf(5), sampleOf(2 ** 53 - 1, { partition: 1, maxEventTimeMs: 0 }), sampleOf(9)];

function storeIn(path: string, disk?: Disk): FileHistoryStore {
  return new FileHistoryStore(new PipelineFolders(path, disk));
}

function temporaryFolder(): { path: string } & Disposable {
  const path = Deno.makeTempDirSync({ prefix: "tailrace_history_" });
  return { path, [Symbol.dispose]: () => Deno.removeSync(path, { recursive: true }) };
}

Deno.test("a history gives back all samples in order, by pipeline, and none before the first", async () => {
  using folder = temporaryFolder();
  const store = storeIn(`${folder.path}/not/there/yet`);
  assert.deepEqual(await store.load("p"), []);
  await store.append("p", FIRST);
  await store.append("p", []);
  await store.append("other", SECOND);
  const again = storeIn(`${folder.path}/not/there/yet`);
  await again.append("p", SECOND);
  assert.deepEqual(await again.load("p"), [...FIRST, ...SECOND]);
  assert.deepEqual(await store.load("other"), SECOND);
});

Deno.test("replaced samples are gone, and more can follow", async () => {
  using folder = temporaryFolder();
  const store = storeIn(folder.path);
  await store.append("p", FIRST);
  await store.replace("p", SECOND);
  await store.append("p", FIRST);
  assert.deepEqual(await store.load("p"), [...SECOND, ...FIRST]);
  await store.replace("p", []);
  assert.deepEqual(await store.load("p"), []);
  assert.deepEqual([...Deno.readDirSync(`${folder.path}/p.1`)].map(({ name }) => name), ["history"]);
});

Deno.test("an end that was torn while it was appended is left out whole, and the next samples take its place", async () => {
  using folder = temporaryFolder();
  let path = `${folder.path}/p.1/history`;
  const store = storeIn(folder.path);
  await store.append("p", FIRST);
  await store.append("p", SECOND);
  const whole = Deno.readFileSync(path);
  let claims = 1;
  const start = FIRST.length * SAMPLE_BYTES;
  const damaged = (at: number) => {
    const bytes = whole.slice();
    bytes.fill(0, start + at, start + at + 16);
    return bytes;
  };
  const ends = [1, SAMPLE_BYTES, 2 * SAMPLE_BYTES + 5, 3 * SAMPLE_BYTES - 1].map((end) => whole.slice(0, start + end));
  // Blocks reach the disk in any order: a later sample may be there without an earlier one.
  for (const bytes of [...ends, damaged(0), damaged(SAMPLE_BYTES), damaged(2 * SAMPLE_BYTES + 80)]) {
    Deno.writeFileSync(path, bytes);
    assert.deepEqual(await storeIn(folder.path).load("p"), FIRST);
    assert.deepEqual(Deno.readFileSync(path), bytes, "whoever only looks changes nothing: it may be on its way");
    const next = storeIn(folder.path);
    await next.append("p", [sampleOf(77)]);
    assert.deepEqual(await next.load("p"), [...FIRST, sampleOf(77)]);
    path = `${folder.path}/p.${++claims}/history`;
  }
});

Deno.test("damage before the end is a ConfigError that names the file, whichever bit it is", async () => {
  using folder = temporaryFolder();
  const path = `${folder.path}/p.1/history`;
  const store = storeIn(folder.path);
  await store.append("p", FIRST);
  await store.append("p", SECOND);
  const whole = Deno.readFileSync(path);
  for (let bit = 0; bit < 8 * FIRST.length * SAMPLE_BYTES; bit += 3) {
    const bytes = whole.slice();
    bytes[bit >> 3] ^= 1 << (bit & 7);
    Deno.writeFileSync(path, bytes);
    await assert.rejects(store.load("p"), (error) => {
      assert.ok(error instanceof ConfigError, `bit ${bit}`);
      assert.equal(error.faults[0].where, path);
      assert.match(error.message, /does not fit its checksums/);
      return true;
    });
  }
  await assert.rejects(storeIn(folder.path).append("p", SECOND), ConfigError);
  assert.equal(Deno.statSync(`${folder.path}/p.2/history`).size, whole.length, "nothing was cut off");
});

Deno.test("of samples that replaced others none was torn: damage in the first of them is not taken for an end", async () => {
  using folder = temporaryFolder();
  const store = storeIn(folder.path);
  await store.replace("p", SECOND);
  const bytes = Deno.readFileSync(`${folder.path}/p.1/history`);
  bytes[20] ^= 1;
  Deno.writeFileSync(`${folder.path}/p.1/history`, bytes);
  await assert.rejects(store.load("p"), ConfigError);
});

Deno.test("a disk that refuses is waited for, and half an append that it took is not left before the next", async () => {
  using folder = temporaryFolder();
  Deno.writeTextFileSync(`${folder.path}/file`, "");
  await assert.rejects(storeIn(`${folder.path}/file/sub`).append("p", FIRST), UnavailableError);
  let full = false;
  const store = storeIn(folder.path, {
    ...systemDisk,
    open: async (path, from) => {
      const file = await systemDisk.open(path, from);
      return {
        write: async (bytes) => {
          await file.write(full ? bytes.subarray(0, 100) : bytes);
          if (full) throw new Error("No space left on device");
        },
        truncate: file.truncate,
        sync: file.sync,
        [Symbol.dispose]: () => file[Symbol.dispose](),
      };
    },
  });
  await store.append("p", FIRST);
  full = true;
  await assert.rejects(store.append("p", SECOND), UnavailableError);
  assert.deepEqual(await store.load("p"), FIRST);
  full = false;
  await store.append("p", SECOND);
  assert.deepEqual(await store.load("p"), [...FIRST, ...SECOND]);
});
