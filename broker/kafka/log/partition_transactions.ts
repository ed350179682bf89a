/**
 * Which transactions are open in one partition, and which were aborted: what a reader of committed records has to know.
 *
 *     offset   0    1    2    3    4    5    6
 *              A a  B a  A b  A✗   B b  B✓   C a        ✗ abort and ✓ commit markers
 *                                            ▲ last stable offset: nothing before it is undecided
 *     aborted: A, first offset 0, marker 3, stable 1 (B is open from there)
 *
 * @module
 */
import type { Batch } from "./batch.ts";

/** A batch in the log: its first offset, the segment it is in, by that one's base offset, and where in the segment. */
export interface Place {
  readonly offset: number;
  readonly segment: number;
  readonly position: number;
}

export interface AbortedTransaction {
  readonly producerId: number;
  readonly firstOffset: number;
  readonly markerOffset: number;
  /** No transaction that was aborted later begins before. */
  readonly stableOffset: number;
}

/** The state as it is written down. */
export interface SavedTransactions {
  readonly open: readonly (readonly [producerId: number, epoch: number, Place])[];
  readonly aborted: readonly (readonly [
    producerId: number,
    firstOffset: number,
    markerOffset: number,
    stableOffset: number,
  ])[];
}

export class PartitionTransactions {
  /** In the order of their first batches. */
  readonly #open = new Map<number, { epoch: number; first: Place }>();
  /** In the order of their markers. Ends with the log: each has a marker in it. */
  readonly #aborted: AbortedTransaction[] = [];

  constructor(saved?: SavedTransactions) {
    for (const [producerId, epoch, first] of saved?.open ?? []) this.#open.set(producerId, { epoch, first });
    for (const [producerId, firstOffset, markerOffset, stableOffset] of saved?.aborted ?? []) {
      this.#aborted.push({ producerId, firstOffset, markerOffset, stableOffset });
    }
  }

  /** Counts in a batch of records. */
  add(batch: Batch, place: Place): void {
    if (!batch.isTransactional || this.#open.has(batch.producerId)) return;
    this.#open.set(batch.producerId, { epoch: batch.producerEpoch, first: place });
  }

  /** Counts in a marker. */
  end(producerId: number, markerOffset: number, options: { commit: boolean }): void {
    const transaction = this.#open.get(producerId);
    if (transaction === undefined) return;
    const { first } = transaction;
    this.#open.delete(producerId);
    if (options.commit) return;
    const stableOffset = this.firstUndecided()?.offset ?? markerOffset + 1;
    this.#aborted.push({ producerId, firstOffset: first.offset, markerOffset, stableOffset });
  }

  has(producerId: number): boolean {
    return this.#open.has(producerId);
  }

  /** Producer id and epoch of the transactions that have no marker yet. */
  open(): { producerId: number; epoch: number }[] {
    return Array.from(this.#open, ([producerId, { epoch }]) => ({ producerId, epoch }));
  }

  /**
   * Where the first open transaction begins; null when there is none. A marker counts from when it is in the log: what it says was
   * on disk, with the coordinator, before.
   */
  firstUndecided(): Place | null {
    for (const { first } of this.#open.values()) return first;
    return null;
  }

  get hasAborted(): boolean {
    return this.#aborted.length > 0;
  }

  /** The aborted transactions with records or a marker in `[from, to)`, by first offset. */
  aborted(from: number, to: number): AbortedTransaction[] {
    const found: AbortedTransaction[] = [];
    for (let at = this.#firstMarkerFrom(from); at < this.#aborted.length; at++) {
      const transaction = this.#aborted[at];
      if (transaction.firstOffset < to) found.push(transaction);
      if (transaction.stableOffset >= to) break;
    }
    return found.sort((a, b) => a.firstOffset - b.firstOffset);
  }

  /** Forgets what ended before the log begins. */
  forgetBefore(startOffset: number): void {
    this.#aborted.splice(0, this.#firstMarkerFrom(startOffset));
  }

  save(): SavedTransactions {
    return {
      open: Array.from(this.#open, ([producerId, { epoch, first }]) => [producerId, epoch, first]),
      aborted: this.#aborted.map((t) => [t.producerId, t.firstOffset, t.markerOffset, t.stableOffset]),
    };
  }

  #firstMarkerFrom(offset: number): number {
    let low = -1;
    for (let high = this.#aborted.length; high - low > 1;) {
      const middle = (low + high) >>> 1;
      if (this.#aborted[middle].markerOffset < offset) low = middle;
      else high = middle;
    }
    return low + 1;
  }
}
