/**
 * The transactions under one transactional id: who holds the id, and how far its transaction is. A value without I/O, clock or
 * timer: every step gives a new value or says why not, and the coordinator writes it down before it counts.
 *
 *     empty ──partitions or a group are added──▶ ongoing ──EndTxn──▶ prepareCommit ──markers written──▶ completeCommit
 *       ▲                                          │ └──EndTxn, time-out, taken over──▶ prepareAbort ──▶ completeAbort
 *       └─── a new holder                          ◀──────── partitions or a group are added ───────────────┘
 *
 * Source: KIP-98 (states), KIP-360 (asking again with the epoch one has), KIP-447 (offsets of a group's member).
 *
 * @module
 */
import { ErrorCode } from "../protocol/errors.ts";
import type { Committed } from "../groups/offset_store.ts";

export type Phase = "empty" | "ongoing" | "prepareCommit" | "prepareAbort" | "completeCommit" | "completeAbort";

/** The number of a producer and how often its id changed hands. */
export interface Holder {
  readonly producerId: number;
  readonly epoch: number;
}

/** Partition `index` of the topic with this id: of a topic made anew under the same name nothing is meant. */
export interface TransactionPartition {
  readonly topicId: string;
  readonly index: number;
}

/** An offset that is committed if and when the transaction is. */
export interface PendingOffset {
  readonly group: string;
  readonly topic: string;
  readonly partition: number;
  readonly committed: Committed;
}

/** What is written down of one transactional id. */
export interface TransactionState extends Holder {
  readonly id: string;
  /** In exchange for which the present holder got the id: who asks with it again did not hear the answer. */
  readonly previous: Holder | null;
  readonly timeoutMs: number;
  readonly phase: Phase;
  /** When the transaction began, and when anything changed last, by the wall clock. */
  readonly startedMs: number;
  readonly changedMs: number;
  readonly partitions: readonly TransactionPartition[];
  readonly groups: readonly string[];
  readonly offsets: readonly PendingOffset[];
}

/** The last epoch that is given to a producer; one more is left to abort its transaction with. */
export const lastEpoch = 0x7ffe;

/** A Kafka error code, or the state to write down and go on from; `this` again when nothing changed. */
export type Step = { readonly error: number } | { readonly next: Transaction };

const nothingPending = { partitions: [], groups: [], offsets: [], startedMs: -1 } as const;

export class Transaction {
  readonly state: TransactionState;

  constructor(state: TransactionState) {
    this.state = state;
  }

  /** The first holder of an id. */
  static begin(id: string, options: { producerId: number; timeoutMs: number; nowMs: number }): Transaction {
    const { producerId, timeoutMs, nowMs } = options;
    return new Transaction({
      id,
      producerId,
      epoch: 0,
      previous: null,
      timeoutMs,
      phase: "empty",
      changedMs: nowMs,
      ...nothingPending,
    });
  }

  get isOngoing(): boolean {
    return this.state.phase === "ongoing";
  }

  /** Decided, but not everywhere yet. */
  get isPrepared(): boolean {
    return this.state.phase === "prepareCommit" || this.state.phase === "prepareAbort";
  }

