import assert from "node:assert/strict";
import fc from "fast-check";
import { gzipSync } from "node:zlib";
import { BatchScanner, CorruptBatchError } from "../../pipeline/log/record_batch.ts";
import { readHeaders } from "../../pipeline/log/record_headers.ts";
import { Records } from "../../pipeline/log/records.ts";
import { anyRecord, batchOf, concat, plain, reseal, scanAll, withRecords } from "./batches.ts";

function values(scanned: { records: readonly { value: Uint8Array | null }[] }): (string | null)[] {
  return scanned.records.map(({ value }) => value && new TextDecoder().decode(value));
}

Deno.test("what is written is read back: nulls, headers, any timestamps, whatever the rows at a time", () => {
  fc.assert(
    fc.property(
      fc.array(fc.array(anyRecord, { minLength: 1, maxLength: 20 }), { maxLength: 4 }),
      fc.integer({ min: 1, max: 25 }),
      fc.integer({ min: 0, max: 2 ** 40 }),
      (batches, capacity, base) => {
        const frames: Uint8Array[] = [];
        const expected = [];
        let offset = base;
        for (const records of batches) {
          frames.push(batchOf(records, offset));
          for (const record of records) expected.push({ offset: offset++, ...record });
        }
        const scanned = scanAll(concat(frames), { capacity, fromOffset: base });
        assert.deepEqual(scanned.records, expected);
        assert.deepEqual(scanned.unreadable, []);
        assert.equal(scanned.nextOffset, offset);
      },
    ),
    { numRuns: 300 },
  );
});

Deno.test("sizes at which a length takes one byte more are read back", () => {
  const around = [0, 1, 62, 63, 64, 65, 8190, 8191, 8192, 8193, 1_048_575, 1_048_576, 1_048_577];
  const records = around.flatMap((size) =>
    [0, 3, 70].map((keySize) => ({
      timestampMs: size,
      key: new Uint8Array(keySize).fill(1),
      value: new Uint8Array(size).fill(2),
      headers: [["h", new Uint8Array(size % 100)]] as const,
    }))
  );
  const { records: read } = scanAll(batchOf(records));
  assert.equal(read.length, records.length);
  read.forEach((record, i) => assert.ok(record.value!.every((byte) => byte === 2) && sameShape(record, records[i])));

  function sameShape(a: typeof read[number], b: typeof records[number]): boolean {
    return a.key!.length === b.key.length && a.value!.length === b.value.length && a.timestampMs === b.timestampMs &&
      a.headers[0][1]!.length === b.headers[0][1].length;
  }
});

Deno.test("a batch of five thousand records comes in chunks, and from its middle only the rest", () => {
  const batch = batchOf(plain(...Array.from({ length: 5_000 }, (_, i) => `v${i}`)), 70_000);
  const all = scanAll(batch, { capacity: 2048, fromOffset: 70_000 });
  assert.equal(all.records.length, 5_000);
  const rest = scanAll(batch, { capacity: 100, fromOffset: 73_210 });
  assert.equal(rest.records[0].offset, 73_210);
  assert.equal(rest.records.length, 1_790);
  assert.equal(rest.nextOffset, 75_000);
  assert.deepEqual(scanAll(batch, { fromOffset: 75_000 }).records, []);
});

Deno.test("a cut-off last batch is left for the next fetch, wherever it is cut", () => {
  const first = batchOf(plain("a", "b"), 10);
  const second = batchOf(plain("c", "d", "e"), 12);
  for (let cut = 0; cut < second.length; cut++) {
    const scanned = scanAll(concat([first, second.subarray(0, cut)]), { fromOffset: 10 });
    assert.deepEqual(values(scanned), ["a", "b"]);
    assert.equal(scanned.nextOffset, 12);
  }
});

