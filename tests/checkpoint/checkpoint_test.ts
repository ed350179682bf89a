import assert from "node:assert/strict";
import fc from "fast-check";
import {
  type Checkpoint,
  decodeCheckpoint,
  encodeCheckpoint,
  type SavedPanes,
} from "../../pipeline/checkpoint/checkpoint.ts";
import { FileCheckpointStore } from "../../pipeline/checkpoint/file_store.ts";
import { PipelineFolders } from "../../pipeline/checkpoint/pipeline_folders.ts";
import { ConfigError, UnavailableError } from "../../pipeline/errors.ts";

const whole = fc.maxSafeInteger();
const count = fc.nat();
const int32s = fc.array(fc.integer()).map((list) => Int32Array.from(list));
const doubles = fc.array(fc.double()).map((list) => Float64Array.from(list));
const bytes = fc.uint8Array();
const bigs = fc.array(fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n })).map((list) => BigInt64Array.from(list));

const panes: fc.Arbitrary<SavedPanes> = fc.record({
  length: count,
  keys: bytes,
  keyEnds: int32s,
  hashes: int32s,
  windows: doubles,
  counts: doubles,
  unpublished: int32s,
  states: fc.array(fc.array(fc.oneof(doubles, int32s, bytes, bigs), { maxLength: 5 }), { maxLength: 4 }),
}) as fc.Arbitrary<SavedPanes>;

const anyCheckpoint: fc.Arbitrary<Checkpoint> = fc.record({
  fingerprint: fc.string(),
  generation: count,
  floorMs: fc.option(whole),
  finalBeforeMs: fc.option(whole),
  topicId: fc.option(fc.uuid()),
  sinks: fc.constant({ results: { kafka: { "0": 12 } }, setAside: null }),
  epoch: count,
  savedAtMs: whole,
  partitions: fc.array(fc.record({
    partition: count,
    start: count,
    position: whole,
    maxEventTimeMs: fc.option(whole),
    raisedToMs: fc.option(whole),
    buckets: fc.record({
      consumed: count,
      aggregated: count,
      filtered: count,
      late: count,
      dead: count,
      duplicate: count,
    }),
    redriven: fc.array(fc.record({ source: count, offset: count, windowStartMs: whole })),
  })),
  panes: fc.array(panes, { maxLength: 3 }),
});

/** Without the missing prototypes that fast-check gives some objects. */
function plain(checkpoint: Checkpoint): Checkpoint {
  return {
    ...checkpoint,
    partitions: checkpoint.partitions.map((partition) => ({
      ...partition,
      buckets: { ...partition.buckets },
      redriven: partition.redriven.map((one) => ({ ...one })),
    })),
    panes: checkpoint.panes.map((batch) => ({ ...batch })),
  };
}

const SAMPLE: Checkpoint = {
  fingerprint: "abc",
  generation: 2,
  floorMs: null,
  finalBeforeMs: null,
  topicId: null,
  sinks: { results: null, setAside: { dead: { "0": 3 } } },
  epoch: 7,
  savedAtMs: 1_700_000_000_000,
  partitions: [{
    partition: 0,
    start: 0,
    position: 12,
    maxEventTimeMs: -5,
    raisedToMs: null,
    buckets: { consumed: 12, aggregated: 9, filtered: 1, late: 1, dead: 1, duplicate: 0 },
    redriven: [{ source: 3, offset: 11, windowStartMs: 0 }],
  }],
  panes: [{
    length: 1,
    keys: Uint8Array.of(1, 2, 3),
    keyEnds: Int32Array.of(3),
    hashes: Int32Array.of(-9),
    windows: Float64Array.of(60_000),
    counts: Float64Array.of(9),
    unpublished: Int32Array.of(0),
    states: [[], [BigInt64Array.of(1n, -1n, 0n, 2n), Uint8Array.of(1)]],
  }],
};

Deno.test("a checkpoint comes back as it was, arrays of every kind and NaN included", () => {
  fc.assert(fc.property(anyCheckpoint, (checkpoint) => {
    assert.deepEqual(decodeCheckpoint(encodeCheckpoint(checkpoint)), plain(checkpoint));
  }));
});

