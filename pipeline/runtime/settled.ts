import type { PartitionCheckpoint } from "../checkpoint/checkpoint.ts";

/**
 * A pipeline as of its last commit: all that follows from what it had read by then is durable in its sinks. They may hold more
 * already, of what was read since.
 */
export interface Settled {
  readonly generation: number;
  /** Windows that start before this are of an earlier computation; null: none are. */
  readonly floorMs: number | null;
  /** Kafka's id of the topic; null where brokers have none. */
  readonly topicId: string | null;
  /** Grows with every commit. */
  readonly epoch: number;
  readonly savedAtMs: number;
  /** Windows that end at or before this have final results; -Infinity while there are none. */
  readonly watermarkMs: number;
  readonly partitions: readonly PartitionCheckpoint[];
}
