import { ConflictError, UnavailableError } from "../../pipeline/errors.ts";
import type { OutgoingPart } from "../../pipeline/log/transactions.ts";
import type { OutgoingRecord } from "../../pipeline/log/publisher.ts";
import type { SimClock } from "./sim_clock.ts";

/** One place in a partition: a record, or the marker that ends a transaction. */
export interface Entry {
  readonly record: OutgoingRecord | null;
  state: "open" | "committed" | "aborted";
}

interface Transaction {
  readonly entries: Entry[];
  readonly partitions: Set<Entry[]>;
}

/** What the coordinator knows of a transactional id. */
interface Id {
  /** Grows with every claim, and when a transaction is ended because it took too long. */
  epoch: number;
  /** The epoch that may still be changed for the newest by whoever holds it; -1 after somebody else took the id over. */
  formerEpoch: number;
  open: Transaction | null;
}

/** A transaction left open is aborted after this. */
const TRANSACTION_MS_MAX = 3_000;

/** Brokers as clients see them: topics with transactions (KIP-98), fenced by epoch (KIP-360). */
export class SimKafka {
  readonly #clock: SimClock;
  readonly #topics = new Map<string, Entry[][]>();
  readonly #ids = new Map<string, Id>();
  readonly #onCommitted: (topic: string, partition: number, records: readonly OutgoingRecord[]) => void;

  constructor(
    clock: SimClock,
    topics: Readonly<Record<string, number>>,
    onCommitted: (topic: string, partition: number, records: readonly OutgoingRecord[]) => void,
  ) {
    this.#clock = clock;
    this.#onCommitted = onCommitted;
    for (const [name, count] of Object.entries(topics)) {
      this.#topics.set(name, Array.from({ length: count }, () => []));
    }
  }

  topic(name: string): readonly (readonly Entry[])[] {
    const topic = this.#topics.get(name);
    if (!topic) throw new UnavailableError(`Topic ${name} does not exist`);
    return topic;
  }

  /** InitProducerId: ends what is open and gives a new epoch. Without `known` it takes the id over. */
  claim(id: string, known: number | null): number {
    const state = this.#ids.get(id);
    if (!state) {
      this.#ids.set(id, { epoch: 0, formerEpoch: -1, open: null });
      return 0;
    }
    if (known !== null && known !== state.epoch) {
      // The answer to the same claim was lost, or its transaction took too long.
      if (known === state.formerEpoch) return state.epoch;
      throw new ConflictError(`another process holds ${id}`);
    }
    this.#end(state, "aborted");
    state.formerEpoch = known ?? -1;
    return ++state.epoch;
  }

  /** Produce within a transaction, which begins with it; gives the offset after the last record. */
  produce(id: string, epoch: number, { topic, partition, records }: OutgoingPart): number {
    const state = this.#holder(id, epoch);
    const entries = this.#topics.get(topic)?.[partition];
    if (!entries) throw new UnavailableError(`Partition ${topic}/${partition} does not exist`);
    const transaction = state.open ??= this.#begin(state);
    transaction.partitions.add(entries);
    for (const record of records) {
      const entry: Entry = { record, state: "open" };
      entries.push(entry);
      transaction.entries.push(entry);
    }
    return entries.length;
  }

  /** EndTxn. */
  commit(id: string, epoch: number): void {
    this.#end(this.#holder(id, epoch), "committed");
  }

  /** The offset before which everything is decided. */
  lastStable(topic: string, partition: number): number {
    const entries = this.topic(topic)[partition];
    const open = entries.findIndex(({ state }) => state === "open");
    return open < 0 ? entries.length : open;
  }

  #holder(id: string, epoch: number): Id {
    const state = this.#ids.get(id)!;
    if (epoch === state.epoch) return state;
    if (epoch === state.formerEpoch) throw new UnavailableError(`a transaction of ${id} took too long`);
    throw new ConflictError(`another process holds ${id}`);
  }

  #begin(state: Id): Transaction {
    const transaction: Transaction = { entries: [], partitions: new Set() };
    this.#clock.after(TRANSACTION_MS_MAX, () => {
      if (state.open !== transaction) return;
      this.#end(state, "aborted");
      state.formerEpoch = state.epoch++;
    });
    return transaction;
  }

  #end(state: Id, how: "committed" | "aborted"): void {
    const transaction = state.open;
    if (transaction === null) return;
    state.open = null;
    for (const entry of transaction.entries) entry.state = how;
    for (const entries of transaction.partitions) entries.push({ record: null, state: "committed" });
    if (how === "aborted") return;
    for (const [name, topic] of this.#topics) {
      topic.forEach((entries, partition) => {
        if (!transaction.partitions.has(entries)) return;
        const own = new Set(transaction.entries);
        this.#onCommitted(name, partition, entries.flatMap((entry) => own.has(entry) ? [entry.record!] : []));
      });
    }
  }
}
