import { ByteWriter } from "../../codec/byte_writer.ts";
import type { SourceRecord } from "../source.ts";
import type { Cells, Origin, Relation } from "./relation.ts";

/** A batch goes out when it has so many records .. */
export const BATCH_RECORDS = 8_192;
/** .. or so many bytes. */
export const BATCH_BYTES = 4 * 1024 * 1024;

const INITIAL_BYTES = 256 * 1024;
const NO_HEADERS: SourceRecord["headers"] = [];
/** Of a truncate, which is about no row; a compacted topic takes no record without a key. */
const NO_ROW = new TextEncoder().encode("{}");

/** Rows before and after, whose values lie in `data`. */
export interface Change {
  readonly data: Uint8Array;
  readonly before: Cells | null;
  readonly after: Cells | null;
}

export interface BatchOptions {
  readonly tombstones: boolean;
  /** Default `BATCH_RECORDS`. */
  readonly batchRecords?: number;
}

/** Collects records; all of them lie in two buffers, which go with the batch. */
export class BatchBuilder {
  readonly #tombstones: boolean;
  readonly #recordsMax: number;
  #values = new ByteWriter(INITIAL_BYTES);
  #keys = new ByteWriter(INITIAL_BYTES >> 3);
  /** Of each record: start and end of its key and its value. */
  #places: number[] = [];
  #topics: string[] = [];
  #times: number[] = [];
  /** Goes to every partition: readers of each have to know. */
  #isEverywhere: boolean[] = [];
  /** The texts of the records' keys, where they are kept; null for a truncate. */
  #texts: ((readonly string[]) | null)[] = [];
  #relations: Relation[] = [];

  constructor({ tombstones, batchRecords = BATCH_RECORDS }: BatchOptions) {
    this.#tombstones = tombstones;
    this.#recordsMax = batchRecords;
  }

  get length(): number {
    return this.#topics.length;
  }

  get isFull(): boolean {
    return this.#topics.length >= this.#recordsMax || this.#values.position + this.#keys.position >= BATCH_BYTES;
  }

  /** What was added since the last `take`, by record: whose it is, and the texts of its key where they were kept. */
  get kept(): { readonly relation: Relation; readonly key: readonly string[] | null }[] {
    return this.#relations.map((relation, i) => ({ relation, key: this.#texts[i] }));
  }

  /** @param keepKey for whoever asks `kept` */
  add(relation: Relation, change: Change, origin: Origin, keepKey = false): void {
    const { data, before, after } = change;
    const row = after ?? before;
    const keyStart = this.#keys.position;
    if (row === null) this.#keys.raw(NO_ROW);
    else relation.writeKey(data, row, this.#keys);
    const valueStart = this.#values.position;
    relation.writeValue(data, change, origin, this.#values);
    const texts = keepKey && row !== null ? relation.keyTexts(data, row) : null;
    this.#push(relation, [keyStart, valueStart, this.#values.position], origin, { isEverywhere: row === null, texts });
    if (origin.op === "d" && this.#tombstones) {
      this.#push(relation, [keyStart, -1, -1], origin, { isEverywhere: false, texts });
    }
  }

  /** The records, in order, without those at the indexes left out. */
  take(leaveOut: ReadonlySet<number> = new Set()): SourceRecord[] {
    const keys = this.#keys.written();
    const values = this.#values.written();
    const records: SourceRecord[] = [];
    for (let i = 0; i < this.#topics.length; i++) {
      if (leaveOut.has(i)) continue;
      const valueStart = this.#places[4 * i + 2];
      const record = {
        key: keys.subarray(this.#places[4 * i], this.#places[4 * i + 1]),
        value: valueStart < 0 ? null : values.subarray(valueStart, this.#places[4 * i + 3]),
        headers: NO_HEADERS,
        timestampMs: this.#times[i],
        topic: this.#topics[i],
      };
      records.push(this.#isEverywhere[i] ? { ...record, partition: "all" } : record);
    }
    if (records.length > 0) {
      this.#keys = new ByteWriter(Math.max(this.#keys.position, 1024));
      this.#values = new ByteWriter(Math.max(this.#values.position, 1024));
    }
    this.#keys.clear();
    this.#values.clear();
    this.#places = [];
    this.#topics = [];
    this.#times = [];
    this.#isEverywhere = [];
    this.#texts = [];
    this.#relations = [];
    return records;
  }

  #push(
    relation: Relation,
    [keyStart, valueStart, valueEnd]: readonly [number, number, number],
    { committedAtMs }: Origin,
    { isEverywhere, texts }: { readonly isEverywhere: boolean; readonly texts: readonly string[] | null },
  ): void {
    this.#places.push(keyStart, this.#keys.position, valueStart, valueEnd);
    this.#topics.push(relation.topic);
    this.#times.push(committedAtMs);
    this.#isEverywhere.push(isEverywhere);
    this.#texts.push(texts);
    this.#relations.push(relation);
  }
}
