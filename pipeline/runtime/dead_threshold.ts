/** Tells when so many of the last records were dead letters that a pipeline must stop instead of burying its topic. */
export class DeadThreshold {
  readonly #dead: number;
  readonly #of: number;
  /** What was read between one call and the next, oldest first; no more than are needed for `of` records. */
  readonly #parts: { readonly consumed: number; readonly dead: number }[] = [];
  #consumed = 0;
  #deadHeld = 0;

  constructor({ dead, of }: { readonly dead: number; readonly of: number }) {
    this.#dead = dead;
    this.#of = of;
  }

  /**
   * Adds records just read, and how many of them were dead; true when the threshold is reached. The order of records within a call
   * is not known: of more than `of` records the share counts, as if they were mixed evenly.
   */
  note(consumed: number, dead: number): boolean {
    if (consumed === 0) return false;
    this.#parts.push({ consumed, dead });
    this.#consumed += consumed;
    this.#deadHeld += dead;
    while (this.#consumed - this.#parts[0].consumed >= this.#of) {
      const oldest = this.#parts.shift()!;
      this.#consumed -= oldest.consumed;
      this.#deadHeld -= oldest.dead;
    }
    return this.#deadHeld * Math.min(1, this.#of / this.#consumed) >= this.#dead;
  }
}
