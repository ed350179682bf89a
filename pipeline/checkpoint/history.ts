/**
 * Where each partition was at earlier commits: its position, its watermark, and where its records had ended. By it a window's
 * records are found again in the log, and each is judged as it was judged then.
 *
 * @module
 */
import type { PartitionCheckpoint } from "./checkpoint.ts";

/** A partition at an earlier commit. */
export type Sample = Omit<PartitionCheckpoint, "redriven" | "start" | "ahead">;

/** Keeps samples, in order. What is ahead of the checkpoint was never committed. */
export interface HistoryStore {
  /** All samples of a pipeline, oldest first. @throws ConfigError when they are there and cannot be read */
  load(pipeline: string): Promise<Sample[]>;
  /** Adds samples; resolves when they are durable. @throws UnavailableError when they cannot be stored now */
  append(pipeline: string, samples: readonly Sample[]): Promise<void>;
  /** Keeps these instead of all there were. @throws UnavailableError when they cannot be stored now */
  replace(pipeline: string, samples: readonly Sample[]): Promise<void>;
}
