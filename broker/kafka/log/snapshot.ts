/**
 * `producers.json` beside a partition's segments, so that a start has little of them to scan.
 *
 * @module
 */
import { readIfPresent, replaceFile } from "../durable_file.ts";
import type { SavedProducers } from "../producers.ts";
import type { SavedTransactions } from "./partition_transactions.ts";

/** What batches up to `endOffset` have told about producers and their transactions. */
export interface Snapshot {
  readonly endOffset: number;
  readonly producers: SavedProducers;
  /** Missing in a file of a version without transactions: there were none. */
  readonly transactions?: SavedTransactions;
}

/** Returns the length of the file. It need not be on disk: the log tells the same. */
export function writeSnapshot(path: string, snapshot: Snapshot): number {
  const text = JSON.stringify(snapshot);
  replaceFile(path, text, { sync: false });
  return text.length;
}

/** Null when there is no snapshot, or one that cannot be read; the log tells the same. */
export function readSnapshot(path: string): Snapshot | null {
  const text = readIfPresent(path);
  if (text === null) return null;
  try {
    const snapshot = JSON.parse(text) as Partial<Snapshot> | null;
    const isWhole = typeof snapshot?.endOffset === "number" && Array.isArray(snapshot.producers);
    return isWhole ? snapshot as Snapshot : null;
  } catch {
    return null;
  }
}
