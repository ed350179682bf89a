/**
 * What became of a partition's records, kept as the metadata of the group's offset: both are committed in one request.
 *
 *     {"read":120,"written":118,"rejected":2,"skipped":0,"lost":0,"topic":"6f1c0b1e-..."}
 *
 * @module
 */
import { type ConnectorCounts, NO_COUNTS } from "../runtime/connector_status.ts";

/** Of one partition, up to the group's offset. */
export interface Progress {
  readonly counts: ConnectorCounts;
  /** Offsets that were deleted from the log before they were read. */
  readonly lost: number;
  /** Kafka's id of the topic that the offset is of; null where that is not known. */
  readonly topicId: string | null;
}

export const NO_PROGRESS: Progress = { counts: NO_COUNTS, lost: 0, topicId: null };

export function progressText({ counts: { read, written, rejected, skipped }, lost, topicId }: Progress): string {
  return JSON.stringify({ read, written, rejected, skipped, lost, topic: topicId });
}

/** Nothing, where somebody else wrote the metadata: a tool that moved the offsets, say. */
export function readProgress(metadata: string): Progress {
  try {
    const found = JSON.parse(metadata) as Partial<Record<string, unknown>> | null;
    const [read, written, rejected, skipped] = ["read", "written", "rejected", "skipped"].map((name) => found?.[name]);
    if ([read, written, rejected, skipped].every(isCount)) {
      const topicId = typeof found?.topic === "string" ? found.topic : null;
      const counts = { read, written, rejected, skipped } as ConnectorCounts;
      return { counts, lost: isCount(found?.lost) ? found!.lost as number : 0, topicId };
    }
  } catch {
    // Not ours.
  }
  return NO_PROGRESS;
}

function isCount(value: unknown): boolean {
  return Number.isSafeInteger(value) && (value as number) >= 0;
}

export function addCounts(a: ConnectorCounts, b: ConnectorCounts): ConnectorCounts {
  return {
    read: a.read + b.read,
    written: a.written + b.written,
    rejected: a.rejected + b.rejected,
    skipped: a.skipped + b.skipped,
  };
}
