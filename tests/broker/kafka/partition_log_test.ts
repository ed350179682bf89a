import assert from "node:assert/strict";
import fc from "fast-check";
import { checkBatches } from "../../../broker/kafka/log/batch.ts";
import { FilePool, type LogFile } from "../../../broker/kafka/log/file_pool.ts";
import { type LogSettings, PartitionLog } from "../../../broker/kafka/log/partition_log.ts";
import { WireWriter } from "../../../pipeline/log/wire.ts";
import { type BatchOptions, recordBatch, temporaryFolder, valuesIn } from "./support.ts";

const defaults: LogSettings = { segmentBytes: 1 << 20, retentionBytes: -1, retentionMs: -1, appendTime: false };

/** A partition in a folder with a file pool of its own, and what it logged. */
function open(folder: string, options: { settings?: Partial<LogSettings>; files?: FilePool; nowMs?: number } = {}) {
  const lines: string[] = [];
  const files = options.files ?? new FilePool(4);
  const partition = PartitionLog.open(folder, {
    files,
    settings: () => ({ ...defaults, ...options.settings }),
    log: (line) => lines.push(line),
    nowMs: options.nowMs ?? 1000,
  });
  return { partition, files, lines };
}

function append(
  partition: PartitionLog,
  values: readonly string[],
  options: BatchOptions & { nowMs?: number } = {},
): number {
  const data = recordBatch(values, options);
  return partition.append(data, checkBatches(data, 0, data.length, 1 << 20), options.nowMs ?? 1000).baseOffset;
}

/** All values from `offset` on, read a few bytes at a time. */
function readAll(partition: PartitionLog, offset = partition.startOffset, bytesMax = 300): string[] {
  const found: { offset: number; value: string }[] = [];
  for (let at = offset; at < partition.endOffset;) {
    const writer = new WireWriter(16);
    assert.ok(partition.read(at, bytesMax, writer, { atLeastOne: true }) > 0);
    const records = valuesIn(writer.bytes());
    found.push(...records.filter((record) => record.offset >= at));
    at = records[records.length - 1].offset + 1;
  }
  assert.deepEqual(found.map((record) => record.offset), found.map((_, index) => offset + index));
  return found.map((record) => record.value);
}

const values = fc.array(fc.string({ maxLength: 30 }), { minLength: 1, maxLength: 5 });

Deno.test("appends, restarts, kills and reads in any order keep every record, over many small segments", async () => {
  const step = fc.oneof(
    { weight: 6, arbitrary: values.map((values) => ({ values })) },
    { weight: 1, arbitrary: fc.constantFrom({ act: "close" }, { act: "kill" }, { act: "sync" } as const) },
    { weight: 2, arbitrary: fc.record({ from: fc.double({ min: 0, max: 1, noNaN: true }), bytesMax: fc.nat(2000) }) },
  );
  await fc.assert(
    fc.asyncProperty(fc.array(step, { maxLength: 60 }), async (steps) => {
      using folder = temporaryFolder();
      const settings = { segmentBytes: 1024 };
      const model: string[] = [];
      let { partition, files } = open(folder.path, { settings });
      for (const step of steps) {
        if ("values" in step) {
          assert.equal(append(partition, step.values), model.length);
          model.push(...step.values);
        } else if ("from" in step) {
          const from = Math.floor(step.from * model.length);
          assert.deepEqual(readAll(partition, from, step.bytesMax), model.slice(from));
        } else if (step.act === "sync") {
          await partition.sync();
        } else {
          // Killed: nothing is flushed, and index entries that waited in memory are gone.
          if (step.act === "close") await partition.close();
          files.closeAll();
          ({ partition, files } = open(folder.path, { settings }));
          assert.equal(partition.endOffset, model.length);
        }
        assert.ok(files.size <= 4);
      }
      assert.deepEqual(readAll(partition), model);
      files.closeAll();
    }),
    { numRuns: 40 },
  );
});

