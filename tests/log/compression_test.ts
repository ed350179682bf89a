import assert from "node:assert/strict";
import fc from "fast-check";
import { CompressionTypes, Kafka, logLevel } from "kafkajs";
import { gzipSync, zstdCompressSync } from "node:zlib";
import { MalformedRecordError } from "../../pipeline/errors.ts";
import "../../pipeline/log/kafkajs_timers.ts";
import { systemClock } from "../../pipeline/clock.ts";
import { Cluster } from "../../pipeline/log/cluster.ts";
import { decompress } from "../../pipeline/log/compression.ts";
import { Fetcher } from "../../pipeline/log/fetcher.ts";
import { brokerIn, temporaryFolder, type TestBroker } from "../broker/kafka/support.ts";
import { snappyLiterals, uvarint } from "./compressors.ts";
import { batchOf, concat, plain, scanAll, type Scanned, withRecords } from "./batches.ts";

const CODECS = { gzip: 1, snappy: 2, lz4: 3, zstd: 4 };

const kcatIsHere = await new Deno.Command("kcat", { args: ["-V"], stdout: "null", stderr: "null" }).output()
  .then(() => true, () => false);
if (!kcatIsHere) console.log("kcat is not installed (Debian: apt-get install kcat): its tests are skipped.");

/** Lines that repeat themselves near and far, and some that do not. */
const LINES = Array.from(
  { length: 3_000 },
  (_, i) => i % 3 === 0 ? `${i} ${"ab".repeat(i % 200)}` : i % 3 === 1 ? crypto.randomUUID() : "the same again",
);

/** All of a topic's only partition, scanned, and the codecs its batches were written with. */
async function readTopic(broker: TestBroker, topic: string, count: number): Promise<Scanned & { codecs: Set<number> }> {
  await using cluster = new Cluster([broker.address], { clientId: "t", ssl: false, sasl: null });
  const stop = new AbortController();
  const found: Scanned = { records: [], unreadable: [], nextOffset: 0 };
  const codecs = new Set<number>();
  let position = 0;
  const fetcher = new Fetcher(cluster, {
    topic,
    clock: systemClock,
    signal: stop.signal,
    partitionBytes: 1 << 20,
    fetchBytes: 1 << 20,
    partitions: [0],
    positionOf: () => position,
    onWaiting: (reason) => assert.equal(reason, null),
    take: ({ frame, start, end }) => {
      // Each batch's: the first may be one of a single record.
      const view = new DataView(frame.buffer, frame.byteOffset);
      for (let at = start; at + 23 <= end; at += 12 + view.getInt32(at + 8)) codecs.add(frame[at + 22] & 7);
      const scanned = scanAll(frame.slice(start, end), { fromOffset: position, capacity: 500 });
      found.records.push(...scanned.records);
      found.unreadable.push(...scanned.unreadable);
      position = scanned.nextOffset;
      if (position >= count) stop.abort();
      return Promise.resolve();
    },
  });
  await fetcher.run();
  return { ...found, codecs };
}

for (const [name, codec] of Object.entries(CODECS)) {
  Deno.test({
    name: `what librdkafka compressed with ${name} is read`,
    ignore: !kcatIsHere,
    fn: async () => {
      using folder = temporaryFolder();
      await using broker = await brokerIn(folder.path, { defaultPartitions: 1 });
      const child = new Deno.Command("kcat", {
        args: ["-b", broker.address, "-t", "t", "-P", "-z", name, "-X", "linger.ms=50"],
        stdin: "piped",
        stderr: "piped",
      }).spawn();
      const writer = child.stdin.getWriter();
      await writer.write(new TextEncoder().encode(LINES.join("\n") + "\n"));
      await writer.close();
      const { success, stderr } = await child.output();
      assert.ok(success, new TextDecoder().decode(stderr));
      const { records, unreadable, codecs } = await readTopic(broker, "t", LINES.length);
      // A batch that does not get smaller, as one of a single record, is sent as it is.
      codecs.delete(0);
      assert.deepEqual([...codecs], [codec]);
      assert.deepEqual(unreadable, []);
      assert.deepEqual(records.map(({ value }) => new TextDecoder().decode(value!)), LINES);
    },
  });
}

