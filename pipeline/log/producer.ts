import type { Clock } from "../clock.ts";
import { ConflictError, UnavailableError } from "../errors.ts";
import type { Cluster } from "./cluster.ts";
import { ask, type BrokerConnection } from "./connection.ts";
import { BatchTooLargeError, KafkaCode, kafkaError } from "./kafka_errors.ts";
import { batchCount, stampBatch } from "./record_batch_writer.ts";
import { transactionError } from "./transaction_coordinator.ts";
import type { ProducerIdentity } from "./transaction_requests.ts";
import { WireReader } from "./wire.ts";

export interface ProducerOptions {
  readonly clock: Clock;
  readonly signal: AbortSignal;
  /** -1: every in-sync replica has it on disk or in memory as the broker is set up; 1: the leader wrote it; 0: not waited for. */
  readonly acks: -1 | 0 | 1;
  /** How long a batch is tried again before `send` gives up. Default 30 s. */
  readonly deliveryTimeoutMs?: number;
  /** Batches are parts of transactions that somebody else begins and ends, by this producer under this transactional id. */
  readonly transaction?: { readonly id: string; readonly producer: ProducerIdentity };
}

/** Requests of one partition on their way; brokers remember the last five batches of a producer to tell repeats. */
const LANE_IN_FLIGHT_MAX = 5;
const BACK_OFF_MS = { first: 50, most: 2_000 };

interface Delivery {
  readonly batch: Uint8Array;
  readonly deadline: number;
  readonly resolve: (offset: number) => void;
  readonly reject: (error: Error) => void;
}

/** The batches of one partition, sent in order. */
interface Lane {
  readonly topic: string;
  readonly partition: number;
  readonly queue: Delivery[];
  /** Its own producer id, so that a failure in one partition leaves the sequences of the others alone. */
  identity: ProducerIdentity | null;
  nextSequence: number;
  running: boolean;
}

/**
 * Sends finished record batches, in order within each partition, as an idempotent producer (KIP-98): what is sent again after
 * a lost answer carries the same sequence numbers, so the broker stores it once. With `acks: 0` nothing can be told apart and
 * the sequence is left out.
 */
export class Producer {
  readonly #cluster: Cluster;
  readonly #options: ProducerOptions;
  readonly #lanes = new Map<string, Lane>();
  readonly #leaders = new Map<string, readonly number[]>();

  constructor(cluster: Cluster, options: ProducerOptions) {
    this.#cluster = cluster;
    this.#options = options;
  }

  /** How many partitions the topic has. @throws UnavailableError when it does not exist or no broker answers */
  async partitionCount(topic: string): Promise<number> {
    return (await this.#leadersOf(topic)).length;
  }

  /**
   * Sends one batch from `RecordBatchWriter.finish`; its bytes must stay as they are until this resolves with the offset of
   * its first record. Several calls for a partition may be outstanding; they are stored in the order of the calls.
   *
   * @throws UnavailableError when it was not acknowledged in time: it may or may not be stored
   * @throws TransactionRefusedError when the transaction cannot go on: this producer is of no use any more
   */
  send(topic: string, partition: number, batch: Uint8Array): Promise<number> {
    const name = `${topic}/${partition}`;
    let lane = this.#lanes.get(name);
    if (!lane) {
      this.#lanes.set(name, lane = { topic, partition, queue: [], identity: null, nextSequence: 0, running: false });
    }
    const { clock, deliveryTimeoutMs = 30_000 } = this.#options;
    return new Promise((resolve, reject) => {
      lane.queue.push({ batch, deadline: clock.monotonic() + deliveryTimeoutMs, resolve, reject });
      if (!lane.running) this.#run(lane);
    });
  }

  /** Sends a lane's batches until none is left, starting again from the first unanswered one after a failure. */
  async #run(lane: Lane): Promise<void> {
    const { clock, signal } = this.#options;
    let pauseMs = BACK_OFF_MS.first;
    lane.running = true;
    while (lane.queue.length > 0) {
      const before = lane.queue[0];
      try {
        await this.#deliver(lane);
      } catch (error) {
        if (lane.queue[0] !== before) pauseMs = BACK_OFF_MS.first;
        this.#leaders.delete(lane.topic);
        const gone = signal.aborted || !(error instanceof UnavailableError) ||
          clock.monotonic() >= lane.queue[0].deadline;
        if (gone) {
          // What was sent and not answered leaves a gap or a repeat in the sequence: start a new one.
          lane.identity = null;
          for (const delivery of lane.queue.splice(0)) delivery.reject(error as Error);
          break;
        }
        await clock.sleep(pauseMs, signal).catch(() => {});
        pauseMs = Math.min(2 * pauseMs, BACK_OFF_MS.most);
      }
    }
    lane.running = false;
  }