Deno.test("a last batch cut at any of its bytes is gone after a start, and everything before it is there", async () => {
  for (const flushed of [false, true]) {
    using folder = temporaryFolder();
    const first = open(folder.path);
    for (let i = 0; i < 5; i++) append(first.partition, [`value ${i}`, "more"]);
    if (flushed) await first.partition.flush({ complete: true });
    const whole = first.partition.sizeBytes;
    append(first.partition, ["the last", "batch"]);
    first.files.closeAll();
    const path = `${folder.path}/00000000000000000000.log`;
    const bytes = Deno.readFileSync(path);

    for (let size = whole; size < bytes.length; size++) {
      Deno.writeFileSync(path, bytes.subarray(0, size));
      const { partition, files, lines } = open(folder.path);
      assert.equal(partition.endOffset, 10, `cut at ${size}`);
      assert.equal(Deno.statSync(path).size, whole);
      assert.equal(lines.some((line) => line.includes(`Cut ${size - whole} bytes`)), size > whole);
      assert.equal(append(partition, ["again"]), 10);
      assert.equal(readAll(partition).length, 11);
      files.closeAll();
    }
    // The same with every byte there and one of them wrong, as after a power cut.
    for (let at = whole + 8; at < bytes.length; at++) {
      const wrong = bytes.slice();
      wrong[at] ^= 0xff;
      Deno.writeFileSync(path, wrong);
      const { partition, files } = open(folder.path);
      // Two fields are the broker's own and not under the checksum: leader epoch and magic.
      const unchecked = at - whole >= 12 && at - whole < 17;
      assert.equal(partition.endOffset, unchecked ? 12 : 10, `byte ${at - whole} of the batch`);
      files.closeAll();
    }
  }
});

Deno.test("a damaged batch with whole ones behind it is told as a loss, and what was cut off is kept", () => {
  using folder = temporaryFolder();
  const first = open(folder.path);
  const starts: number[] = [];
  for (let i = 0; i < 6; i++) {
    starts.push(first.partition.sizeBytes);
    append(first.partition, [`value ${i}`]);
  }
  first.files.closeAll();
  const path = `${folder.path}/00000000000000000000.log`;
  const bytes = Deno.readFileSync(path);
  // A bit in the offset, in the length, in the checksum and in a record.
  for (const at of [7, 11, 20, 65].map((at) => starts[3] + at)) {
    const wrong = bytes.slice();
    wrong[at] ^= 1;
    Deno.writeFileSync(path, wrong);
    const { partition, files, lines } = open(folder.path);
    assert.equal(partition.endOffset, 3);
    const kept = `${folder.path}/00000000000000000000.damaged-3`;
    assert.ok(
      lines.some((line) => /damaged behind offset 3: 2 whole batches/.test(line) && line.includes(kept)),
      `${lines}`,
    );
    assert.deepEqual(Deno.readFileSync(kept), wrong.subarray(starts[3]));
    files.closeAll();
  }
});

Deno.test("an index file that is missing, cut, or nonsense costs a scan, not records", async () => {
  using folder = temporaryFolder();
  const big = ["x".repeat(20_000)];
  const settings = { segmentBytes: 400_000 };
  const first = open(folder.path, { settings });
  for (let i = 0; i < 50; i++) append(first.partition, big);
  await first.partition.close();
  first.files.closeAll();
  const indexes = [...Deno.readDirSync(folder.path)].map((entry) => entry.name).filter((name) =>
    name.endsWith(".index")
  );
  assert.equal(indexes.length, 3);
  for (const damage of ["remove", "cut", "zeros", "ones"] as const) {
    for (const name of indexes) {
      const path = `${folder.path}/${name}`;
      const bytes = Deno.readFileSync(path);
      assert.ok(bytes.length >= 48);
      if (damage === "remove") Deno.removeSync(path);
      else if (damage === "cut") Deno.writeFileSync(path, bytes.subarray(0, bytes.length - 7));
      else Deno.writeFileSync(path, bytes.fill(damage === "zeros" ? 0 : 0xff));
    }
    const { partition, files, lines } = open(folder.path, { settings });
    assert.equal(readAll(partition).length, 50, damage);
    assert.deepEqual(lines, []);
    await partition.close();
    files.closeAll();
  }
});

