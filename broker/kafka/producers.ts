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
    const expected = sequenceAfter(producer.batches[producer.batches.length - 1][1], 1);
    return first === expected ? store : { refuse: ErrorCode.outOfOrderSequence };
  }

  /** Remembers a batch that was stored at `baseOffset`. */
  add(batch: Batch, baseOffset: number, nowMs: number): void {
    if (batch.producerId < 0) return;
    let producer = this.#producers.get(batch.producerId);
    if (producer === undefined || producer.epoch !== batch.producerEpoch) {
      producer = { epoch: batch.producerEpoch, lastSeenMs: nowMs, batches: [] };
    }
    producer.lastSeenMs = nowMs;
    producer.batches.push([batch.baseSequence, sequenceAfter(batch.baseSequence, batch.offsets - 1), baseOffset]);
    if (producer.batches.length > batchesKept) producer.batches.shift();
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

  /** The state as JSON, good for the log up to `endOffset`. */
  encode(endOffset: number): string {
    return JSON.stringify({ endOffset, producers: [...this.#producers] });
  }

  /** Reads a snapshot; null when there is none or it cannot be one. */
  static decode(text: string): { endOffset: number; producers: Producers } | null {
    let parsed: unknown;
    try {
      parsed = JSON.parse(text);
    } catch {
      return null;
    }
    const snapshot = parsed as { endOffset?: unknown; producers?: unknown } | null;
    if (typeof snapshot?.endOffset !== "number" || !Array.isArray(snapshot.producers)) return null;
    const producers = new Producers();
    for (const [id, producer] of snapshot.producers as [number, Producer][]) producers.#producers.set(id, producer);
    return { endOffset: snapshot.endOffset, producers };
  }
}
