/**
 * Topics with transactions in memory, as Kafka has them as far as sinks can tell: control records take an offset, a reader of
 * committed records stops before the first record that is undecided, and whoever claims a transactional id fences whoever held
 * it.
 *
 * @module
 */
import { ConflictError, UnavailableError } from "../../pipeline/errors.ts";
import type { OutgoingRecord } from "../../pipeline/log/publisher.ts";
import type {
  CommittedLog,
  CommittedRecord,
  Offsets,
  OutgoingPart,
  TransactionalPublisher,
} from "../../pipeline/log/transactions.ts";

/** The requests that a publisher and a reader make, each of which can go wrong. `write` is one part, `end` the commit itself. */
export type LogStep = "partitions" | "claim" | "write" | "end" | "offsets" | "read";

/**
 * What becomes of a request: it is answered; it never arrives; it arrives and its answer does not; or, of a commit, it is
 * answered before readers can see what was committed.
 */
export type LogFate = "pass" | "refuse" | "lose" | "late";

interface Transaction {
  state: "open" | "decided" | "committed" | "aborted";
  /** Topic and partition of what it wrote. */
  readonly touched: Set<string>;
}

/** A record, or with null the control record of its transaction. */
interface Entry {
  readonly record: OutgoingRecord | null;
  readonly transaction: Transaction | null;
}

interface Owner {
  epoch: number;
  /** The epoch before, when its holder itself moved on: it may not have heard of it, and ask again (KIP-360). */
  previous: number | null;
  transaction: Transaction | null;
}

export interface MemoryLogOptions {
  /** Partitions of every topic. Default 4. */
  readonly partitions?: number;
  /** Called before each request: time may pass there. */
  readonly pause?: () => Promise<void>;
  /** Decides about each request. Default: all pass. */
  readonly fate?: (step: LogStep) => LogFate;
}

/** The brokers. Topics are there when somebody asks for them. */
export class MemoryLog implements CommittedLog {
  readonly #partitions: number;
  readonly #pause: () => Promise<void>;
  readonly #topics = new Map<string, Entry[][]>();
  readonly #owners = new Map<string, Owner>();
  /** Decides about each request; may be changed at any time. */
  fate: (step: LogStep) => LogFate;
  /** Transactions that were decided for, whether or not anybody was told. */
  commits = 0;

  constructor({ partitions = 4, pause = () => Promise.resolve(), fate = () => "pass" }: MemoryLogOptions = {}) {
    this.#partitions = partitions;
    this.#pause = pause;
    this.fate = fate;
  }

  /** A process's writer under a transactional id. */
  publisher(id: string): TransactionalPublisher {
    return new MemoryPublisher(this, id);
  }

  /** What a reader of committed records finds, by partition. */
  topic(name: string): OutgoingRecord[][] {
    return this.#entries(name).map((entries) => entries.slice(0, lastStable(entries)).flatMap(committedRecord));
  }

  /** Makes all that is decided visible, as brokers do in the end. */
  settle(): void {
    for (const owner of this.#owners.values()) {
      if (owner.transaction?.state === "decided") this.#finish(owner, "committed");
    }
  }

