const EMPTY = -1;
const SLOTS_FIRST = 64;

/** Attempts by offset, in 9 bytes a slot and at least half of the slots used: open addressing with linear steps. */
export class AttemptTable {
  #offsets = new Float64Array(SLOTS_FIRST).fill(EMPTY);
  #attempts = new Uint8Array(SLOTS_FIRST);
  /** How many offsets are known. */
  length = 0;

  /** 0 for an offset that is not known. */
  get(offset: number): number {
    return this.#attempts[this.#slot(offset)];
  }

  /** Sets the attempts (1 to 255), unless there are more already. */
  raise(offset: number, attempt: number): void {
    let slot = this.#slot(offset);
    if (this.#offsets[slot] === EMPTY) {
      if (4 * (this.length + 1) > 3 * this.#offsets.length) {
        this.#grow();
        slot = this.#slot(offset);
      }
      this.#offsets[slot] = offset;
      this.length++;
    }
    if (attempt > this.#attempts[slot]) this.#attempts[slot] = attempt;
  }

  /** Where the offset is, or the free slot where it would be. */
  #slot(offset: number): number {
    const mask = this.#offsets.length - 1;
    // Both halves of the offset, spread by a multiplication: offsets in a row must not lie in a row.
    const folded = (offset % 0x1_0000_0000) ^ (offset / 0x1_0000_0000);
    let slot = (Math.imul(folded, 0x9e37_79b1) >>> 8) & mask;
    while (this.#offsets[slot] !== EMPTY && this.#offsets[slot] !== offset) slot = (slot + 1) & mask;
    return slot;
  }

  #grow(): void {
    const offsets = this.#offsets;
    const attempts = this.#attempts;
    this.#offsets = new Float64Array(2 * offsets.length).fill(EMPTY);
    this.#attempts = new Uint8Array(2 * offsets.length);
    for (let i = 0; i < offsets.length; i++) {
      if (offsets[i] === EMPTY) continue;
      const slot = this.#slot(offsets[i]);
      this.#offsets[slot] = offsets[i];
      this.#attempts[slot] = attempts[i];
    }
  }
}