Deno.test("an append the disk refuses stores nothing, is answered as a storage error, and later ones work", () => {
  using folder = temporaryFolder();
  let room = 1000;
  const files = new FilePool(4, (path): LogFile => {
    const file = Deno.openSync(path, { read: true, append: true, create: true });
    return {
      readSync: (bytes) => file.readSync(bytes),
      writeSync: (bytes) => {
        const count = Math.min(bytes.length, room);
        if (count === 0) throw new Error("No space left on device");
        room -= count;
        return file.writeSync(bytes.subarray(0, count));
      },
      seekSync: (offset, whence) => file.seekSync(offset, whence),
      truncateSync: (length) => file.truncateSync(length),
      syncData: () => file.syncData(),
      close: () => file.close(),
    };
  });
  const { partition, lines } = open(folder.path, { files });
  append(partition, ["a"]);
  assert.throws(() => append(partition, ["x".repeat(2000)]), { name: "BatchRefused", code: 56 });
  assert.match(lines[0], /No space left on device; nothing was stored/);
  assert.equal(Deno.statSync(`${folder.path}/00000000000000000000.log`).size, partition.sizeBytes);
  room = 1000;
  assert.equal(append(partition, ["b"]), 1);
  assert.deepEqual(readAll(partition), ["a", "b"]);
  files.closeAll();
});

Deno.test("retention by size removes whole old segments and keeps at least what was asked for", () => {
  using folder = temporaryFolder();
  const settings = { segmentBytes: 1000, retentionBytes: 3000 };
  const { partition, files } = open(folder.path, { settings });
  const all = Array.from({ length: 100 }, (_, i) => `value ${i}`);
  for (const value of all) append(partition, [value]);
  assert.equal(partition.startOffset, 0);
  assert.ok(partition.retain(1000) > 0);
  assert.ok(partition.sizeBytes >= 3000 && partition.sizeBytes < 4100, String(partition.sizeBytes));
  assert.deepEqual(readAll(partition), all.slice(partition.startOffset));
  files.closeAll();
  const again = open(folder.path, { settings });
  assert.deepEqual([again.partition.startOffset, again.partition.endOffset], [partition.startOffset, 100]);
  again.files.closeAll();
});

Deno.test("retention by time counts from the append, may empty the partition, and never gives an offset twice", () => {
  using folder = temporaryFolder();
  const settings = { retentionMs: 10_000 };
  const { partition, files } = open(folder.path, { settings });
  // Events of long ago, replayed now: they stay for as long as any other.
  append(partition, ["a", "b"], { timestamp: 0, nowMs: 100_000 });
  assert.equal(partition.retain(109_000), 0);
  assert.equal(partition.retain(111_000), 1);
  assert.deepEqual([partition.startOffset, partition.endOffset], [2, 2]);
  files.closeAll();
  const again = open(folder.path, { settings });
  assert.equal(append(again.partition, ["c"]), 2);
  again.files.closeAll();
});

Deno.test("the first record at or after a time is found across segments, in batches and between them", () => {
  using folder = temporaryFolder();
  const { partition, files } = open(folder.path, { settings: { segmentBytes: 500 } });
  // Batch i has records at 10 i and 10 i + 1.
  for (let i = 0; i < 100; i++) append(partition, ["a", "b"], { timestamp: 10 * i });
  for (const time of [0, 1, 2, 5, 10, 11, 12, 499, 500, 501, 502, 990, 991]) {
    const i = Math.floor(time / 10);
    const expected = time % 10 === 0 ? 2 * i : time % 10 === 1 ? 2 * i + 1 : 2 * (i + 1);
    assert.equal(partition.offsetAt(time)?.offset, expected, `at ${time}`);
  }
  assert.equal(partition.offsetAt(992), null);
  files.closeAll();
});

