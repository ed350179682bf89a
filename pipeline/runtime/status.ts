/**
 * What a running pipeline tells about itself; read by the API, the metrics and the dashboard.
 *
 * @module
 */
import type { Buckets } from "../ledger.ts";

export interface PartitionStatus {
  readonly partition: number;
  /** Next offset to read. */
  readonly position: number;
  /** First offset not yet written by producers (the high watermark), -1 while unknown. */
  readonly end: number;
  /** `end - position`, -1 while unknown. */
  readonly lagRecords: number;
  /** Wall clock less the Kafka timestamp of the last record read, while there is lag; 0 when there is none. */
  readonly lagSeconds: number;
  /** Milliseconds since the epoch, null before the first record. */
  readonly watermarkMs: number | null;
  readonly idle: boolean;
}

/** `waiting` goes on by itself, as soon as it can; `failed` has to be started by hand, once the reason is mended. */
export type PipelineState = "starting" | "running" | "waiting" | "failed" | "stopped";

export interface PipelineStatus {
  readonly name: string;
  readonly topic: string;
  readonly state: PipelineState;
  /** Why it waits or failed, in words; null when all is well. */
  readonly reason: string | null;
  /** The last failure and when (milliseconds since the epoch), kept after recovery; null if none since the start. */
  readonly lastError: { readonly atMs: number; readonly message: string } | null;
  /** Records per second, averaged over the last few seconds: read from the topic, and result rows written. */
  readonly rates: { readonly inPerSecond: number; readonly outPerSecond: number };
  readonly lagRecords: number;
  /** The most of any partition; while a write waits for a sink, at least for how long. */
  readonly lagSeconds: number;
  /** The least watermark of the partitions that are not idle, null before the first record. */
  readonly watermarkMs: number | null;
  /** Wall clock less watermark, seconds; null before the first record. */
  readonly watermarkDelaySeconds: number | null;
  readonly openWindows: number;
  readonly openPanes: number;
  /** Result rows written since the start. */
  readonly rowsWritten: number;
  readonly epoch: number;
  /** When the last checkpoint was saved, milliseconds since the epoch; null if none yet. */
  readonly checkpointAtMs: number | null;
  readonly buckets: Buckets;
  /** Records per second that it reads at most; null for as fast as it goes. */
  readonly limitPerSecond: number | null;
  /** How many of `buckets.consumed` were read since the last commit. */
  readonly inFlight: number;
  readonly partitions: readonly PartitionStatus[];
  /** What the pipeline computes, for people. */
  readonly definition: {
    readonly where: string | null;
    readonly groupBy: readonly string[];
    readonly window: { readonly kind: string; readonly sizeMs: number };
    readonly select: Readonly<Record<string, string>>;
    readonly sinks: readonly string[];
  };
}