Deno.test("what kafkajs compressed with gzip is read, keys and headers too", async () => {
  using folder = temporaryFolder();
  await using broker = await brokerIn(folder.path, { defaultPartitions: 1 });
  const producer = new Kafka({ brokers: [broker.address], logLevel: logLevel.NOTHING }).producer();
  await producer.connect();
  await producer.send({
    topic: "t",
    compression: CompressionTypes.GZIP,
    messages: LINES.slice(0, 500).map((value, i) => ({ key: `k${i}`, value, partition: 0, headers: { h: `${i}` } })),
  });
  await producer.disconnect();
  const { records, codecs } = await readTopic(broker, "t", 500);
  const text = new TextDecoder();
  assert.deepEqual([...codecs], [1]);
  assert.deepEqual(
    records.map(({ key, value, headers }) => [text.decode(key!), text.decode(value!), text.decode(headers[0][1]!)]),
    LINES.slice(0, 500).map((line, i) => [`k${i}`, line, `${i}`]),
  );
});

function int32(value: number): Uint8Array {
  return Uint8Array.of(value >>> 24, value >>> 16, value >>> 8, value);
}

const XERIAL = Uint8Array.of(0x82, 0x53, 0x4e, 0x41, 0x50, 0x50, 0x59, 0, 0, 0, 0, 1, 0, 0, 0, 1);

/** An LZ4 frame of one block: a literal byte, then it again `length` times. */
function lz4Run(length: number, blocks = 1): Uint8Array {
  const extra = length - 4 - 15;
  const sequence = [0x1f, 0x61, 1, 0, ...new Array(Math.floor(extra / 255)).fill(255), extra % 255];
  const end = [0x50, 1, 2, 3, 4, 5];
  const block = Uint8Array.of(...sequence, ...end);
  const size = Uint8Array.of(block.length, block.length >> 8, block.length >> 16, 0);
  const head = Uint8Array.of(0x04, 0x22, 0x4d, 0x18, 0x60, 0x70, 0);
  return concat([head, ...new Array(blocks).fill(concat([size, block])), new Uint8Array(4)]);
}

Deno.test("snappy is read bare and in the blocks of Java's xerial library", () => {
  const bytes = new TextEncoder().encode(LINES.slice(0, 100).join());
  const block = snappyLiterals(bytes.slice(0, 1000));
  const other = snappyLiterals(bytes.slice(1000));
  assert.deepEqual(decompress(2, snappyLiterals(bytes), 1 << 20), bytes);
  const framed = concat([XERIAL, int32(block.length), block, int32(other.length), other]);
  assert.deepEqual(decompress(2, framed, 1 << 20), bytes);
  assert.throws(() => decompress(2, framed, bytes.length - 1), /more than the \d+ bytes allowed/);
  assert.throws(() => decompress(2, framed.subarray(0, framed.length - 1), 1 << 20), MalformedRecordError);
  // All kinds of copies, one that overlaps itself: "abcd", 1-byte offset 4 length 4, 2-byte, 4-byte offset 1 length 3.
  const copies = Uint8Array.of(15, 0x0c, 97, 98, 99, 100, 0x01, 4, 0x0e, 4, 0, 0x0b, 1, 0, 0, 0);
  assert.equal(new TextDecoder().decode(decompress(2, copies, 100)), "abcdabcdabcdddd");
});

