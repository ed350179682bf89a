import type { Clock } from "../clock.ts";
import { ConfigError, MalformedRecordError, UnavailableError } from "../errors.ts";
import type { Cluster } from "./cluster.ts";
import type { BrokerConnection } from "./connection.ts";
import { KafkaCode, kafkaError } from "./kafka_errors.ts";
import {
  addPartitions,
  type Address,
  type Answer,
  describeTransaction,
  endTransaction,
  findCoordinator,
  initProducerId,
  type PartitionSet,
  type ProducerIdentity,
  TRANSACTION,
  type TransactionState,
} from "./transaction_requests.ts";
import { unlessAborted } from "./unless_aborted.ts";

/** How long a request is tried again before the coordinator counts as away. */
const TRY_FOR_MS = 30_000;
const BACK_OFF_MS = { first: 20, most: 1_000 };

/** Codes after which somebody else has to be asked. */
const ELSEWHERE: ReadonlySet<number> = new Set([
  KafkaCode.coordinatorLoading,
  KafkaCode.coordinatorNotAvailable,
  KafkaCode.notCoordinator,
]);
/** Codes that pass by themselves in a moment; a topic that is missing, say, does not. */
const LATER: ReadonlySet<number> = new Set([...ELSEWHERE, KafkaCode.requestTimedOut, KafkaCode.concurrentTransactions]);
/** Codes about the producer or its transaction: a repeat gets the same answer. */
const ABOUT_TRANSACTION: ReadonlySet<number> = new Set([
  KafkaCode.outOfOrderSequence,
  KafkaCode.invalidProducerEpoch,
  KafkaCode.invalidTransactionState,
  KafkaCode.invalidProducerIdMapping,
  KafkaCode.unknownProducerId,
  KafkaCode.producerFenced,
  KafkaCode.transactionAbortable,
]);

/** The cluster refused because of the producer's or the transaction's state: it cannot go on as it is. */
export class TransactionRefusedError extends Error {
  override readonly name = "TransactionRefusedError";
  readonly code: number;
  /** Whether an earlier try of the same request got no answer: then it may have been carried out. */
  readonly isRepeat: boolean;

  constructor(message: string, { code, isRepeat = false }: { readonly code: number; readonly isRepeat?: boolean }) {
    super(message);
    this.code = code;
    this.isRepeat = isRepeat;
  }
}

/** The error for a code answered to a transactional producer; null for code 0. */
export function transactionError(code: number, doing: string, isRepeat = false): Error | null {
  const error = kafkaError(code, doing);
  return error && ABOUT_TRANSACTION.has(code) ? new TransactionRefusedError(error.message, { code, isRepeat }) : error;
}

export interface CoordinatorOptions {
  readonly transactionalId: string;
  readonly clock: Clock;
  /** After this long without an end, the coordinator aborts a transaction. */
  readonly transactionTimeoutMs: number;
}

/**
 * The broker that keeps a transactional id's state, wherever it is at the moment. Requests are tried again, with growing pauses,
 * where the answer got lost or says "later"; all of them may be repeated (KIP-98, KIP-360).
 *
 * All methods throw
 * - UnavailableError when there is no final answer in time: whether it was carried out is unknown,
 * - TransactionRefusedError when the producer or its transaction is not what the coordinator knows,
 * - ConfigError when the user may not use the transactional id or a topic,
 * - the signal's reason when it ends the waiting.
 */
export class TransactionCoordinator {
  readonly #cluster: Cluster;
  readonly #options: CoordinatorOptions;
  #address: Address | null = null;

  constructor(cluster: Cluster, options: CoordinatorOptions) {
    this.#cluster = cluster;
    this.#options = options;
  }

  /** Without `known`, takes the id over; with it, goes on with the next epoch, refused when somebody else took the id over. */
  initialize(known: ProducerIdentity | null, signal: AbortSignal): Promise<ProducerIdentity> {
    const { transactionalId, transactionTimeoutMs: timeoutMs } = this.#options;
    return this.#ask("a producer id", signal, (c) => initProducerId(c, { transactionalId, timeoutMs, known }));
  }

  /** Makes the partitions a part of the transaction, which begins with this where none is open. */
  async addPartitions(producer: ProducerIdentity, partitions: PartitionSet, signal: AbortSignal): Promise<void> {
    const { transactionalId } = this.#options;
    const topics = [...partitions.keys()].join(", ");
    const send = (c: BrokerConnection) => addPartitions(c, { transactionalId, producer, partitions });
    await this.#ask(`a transaction that writes to ${topics}`, signal, send);
  }

  /** Decides the transaction. Asking again for the same end is harmless. */
  async end(producer: ProducerIdentity, commit: boolean, signal: AbortSignal): Promise<void> {
    const { transactionalId } = this.#options;
    const send = (c: BrokerConnection) => endTransaction(c, { transactionalId, producer, commit });
    await this.#ask(`to ${commit ? "commit" : "abort"} a transaction`, signal, send);
  }

  /** What the coordinator knows of the id; null where it does not tell. Changes nothing. */
  async describe(signal: AbortSignal): Promise<TransactionState | null> {
    const send = (c: BrokerConnection) => describeTransaction(c, this.#options.transactionalId);
    try {
      return await this.#ask("to describe a transaction", signal, send);
    } catch (error) {
      // Not allowed to look is not forbidden to write.
      if (error instanceof ConfigError) return null;
      throw error;
    }
  }

  async #ask<T>(
    doing: string,
    signal: AbortSignal,
    send: (connection: BrokerConnection) => Promise<Answer<T>>,
  ): Promise<T> {
    const { clock, transactionalId } = this.#options;
    const what = `${doing} for the transactional id ${transactionalId}`;
    const giveUpAt = clock.monotonic() + TRY_FOR_MS;
    let pauseMs = BACK_OFF_MS.first;
    let isRepeat = false;
    for (;;) {
      signal.throwIfAborted();
      const answer = await this.#answer(send, signal);
      let failure: Error;
      if (answer instanceof Error) {
        isRepeat = true;
        failure = answer;
      } else {
        const refused = transactionError(answer.code, what, isRepeat);
        if (!refused) return answer.value;
        if (!LATER.has(answer.code)) throw refused;
        failure = refused;
      }
      if (answer instanceof Error || ELSEWHERE.has(answer.code)) this.#address = null;
      if (clock.monotonic() + pauseMs >= giveUpAt) throw new UnavailableError(failure.message, { cause: failure });
      await clock.sleep(pauseMs, signal);
      pauseMs = Math.min(2 * pauseMs, BACK_OFF_MS.most);
    }
  }

  /** One try: what was answered, or why no answer came. */
  async #answer<T>(
    send: (connection: BrokerConnection) => Promise<Answer<T>>,
    signal: AbortSignal,
  ): Promise<Answer<T> | Error> {
    try {
      return await unlessAborted(this.#connection().then(send), signal);
    } catch (error) {
      if (!signal.aborted && (error instanceof UnavailableError || error instanceof MalformedRecordError)) return error;
      throw error;
    }
  }

  async #connection(): Promise<BrokerConnection> {
    if (!this.#address) {
      const { transactionalId } = this.#options;
      const { code, value } = await findCoordinator(await this.#cluster.any(), {
        key: transactionalId,
        type: TRANSACTION,
      });
      const error = kafkaError(code, `to say who coordinates the transactional id ${transactionalId}`);
      if (error) throw error;
      this.#address = value;
    }
    return await this.#cluster.at(this.#address.host, this.#address.port);
  }
}
