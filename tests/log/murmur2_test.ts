import assert from "node:assert/strict";
import { Partitioners } from "kafkajs";
import { murmur2, partitionOf } from "../../pipeline/log/murmur2.ts";

const bytes = (text: string) => new TextEncoder().encode(text);

Deno.test("murmur2 gives the values that Kafka's own tests expect", () => {
  // From UtilsTest.testMurmur2 of Apache Kafka, as signed integers there.
  const expected = { "21": -973932308, foobar: -790332482, "a-little-bit-long-string": -985981536 };
  for (const [text, hash] of Object.entries(expected)) assert.equal(murmur2(bytes(text)) | 0, hash, text);
});

Deno.test("a key has the partition that kafkajs gives it, at every length and count", () => {
  const partitioner = Partitioners.DefaultPartitioner();
  for (let length = 0; length < 40; length++) {
    const key = Uint8Array.from({ length }, (_, i) => (i * 89 + length * 151) & 0xff);
    for (const count of [1, 2, 3, 7, 12, 100]) {
      const partitionMetadata = Array.from({ length: count }, (_, partitionId) => ({
        partitionId,
        partitionErrorCode: 0,
        leader: 1,
        replicas: [1],
        isr: [1],
      }));
      const theirs = partitioner({ topic: "t", partitionMetadata, message: { key: Buffer.from(key), value: null } });
      assert.equal(partitionOf(key, count), theirs);
    }
  }
});
