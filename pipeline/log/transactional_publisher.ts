import { ByteWriter } from "../codec/byte_writer.ts";
import type { Clock } from "../clock.ts";
import { ConflictError, gravest, UnavailableError } from "../errors.ts";
import { recordBatches } from "./record_batches.ts";
import type { Cluster } from "./cluster.ts";
import { KafkaCode } from "./kafka_errors.ts";
import { Producer } from "./producer.ts";
import type { OutgoingRecord } from "./publisher.ts";
import { batchCount, RecordBatchWriter } from "./record_batch_writer.ts";
import { TransactionCoordinator, TransactionRefusedError } from "./transaction_coordinator.ts";
import type { PartitionSet, ProducerIdentity } from "./transaction_requests.ts";
import type { OutgoingPart, TransactionalPublisher } from "./transactions.ts";
import { unlessAborted } from "./unless_aborted.ts";

/** Longer than any write takes, shorter than readers of committed records may be kept waiting by a writer that died. */
const TRANSACTION_TIMEOUT_MS = 60_000;
/** How long a batch is tried again; well within the transaction's time. */
const DELIVERY_TIMEOUT_MS = 25_000;
/** Encoded bytes on their way to the brokers; the rest of a transaction waits as records. */
const OUTSTANDING_BYTES_MAX = 32 * 1024 * 1024;

export interface TransactionalPublisherOptions {
  /** One writer at a time holds it, in the whole cluster. */
  readonly transactionalId: string;
  readonly clock: Clock;
  /** Ends everything that is under way. */
  readonly signal: AbortSignal;
  /** After this the cluster aborts a transaction that was not ended. Default 60 s; brokers allow up to 15 minutes. */
  readonly transactionTimeoutMs?: number;
}

/** A publisher that writes to the topics of the cluster, whose connections it shares. */
export function createTransactionalPublisher(
  cluster: Cluster,
  options: TransactionalPublisherOptions,
): TransactionalPublisher {
  return new LogTransactions(cluster, options);
}

/** The id as this process holds it: one epoch of it, for as long as all goes well. */
interface Holding {
  readonly producer: ProducerIdentity;
  readonly batches: Producer;
  /** Ends what `batches` still has on its way. */
  readonly stop: AbortController;
  /** What was sent and is not answered. */
  readonly outstanding: Set<Promise<unknown>>;
  /**
   * What may be pending at the coordinator:
   *
   *     settled ──begin──▶ open ──all written──▶ deciding ──answer──▶ settled
   *
   * A commit that fails anywhere leaves it where it stands; `claim` takes it from there, and holds another epoch then.
   */
  stage: "settled" | "open" | "deciding";
  /** The coordinator said that the transaction is under way, and nothing was asked since that may have ended it. */
  isSurelyOngoing: boolean;
}

class LogTransactions implements TransactionalPublisher {
  readonly #cluster: Cluster;
  readonly #options: TransactionalPublisherOptions;
  readonly #coordinator: TransactionCoordinator;
  #holding: Holding | null = null;
  #turn: Promise<unknown> = Promise.resolve();

  constructor(cluster: Cluster, options: TransactionalPublisherOptions) {
    this.#cluster = cluster;
    this.#options = options;
    const { transactionalId, clock, transactionTimeoutMs = TRANSACTION_TIMEOUT_MS } = options;
    this.#coordinator = new TransactionCoordinator(cluster, { transactionalId, clock, transactionTimeoutMs });
  }

  async partitionCount(topic: string): Promise<number> {
    const found = await this.#cluster.leaders(topic);
    if (!found) throw new UnavailableError(`Topic ${topic} does not exist (yet)`);
    return found.leaders.length;
  }

  claim(options: { readonly signal: AbortSignal }): Promise<void> {
    return this.#inTurn(options, (signal) => this.#claim(signal));
  }

  commit(parts: readonly OutgoingPart[], options: { readonly signal: AbortSignal }): Promise<readonly number[]> {
    return this.#inTurn(options, (signal) => this.#commit(parts, signal));
  }

