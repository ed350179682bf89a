const SEED = 0x9747b28c;
const M = 0x5bd1e995;
const R = 24;

/**
 * The 32-bit hash that Kafka's default partitioner takes of a key, as an unsigned number.
 * Source: Austin Appleby's MurmurHash2 with Kafka's seed, as `org.apache.kafka.common.utils.Utils.murmur2` computes it.
 */
export function murmur2(data: Uint8Array): number {
  let h = SEED ^ data.length;
  const words = data.length & ~3;
  for (let i = 0; i < words; i += 4) {
    let k = data[i] | data[i + 1] << 8 | data[i + 2] << 16 | data[i + 3] << 24;
    k = Math.imul(k, M);
    k ^= k >>> R;
    h = Math.imul(h, M) ^ Math.imul(k, M);
  }
  const rest = data.length - words;
  if (rest > 0) {
    if (rest === 3) h ^= data[words + 2] << 16;
    if (rest >= 2) h ^= data[words + 1] << 8;
    h = Math.imul(h ^ data[words], M);
  }
  h = Math.imul(h ^ h >>> 13, M);
  return (h ^ h >>> 15) >>> 0;
}

/** The partition of a key among `count`, the one that Java producers and kafkajs choose: keys of two topics then align. */
export function partitionOf(key: Uint8Array, count: number): number {
  return (murmur2(key) & 0x7fffffff) % count;
}
