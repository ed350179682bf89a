import type { Cluster } from "../log/cluster.ts";

/** Where a bounded run ends: what is committed at its start, or the first record of a Kafka timestamp, in milliseconds since the epoch. */
export type Until = "latest" | number;

/**
 * The offsets that a bounded run over a topic ends at, by partition.
 *
 * @throws UnavailableError when the brokers are away
 */
export async function endsOf(
  cluster: Cluster,
  { topic, partitions, until }: {
    readonly topic: string;
    readonly partitions: readonly number[];
    readonly until: Until;
  },
): Promise<Map<number, number>> {
  const latest = await cluster.offsets(topic, partitions, "latest", { committed: true });
  if (until === "latest") return latest;
  const ends = await cluster.offsets(topic, partitions, until);
  // -1: no record is as late.
  return new Map(Array.from(latest, ([partition, last]) => {
    const found = ends.get(partition) ?? -1;
    return [partition, found < 0 ? last : Math.min(found, last)];
  }));
}
