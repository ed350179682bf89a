/** Where every consumed record ended. `consumed` is always the sum of the others. */
export interface Buckets {
  readonly consumed: number;
  readonly aggregated: number;
  readonly filtered: number;
  readonly late: number;
  readonly dead: number;
  /** Seen before: the same key within the time that the definition's `dedupe` names, or redriven for a second time. */
  readonly duplicate: number;
}

/** One row of the ledger: what became of every record of a partition, as of the last commit, and what is not committed yet. */
export interface LedgerEntry extends Buckets {
  readonly partition: number;
  /** Offset of the first record that counts, and the offset after the last one. */
  readonly start: number;
  readonly position: number;
  /** Read since the last commit. `consumed` counts these too: it is the sum of all the other buckets and this. */
  readonly inFlight: number;
}

/** Where a record can have ended; `consumed` is their sum. */
export const BUCKETS = [
  "aggregated",
  "filtered",
  "late",
  "dead",
  "duplicate",
] as const satisfies readonly (keyof Buckets)[];
