/** Parts that are held, at most, and so how finely the last records are told apart: the last `of` begin within a 512th of `of`. */
const PARTS_MAX = 512;

interface Part {
  consumed: number;
  dead: number;
}

/**
 * Tells when so many of the last records were dead letters that a pipeline must stop instead of burying its topic.
 *
 *     |  oldest part  |  part  |  part  | newest |
 *            |<--------- the last `of` ---------->|      of the oldest part the share counts, as if it were mixed evenly
 *
 * So what is told is exact but for one part: a call's records, or a 512th of `of` where calls bring fewer. It begins anew with each
 * start: whoever has mended the cause is not held to what was before.
 */
export class DeadThreshold {
  readonly #dead: number;
  readonly #of: number;
  /** Oldest first; together at least `of` records once so many were read, and without the oldest fewer. */
  readonly #parts: Part[] = [];
  #consumed = 0;
  #deadHeld = 0;

  constructor({ dead, of }: { readonly dead: number; readonly of: number }) {
    this.#dead = dead;
    this.#of = of;
  }

  /** Parts held now, `PARTS_MAX` and two at most. */
  get parts(): number {
    return this.#parts.length;
  }

  /** Adds records just read, and how many of them were dead; true when the threshold is reached. */
  note(consumed: number, dead: number): boolean {
    if (consumed === 0) return false;
    const parts = this.#parts;
    const newest = parts.at(-1);
    if (newest && newest.consumed + consumed <= this.#of / PARTS_MAX) {
      newest.consumed += consumed;
      newest.dead += dead;
    } else {
      parts.push({ consumed, dead });
    }
    this.#consumed += consumed;
    this.#deadHeld += dead;
    while (this.#consumed - parts[0].consumed >= this.#of) {
      const oldest = parts.shift()!;
      this.#consumed -= oldest.consumed;
      this.#deadHeld -= oldest.dead;
    }
    const [oldest] = parts;
    const beyond = Math.max(0, this.#consumed - this.#of);
    return this.#deadHeld - oldest.dead * beyond / oldest.consumed >= this.#dead;
  }
}