Deno.test("control batches and batches that compaction emptied move the offset and give no rows", () => {
  const control = batchOf(plain("marker"), 2);
  new DataView(control.buffer).setInt16(21, 0x30);
  const emptied = batchOf(plain("x", "y", "z"), 3).slice(0, 61);
  new DataView(emptied.buffer).setInt32(8, 49);
  new DataView(emptied.buffer).setInt32(57, 0);
  const frame = concat([batchOf(plain("a", "b")), reseal(control), reseal(emptied), batchOf(plain("c"), 6)]);
  const scanned = scanAll(frame);
  assert.deepEqual(scanned.records.map(({ offset }) => offset), [0, 1, 6]);
  assert.deepEqual(scanned.unreadable, []);
  assert.equal(scanAll(concat([batchOf(plain("a", "b")), control, emptied])).nextOffset, 6);
});

Deno.test("gaps that compaction left in a batch are kept, and its end is where it was", () => {
  // Records 0 and 3 of five; the second's offset delta stands right after its timestamp delta.
  const batch = batchOf(plain("a", "b"));
  const second = 61 + 1 + batch[61] / 2;
  assert.equal(batch[second + 3], 2, "offset delta 1");
  batch[second + 3] = 6;
  new DataView(batch.buffer).setInt32(23, 4);
  const scanned = scanAll(concat([reseal(batch), batchOf(plain("c"), 5)]));
  assert.deepEqual(scanned.records.map(({ offset }) => offset), [0, 3, 5]);
  assert.equal(scanned.nextOffset, 6);
});

Deno.test("a topic of append time stamps every record with the batch's time", () => {
  const batch = batchOf(plain("a", "b"));
  const view = new DataView(batch.buffer);
  view.setInt16(21, 0x08);
  view.setBigInt64(35, 1_800_000_000_000n);
  assert.deepEqual(scanAll(reseal(batch)).records.map(({ timestampMs }) => timestampMs), [1.8e12, 1.8e12]);
});

Deno.test("a batch that does not fit its checksum, or is of an old version, is refused wherever it is damaged", () => {
  const batch = batchOf(plain("abc", "def"));
  for (let bit = 8 * 17; bit < 8 * batch.length; bit++) {
    const damaged = batch.slice();
    damaged[bit >> 3] ^= 1 << (bit & 7);
    assert.throws(() => scanAll(damaged), CorruptBatchError);
  }
  const old = batch.slice();
  old[16] = 1;
  assert.throws(() => scanAll(old), /only version 2 is read/);
  const backward = batch.slice();
  new DataView(backward.buffer).setInt32(23, -2);
  assert.throws(() => scanAll(reseal(backward)), CorruptBatchError);
});

Deno.test("damage under a checksum that fits ends in bounded, ordered rows and whole counts", () => {
  const flips = fc.array(fc.tuple(fc.nat(), fc.integer({ min: 1, max: 255 })), { minLength: 1, maxLength: 4 });
  fc.assert(
    fc.property(
      fc.array(anyRecord, { minLength: 1, maxLength: 30 }),
      flips,
      fc.boolean(),
      fc.nat(30),
      fc.integer({ min: 1, max: 40 }),
      (records, flips, compressed, skip, capacity) => {
        const whole = batchOf(records, 100);
        const body = whole.slice(compressed ? 61 : 21);
        for (const [at, change] of flips) body[at % body.length] ^= change;
        const batch = compressed
          ? withRecords(whole, 1, gzipSync(body))
          : reseal(concat([whole.subarray(0, 21), body]));
        const view = new DataView(batch.buffer);
        const lastOffset = 100 + view.getInt32(23);
        const fromOffset = 100 + skip;
        const control = (batch[22] & 0x20) !== 0;
        const after = batchOf(plain("after"), Math.max(100, lastOffset) + 1);
        let scanned;
        try {
          scanned = scanAll(concat([batch, after]), { fromOffset, capacity });
        } catch (error) {
          assert.ok(error instanceof CorruptBatchError, String(error));
          return;
        }
        const { records: rows, unreadable, nextOffset } = scanned;
        const offsets = rows.map(({ offset }) => offset);
        assert.ok(offsets.every((offset, i) => offset >= fromOffset && (i === 0 || offset > offsets[i - 1])), "grow");
        const own = offsets.filter((offset) => offset <= lastOffset).length;
        const lost = unreadable.reduce((sum, { count }) => sum + count, 0);
        assert.ok(unreadable.every(({ count, offset }) => count >= 0 && offset >= fromOffset && offset <= lastOffset));
        assert.ok(own + lost <= Math.max(0, lastOffset + 1 - fromOffset), "no more than there are offsets");
        const expected = Math.min(view.getInt32(57), lastOffset + 1 - 100);
        if (fromOffset === 100 && !control && expected > 0) {
          assert.ok(own + lost >= expected || unreadable.length > 0, "not in silence");
        }
        // The batch that follows is read whatever came before it.
        assert.equal(nextOffset, Math.max(fromOffset, lastOffset + 2));
      },
    ),
    // Shrinking batches takes minutes; the seed and path are enough.
    { numRuns: 3_000, endOnFailure: true },
  );
});

