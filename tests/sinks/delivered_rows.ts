/**
 * Rows as deliveries give them to sinks.
 *
 * @module
 */
import { deliveryColumns, ORIGIN_COLUMNS } from "../../pipeline/deliveries/columns.ts";
import type { ResultColumn } from "../../pipeline/plan/plan.ts";
import type { ResultRows, ResultValue } from "../../pipeline/sinks/sink.ts";
import type { AvroSchema } from "../../pipeline/plan/plan.ts";

export const START_MS = Date.UTC(2026, 10, 20);

export const PRODUCT: AvroSchema = {
  type: "record",
  name: "Product",
  fields: [
    { name: "id", type: "long" },
    { name: "name", type: "string" },
    { name: "price", type: { type: "bytes", logicalType: "decimal", precision: 10, scale: 2 } },
    { name: "tags", type: { type: "array", items: "string" } },
    { name: "changed", type: ["null", { type: "long", logicalType: "timestamp-micros" }], default: null },
  ],
};

export const PRODUCT_COLUMNS: readonly ResultColumn[] = deliveryColumns(PRODUCT, { key: [] });
export const KEYED_PRODUCT_COLUMNS: readonly ResultColumn[] = deliveryColumns(PRODUCT, { key: ["id"] });

/**
 * Rows at these offsets of a partition; `more` gives the values of fields, by name, of the row with an offset. Of the offsets
 * in `gone` there is only the key.
 */
export function productRows(offsets: readonly number[], options: {
  readonly topic?: string;
  readonly partition?: number;
  readonly columns?: readonly ResultColumn[];
  readonly more?: (offset: number) => Readonly<Record<string, ResultValue>>;
  readonly gone?: readonly number[];
} = {}): ResultRows {
  const { topic = "products", partition = 0, columns = PRODUCT_COLUMNS, more = () => ({}), gone = [] } = options;
  const values: ResultValue[][] = columns.map(() => []);
  for (const offset of offsets) {
    const row: Record<string, ResultValue> = {
      id: offset,
      name: `product ${offset}`,
      price: `${offset % 1000}.50`,
      tags: `["a","${offset % 3}"]`,
      changed: offset % 2 === 0 ? null : (START_MS + offset) * 1000,
      ...more(offset),
      [ORIGIN_COLUMNS[0].name]: partition,
      [ORIGIN_COLUMNS[1].name]: offset,
      [ORIGIN_COLUMNS[2].name]: START_MS + offset,
    };
    columns.forEach(({ name, role }, column) =>
      values[column].push(
        gone.includes(offset) && role !== "key" && !ORIGIN_COLUMNS.some((origin) => origin.name === name)
          ? null
          : row[name],
      )
    );
  }
  const from = offsets[0] ?? 0;
  return {
    columns,
    length: offsets.length,
    values,
    origin: {
      topic,
      partition,
      from,
      to: (offsets.at(-1) ?? from - 1) + 1,
      offsets,
      ...gone.length === 0 ? {} : { tombstones: new Set(gone.map((offset) => offsets.indexOf(offset))) },
    },
  };
}

/** The numbers `[from, to)`. */
export function span(from: number, to: number): number[] {
  return Array.from({ length: to - from }, (_, i) => from + i);
}
