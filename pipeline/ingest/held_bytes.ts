import { BulkRefusal } from "./bulk.ts";

/** What the requests under way hold together, so that however many there are, memory has a bound. */
export class HeldBytes {
  readonly #most: number;
  #held = 0;

  constructor(most: number) {
    this.#most = most;
  }

  get held(): number {
    return this.#held;
  }

  /** One request's share, given back at the end of the scope. */
  share(): HeldShare & Disposable {
    let taken = 0;
    return {
      take: (bytes) => {
        if (this.#held + bytes > this.#most) {
          throw new BulkRefusal({
            kind: "busy",
            problem: `the requests under way hold ${this.#most} bytes of records together`,
            retryAfterSeconds: 2,
          });
        }
        this.#held += bytes;
        taken += bytes;
      },
      [Symbol.dispose]: () => {
        this.#held -= taken;
        taken = 0;
      },
    };
  }
}

export interface HeldShare {
  /** @throws BulkRefusal when others hold too much */
  take(bytes: number): void;
}