  #inTurn<T>(options: { readonly signal: AbortSignal }, work: (signal: AbortSignal) => Promise<T>): Promise<T> {
    const signal = AbortSignal.any([options.signal, this.#options.signal]);
    const turn = this.#turn.then(() => {
      signal.throwIfAborted();
      return work(signal);
    });
    this.#turn = turn.catch(() => {});
    return turn;
  }

  async #claim(signal: AbortSignal): Promise<void> {
    const holding = this.#holding;
    if (holding?.stage === "settled") return;
    if (!holding) {
      this.#hold(await this.#coordinator.initialize(null, signal));
      return;
    }
    holding.stop.abort(new UnavailableError("The transaction was given up"));
    // A write that arrives after the end of its transaction would open another one.
    await unlessAborted(Promise.allSettled(holding.outstanding), signal);
    try {
      await this.#end(holding, holding.stage === "deciding", signal);
    } catch (error) {
      if (!(error instanceof TransactionRefusedError)) throw error;
      // It never began, or it ended otherwise: what follows finds out whose the id is.
    }
    // The next epoch shuts out whatever of this one is still on its way, such as an end asked for twice.
    this.#hold(await this.#nextEpoch(holding, signal));
  }

  /**
   * The producer's next epoch, which the coordinator gives to whoever names the newest one.
   *
   * Where it ended a transaction by itself because its time was over, it has moved on to an epoch that nobody gets. Apache Kafka
   * since 4.0 (KIP-890) still takes the one before for the newest then; earlier ones refuse it as if somebody had taken the id
   * over, but can be asked what happened.
   *
   * @throws ConflictError when somebody else took the id over
   */
  async #nextEpoch({ producer, isSurelyOngoing }: Holding, signal: AbortSignal): Promise<ProducerIdentity> {
    const seen = await this.#coordinator.describe(signal);
    const movedBy = seen?.holder.id === producer.id ? seen.holder.epoch - producer.epoch : null;
    // Even asking would abort the other's transaction.
    if (seen?.state === "Ongoing" && movedBy !== 0) throw this.#conflict(null);
    try {
      return await this.#coordinator.initialize(producer, signal);
    } catch (error) {
      if (!isFencing(error)) throw error;
      const wasEnded = movedBy === 1 && (seen!.state === "PrepareAbort" || seen!.state === "CompleteAbort");
      if (!wasEnded || !isSurelyOngoing) throw this.#conflict(error);
      // Whoever claims an id while a transaction is under way gets the epoch after this one.
      return await this.#coordinator.initialize(seen!.holder, signal).catch((error) => {
        throw isFencing(error) ? this.#conflict(error) : error;
      });
    }
  }

  async #commit(parts: readonly OutgoingPart[], signal: AbortSignal): Promise<readonly number[]> {
    const holding = this.#holding;
    if (!holding) throw new Error("Cannot commit before the transactional id is claimed");
    const { transactionalId } = this.#options;
    if (holding.stage !== "settled") {
      throw new UnavailableError(`How the last transaction of ${transactionalId} ended is not known yet`);
    }
    const partitions = partitionsOf(parts);
    if (partitions.size === 0) return parts.map(() => -1);
    try {
      holding.stage = "open";
      await this.#coordinator.addPartitions(holding.producer, partitions, signal);
      holding.isSurelyOngoing = true;
      const ends = await this.#send(holding, parts, signal);
      holding.stage = "deciding";
      await this.#end(holding, true, signal);
      holding.stage = "settled";
      return ends;
    } catch (error) {
      if (!(error instanceof TransactionRefusedError)) throw error;
      // Fenced, or the transaction's time was over: the claim tells which.
      await this.#claim(signal);
      throw new UnavailableError(`Kafka ended a transaction of ${transactionalId} by itself: ${error.message}`, {
        cause: error,
      });
    }
  }

  async #end(holding: Holding, commit: boolean, signal: AbortSignal): Promise<void> {
    const wasOngoing = holding.isSurelyOngoing;
    holding.isSurelyOngoing = false;
    try {
      await this.#coordinator.end(holding.producer, commit, signal);
    } catch (error) {
      // Refused at the first try, it changed nothing.
      if (error instanceof TransactionRefusedError && !error.isRepeat) holding.isSurelyOngoing = wasOngoing;
      throw error;
    }
  }

  /** Writes the parts, those of different partitions side by side; gives the offset after the last record of each. */
  async #send(holding: Holding, parts: readonly OutgoingPart[], signal: AbortSignal): Promise<number[]> {
    const { outstanding, batches } = holding;
    const ends = parts.map(() => -1);
    const failures: unknown[] = [];
    let bytes = 0;
    for (const { part, index, records } of inTurns(parts)) {
      const batch = encode(records);
      while (outstanding.size > 0 && bytes + batch.length > OUTSTANDING_BYTES_MAX) {
        await unlessAborted(Promise.race(outstanding), signal);
      }
      if (failures.length > 0) break;
      signal.throwIfAborted();
      bytes += batch.length;
      const sent = batches.send(part.topic, part.partition, batch).then((offset) => {
        if (offset < 0) {
          throw new UnavailableError(`Kafka does not say where it wrote in ${part.topic}/${part.partition}`);
        }
        ends[index] = offset + batchCount(batch);
      }).catch((error) => {
        failures.push(error);
      }).finally(() => {
        bytes -= batch.length;
        outstanding.delete(sent);
      });
      outstanding.add(sent);
    }
    while (outstanding.size > 0 && failures.length === 0) await unlessAborted(Promise.race(outstanding), signal);
    if (failures.length > 0) throw gravest(failures);
    return ends;
  }

  #hold(producer: ProducerIdentity): void {
    const { transactionalId, clock, signal, transactionTimeoutMs = TRANSACTION_TIMEOUT_MS } = this.#options;
    const stop = new AbortController();
    this.#holding = {
      producer,
      stop,
      batches: new Producer(this.#cluster, {
        clock,
        signal: AbortSignal.any([signal, stop.signal]),
        acks: -1,
        deliveryTimeoutMs: Math.min(DELIVERY_TIMEOUT_MS, transactionTimeoutMs / 2),
        transaction: { id: transactionalId, producer },
      }),
      outstanding: new Set(),
      stage: "settled",
      isSurelyOngoing: false,
    };
  }

  #conflict(cause: unknown): ConflictError {
    const { transactionalId } = this.#options;
    return new ConflictError(
      `Another process took over the transactional id ${transactionalId}: it runs the same pipeline. ` +
        `This one writes nothing more; stop one of the two.`,
      { cause },
    );
  }
}