Deno.test("a bit changed anywhere, or an end cut off, is found", () => {
  const encoded = encodeCheckpoint(SAMPLE);
  for (let bit = 0; bit < 8 * encoded.length; bit++) {
    const damaged = encoded.slice();
    damaged[bit >> 3] ^= 1 << (bit & 7);
    assert.throws(() => decodeCheckpoint(damaged), Error, `bit ${bit}`);
  }
  for (let length = 0; length < encoded.length; length++) {
    assert.throws(() => decodeCheckpoint(encoded.subarray(0, length)), Error, `${length} bytes`);
  }
});

Deno.test("many windows are decoded in time that grows with them, not with their square", () => {
  const checkpoint = { ...SAMPLE, panes: Array.from({ length: 20_000 }, () => SAMPLE.panes[0]) };
  const encoded = encodeCheckpoint(checkpoint);
  const began = performance.now();
  assert.equal(decodeCheckpoint(encoded).panes.length, 20_000);
  assert.ok(performance.now() - began < 5_000);
});

function storeIn(path: string): FileCheckpointStore {
  return new FileCheckpointStore(new PipelineFolders(path));
}

function temporaryFolder(): { path: string } & Disposable {
  const path = Deno.makeTempDirSync({ prefix: "tailrace_checkpoint_" });
  return { path, [Symbol.dispose]: () => Deno.removeSync(path, { recursive: true }) };
}

Deno.test("a store gives back what was saved last, by pipeline, and null before", async () => {
  using folder = temporaryFolder();
  const store = storeIn(`${folder.path}/not/there/yet`);
  assert.equal(await store.load("p"), null);
  await store.save("p", SAMPLE);
  await store.save("p", { ...SAMPLE, epoch: 8 });
  await store.save("other", SAMPLE);
  const again = storeIn(`${folder.path}/not/there/yet`);
  assert.deepEqual(await again.load("p"), { ...SAMPLE, epoch: 8 });
  assert.deepEqual(await again.load("other"), SAMPLE);
});

Deno.test("a crash while saving, at any length of the new file, keeps the old checkpoint", async () => {
  using folder = temporaryFolder();
  const store = storeIn(folder.path);
  await store.save("p", SAMPLE);
  const files = () => [...Deno.readDirSync(`${folder.path}/p.1`)].map(({ name }) => name);
  assert.equal(files().length, 1);
  const next = encodeCheckpoint({ ...SAMPLE, epoch: 8 });
  for (const length of [0, 1, 20, next.length - 1, next.length]) {
    // What a process leaves that dies before the rename.
    Deno.writeFileSync(`${folder.path}/p.1/checkpoint.new`, next.subarray(0, length));
    assert.deepEqual(await store.load("p"), SAMPLE);
  }
  await store.save("p", { ...SAMPLE, epoch: 9 });
  assert.equal((await store.load("p"))!.epoch, 9);
  assert.equal(files().length, 1, "the leftover was used up");
});

Deno.test("a torn or foreign file is a ConfigError that names it and says what to do", async () => {
  using folder = temporaryFolder();
  const store = storeIn(folder.path);
  await store.save("p", SAMPLE);
  const path = `${folder.path}/p.1/checkpoint`;
  const whole = Deno.readFileSync(path);
  const later = whole.slice();
  new DataView(later.buffer).setUint32(4, 99, true);
  for (
    const [bytes, why] of [
      [whole.subarray(0, whole.length - 3), /checksum does not fit/],
      [new Uint8Array(0), /not a checkpoint/],
      [new TextEncoder().encode("hello, this is a letter to my mother"), /not a checkpoint/],
      [later, /format 99/],
    ] as const
  ) {
    Deno.writeFileSync(path, bytes);
    await assert.rejects(store.load("p"), (error) => {
      assert.ok(error instanceof ConfigError);
      assert.equal(error.faults[0].where, path);
      assert.match(error.message, why);
      assert.match(error.message, /remove it to read the topic from its start/);
      return true;
    });
  }
  Deno.removeSync(path);
  Deno.mkdirSync(path);
  await assert.rejects(store.load("p"), /the checkpoint cannot be read/);
});

Deno.test("a disk that refuses is waited for, not crashed over", async () => {
  using folder = temporaryFolder();
  Deno.writeTextFileSync(`${folder.path}/file`, "");
  await assert.rejects(storeIn(`${folder.path}/file/sub`).save("p", SAMPLE), UnavailableError);
});
