/**
 * Backfills as the API sees them: one at a time for each pipeline, going on by itself once it has begun.
 *
 * @module
 */
import type { BackfillProgress, BackfillRequest, BackfillResult } from "../pipeline/backfill/backfill.ts";

export interface BackfillJob {
  readonly pipeline: string;
  /** Only says what a backfill would do; the pipeline runs on meanwhile. */
  readonly isPreview: boolean;
  readonly state: "running" | "done" | "failed" | "cancelled";
  /** What it is at, for people. */
  readonly doing: string;
  /** Null until the archive has been read. */
  readonly progress: BackfillProgress | null;
  readonly startedMs: number;
  readonly endedMs: number | null;
  /** Why it failed, and whether the request has to be changed; null of others. */
  readonly problem: { readonly detail: string; readonly isRefusal: boolean } | null;
  readonly result: BackfillResult | null;
}

export interface BackfillDesk {
  /** Begins one; the one under way is told by `job` instead. */
  begin(pipeline: string, request: BackfillRequest & { readonly isPreview: boolean }): BackfillJob | null;
  /** The last one of a pipeline since the start; null when there was none. */
  job(pipeline: string): BackfillJob | null;
  /** Ends the one under way: the pipeline goes on from where it was. Null when there never was one. */
  cancel(pipeline: string): Promise<BackfillJob | null>;
}
