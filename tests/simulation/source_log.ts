import { gzipSync } from "node:zlib";
import { createRowEncoder } from "../../pipeline/codec/encode.ts";
import { ByteWriter } from "../../pipeline/codec/byte_writer.ts";
import { writeFrame } from "../../pipeline/codec/framing.ts";
import type { FetchedPart } from "../../pipeline/log/fetcher.ts";
import type { AvroSchema } from "../../pipeline/plan/plan.ts";
import { batchOf, concat, type TestRecord, withRecords } from "../log/batches.ts";

/** What the simulated pipelines read. */
export const SCHEMA = {
  type: "record",
  name: "Event",
  fields: [
    { name: "k", type: "string" },
    { name: "v", type: "long" },
    { name: "at", type: ["null", { type: "long", logicalType: "timestamp-millis" }], default: null },
    { name: "id", type: ["null", "string"], default: null },
  ],
} as const satisfies AvroSchema;

/** The registry: 2 lacks a field without a default, so nothing written with it can be read; 9 is not there. */
export const SCHEMAS: Readonly<Record<number, AvroSchema>> = {
  1: SCHEMA,
  2: { type: "record", name: "Event", fields: [SCHEMA.fields[0], SCHEMA.fields[2]] },
};

export interface Event {
  readonly k: string;
  readonly v: number;
  readonly at: number | null;
  readonly id: string | null;
}

/** What whoever wrote a record knows about it: the truth that the engine has to find in its bytes. */
export interface Told {
  /** Null: nothing can be read of it. */
  readonly event: Event | null;
  /** No value at all, which marks a deleted key. */
  readonly isTombstone: boolean;
  readonly record: TestRecord;
  /** A record that came back: the offset of its original, and whose it was. */
  readonly back: { readonly source: number; readonly pipeline: string | null } | null;
}

const encoder = createRowEncoder(SCHEMA);

/** A framed value. */
export function encodeEvent({ k, v, at, id }: Event): Uint8Array {
  const out = new ByteWriter(64);
  out.raw(new Uint8Array(5));
  writeFrame(out.buffer, 0, 1);
  encoder.encodeRow([k, v, at, id], out);
  return out.written().slice();
}

interface Batch {
  readonly from: number;
  readonly to: number;
  readonly bytes: Uint8Array;
}

/** One partition of the topic that is read: batches as a broker holds them, and the truth about each record. */
export class SourcePartition {
  readonly told: Told[] = [];
  readonly #batches: Batch[] = [];

  get end(): number {
    return this.told.length;
  }

  append(told: readonly Told[], isCompressed: boolean): void {
    const from = this.end;
    const batch = batchOf(told.map(({ record }) => record), from);
    const bytes = isCompressed ? withRecords(batch, 1, gzipSync(batch.subarray(61))) : batch;
    this.#batches.push({ from, to: from + told.length, bytes });
    this.told.push(...told);
  }

  /** Up to `batches` batches from the one that holds `offset` on. */
  fetch(partition: number, offset: number, batches: number): FetchedPart {
    let first = this.#batches.length;
    while (first > 0 && this.#batches[first - 1].to > offset) first--;
    const found = this.#batches.slice(first, first + batches);
    const frame = concat(found.map(({ bytes }) => bytes));
    return { partition, frame, start: 0, end: frame.length, fromOffset: offset, highWatermark: this.end };
  }
}
