import { gzipSync } from "node:zlib";
import { ByteWriter } from "../../pipeline/codec/byte_writer.ts";
import { createRowEncoder } from "../../pipeline/codec/encode.ts";
import { writeFrame } from "../../pipeline/codec/framing.ts";
import { pipeline, sum, topic, tumbling } from "../../pipeline/definition.ts";
import { count } from "../../pipeline/definition.ts";
import { planOf } from "../../pipeline/plan/compile.ts";
import type { AvroSchema, Plan } from "../../pipeline/plan/plan.ts";
import type { FetchedPart } from "../../pipeline/log/fetcher.ts";
import { batchOf, concat, type TestRecord, withRecords } from "../log/batches.ts";

const fields = [
  { name: "k", type: "string" },
  { name: "v", type: "long" },
  { name: "at", type: ["null", { type: "long", logicalType: "timestamp-millis" }], default: null },
];

/** What the plans of these tests read records as; ids 1 and 2 are two ways of writing it. */
export const SCHEMA: AvroSchema = { type: "record", name: "Event", fields };

/** Writer schemas by id. 3 lacks a field that has no default; 9 is not in the registry. */
export const SCHEMAS: Readonly<Record<number, AvroSchema>> = {
  1: SCHEMA,
  2: { type: "record", name: "Event", fields: [fields[2], { name: "extra", type: "string" }, fields[1], fields[0]] },
  3: { type: "record", name: "Event", fields: [fields[0]] },
};

const encoders = Object.fromEntries(Object.entries(SCHEMAS).map(([id, schema]) => [id, createRowEncoder(schema)]));

export interface Event {
  readonly k: string;
  readonly v: number;
  readonly at: number | null;
}

/** A framed value, written with one of the schemas. */
export function encode(event: Event, schemaId = 1): Uint8Array {
  const out = new ByteWriter();
  out.raw(new Uint8Array(5));
  writeFrame(out.buffer, 0, schemaId);
  const values: Record<string, string | number | null> = { ...event, extra: "x" };
  const { fields, encodeRow } = encoders[schemaId];
  encodeRow(fields.map((name) => values[name]), out);
  return out.written().slice();
}

export function recordOf(value: Uint8Array | null, timestampMs = -1): TestRecord {
  return { timestampMs, key: null, value, headers: [] };
}

/** A batch as fetched; compressed ones take another way through the scanner. */
export function sealed(records: readonly TestRecord[], baseOffset: number, compressed = false): Uint8Array {
  const batch = batchOf(records, baseOffset);
  return compressed ? withRecords(batch, 1, gzipSync(batch.subarray(61))) : batch;
}

/** One partition: batches one after the other, readable from any offset. */
export class PartitionLog {
  readonly #batches: { readonly from: number; readonly to: number; readonly bytes: Uint8Array }[] = [];
  end = 0;

  /** As when the topic is deleted and made anew. */
  clear(): void {
    this.#batches.length = 0;
    this.end = 0;
  }

  append(records: readonly TestRecord[], compressed = false): void {
    this.#batches.push({
      from: this.end,
      to: this.end + records.length,
      bytes: sealed(records, this.end, compressed),
    });
    this.end += records.length;
  }

  /** Up to `batches` batches from the one that holds `offset` on. */
  fetch(partition: number, offset: number, batches: number): FetchedPart {
    const found = this.#batches.filter(({ to }) => to > offset).slice(0, batches);
    const frame = concat(found.map(({ bytes }) => bytes));
    return { partition, frame, start: 0, end: frame.length, fromOffset: offset, highWatermark: this.end };
  }
}

export interface PlanOptions {
  readonly allowedLateness?: `${number}ms`;
  readonly idleAfter?: `${number}ms`;
  readonly emit?: "final" | { readonly every: `${number}ms` };
  readonly where?: string;
  readonly dedupe?: { readonly by: string; readonly within: `${number}ms` };
}

/** Count and sum of `v` by `k` and second. */
export async function eventPlan(options: PlanOptions = {}): Promise<Plan> {
  const { allowedLateness = "1000ms", idleAfter = "5000ms", emit = "final", where, dedupe } = options;
  return await planOf(
    pipeline({
      name: "events",
      from: topic("t", { schema: SCHEMA as Exclude<AvroSchema, string>, eventTime: "at", allowedLateness, idleAfter }),
      ...(where === undefined ? {} : { where }),
      ...(dedupe === undefined ? {} : { dedupe }),
      groupBy: ["k"],
      window: tumbling("1s"),
      select: { n: count(), total: sum("v") },
      emit,
      to: [{ kind: "kafka", topic: "out" }],
    }),
    new Map(),
  );
}
