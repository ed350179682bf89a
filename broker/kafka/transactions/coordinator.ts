/**
 * Carries out what `Transaction` decides: every step is on disk before it is answered, a decision before its markers.
 *
 *     EndTxn ─▶ records on disk ─▶ prepare… on disk ─▶ markers, offsets on disk ─▶ complete… ─▶ answer
 *
 * After a crash an open transaction goes on until its time-out, and one that was decided is completed at the start, before
 * anything is served: a marker is written where the transaction is still open, so none is lost and none is there twice. What a
 * partition holds of transactions that nobody knows is aborted.
 *
 * `transactions.log` is a journal of states, one per change.
 *
 * @module
 */
import type { OffsetStore } from "../groups/offset_store.ts";
import { Journal } from "../journal.ts";
import type { Marker } from "../log/marker.ts";
import type { PartitionLog } from "../log/partition_log.ts";
import type { ResolvedOptions } from "../options.ts";
import type { ProducerIds } from "../producer_ids.ts";
import { ErrorCode } from "../protocol/errors.ts";
import type { Topics } from "../topics.ts";
import {
  type Holder,
  type PendingOffset,
  type Step,
  Transaction,
  type TransactionPartition,
  type TransactionState,
} from "./transaction.ts";

/** How often open transactions are looked at for their time-outs, and decided ones that could not be completed tried again. */
const tickMs = 250;
/** An id without a transaction is forgotten after this, as in Apache Kafka (`transactional.id.expiration.ms`). */
const idExpiryMs = 7 * 24 * 60 * 60 * 1000;
/** How often such ids are looked for. */
const expiryCheckMs = 60_000;

/** One change in the journal; no state means that the id was forgotten. */
interface Entry {
  readonly id: string;
  readonly state?: TransactionState;
}

export type Initialized = { readonly error: number } | (Holder & { readonly error: 0 });

export class Transactions {
  readonly #options: ResolvedOptions;
  readonly #topics: Topics;
  readonly #offsets: OffsetStore;
  readonly #producerIds: ProducerIds;
  readonly #byId = new Map<string, Transaction>();
  /** Who has a producer id, by that. */
  readonly #idOf = new Map<number, string>();
  /** Ids whose transaction is open or decided. */
  readonly #active = new Set<string>();
  readonly #completing = new Map<string, Promise<void>>();
  readonly #journal: Journal<Entry>;
  readonly #timer: ReturnType<typeof setInterval>;
  #nextExpiryMs = 0;

  constructor(options: ResolvedOptions, parts: { topics: Topics; offsets: OffsetStore; producerIds: ProducerIds }) {
    this.#options = options;
    this.#topics = parts.topics;
    this.#offsets = parts.offsets;
    this.#producerIds = parts.producerIds;
    this.#journal = new Journal<Entry>(`${options.dataDir}/transactions.log`, {
      apply: ({ id, state }) => state === undefined ? this.#forget(id) : this.#set(new Transaction(state)),
      snapshot: () => Array.from(this.#byId.values(), ({ state }) => ({ id: state.id, state })),
      log: options.log,
    });
    this.#abortUnknown();
    for (const id of this.#active) {
      if (this.#byId.get(id)!.isPrepared) this.#complete(id).catch((error) => this.#complain(id, error));
    }
    this.#timer = setInterval(() => this.tick(), tickMs);
  }

  all(): Iterable<Transaction> {
    return this.#byId.values();
  }

  get(id: string): Transaction | null {
    return this.#byId.get(id) ?? null;
  }

