/** The race's transactions as decoded columns in memory. @module */
import { createDecoder } from "../../pipeline/codec/projection.ts";
import { Columns } from "../../pipeline/columns.ts";
import { BatchScanner } from "../../pipeline/log/record_batch.ts";
import { Records } from "../../pipeline/log/records.ts";
import { BLOCK_ROWS_MAX } from "../../pipeline/sinks/lake/columns/block_column.ts";
import type { ColumnField } from "../../pipeline/sinks/lake/columns/held_columns.ts";
import { deltaField, deltaSchema, deltaTypeOf } from "../../pipeline/sinks/lake/delta/schema.ts";
import type { DeltaSchema } from "../../pipeline/sinks/lake/delta/table.ts";
import { batchesInMemory } from "../memory.ts";
import { SCHEMA } from "../workload.ts";

const REQUIRED = { nullable: false } as const;
export const FIELDS: readonly ColumnField[] = [
  { name: "transaction_id", type: { type: "long", ...REQUIRED } },
  { name: "account_id", type: { type: "string", ...REQUIRED } },
  { name: "merchant", type: { type: "string", ...REQUIRED } },
  { name: "category", type: { type: "string", ...REQUIRED } },
  { name: "amount", type: { type: "double", ...REQUIRED } },
  { name: "currency", type: { type: "string", ...REQUIRED } },
  { name: "event_time", type: { type: "timestamp-millis", ...REQUIRED } },
];

export const TRANSACTION_SCHEMA: DeltaSchema = deltaSchema(
  FIELDS.map(({ name, type }) => deltaField(name, deltaTypeOf(type))),
);

/** Decoded columns, a batch after the other; their texts lie in the log's bytes. */
export interface ColumnRows {
  readonly batches: readonly Columns[];
  readonly length: number;
}

export function columnRows(count: number): ColumnRows {
  const frame = batchesInMemory(count);
  const fields = FIELDS.map(({ name, type }) => ({ path: name, type }));
  const decoder = createDecoder({ writer: SCHEMA, reader: SCHEMA, fields });
  const records = new Records(BLOCK_ROWS_MAX);
  const scanner = new BatchScanner({ decompressedBytesMax: 1 });
  const batches: Columns[] = [];
  let length = 0;
  scanner.start(frame, { start: 0, end: frame.length, fromOffset: 0 });
  while (scanner.scan(records)) {
    const columns = new Columns(fields.map(({ type }) => type), records.length);
    decoder.decode(records, 0, records.length, columns);
    batches.push(columns);
    length += columns.length;
  }
  return { batches, length };
}