  /**
   * InitProducerId: the id goes to who asks. Without `expected` that takes it over; with it only who has it, or had it just before
   * and may not have heard the answer, gets it. An open transaction is aborted first: the step leads to `prepareAbort`, and the
   * question is to be put again once that is complete. `newProducerId` is for when the epochs are used up.
   */
  initialize(
    options: { expected: Holder | null; timeoutMs: number; nowMs: number; newProducerId: () => number },
  ): Step {
    const { expected, timeoutMs, nowMs } = options;
    const { state } = this;
    if (this.isPrepared) return { error: ErrorCode.concurrentTransactions };
    const isHolder = expected !== null && same(expected, state);
    if (this.isOngoing) {
      if (expected !== null && !isHolder) return { error: ErrorCode.producerFenced };
      return { next: this.#fenced(nowMs, { mayComeBack: isHolder }) };
    }
    if (expected !== null && !isHolder) {
      const repeated = state.previous !== null && same(expected, state.previous);
      return repeated ? { next: this } : { error: ErrorCode.producerFenced };
    }
    const next = state.epoch < lastEpoch
      ? { producerId: state.producerId, epoch: state.epoch + 1 }
      : { producerId: options.newProducerId(), epoch: 0 };
    return {
      next: this.#with({ ...next, previous: expected, timeoutMs, phase: "empty", changedMs: nowMs, ...nothingPending }),
    };
  }

  addPartitions(holder: Holder, partitions: readonly TransactionPartition[], nowMs: number): Step {
    const fault = this.#fault(holder);
    if (fault !== 0) return { error: fault };
    if (this.isPrepared) return { error: ErrorCode.concurrentTransactions };
    const added = partitions.filter((partition, at) =>
      !this.#has(partition) && partitions.findIndex((other) => samePartition(other, partition)) === at
    );
    if (added.length === 0 && this.isOngoing) return { next: this };
    return { next: this.#ongoing({ partitions: [...this.state.partitions, ...added] }, nowMs) };
  }

  /** AddOffsetsToTxn: offsets of this group will come. */
  addGroup(holder: Holder, group: string, nowMs: number): Step {
    const fault = this.#fault(holder);
    if (fault !== 0) return { error: fault };
    if (this.isPrepared) return { error: ErrorCode.concurrentTransactions };
    if (this.isOngoing && this.state.groups.includes(group)) return { next: this };
    const groups = this.state.groups.filter((other) => other !== group);
    return { next: this.#ongoing({ groups: [...groups, group] }, nowMs) };
  }

  /** TxnOffsetCommit: a later offset for the same partition takes the place of an earlier one. */
  addOffsets(holder: Holder, offsets: readonly PendingOffset[], nowMs: number): Step {
    const fault = this.#fault(holder);
    if (fault !== 0) return { error: fault };
    if (this.isPrepared) return { error: ErrorCode.concurrentTransactions };
    if (!this.isOngoing || offsets.some(({ group }) => !this.state.groups.includes(group))) {
      return { error: ErrorCode.invalidTxnState };
    }
    const byPlace = new Map([...this.state.offsets, ...offsets].map((offset) => [placeOf(offset), offset]));
    return { next: this.#ongoing({ offsets: [...byPlace.values()] }, nowMs) };
  }

  /**
   * EndTxn: decides. The next state is `this` when the same was decided before, which may not be complete yet.
   */
  end(holder: Holder, commit: boolean, nowMs: number): Step {
    const fault = this.#fault(holder);
    if (fault !== 0) return { error: fault };
    const { phase } = this.state;
    if (phase === "ongoing") {
      return { next: this.#with({ phase: commit ? "prepareCommit" : "prepareAbort", changedMs: nowMs }) };
    }
    const decided = commit ? ["prepareCommit", "completeCommit"] : ["prepareAbort", "completeAbort"];
    return decided.includes(phase) ? { next: this } : { error: ErrorCode.invalidTxnState };
  }

  /** The state after all markers and offsets of a decided transaction are on disk. */
  complete(nowMs: number): Transaction {
    if (!this.isPrepared) throw new Error(`Cannot complete a transaction that is ${this.state.phase}`);
    const phase = this.state.phase === "prepareCommit" ? "completeCommit" : "completeAbort";
    return this.#with({ phase, changedMs: nowMs, ...nothingPending });
  }

  isOverdue(nowMs: number): boolean {
    return this.isOngoing && nowMs - this.state.startedMs >= this.state.timeoutMs;
  }

  /** Aborts the open transaction of a producer that is silent. It is fenced, but may ask for the id with the epoch it has. */
  timeOut(nowMs: number): Transaction {
    if (!this.isOngoing) throw new Error(`Cannot abort a transaction that is ${this.state.phase}`);
    return this.#fenced(nowMs, { mayComeBack: true });
  }

  /** Why a batch may not be appended to a partition as part of the transaction, 0 when it may. */
  produceFault(holder: Holder, partition: TransactionPartition): number {
    if (holder.producerId !== this.state.producerId) return ErrorCode.invalidProducerIdMapping;
    if (holder.epoch !== this.state.epoch) return ErrorCode.invalidProducerEpoch;
    return this.isOngoing && this.#has(partition) ? ErrorCode.none : ErrorCode.invalidTxnState;
  }

  #fault({ producerId, epoch }: Holder): number {
    if (producerId !== this.state.producerId) return ErrorCode.invalidProducerIdMapping;
    return epoch === this.state.epoch ? ErrorCode.none : ErrorCode.producerFenced;
  }

  #has(partition: TransactionPartition): boolean {
    return this.state.partitions.some((other) => samePartition(other, partition));
  }

  #fenced(nowMs: number, { mayComeBack }: { mayComeBack: boolean }): Transaction {
    const { producerId, epoch } = this.state;
    return this.#with({
      epoch: epoch + 1,
      previous: mayComeBack ? { producerId, epoch } : null,
      phase: "prepareAbort",
      changedMs: nowMs,
    });
  }

  #ongoing(added: Partial<TransactionState>, nowMs: number): Transaction {
    const startedMs = this.isOngoing ? this.state.startedMs : nowMs;
    return this.#with({ ...added, phase: "ongoing", startedMs, changedMs: nowMs });
  }

  #with(changed: Partial<TransactionState>): Transaction {
    return new Transaction({ ...this.state, ...changed });
  }
}

function same(a: Holder, b: Holder): boolean {
  return a.producerId === b.producerId && a.epoch === b.epoch;
}

function samePartition(a: TransactionPartition, b: TransactionPartition): boolean {
  return a.index === b.index && a.topicId === b.topicId;
}

function placeOf({ group, topic, partition }: PendingOffset): string {
  return JSON.stringify([group, topic, partition]);
}
