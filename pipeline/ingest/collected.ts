/**
 * The records of one request on their way into a transaction.
 *
 * @module
 */
import { ByteWriter } from "../codec/byte_writer.ts";
import { FRAME_BYTES, writeFrame } from "../codec/framing.ts";
import { MalformedRecordError } from "../errors.ts";
import { partitionOf } from "../log/murmur2.ts";
import type { OutgoingRecord } from "../log/publisher.ts";
import type { OutgoingPart } from "../log/transactions.ts";
import { type BulkAnswer, type BulkFault, type BulkLimits, BulkRefusal } from "./bulk.ts";
import type { HeldShare } from "./held_bytes.ts";

/** Values are written one after the other into buffers of this size. */
const SLAB_BYTES = 256 * 1024;
/** What a record takes in memory beside its bytes, about. */
const RECORD_BYTES = 256;
const NO_HEADERS: OutgoingRecord["headers"] = [];

export interface CollectedOptions {
  readonly topic: string;
  readonly partitions: number;
  readonly limits: Pick<BulkLimits, "recordsMax" | "faultsMax" | "faultsSoughtMax">;
  readonly held: HeldShare;
  readonly timestampMs: number;
  /** Where records without a key begin to go round. */
  readonly turn: number;
}

/** Takes records until one is refused; then only what is wrong with the others. */
export class Collected {
  readonly #options: CollectedOptions;
  readonly #faults: BulkFault[] = [];
  #faulty = 0;
  #lists: OutgoingRecord[][];
  #slab = new ByteWriter(SLAB_BYTES);
  #turn: number;
  /** Records that came, refused ones too. */
  count = 0;

  constructor(options: CollectedOptions) {
    this.#options = options;
    this.#turn = options.turn;
    this.#lists = Array.from({ length: options.partitions }, () => []);
  }

  /** `write` writes the value without framing. @throws BulkRefusal when there is no room */
  add(where: string, key: Uint8Array | null, schemaId: number, write: (into: ByteWriter) => void): void {
    this.#came();
    if (this.#slab.position > SLAB_BYTES - SLAB_BYTES / 8) this.#slab = new ByteWriter(SLAB_BYTES);
    const slab = this.#slab;
    const start = slab.position;
    slab.ensure(FRAME_BYTES);
    writeFrame(slab.buffer, start, schemaId);
    slab.position = start + FRAME_BYTES;
    try {
      write(slab);
    } catch (error) {
      if (!(error instanceof MalformedRecordError)) throw error;
      slab.position = start;
      return this.#refuse(where, error.message);
    }
    if (this.#faulty > 0) {
      slab.position = start;
      return;
    }
    const value = slab.buffer.subarray(start, slab.position);
    const { held, partitions, timestampMs } = this.#options;
    held.take(RECORD_BYTES + value.length + (key?.length ?? 0));
    const partition = key ? partitionOf(key, partitions) : this.#turn++ % partitions;
    this.#lists[partition].push({ key, value, headers: NO_HEADERS, timestampMs });
  }

  refuse(where: string, problem: string): void {
    this.#came();
    this.#refuse(where, problem);
  }

  /** The answer for what was refused; null when everything fits. */
  refusal(): BulkAnswer | null {
    return this.#faulty === 0 ? null : this.#refusal(true);
  }

  parts(): OutgoingPart[] {
    const { topic } = this.#options;
    return this.#lists.map((records, partition) => ({ topic, partition, records }))
      .filter(({ records }) => records.length > 0);
  }

  #came(): void {
    const { recordsMax } = this.#options.limits;
    if (++this.count > recordsMax) {
      throw new BulkRefusal({ kind: "too large", problem: `at most ${recordsMax} records` });
    }
  }

  #refuse(where: string, problem: string): void {
    // None of them is written.
    if (this.#faulty++ === 0) this.#lists = [];
    const { faultsMax, faultsSoughtMax } = this.#options.limits;
    if (this.#faults.length < faultsMax) this.#faults.push({ where, problem });
    // To find a fault takes longer than to write a record.
    if (this.#faulty === faultsSoughtMax) throw new BulkRefusal(this.#refusal(false));
  }

  #refusal(isWhole: boolean): BulkAnswer {
    return { kind: "refused", faults: this.#faults, count: this.#faulty, isWhole };
  }
}
