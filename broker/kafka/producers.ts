/**
 * What idempotent producers have sent to one partition, so that a batch sent twice is stored once and a gap is refused.
 * Source: KIP-98, https://cwiki.apache.org/confluence/x/oYE9Aw; five batches are kept because a producer may have five in flight.
 *
 * @module
 */
import type { Batch } from "./log/batch.ts";
import { ErrorCode } from "./protocol/errors.ts";

const batchesKept = 5;
/** Producers remembered per partition; beyond it the one silent for longest is forgotten. */
export const producersMax = 10_000;
/** A producer silent for a day is forgotten, as in Apache Kafka (`producer.id.expiration.ms`). */
const producerExpiryMs = 24 * 60 * 60 * 1000;

/** [first sequence, last sequence, base offset] of a stored batch. */
type SentBatch = readonly [firstSequence: number, lastSequence: number, baseOffset: number];

interface Producer {
  epoch: number;
  lastSeenMs: number;
  readonly batches: SentBatch[];
}

export type SavedProducers = readonly (readonly [producerId: number, Producer])[];

/** What to do with a batch: store it, answer with the offset it already has, or refuse it with a Kafka error code. */
export type Verdict = { readonly store: true } | { readonly duplicateOf: number } | { readonly refuse: number };

const store: Verdict = { store: true };

/** Sequences go from 0 to 2^31 − 1 and around. */
function sequenceAfter(sequence: number, count: number): number {
  return (sequence + count) % 0x8000_0000;
}

export class Producers {
  readonly #producers = new Map<number, Producer>();

  get size(): number {
    return this.#producers.size;
  }

  check(batch: Batch): Verdict {
    const producer = batch.producerId < 0 ? undefined : this.#producers.get(batch.producerId);
    if (producer === undefined) return store;
    if (batch.producerEpoch < producer.epoch) return { refuse: ErrorCode.invalidProducerEpoch };
    const first = batch.baseSequence;
    if (batch.producerEpoch > producer.epoch) return first === 0 ? store : { refuse: ErrorCode.outOfOrderSequence };
    const last = sequenceAfter(first, batch.offsets - 1);
    const sent = producer.batches.find((sent) => sent[0] === first && sent[1] === last);
    if (sent !== undefined) return { duplicateOf: sent[2] };
    const newest = producer.batches.at(-1);
    // None: a marker was the first that came with this epoch.
    const expected = newest === undefined ? 0 : sequenceAfter(newest[1], 1);
    return first === expected ? store : { refuse: ErrorCode.outOfOrderSequence };
  }

  /** Remembers a batch that was stored at `baseOffset`. A marker has no sequence, but its epoch fences those before it. */
  add(batch: Batch, baseOffset: number, nowMs: number): void {
    if (batch.producerId < 0) return;
    let producer = this.#producers.get(batch.producerId);
    if (producer === undefined && batch.isControl) return;
    if (producer === undefined || producer.epoch !== batch.producerEpoch) {
      producer = { epoch: batch.producerEpoch, lastSeenMs: nowMs, batches: [] };
    }
    producer.lastSeenMs = nowMs;
    if (!batch.isControl) {
      producer.batches.push([batch.baseSequence, sequenceAfter(batch.baseSequence, batch.offsets - 1), baseOffset]);
      if (producer.batches.length > batchesKept) producer.batches.shift();
    }
    // Kept in the order of last use: the first key is the one silent for longest.
    this.#producers.delete(batch.producerId);
    this.#producers.set(batch.producerId, producer);
    if (this.#producers.size > producersMax) this.#producers.delete(this.#producers.keys().next().value!);
  }

  expire(nowMs: number): void {
    for (const [id, producer] of this.#producers) {
      if (nowMs - producer.lastSeenMs < producerExpiryMs) return;
      this.#producers.delete(id);
    }
  }

  /** The state as it is written down. */
  save(): SavedProducers {
    return [...this.#producers];
  }

  static restore(saved: SavedProducers): Producers {
    const producers = new Producers();
    for (const [id, producer] of saved) producers.#producers.set(id, producer);
    return producers;
  }
}
