import type { OutgoingRecord, Publisher } from "../log/publisher.ts";
import { gravest } from "../errors.ts";
import { recordBatches } from "./record_batches.ts";

/**
 * Publishes the records of each partition in order, partitions side by side. Rejects only when none is under way any more,
 * so that a repeat does not overtake its own first try.
 */
export async function publishAll(
  publisher: Publisher,
  topic: string,
  options: { readonly partitions: readonly (readonly OutgoingRecord[])[]; readonly signal: AbortSignal },
): Promise<void> {
  const { partitions, signal } = options;
  const ends = await Promise.allSettled(partitions.map(async (records, partition) => {
    for (const batch of recordBatches(records)) {
      signal.throwIfAborted();
      await publisher.publish(topic, partition, batch, { signal });
    }
  }));
  if (signal.aborted && ends.some(({ status }) => status === "rejected")) throw signal.reason;
  const errors = ends.flatMap((end) => end.status === "rejected" ? [end.reason] : []);
  if (errors.length > 0) throw gravest(errors);
}
