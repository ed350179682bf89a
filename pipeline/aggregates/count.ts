import type { Column } from "../columns.ts";
import { grown } from "../grown.ts";
import type { Aggregate, Assignment, StateArray } from "./aggregate.ts";

/** How many records of the pane have a value. */
export class Count implements Aggregate {
  #counts = new Float64Array(0);

  grow(capacity: number): void {
    this.#counts = grown(this.#counts, new Float64Array(capacity));
  }

  clear(length: number): void {
    this.#counts.fill(0, 0, length);
  }

  add(column: Column, { rows, slots, length }: Assignment): void {
    const counts = this.#counts;
    const { nulls } = column;
    for (let i = 0; i < length; i++) counts[slots[i]] += 1 - nulls[rows[i]];
  }

  merge(slot: number, [counts]: readonly StateArray[], row: number): void {
    this.#counts[slot] += counts[row] as number;
  }

  state(length: number): StateArray[] {
    return [this.#counts.slice(0, length)];
  }

  result(slot: number): number {
    return this.#counts[slot];
  }
}