  /** Sends all the lane has, a few at a time; throws at the first that fails, with that one first in the queue. */
  async #deliver(lane: Lane): Promise<void> {
    const leaders = await this.#leadersOf(lane.topic);
    const connection = await this.#cluster.node(leaders[lane.partition] ?? -1);
    const { acks, transaction, signal } = this.#options;
    if (acks !== 0 && !lane.identity) {
      lane.identity = transaction?.producer ?? await this.#newIdentity();
      lane.nextSequence = 0;
    }
    const { identity } = lane;
    const isTransactional = transaction !== undefined;
    const answers: Promise<number>[] = [];
    let sequence = lane.nextSequence;
    try {
      while (lane.queue.length > 0) {
        // Nothing more of a transaction that was given up; without one, what was taken is brought to its end.
        if (isTransactional) signal.throwIfAborted();
        while (answers.length < Math.min(LANE_IN_FLIGHT_MAX, lane.queue.length)) {
          const { batch } = lane.queue[answers.length];
          stampBatch(
            batch,
            identity
              ? { ...identity, firstSequence: sequence, isTransactional }
              : { id: -1n, epoch: -1, firstSequence: -1 },
          );
          sequence = (sequence + batchCount(batch)) % 2 ** 31;
          const answer = this.#produce(connection, lane, batch);
          answer.catch(() => {}); // awaited in its turn
          answers.push(answer);
        }
        let offset: number;
        try {
          offset = await answers.shift()!;
        } catch (error) {
          if (isTransactional || !(error instanceof BatchTooLargeError)) throw error;
          return await this.#refuseFirst(lane, { error, behind: answers });
        }
        const { batch, resolve } = lane.queue.shift()!;
        lane.nextSequence = (lane.nextSequence + batchCount(batch)) % 2 ** 31;
        resolve(offset);
      }
    } finally {
      await Promise.allSettled(answers);
    }
  }

  /**
   * Gives up the first batch of a lane, which no repeat makes smaller. Of those sent behind it the broker refused what does not
   * follow in the sequence; they stay, for a new sequence. What it took all the same is done.
   */
  async #refuseFirst(
    lane: Lane,
    { error, behind }: { readonly error: Error; readonly behind: readonly Promise<number>[] },
  ): Promise<void> {
    const answers = await Promise.allSettled(behind);
    lane.queue.shift()!.reject(error);
    const sent = lane.queue.splice(0, answers.length);
    sent.forEach(({ resolve }, i) => {
      const answer = answers[i];
      if (answer.status === "fulfilled") resolve(answer.value);
    });
    lane.queue.unshift(...sent.filter((_, i) => answers[i].status === "rejected"));
    lane.identity = null;
  }

  /** Produce, version 7, of one batch. */
  async #produce(connection: BrokerConnection, lane: Lane, batch: Uint8Array): Promise<number> {
    const { acks, transaction } = this.#options;
    const frame = await connection.request(0, 7, (writer) => {
      writer.string(transaction?.id ?? null).int16(acks).int32(30_000);
      writer.arrayLength(1).string(lane.topic).arrayLength(1).int32(lane.partition).int32(batch.length);
    }, { tail: batch, noResponse: acks === 0, timeoutMs: 40_000 });
    if (!frame) return -1;
    try {
      const reader = new WireReader(frame.data, frame.start, frame.end);
      reader.arrayLength();
      reader.string();
      reader.arrayLength();
      reader.int32();
      const code = reader.int16();
      const offset = reader.int64();
      if (code === KafkaCode.duplicateSequence) return offset;
      if (transaction) {
        const error = transactionError(code, `to write to ${lane.topic}/${lane.partition}`);
        if (error) throw error;
      }
      if (code === KafkaCode.outOfOrderSequence || code === KafkaCode.unknownProducerId) {
        // The broker lost track of this producer; under a new identity the batch is taken.
        lane.identity = null;
        throw new UnavailableError(`Kafka does not know the producer of ${lane.topic}/${lane.partition} any more`);
      }
      if (code === KafkaCode.invalidProducerEpoch) throw new ConflictError(`Another producer took over ${lane.topic}`);
      const error = kafkaError(code, `to write to ${lane.topic}/${lane.partition}`);
      if (error) throw error;
      return offset;
    } finally {
      frame.release();
    }
  }

  async #leadersOf(topic: string): Promise<readonly number[]> {
    const known = this.#leaders.get(topic);
    if (known) return known;
    const found = await this.#cluster.leaders(topic);
    if (!found) throw new UnavailableError(`Topic ${topic} does not exist (yet)`);
    this.#leaders.set(topic, found.leaders);
    return found.leaders;
  }

  /** InitProducerId, version 0. */
  async #newIdentity(): Promise<ProducerIdentity> {
    const connection = await this.#cluster.any();
    return await ask(
      connection,
      { apiKey: 22, version: 0, body: (writer) => writer.string(null).int32(60_000) },
      (reader) => {
        reader.int32(); // throttle time
        const error = kafkaError(reader.int16(), "a producer id");
        if (error) throw error;
        return { id: reader.bigint64(), epoch: reader.int16() };
      },
    );
  }
}
