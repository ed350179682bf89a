import assert from "node:assert/strict";
import fc from "fast-check";
import { crc32c } from "../../pipeline/log/crc32c.ts";
import { decompress } from "../../pipeline/log/compression.ts";
import { MalformedRecordError } from "../../pipeline/errors.ts";
import { BATCH_HEADER_BYTES } from "../../pipeline/log/record_batch.ts";
import { brokerIn, RawClient, recordBatch, temporaryFolder, valuesIn } from "../broker/kafka/support.ts";
import { mutations, runs } from "./support.ts";

const CODECS = { gzip: 1, snappy: 2, lz4: 3, zstd: 4 };
const BYTES_MAX = 1 << 20;

Deno.test("bytes that claim to be compressed, whatever they are, end within the cap or as malformed", async () => {
  const plain = new TextEncoder().encode("a text that repeats, a text that repeats, a text that repeats");
  const gzip = new Uint8Array(
    await new Response(new Blob([plain]).stream().pipeThrough(new CompressionStream("gzip"))).arrayBuffer(),
  );
  assert.deepEqual([...decompress(CODECS.gzip, gzip, BYTES_MAX)], [...plain]);
  const inputs = fc.oneof(fc.uint8Array({ maxLength: 200 }), mutations(gzip), magic());
  fc.assert(
    fc.property(fc.constantFrom(...Object.values(CODECS), 5, 7), inputs, (codec, bytes) => {
      try {
        assert.ok(decompress(codec, bytes, BYTES_MAX).length <= BYTES_MAX);
      } catch (error) {
        assert.ok(error instanceof MalformedRecordError, `${(error as Error).stack}`);
      }
    }),
    runs(1_000),
  );
});

/** Beginnings of frames of each codec, then anything. */
function magic(): fc.Arbitrary<Uint8Array> {
  const heads = [[0x1f, 0x8b, 8, 0], [0x82, 0x53, 0x4e, 0x41, 0x50, 0x50, 0x59, 0], [4, 0x22, 0x4d, 0x18], [
    0x28,
    0xb5,
    0x2f,
    0xfd,
  ]];
  return fc.tuple(fc.constantFrom(...heads), fc.uint8Array({ maxLength: 60 })).map(([head, tail]) =>
    Uint8Array.of(...head, ...tail)
  );
}

Deno.test("a batch with anything in it under a right checksum is stored whole or refused, and the topic stays readable", async () => {
  using folder = temporaryFolder();
  await using broker = await brokerIn(folder.path);
  using client = await RawClient.open(broker);
  await client.createTopic("t");
  const whole = recordBatch(["one", "two", "three"]);
  let stored = 0;
  await fc.assert(
    fc.asyncProperty(mutations(whole.slice(17)), async (tail) => {
      const batch = new Uint8Array(17 + tail.length);
      batch.set(whole.subarray(0, 17));
      batch.set(tail, 17);
      const view = new DataView(batch.buffer);
      if (batch.length < BATCH_HEADER_BYTES) return;
      view.setInt32(8, batch.length - 12);
      view.setUint32(17, crc32c(batch, 21, batch.length));
      const { error, offset } = await client.produce("t", batch);
      if (error === 0) {
        assert.ok(offset >= stored);
        stored = offset + 1;
      }
    }),
    runs(400),
  );
  const { error, offset } = await client.produce("t", recordBatch(["last"]));
  assert.equal(error, 0);
  const { records } = await client.fetch("t", offset);
  assert.deepEqual(valuesIn(records), [{ offset, value: "last" }]);
});