  /** InitProducerId. Waits for a transaction that has to be aborted first. */
  async initialize(id: string, options: { expected: Holder | null; timeoutMs: number }): Promise<Initialized> {
    const { timeoutMs } = options;
    if (id === "") return { error: ErrorCode.invalidRequest };
    if (timeoutMs < 1 || timeoutMs > this.#options.transactionTimeoutMaxMs) {
      return { error: ErrorCode.invalidTransactionTimeout };
    }
    const initialize = (transaction: Transaction) =>
      transaction.initialize({ ...options, nowMs: this.#nowMs, newProducerId: () => this.#producerIds.next() });
    if (!this.#byId.has(id)) {
      if (this.#byId.size >= this.#options.transactionalIdsMax) return { error: ErrorCode.policyViolation };
      const producerId = this.#producerIds.next();
      const error = await this.#write(Transaction.begin(id, { producerId, timeoutMs, nowMs: this.#nowMs }));
      return error === 0 ? { error: 0, producerId, epoch: 0 } : { error };
    }
    let taken = await this.#step(id, initialize);
    if (taken.next?.isPrepared) {
      const error = await this.#completed(id);
      if (error !== 0) return { error };
      taken = await this.#step(id, initialize);
    }
    if (taken.next === null) return { error: taken.error };
    // Somebody else was quicker to open and abort a transaction.
    if (taken.next.isPrepared) return { error: ErrorCode.concurrentTransactions };
    const { producerId, epoch } = taken.next.state;
    return { error: 0, producerId, epoch };
  }

  async addPartitions(id: string, holder: Holder, partitions: readonly TransactionPartition[]): Promise<number> {
    return (await this.#step(id, (transaction) => transaction.addPartitions(holder, partitions, this.#nowMs))).error;
  }

  async addGroup(id: string, holder: Holder, group: string): Promise<number> {
    return (await this.#step(id, (transaction) => transaction.addGroup(holder, group, this.#nowMs))).error;
  }

  async addOffsets(id: string, holder: Holder, offsets: readonly PendingOffset[]): Promise<number> {
    return (await this.#step(id, (transaction) => transaction.addOffsets(holder, offsets, this.#nowMs))).error;
  }

  /** EndTxn. When this resolves with 0, readers of committed records see all of the transaction or nothing. */
  async end(id: string, holder: Holder, commit: boolean): Promise<number> {
    const open = this.#byId.get(id);
    if (commit && open?.isOngoing) {
      // A client may have been content with less than records on disk; its commit is not.
      const error = await this.#toDisk(this.#logsOf(open));
      if (error !== 0) return error;
    }
    const { error, next } = await this.#step(id, (transaction) => transaction.end(holder, commit, this.#nowMs));
    return next?.isPrepared ? await this.#completed(id) : error;
  }

  /** Why a batch of this producer may not be appended, 0 when it may. */
  produceFault(
    batch: Holder & { readonly isTransactional: boolean },
    options: { id: string | null; partition: TransactionPartition },
  ): number {
    const owner = this.#idOf.get(batch.producerId);
    if (!batch.isTransactional) return owner === undefined ? ErrorCode.none : ErrorCode.invalidTxnState;
    const transaction = this.#byId.get(options.id ?? "");
    return transaction?.produceFault(batch, options.partition) ?? ErrorCode.invalidProducerIdMapping;
  }

  /** Whether a transaction that is not complete will change this offset. */
  isPending(group: string, topic: string, partition: number): boolean {
    for (const id of this.#active) {
      const { offsets } = this.#byId.get(id)!.state;
      if (offsets.some((o) => o.group === group && o.topic === topic && o.partition === partition)) return true;
    }
    return false;
  }

  /** Aborts what is overdue, and completes what could not be completed before. */
  tick(): void {
    const nowMs = this.#nowMs;
    for (const id of [...this.#active]) {
      const transaction = this.#byId.get(id)!;
      if (transaction.isOverdue(nowMs)) {
        this.#options.log(
          `Aborted the transaction of ${id}: it was open for more than ${transaction.state.timeoutMs} ms`,
        );
        this.#abortOverdue(transaction).catch((error) => this.#complain(id, error));
      } else if (transaction.isPrepared && !this.#completing.has(id)) {
        this.#complete(id).catch(() => {});
      }
    }
    if (nowMs < this.#nextExpiryMs) return;
    this.#nextExpiryMs = nowMs + expiryCheckMs;
    this.#expire(nowMs);
  }

  async close(): Promise<void> {
    clearInterval(this.#timer);
    await Promise.allSettled(this.#completing.values());
    await this.#journal.close().catch((error) => this.#options.log((error as Error).message));
  }

  get #nowMs(): number {
    return this.#options.clock.now();
  }

  /** Takes a step of a transaction that is known and puts it on disk; `next` is null when there is an error. */
  async #step(
    id: string,
    take: (transaction: Transaction) => Step,
  ): Promise<{ error: number; next: Transaction | null }> {
    const transaction = this.#byId.get(id);
    if (transaction === undefined) return { error: ErrorCode.invalidProducerIdMapping, next: null };
    const step = take(transaction);
    if ("error" in step) return { error: step.error, next: null };
    // A step that changes nothing repeats one that may still be on its way to the disk.
    const error = step.next === transaction ? await this.#synced(id) : await this.#write(step.next);
    return { error, next: error === 0 ? step.next : null };
  }

  /** COORDINATOR_NOT_AVAILABLE makes the client ask again, as it should when the disk is full. */
  async #write(next: Transaction): Promise<number> {
    const { id } = next.state;
    try {
      this.#journal.append([{ id, state: next.state }]);
    } catch (error) {
      this.#complain(id, error);
      return ErrorCode.coordinatorNotAvailable;
    }
    this.#set(next);
    return await this.#synced(id);
  }

  async #synced(id: string): Promise<number> {
    try {
      await this.#journal.sync();
      return ErrorCode.none;
    } catch (error) {
      this.#complain(id, error);
      return ErrorCode.coordinatorNotAvailable;
    }
  }

  async #completed(id: string): Promise<number> {
    try {
      await this.#complete(id);
      return ErrorCode.none;
    } catch (error) {
      this.#complain(id, error);
      return ErrorCode.concurrentTransactions;
    }
  }

  /** Writes the markers and offsets of a decided transaction; all who want that share one run. */
  #complete(id: string): Promise<void> {
    let running = this.#completing.get(id);
    if (running === undefined) {
      running = this.#carryOut(this.#byId.get(id)!).finally(() => this.#completing.delete(id));
      this.#completing.set(id, running);
    }
    return running;
  }

  async #carryOut(transaction: Transaction): Promise<void> {
    if (!transaction.isPrepared) return;
    const { state } = transaction;
    const { producerId, epoch } = state;
    const commit = state.phase === "prepareCommit";
    const logs = this.#logsOf(transaction);
    // One partition that cannot be written must not hold up the readers of the others.
    const faults = logs.flatMap((log) => this.#mark(log, { producerId, epoch, commit }) ?? []);
    const offsets = commit ? state.offsets.filter((o) => this.#topics.partition(o.topic, o.partition) !== null) : [];
    await Promise.all([
      ...logs.map((log) => log.sync()),
      ...offsets.length > 0 ? [this.#offsets.commit(offsets)] : [],
    ]);
    if (faults.length > 0) throw faults[0];
    const complete = transaction.complete(this.#nowMs);
    this.#journal.append([{ id: state.id, state: complete.state }]);
    this.#set(complete);
    // Were this lost in a power cut, the markers would not be written again, but these offsets in place of later ones.
    if (offsets.length > 0) await this.#journal.sync();
  }

  /** Ends the transaction in one partition, if it is open there. Returns why it could not. */
  #mark(log: PartitionLog, marker: Marker): Error | null {
    try {
      if (log.hasOpenTransaction(marker.producerId)) log.appendMarker(marker, this.#nowMs);
      return null;
    } catch (error) {
      return error as Error;
    }
  }

  #logsOf({ state }: Transaction): PartitionLog[] {
    return state.partitions.flatMap(({ topicId, index }) => {
      const log = this.#topics.partitionById(topicId, index);
      return log === null ? [] : [log];
    });
  }

  async #toDisk(logs: readonly PartitionLog[]): Promise<number> {
    try {
      await Promise.all(logs.map((log) => log.sync()));
      return ErrorCode.none;
    } catch {
      // The partition has said what is wrong. Nothing is decided: the client may abort.
      return ErrorCode.coordinatorNotAvailable;
    }
  }

  async #abortOverdue(transaction: Transaction): Promise<void> {
    const error = await this.#write(transaction.timeOut(this.#nowMs));
    if (error === 0) await this.#complete(transaction.state.id);
  }

  /** Ends what is open in a partition but with nobody: the coordinator's file was lost, or is older than the log. */
  #abortUnknown(): void {
    for (const topic of this.#topics.all()) {
      for (const [index, log] of topic.partitions.entries()) {
        for (const { producerId, epoch } of log.openTransactions()) {
          const transaction = this.#byId.get(this.#idOf.get(producerId) ?? "");
          const isKnown = transaction?.state.partitions.some((p) => p.topicId === topic.id && p.index === index);
          if (isKnown) continue;
          const fault = this.#mark(log, { producerId, epoch, commit: false });
          const what = `a transaction of producer ${producerId} in ${topic.name}-${index}, which nobody has`;
          this.#options.log(fault === null ? `Aborted ${what}` : `Cannot abort ${what}: ${fault.message}`);
        }
      }
    }
  }

  #expire(nowMs: number): void {
    const old = [...this.#byId.values()].filter(({ state }) =>
      !this.#active.has(state.id) && nowMs - state.changedMs > idExpiryMs
    );
    if (old.length === 0) return;
    try {
      this.#journal.append(old.map(({ state }) => ({ id: state.id })));
      for (const { state } of old) this.#forget(state.id);
    } catch (error) {
      this.#complain(old[0].state.id, error);
    }
  }

  #set(transaction: Transaction): void {
    const { id, producerId } = transaction.state;
    const before = this.#byId.get(id);
    if (before !== undefined && before.state.producerId !== producerId) this.#idOf.delete(before.state.producerId);
    this.#byId.set(id, transaction);
    this.#idOf.set(producerId, id);
    if (transaction.isOngoing || transaction.isPrepared) this.#active.add(id);
    else this.#active.delete(id);
  }

  #forget(id: string): void {
    const transaction = this.#byId.get(id);
    if (transaction !== undefined) this.#idOf.delete(transaction.state.producerId);
    this.#byId.delete(id);
    this.#active.delete(id);
  }

  #complain(id: string, error: unknown): void {
    this.#options.log(`The transaction of ${id} cannot go on: ${(error as Error).message}`);
  }
}