/** Whether the refusal can mean that somebody else holds the id. Brokers before 2.7 know only the first of the codes. */
function isFencing(error: unknown): boolean {
  return error instanceof TransactionRefusedError &&
    (error.code === KafkaCode.invalidProducerEpoch || error.code === KafkaCode.producerFenced ||
      error.code === KafkaCode.invalidProducerIdMapping);
}

function partitionsOf(parts: readonly OutgoingPart[]): PartitionSet {
  const partitions = new Map<string, Set<number>>();
  for (const { topic, partition, records } of parts) {
    if (records.length === 0) continue;
    const known = partitions.get(topic);
    if (known) known.add(partition);
    else partitions.set(topic, new Set([partition]));
  }
  return partitions;
}

interface PlannedBatch {
  readonly part: OutgoingPart;
  readonly index: number;
  readonly records: readonly OutgoingRecord[];
}

/** The parts' batches, in order within each partition; one of each partition, then the next of each: all leaders have work. */
function* inTurns(parts: readonly OutgoingPart[]): Generator<PlannedBatch> {
  const planned = parts.map((part, index) => ({ part, index }));
  const partitions = Map.groupBy(planned, ({ part }) => `${part.topic}/${part.partition}`);
  let going = [...partitions.values()].map(batchesOf);
  while (going.length > 0) {
    const next = going.map((batches) => ({ batches, ...batches.next() })).filter(({ done }) => !done);
    for (const { value } of next) yield value;
    going = next.map(({ batches }) => batches);
  }
}

function* batchesOf(parts: readonly Omit<PlannedBatch, "records">[]): Generator<PlannedBatch> {
  for (const { part, index } of parts) {
    for (const records of recordBatches(part.records)) yield { part, index, records };
  }
}

function encode(records: readonly OutgoingRecord[]): Uint8Array {
  const batch = new RecordBatchWriter(new ByteWriter(64 * 1024));
  batch.begin();
  for (const record of records) batch.append(record.timestampMs, record);
  return batch.finish();
}