Deno.test("every record of a batch that contradicts itself is accounted for", () => {
  const change = (edit: (view: DataView, batch: Uint8Array) => void) => {
    const batch = batchOf(plain("a", "b", "c", "d"));
    edit(new DataView(batch.buffer), batch);
    return scanAll(concat([reseal(batch), batchOf(plain("next"), 4)]));
  };
  // Fewer records counted than there are: the others are set aside, not forgotten.
  const fewer = change((view) => view.setInt32(57, 2));
  assert.deepEqual(values(fewer), ["a", "b", "next"]);
  assert.deepEqual(fewer.unreadable.map(({ offset, count }) => [offset, count]), [[2, 2]]);
  // More counted than offsets.
  const more = change((view) => view.setInt32(57, 2 ** 31 - 1));
  assert.deepEqual(values(more), ["next"]);
  assert.deepEqual(more.unreadable.map(({ offset, count }) => [offset, count]), [[0, 4]]);
  const negative = change((view) => view.setInt32(57, -1));
  assert.deepEqual(negative.unreadable.map(({ offset, count }) => [offset, count]), [[0, 1]]);
  // A key length of -2.
  const keyless = change((_, batch) => batch[61 + 4] = 3);
  assert.deepEqual(keyless.unreadable.map(({ offset, count }) => [offset, count]), [[0, 4]]);
  // The second record says that it comes before the first.
  const turned = change((_, batch) => batch[61 + 1 + batch[61] / 2 + 3] = 0);
  assert.deepEqual(values(turned), ["a", "next"]);
  assert.deepEqual(turned.unreadable.map(({ offset, count }) => [offset, count]), [[1, 3]]);
  assert.match(turned.unreadable[0].reason, /record 1 of the batch is malformed/);
});

Deno.test("rows stop where something unreadable comes, so that it is told with the offsets before it", () => {
  const broken = batchOf(plain("x", "y"), 2);
  broken[61] = 0;
  const frame = concat([
    batchOf(plain("a", "b")),
    reseal(broken),
    batchOf(plain("c"), 4),
    withRecords(batchOf(plain("z"), 5), 1, Uint8Array.of(1, 2, 3)),
    batchOf(plain("d"), 6),
  ]);
  const scanner = new BatchScanner({ decompressedBytesMax: 1000 });
  scanner.start(frame, { start: 0, end: frame.length, fromOffset: 0 });
  const rows = new Records(100);
  const told: unknown[] = [];
  while (scanner.scan(rows)) {
    const unreadable = scanner.unreadable.splice(0);
    told.push([[...rows.offsets.subarray(0, rows.length)], unreadable.map(({ offset }) => offset), scanner.nextOffset]);
  }
  assert.deepEqual(told, [[[0, 1], [2], 4], [[4], [], 5], [[], [5], 6], [[6], [], 7]]);
});

Deno.test("header blocks of random bytes give headers or null, never an error", () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 60 }), (bytes) => {
      const headers = readHeaders(bytes, 0, bytes.length);
      if (headers) assert.ok(headers.reduce((sum, [, value]) => sum + (value?.length ?? 0), 0) <= bytes.length);
    }),
    { numRuns: 2_000 },
  );
});
