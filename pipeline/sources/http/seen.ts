/**
 * Which records came before, by a hash of each: how those that are met again are told from those that are new or changed.
 *
 * A round meets again all that came at or after where the last one began to ask, so what the last round met and what this one met
 * so far is nearly all that has to be known.
 *
 *     the last round:   a b c d e f
 *     this round:           c d e' f g        c, d and f are skipped; e' has changed, g is new
 *
 * Nearly: where pages are counted and a record leaves its place while they are read, all behind it move up, and one is on no page
 * of that round. So what a round could have met and did not is missed, and known as long as it can be asked for; for one more round
 * where rounds ask for everything.
 *
 * @module
 */
import { createHash } from "node:crypto";
import { Buffer } from "node:buffer";

/** Records remembered, of both rounds. Those beyond it count as new when they come again. */
export const SEEN_MAX = 25_000;
const HASH_BYTES = 8;

/** Of this round: its hash, and where it is by the since-cursor. */
interface Met {
  readonly hash: string;
  readonly since: number | null;
}

/** As it is kept in a position: hashes one after the other, in base64. */
export interface SeenState {
  readonly last: string;
  readonly now: string;
  readonly missed?: string;
}

export class Seen {
  /** By hash, where each is by the since-cursor; null where that is not known (any more). */
  #missed: Map<string, number | null>;
  #last: Map<string, number | null>;
  /** In the order in which they were met. */
  #now = new Map<string, number | null>();
  /** Of this round: how many had to be forgotten while they mattered. */
  #forgotten = 0;

  constructor(state: SeenState | null) {
    const unknown = (text = "") => new Map(Array.from(split(text), (hash) => [hash, null]));
    this.#missed = unknown(state?.missed);
    this.#last = unknown(state?.last);
    this.#now = unknown(state?.now);
  }

  /** Whether a record came before. It has now. */
  meet({ hash, since }: Met): boolean {
    let known = false;
    for (const hashes of [this.#missed, this.#last, this.#now]) known = hashes.delete(hash) || known;
    this.#now.set(hash, since);
    return known;
  }

  /** Keeps to the bound: first without those below `floor`, which are not asked for again, then without the oldest. */
  trim(floor: number | null): void {
    if (this.size <= SEEN_MAX) return;
    if (floor !== null) {
      for (const [hash, since] of this.#now) if (since !== null && since < floor) this.#now.delete(hash);
    }
    for (const hash of this.#missed.keys()) {
      if (this.size <= SEEN_MAX) return;
      this.#missed.delete(hash);
    }
    for (const hash of this.#last.keys()) {
      if (this.size <= SEEN_MAX) return;
      this.#last.delete(hash);
      this.#forgotten++;
    }
    for (const hash of this.#now.keys()) {
      if (this.size <= SEEN_MAX) return;
      this.#now.delete(hash);
      this.#forgotten++;
    }
  }

  /** Told that all is as it was in the last round. */
  meetAgain(): void {
    for (const [hash, since] of this.#last) this.#now.set(hash, since);
    this.#last.clear();
  }

  /**
   * Ends a round after which only what is at or above `floor` is asked for; null: everything.
   *
   * @param largest how far the since-cursor has come: what was missed and is nowhere by itself is taken to be there
   */
  endRound(floor: number | null, largest: number | null = null): void {
    const isAskedFor = (since: number | null) => floor === null || since === null || since >= floor;
    const missed = new Map<string, number | null>();
    for (const [hash, since] of floor === null ? this.#last : [...this.#missed, ...this.#last]) {
      const at = since ?? largest;
      if (isAskedFor(at)) missed.set(hash, at);
    }
    this.#missed = missed;
    this.#last = new Map([...this.#now].filter(([, since]) => isAskedFor(since)));
    this.#now = new Map();
    this.#forgotten = 0;
  }

  get size(): number {
    return this.#missed.size + this.#last.size + this.#now.size;
  }

  get forgotten(): number {
    return this.#forgotten;
  }

  state(): SeenState {
    const text = (hashes: ReadonlyMap<string, unknown>) => [...hashes.keys()].join("");
    return { missed: text(this.#missed), last: text(this.#last), now: text(this.#now) };
  }
}

/** Eight bytes of SHA-256 in base64url: among 25,000 records two are taken for one with a chance of one in 59 billion. */
export function hashOf(...parts: readonly (string | Uint8Array | null)[]): string {
  const hash = createHash("sha256");
  for (const part of parts) hash.update(`${part?.length ?? -1}:`).update(part ?? "");
  return hash.digest().subarray(0, HASH_BYTES).toString("base64url");
}

const HASH_CHARACTERS = Buffer.alloc(HASH_BYTES).toString("base64url").length;

function* split(text: string): Generator<string> {
  for (let at = 0; at + HASH_CHARACTERS <= text.length; at += HASH_CHARACTERS) {
    yield text.slice(at, at + HASH_CHARACTERS);
  }
}