Deno.test("a bomb of any codec is refused at the cap, and the batch set aside whole", () => {
  const cap = 1 << 20;
  const zeros = new Uint8Array(64 << 20);
  const oneCopy = concat(new Array(80_000).fill(Uint8Array.of(0xfe, 1, 0)));
  const bombs: [number, Uint8Array][] = [
    [CODECS.gzip, gzipSync(zeros)],
    [CODECS.zstd, zstdCompressSync(zeros)],
    [CODECS.snappy, concat([uvarint(1 + 64 * 80_000), Uint8Array.of(0, 0), oneCopy])],
    [
      CODECS.snappy,
      concat([
        XERIAL,
        ...new Array(100).fill(0).flatMap(() => {
          const block = concat([uvarint(1 + 64 * 800), Uint8Array.of(0, 0), oneCopy.subarray(0, 2400)]);
          return [int32(block.length), block];
        }),
      ]),
    ],
    [CODECS.lz4, lz4Run(4_000_000)],
    [CODECS.lz4, lz4Run(200_000, 40)],
  ];
  for (const [codec, bytes] of bombs) {
    assert.ok(bytes.length < cap, "it is small itself");
    assert.throws(() => decompress(codec, bytes, cap), (error) => {
      assert.ok(error instanceof MalformedRecordError);
      assert.match(error.message, /decompresses to more than the 1048576 bytes allowed/, `codec ${codec}`);
      return true;
    });
    const bomb = withRecords(batchOf(plain("a", "b", "c"), 4), codec, bytes);
    const { records, unreadable, nextOffset } = scanAll(concat([bomb, batchOf(plain("d"), 7)]), { fromOffset: 5 });
    assert.deepEqual(records.map(({ offset }) => offset), [7]);
    assert.deepEqual(unreadable.map(({ offset, count }) => [offset, count]), [[5, 2]]);
    assert.deepEqual(unreadable[0].bytes, bomb);
    assert.equal(nextOffset, 8);
  }
  // Within the cap the same shapes are read.
  assert.equal(decompress(CODECS.lz4, lz4Run(200_000, 40), 1 << 24).length, 40 * (1 + 200_000 + 5));
  assert.equal(decompress(CODECS.snappy, bombs[2][1], 1 << 24).length, 1 + 64 * 80_000);
});

Deno.test("a length that no compressed bytes could give is refused before memory is taken for it", () => {
  const claim = concat([uvarint(64 << 20), Uint8Array.of(0, 0)]);
  assert.throws(() => decompress(CODECS.snappy, claim, 64 << 20), /the snappy length is damaged/);
});

Deno.test("random and damaged bytes give at most the cap, or MalformedRecordError", () => {
  const cap = 4_096;
  const source = new TextEncoder().encode("abcabcabcabc".repeat(20) + "xyz");
  const seeds: Record<number, Uint8Array> = {
    [CODECS.gzip]: gzipSync(source),
    [CODECS.zstd]: zstdCompressSync(source),
    [CODECS.snappy]: concat([uvarint(73), Uint8Array.of(0x20, 1, 2, 3, 4, 5, 6, 7, 8, 9, 0xfe, 4, 0)]),
    [CODECS.lz4]: lz4Run(300),
  };
  for (const [codec, seed] of Object.entries(seeds)) decompress(Number(codec), seed, cap);
  fc.assert(
    fc.property(
      fc.constantFrom(1, 2, 3, 4),
      fc.option(fc.uint8Array({ maxLength: 80 })),
      fc.array(fc.tuple(fc.nat(), fc.nat(255)), { maxLength: 4 }),
      fc.nat(),
      (codec, random, edits, cut) => {
        const bytes = random ? random.slice() : seeds[codec].slice();
        for (const [at, byte] of edits) if (bytes.length > 0) bytes[at % bytes.length] = byte;
        const given = cut % 3 === 0 ? bytes.subarray(0, cut % (bytes.length + 1)) : bytes;
        try {
          assert.ok(decompress(codec, given, cap).length <= cap);
        } catch (error) {
          assert.ok(error instanceof MalformedRecordError, String(error));
        }
      },
    ),
    { numRuns: 5_000 },
  );
  assert.throws(() => decompress(5, source, cap), /codec 5 is unknown/);
});