  async offsets(topic: string, position: "earliest" | "latest"): Promise<Offsets> {
    return await this.request("offsets", () =>
      new Map(
        this.#entries(topic).map((
          entries,
          partition,
        ) => [partition, position === "earliest" ? 0 : lastStable(entries)]),
      ));
  }

  async read(
    topic: string,
    from: Offsets,
    { take, signal }: {
      readonly take: (record: CommittedRecord) => boolean | void;
      readonly signal: AbortSignal;
    },
  ): Promise<Offsets> {
    const ends = new Map(this.#entries(topic).map((entries, partition) => [partition, lastStable(entries)]));
    const stops = new Map<number, number>();
    for (const [partition, start] of from) {
      const end = ends.get(partition) ?? 0;
      await this.request("read", () => {
        signal.throwIfAborted();
        const entries = this.#entries(topic)[partition] ?? [];
        stops.set(partition, Math.max(start, end));
        for (let offset = start; offset < end; offset++) {
          for (const record of committedRecord(entries[offset])) {
            if (take({ ...record, partition, offset }) === false) {
              stops.set(partition, offset + 1);
              return;
            }
          }
        }
      });
    }
    return stops;
  }

  /** One request and its answer, with whatever becomes of them. */
  async request<T>(step: LogStep, work: () => T): Promise<T> {
    await this.#pause();
    const fate = this.fate(step);
    if (fate === "refuse") throw new UnavailableError(`the log is away (${step})`);
    const result = work();
    await this.#pause();
    if (fate === "lose") throw new UnavailableError(`the answer was lost (${step})`);
    if (fate !== "late") this.settle();
    return result;
  }

  partitionCount(): number {
    return this.#partitions;
  }

  /** Gives the next epoch of the id; what was open under it is aborted, what was decided is finished. */
  claim(id: string, known: number | null): number {
    let owner = this.#owners.get(id);
    if (!owner) this.#owners.set(id, owner = { epoch: -1, previous: null, transaction: null });
    if (known !== null && known !== owner.epoch && known !== owner.previous) throw fenced(id);
    if (owner.transaction) this.#finish(owner, owner.transaction.state === "decided" ? "committed" : "aborted");
    owner.previous = known;
    return ++owner.epoch;
  }

  /** Appends to the open transaction, beginning one where there is none; gives the offset after the last record. */
  append(id: string, epoch: number, { topic, partition, records }: OutgoingPart): number {
    const owner = this.#owned(id, epoch);
    if (owner.transaction?.state === "decided") this.#finish(owner, "committed");
    owner.transaction ??= { state: "open", touched: new Set() };
    owner.transaction.touched.add(JSON.stringify([topic, partition]));
    const entries = this.#entries(topic)[partition];
    for (const record of records) entries.push({ record, transaction: owner.transaction });
    return entries.length;
  }

  /** Decides for the open transaction; readers see it once it is finished. */
  end(id: string, epoch: number): void {
    const { transaction } = this.#owned(id, epoch);
    if (transaction?.state === "open") transaction.state = "decided";
    this.commits++;
  }

  #owned(id: string, epoch: number): Owner {
    const owner = this.#owners.get(id)!;
    if (owner.epoch !== epoch) throw fenced(id);
    return owner;
  }

  #finish(owner: Owner, state: "committed" | "aborted"): void {
    const transaction = owner.transaction!;
    transaction.state = state;
    for (const place of transaction.touched) {
      const [topic, partition] = JSON.parse(place) as [string, number];
      this.#entries(topic)[partition].push({ record: null, transaction: null });
    }
    owner.transaction = null;
  }

  #entries(topic: string): Entry[][] {
    let partitions = this.#topics.get(topic);
    if (!partitions) {
      this.#topics.set(topic, partitions = Array.from({ length: this.#partitions }, () => []));
    }
    return partitions;
  }
}

/** One process's writer; it is thrown away with its process. */
class MemoryPublisher implements TransactionalPublisher {
  readonly #log: MemoryLog;
  readonly #id: string;
  #epoch: number | null = null;
  #clean = false;
  #last: Promise<unknown> = Promise.resolve();

  constructor(log: MemoryLog, id: string) {
    this.#log = log;
    this.#id = id;
  }

  partitionCount(): Promise<number> {
    return this.#log.request("partitions", () => this.#log.partitionCount());
  }

  claim({ signal }: { readonly signal: AbortSignal }): Promise<void> {
    return this.#inTurn(async () => {
      signal.throwIfAborted();
      if (this.#clean) return;
      this.#epoch = await this.#log.request("claim", () => this.#log.claim(this.#id, this.#epoch));
      this.#clean = true;
    });
  }

  commit(parts: readonly OutgoingPart[], { signal }: { readonly signal: AbortSignal }): Promise<readonly number[]> {
    return this.#inTurn(async () => {
      signal.throwIfAborted();
      if (!this.#clean) throw new UnavailableError("the transactional id is not claimed");
      const epoch = this.#epoch!;
      this.#clean = false;
      const ends: number[] = [];
      for (const part of parts) {
        ends.push(await this.#log.request("write", () => this.#log.append(this.#id, epoch, part)));
        signal.throwIfAborted();
      }
      await this.#log.request("end", () => this.#log.end(this.#id, epoch));
      this.#clean = true;
      return ends;
    });
  }

  #inTurn<T>(work: () => Promise<T>): Promise<T> {
    const turn = this.#last.then(work);
    this.#last = turn.catch(() => {});
    return turn;
  }
}

function fenced(id: string): ConflictError {
  return new ConflictError(`another process holds the transactional id ${id} now`);
}

/** The offset of the first record that is undecided, or the end. */
function lastStable(entries: readonly Entry[]): number {
  const at = entries.findIndex(({ transaction }) => transaction?.state === "open" || transaction?.state === "decided");
  return at < 0 ? entries.length : at;
}

function committedRecord({ record, transaction }: Entry): OutgoingRecord[] {
  return record && transaction?.state === "committed" ? [record] : [];
}
