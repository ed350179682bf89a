import type { Column } from "../columns.ts";
import type { Assignment, StateArray, Sum } from "./aggregate.ts";
import { TwoDoubles } from "./two_doubles.ts";

const NO_ENDS = new Int32Array(0);
const NOTHING = new Float64Array(0);

/**
 * The sum of doubles, exact until it is asked for and then rounded once: so neither the order of the records nor the way they
 * were split shows in it. Only a sum that leaves the range of doubles on its way stays infinite.
 *
 * Each sum is `high + low`, two doubles whose additions tell what they rounded off (two-sum: Knuth, TAOCP 2, 4.2.2). What even
 * `low` cannot hold, which takes values some thirty digits apart, goes to a list of further doubles (Shewchuk, 1997).
 */
export class DoubleSum extends TwoDoubles implements Sum {
  /** By slot, doubles that do not overlap, smallest first; few slots have any. */
  readonly #rest = new Map<number, number[]>();

  override clear(length: number): void {
    super.clear(length);
    this.#rest.clear();
  }

  add(column: Column, { rows, slots, length }: Assignment): void {
    const { floats, nulls } = column;
    for (let i = 0; i < length; i++) {
      const row = rows[i];
      if (nulls[row] !== 0) continue;
      this.seen[slots[i]] = 1;
      this.#add(slots[i], floats[row]);
    }
  }

  merge(slot: number, state: readonly StateArray[], row: number): void {
    const [high, low, seen, ends, rest] = state as [Float64Array, Float64Array, Uint8Array, Int32Array, Float64Array];
    this.seen[slot] |= seen[row];
    this.#add(slot, high[row]);
    this.#add(slot, low[row]);
    if (ends.length === 0) return;
    for (let i = row === 0 ? 0 : ends[row - 1]; i < ends[row]; i++) this.#add(slot, rest[i]);
  }

  override state(length: number): StateArray[] {
    const lists = this.#rest.size === 0 ? null : Array.from({ length }, (_, slot) => this.#rest.get(slot) ?? []);
    let end = 0;
    return [
      ...super.state(length),
      lists ? Int32Array.from(lists, (list) => end += list.length) : NO_ENDS.slice(),
      lists ? Float64Array.from(lists.flat()) : NOTHING.slice(),
    ];
  }

  result(slot: number): number | null {
    if (this.seen[slot] === 0) return null;
    const high = this.high[slot];
    if (!Number.isFinite(high)) return high;
    const rest = this.#rest.get(slot);
    return rest === undefined ? high + this.low[slot] : roundedSum([...rest, this.low[slot], high]);
  }

  mean(slot: number, count: number): number | null {
    const sum = this.result(slot);
    return sum === null ? null : sum / count;
  }

  #add(slot: number, value: number): void {
    const a = this.high[slot];
    const sum = a + value;
    this.high[slot] = sum;
    // Infinity and NaN stay what they are.
    if (!Number.isFinite(sum)) return;
    const shadow = sum - a;
    const lost = (a - (sum - shadow)) + (value - shadow);
    const b = this.low[slot];
    const low = b + lost;
    this.low[slot] = low;
    const lowShadow = low - b;
    const lostAgain = (b - (low - lowShadow)) + (lost - lowShadow);
    if (lostAgain !== 0) this.#rest.set(slot, addTo(this.#rest.get(slot) ?? [], lostAgain));
  }
}

/** Doubles that do not overlap, smallest first, with the exact sum of `partials` and `value`. */
function addTo(partials: readonly number[], value: number): number[] {
  const sums: number[] = [];
  let carried = value;
  for (const partial of partials) {
    const [large, small] = Math.abs(carried) < Math.abs(partial) ? [partial, carried] : [carried, partial];
    carried = large + small;
    const lost = small - (carried - large);
    if (lost !== 0) sums.push(lost);
  }
  sums.push(carried);
  return sums;
}

/** The exact sum of the values, rounded once, ties to even. */
function roundedSum(values: readonly number[]): number {
  const partials = values.reduce(addTo, [] as number[]);
  let sum = partials.pop()!;
  while (partials.length > 0) {
    const next = partials.pop()!;
    const before = sum;
    sum = before + next;
    const lost = next - (sum - before);
    if (lost === 0) continue;
    // Halfway between two doubles the sign of what comes below decides, and the addition above did not know it.
    const below = partials.at(-1) ?? 0;
    if (Math.sign(below) === Math.sign(lost)) {
      const moved = sum + 2 * lost;
      if (moved - sum === 2 * lost) sum = moved;
    }
    break;
  }
  return sum;
}
