/**
 * Where each partition was at earlier commits: its position, its watermark, and where its records had ended. By it a window's
 * records are found again in the log, and each is judged as it was judged then.
 *
 * @module
 */
import type { PartitionCheckpoint } from "./checkpoint.ts";

/** A partition at an earlier commit. */
export type Sample = Omit<PartitionCheckpoint, "redriven" | "start" | "ahead" | "rewound">;

/** Samples kept of a partition, and of all of a pipeline's; older ones are forgotten. */
const SAMPLES_MAX = { ofPartition: 20_000, ofPipeline: 500_000 };

/** Whether a history of so many samples is to be cut: it may grow to twice what is kept, so that it is seldom written anew. */
export function isLong(samples: number, partitions: number): boolean {
  return samples > 2 * Math.min(partitions * SAMPLES_MAX.ofPartition, SAMPLES_MAX.ofPipeline);
}

/** The newest samples of each partition, as many as are kept, in their order. */
export function newest(samples: readonly Sample[]): Sample[] {
  const byPartition = Map.groupBy(samples, ({ partition }) => partition);
  const most = Math.min(SAMPLES_MAX.ofPartition, Math.ceil(SAMPLES_MAX.ofPipeline / Math.max(1, byPartition.size)));
  const kept = new Set([...byPartition.values()].flatMap((of) => of.slice(-most)));
  return samples.filter((sample) => kept.has(sample));
}

/** Keeps samples, in order. What is ahead of the checkpoint was never committed. */
export interface HistoryStore {
  /** All samples of a pipeline, oldest first. @throws ConfigError when they are there and cannot be read */
  load(pipeline: string): Promise<Sample[]>;
  /** Adds samples; resolves when they are durable. @throws UnavailableError when they cannot be stored now */
  append(pipeline: string, samples: readonly Sample[]): Promise<void>;
  /** Keeps these instead of all there were. @throws UnavailableError when they cannot be stored now */
  replace(pipeline: string, samples: readonly Sample[]): Promise<void>;
}
