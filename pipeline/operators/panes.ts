/**
 * Panes: what is kept for every (window, group key) that records were seen for.
 *
 * @module
 */
import type { Aggregate, Assignment, StateArray, Sum } from "../aggregates/aggregate.ts";
import { createAggregates } from "../aggregates/mod.ts";
import type { Columns } from "../columns.ts";
import type { Plan } from "../plan/plan.ts";
import type { ResultValue } from "../sinks/sink.ts";
import { grown } from "../grown.ts";
import { PaneTable } from "./pane_table.ts";

/** Panes as plain arrays, to hand to another thread or to save. Row `i` is one pane. */
export interface PaneBatch {
  readonly length: number;
  /** Keys, one after the other; row `i` ends at `keyEnds[i]`. */
  readonly keys: Uint8Array;
  readonly keyEnds: Int32Array;
  readonly hashes: Int32Array;
  /** Window starts, milliseconds. */
  readonly windows: Float64Array;
  /** Records folded in. */
  readonly counts: Float64Array;
  /** For each accumulator of the plan its state arrays; none for `count(*)`. */
  readonly states: readonly (readonly StateArray[])[];
}

/** Panes of any number of windows, added to from columns or from other panes. */
export class Panes {
  readonly table: PaneTable;
  readonly #plan: Plan;
  readonly #aggregates: readonly (Aggregate | null)[];
  #capacity = 0;
  /** Records folded into each pane. */
  counts = new Float64Array(0);

  /** `slots`: how many panes to make room for at first, a power of two. */
  constructor(plan: Plan, slots?: number) {
    this.#plan = plan;
    this.table = new PaneTable(slots);
    this.#aggregates = createAggregates(plan);
    this.#grow();
  }

  get length(): number {
    return this.table.length;
  }

  /** Bytes of all group keys. */
  get keyBytes(): number {
    return this.table.keyStart(this.table.length);
  }

  /** Adds rows of a chunk to the slots the table gave them. */
  add(columns: Columns, assignment: Assignment): void {
    if (this.table.capacity > this.#capacity) this.#grow();
    const { slots, length } = assignment;
    const { counts } = this;
    for (let i = 0; i < length; i++) counts[slots[i]]++;
    for (let a = 0; a < this.#aggregates.length; a++) {
      const { field } = this.#plan.accumulators[a];
      if (field !== null) this.#aggregates[a]!.add(columns.columns[field], assignment);
    }
  }

  /** Adds one pane of a batch and returns its slot here. */
  merge(batch: PaneBatch, row: number): number {
    const start = row === 0 ? 0 : batch.keyEnds[row - 1];
    const slot = this.table.slotOf(batch.keys, start, batch.keyEnds[row], batch.hashes[row], batch.windows[row]);
    if (this.table.capacity > this.#capacity) this.#grow();
    this.counts[slot] += batch.counts[row];
    for (let a = 0; a < this.#aggregates.length; a++) this.#aggregates[a]?.merge(slot, batch.states[a], row);
    return slot;
  }

  /** A copy of all panes. */
  batch(): PaneBatch {
    const { table } = this;
    const { length } = table;
    return {
      length,
      keys: table.keys.slice(0, length === 0 ? 0 : table.keyEnds[length - 1]),
      keyEnds: table.keyEnds.slice(0, length),
      hashes: table.hashes.slice(0, length),
      windows: table.windows.slice(0, length),
      counts: this.counts.slice(0, length),
      states: this.#aggregates.map((aggregate) => aggregate?.state(length) ?? []),
    };
  }

  /** Forgets all panes and keeps the memory. */
  clear(): void {
    this.counts.fill(0, 0, this.table.length);
    for (const aggregate of this.#aggregates) aggregate?.clear(this.table.length);
    this.table.clear();
  }

  /** The value of the plan's selected column number `index` for a pane. */
  result(index: number, slot: number): ResultValue {
    const { aggregate, accumulators } = this.#plan.select[index];
    if (aggregate === "avg") {
      return (this.#aggregates[accumulators[0]] as Sum).mean(slot, this.#number(accumulators[1], slot));
    }
    const kept = this.#aggregates[accumulators[0]];
    return kept === null ? this.counts[slot] : kept.result(slot);
  }

  #number(accumulator: number, slot: number): number {
    const kept = this.#aggregates[accumulator];
    return kept === null ? this.counts[slot] : kept.result(slot) as number;
  }

  #grow(): void {
    this.#capacity = this.table.capacity;
    this.counts = grown(this.counts, new Float64Array(this.#capacity));
    for (const aggregate of this.#aggregates) aggregate?.grow(this.#capacity);
  }
}

/** The buffers of a batch, to move it to another thread without a copy. */
export function transferable(batch: PaneBatch): Transferable[] {
  const arrays = [batch.keys, batch.keyEnds, batch.hashes, batch.windows, batch.counts, ...batch.states.flat()];
  return [...new Set(arrays.map((array) => array.buffer as ArrayBuffer))];
}