Deno.test("LogAppendTime gives all records of a batch the broker's time and a checksum that holds", () => {
  using folder = temporaryFolder();
  const { partition, files } = open(folder.path, { settings: { appendTime: true } });
  append(partition, ["a", "b"], { nowMs: 77_000 });
  assert.deepEqual(partition.offsetAt(76_000), { offset: 0, timestamp: 77_000 });
  const writer = new WireWriter();
  partition.read(0, 1000, writer, { atLeastOne: true });
  const [batch] = checkBatches(writer.data, 0, writer.position, 1000);
  assert.equal(batch.maxTimestamp, 77_000);
  files.closeAll();
});

Deno.test("a batch sent twice is stored once, a gap is refused, also after a restart with or without a snapshot", async () => {
  for (const restart of ["none", "kill", "close"] as const) {
    using folder = temporaryFolder();
    let { partition, files } = open(folder.path);
    const send = (baseSequence: number, producerEpoch = 0) =>
      append(partition, ["x", "y"], { producerId: 7, producerEpoch, baseSequence });
    for (let i = 0; i < 8; i++) assert.equal(send(2 * i), 2 * i);
    if (restart === "close") await partition.close();
    if (restart !== "none") {
      files.closeAll();
      ({ partition, files } = open(folder.path));
    }
    assert.equal(send(14), 14, "the newest again");
    assert.equal(send(6), 6, "the oldest of five again");
    assert.throws(() => send(4), { code: 45 }, "older than that");
    assert.throws(() => send(18), { code: 45 }, "a gap");
    assert.equal(partition.endOffset, 16);
    assert.equal(send(16), 16);
    assert.throws(() => send(5, 1), { code: 45 }, "a new epoch begins with 0");
    assert.equal(send(0, 1), 18);
    assert.throws(() => send(18, 0), { code: 47 }, "the old epoch");
    files.closeAll();
  }
});

Deno.test("sequences go around after 2^31 - 1", () => {
  using folder = temporaryFolder();
  const { partition, files } = open(folder.path);
  append(partition, ["x", "y"], { producerId: 1, producerEpoch: 0, baseSequence: 0x7fff_fffd });
  append(partition, ["x", "y"], { producerId: 1, producerEpoch: 0, baseSequence: 0x7fff_ffff });
  assert.equal(append(partition, ["z"], { producerId: 1, producerEpoch: 0, baseSequence: 1 }), 4);
  files.closeAll();
});

Deno.test("many who wait for the disk at once share one call", async () => {
  using folder = temporaryFolder();
  let calls = 0;
  const files = new FilePool(4, (path): LogFile => {
    const file = Deno.openSync(path, { read: true, append: true, create: true });
    return Object.assign(file, {
      syncData: () => {
        calls++;
        return Deno.FsFile.prototype.syncData.call(file);
      },
    });
  });
  const { partition } = open(folder.path, { files });
  append(partition, ["x"]);
  await partition.sync();
  assert.equal(calls, 1);
  await Promise.all(Array.from({ length: 100 }, () => {
    append(partition, ["x"]);
    return partition.sync();
  }));
  // One that was under way when the others came, and one for all of them.
  assert.equal(calls, 3);
  files.closeAll();
});

Deno.test("a disk that cannot be synced ends the partition's promises until a restart", async () => {
  using folder = temporaryFolder();
  const files = new FilePool(4, (path): LogFile => {
    const file = Deno.openSync(path, { read: true, append: true, create: true });
    return Object.assign(file, { syncData: () => Promise.reject(new Error("Input/output error")) });
  });
  const { partition, lines } = open(folder.path, { files });
  append(partition, ["x"]);
  await assert.rejects(partition.sync(), /Input\/output error/);
  assert.match(lines[0], /restart the broker/);
  assert.throws(() => append(partition, ["y"]), { code: 56 });
  await assert.rejects(partition.sync());
  files.closeAll();
});
