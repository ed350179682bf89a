/** Random numbers that follow from a seed alone (SplitMix32 by Guy Steele et al., as a 32-bit mixer over a counter). */
export class Random {
  #state: number;

  constructor(seed: number) {
    this.#state = seed | 0;
  }

  /** A number in [0, 2^32). */
  bits(): number {
    this.#state = (this.#state + 0x9e3779b9) | 0;
    let mixed = this.#state ^ (this.#state >>> 16);
    mixed = Math.imul(mixed, 0x21f0aaad);
    mixed ^= mixed >>> 15;
    mixed = Math.imul(mixed, 0x735a2d97);
    return (mixed ^ (mixed >>> 15)) >>> 0;
  }

  /** A number in [0, 1). */
  unit(): number {
    return this.bits() / 2 ** 32;
  }

  /** A whole number in [least, most]. */
  int(least: number, most: number): number {
    return least + Math.floor(this.unit() * (most - least + 1));
  }

  /** True so often out of one. */
  chance(share: number): boolean {
    return this.unit() < share;
  }

  pick<T>(list: readonly T[]): T {
    return list[this.int(0, list.length - 1)];
  }

  /** Random numbers of their own, so that what one part draws does not change what others draw. */
  fork(): Random {
    return new Random(this.bits());
  }
}
