/**
 * Rows as an Arrow stream (the IPC streaming format): the schema, then a record batch for each chunk that DuckDB gives.
 *
 * @module
 */
import { Field, makeData, RecordBatch, RecordBatchStreamWriter, Schema, Struct } from "apache-arrow";
import { arrowColumn } from "./arrow_columns.ts";
import type { RowWriter, WriterOptions } from "./row_writers.ts";

/** As the other writers, but its end has to be waited for: `finished` resolves when all bytes are out. */
export interface ArrowWriter extends RowWriter {
  readonly finished: Promise<void>;
}

export function arrowWriter({ columns, out }: Pick<WriterOptions, "columns" | "out">): ArrowWriter {
  const layouts = columns.map(({ type }) => arrowColumn(type));
  const fields = columns.map(({ name }, i) => new Field(name, layouts[i].type, true));
  const schema = new Schema(fields);
  const writer = new RecordBatchStreamWriter();
  // The writer queues what nobody takes; it is taken while the next chunk is computed.
  const finished = (async () => {
    for await (const bytes of writer) out.bytes(bytes);
  })();
  return {
    finished,
    begin() {
      writer.reset(undefined, schema);
    },
    rows(values, count) {
      const children = values.map((column, i) => layouts[i].data(column));
      const data = makeData({ type: new Struct(fields), length: count, nullCount: 0, children });
      writer.write(new RecordBatch(schema, data));
    },
    end() {
      writer.finish();
      writer.close();
    },
  };
}
