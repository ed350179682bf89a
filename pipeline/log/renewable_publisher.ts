import type { OutgoingPart, TransactionalPublisher } from "./transactions.ts";

/** A publisher that can begin anew: after `renew` its next claim takes the id over, as that of a new process does. */
export class RenewablePublisher implements TransactionalPublisher {
  readonly #make: () => TransactionalPublisher;
  #current: TransactionalPublisher;

  constructor(make: () => TransactionalPublisher) {
    this.#make = make;
    this.#current = make();
  }

  renew(): void {
    this.#current = this.#make();
  }

  partitionCount(topic: string): Promise<number> {
    return this.#current.partitionCount(topic);
  }

  claim(options: { readonly signal: AbortSignal }): Promise<void> {
    return this.#current.claim(options);
  }

  commit(parts: readonly OutgoingPart[], options: { readonly signal: AbortSignal }) {
    return this.#current.commit(parts, options);
  }
}
