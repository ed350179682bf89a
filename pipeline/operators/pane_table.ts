import { grown } from "../grown.ts";

/** Slots an empty table starts with, unless told. */
const SLOTS_FIRST = 1024;

/**
 * A hash table from (window, group key) to a slot number 0, 1, 2, …, in the order of first appearance. The key's bytes are
 * kept in one arena. Open addressing with linear probing, at most half full; nothing is allocated but when it grows.
 */
export class PaneTable {
  /** Slot + 1 by hash; 0 is free. */
  #index: Int32Array;
  #mask: number;
  /** Where the last unsuccessful `find` ended. */
  #vacant = 0;
  #capacity: number;
  #arena: Uint8Array;
  hashes: Int32Array;
  /** Window start of each slot, milliseconds. */
  windows: Float64Array;
  /** Where each slot's key ends in the arena; it starts where the one before ends. */
  keyEnds: Int32Array;
  length = 0;

  /** `slots`: how many to begin with, a power of two. */
  constructor(slots = SLOTS_FIRST) {
    this.#index = new Int32Array(2 * slots);
    this.#mask = this.#index.length - 1;
    this.#capacity = slots;
    this.#arena = new Uint8Array(32 * slots);
    this.hashes = new Int32Array(slots);
    this.windows = new Float64Array(slots);
    this.keyEnds = new Int32Array(slots);
  }

  /** How many slots fit before the next growth; what is kept per slot elsewhere grows to this. */
  get capacity(): number {
    return this.#capacity;
  }

  /** The keys of all slots, one after the other. */
  get keys(): Uint8Array {
    return this.#arena;
  }

  keyStart(slot: number): number {
    return slot === 0 ? 0 : this.keyEnds[slot - 1];
  }

  /** The slot of a key in a window, a new one when it is not there yet. `hash` is `hashKey` of the same bytes. */
  slotOf(data: Uint8Array, start: number, end: number, hash: number, window: number): number {
    const slot = this.find(data, start, end, hash, window);
    return slot >= 0 ? slot : this.insert(data, start, end, hash, window);
  }

  /** The slot of a key in a window, -1 when it has none. */
  find(data: Uint8Array, start: number, end: number, hash: number, window: number): number {
    // The window joins the hash by its number of seconds; its low bits alone differ little.
    const mixed = Math.imul(hash ^ (window / 1000), 0x9e3779b1);
    const { hashes, windows, keyEnds } = this;
    const index = this.#index;
    const mask = this.#mask;
    let at = (mixed ^ (mixed >>> 15)) & mask;
    for (let entry = index[at]; entry !== 0; at = (at + 1) & mask, entry = index[at]) {
      const slot = entry - 1;
      if (hashes[slot] !== hash || windows[slot] !== window) continue;
      const from = slot === 0 ? 0 : keyEnds[slot - 1];
      if (keyEnds[slot] - from === end - start && this.#sameKey(data, start, end, from)) return slot;
    }
    this.#vacant = at;
    return -1;
  }

  /** Gives a key that `find` has just not found its slot. */
  insert(data: Uint8Array, start: number, end: number, hash: number, window: number): number {
    const slot = this.length++;
    const from = slot === 0 ? 0 : this.keyEnds[slot - 1];
    const to = from + end - start;
    if (to > this.#arena.length) {
      const larger = new Uint8Array(2 ** Math.ceil(Math.log2(to + 1)));
      larger.set(this.#arena);
      this.#arena = larger;
    }
    for (let i = start, j = from; i < end; i++, j++) this.#arena[j] = data[i];
    this.#index[this.#vacant] = slot + 1;
    this.hashes[slot] = hash;
    this.windows[slot] = window;
    this.keyEnds[slot] = to;
    if (this.length === this.#capacity) this.#grow();
    return slot;
  }

  /** Forgets everything and keeps the memory. */
  clear(): void {
    this.#index.fill(0);
    this.length = 0;
  }

  #sameKey(data: Uint8Array, start: number, end: number, from: number): boolean {
    const arena = this.#arena;
    for (let i = start, j = from; i < end; i++, j++) if (data[i] !== arena[j]) return false;
    return true;
  }

  #grow(): void {
    this.#capacity *= 2;
    this.hashes = grown(this.hashes, new Int32Array(this.#capacity));
    this.windows = grown(this.windows, new Float64Array(this.#capacity));
    this.keyEnds = grown(this.keyEnds, new Int32Array(this.#capacity));
    const index = this.#index = new Int32Array(2 * this.#capacity);
    const mask = this.#mask = index.length - 1;
    for (let slot = 0; slot < this.length; slot++) {
      const mixed = Math.imul(this.hashes[slot] ^ (this.windows[slot] / 1000), 0x9e3779b1);
      let at = (mixed ^ (mixed >>> 15)) & mask;
      while (index[at] !== 0) at = (at + 1) & mask;
      index[at] = slot + 1;
    }
  }
}

/** A 32-bit hash of `data[start, end)`: murmur3's mixing, four bytes at a step. */
export function hashKey(data: Uint8Array, start: number, end: number): number {
  let h = end - start;
  let p = start;
  for (const stop = end - 3; p < stop; p += 4) {
    let k = data[p] | (data[p + 1] << 8) | (data[p + 2] << 16) | (data[p + 3] << 24);
    k = Math.imul(k, 0xcc9e2d51);
    k = (k << 15) | (k >>> 17);
    h ^= Math.imul(k, 0x1b873593);
    h = (h << 13) | (h >>> 19);
    h = (Math.imul(h, 5) + 0xe6546b64) | 0;
  }
  let k = 0;
  for (let shift = 0; p < end; p++, shift += 8) k |= data[p] << shift;
  h ^= Math.imul((k << 15) | (k >>> 17), 0x1b873593);
  h ^= h >>> 16;
  h = Math.imul(h, 0x85ebca6b);
  h ^= h >>> 13;
  return h;
}
