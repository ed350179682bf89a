import type { Columns } from "../columns.ts";
import type { Records } from "../log/records.ts";

/** Fills columns with the wanted fields of records written with one schema. */
export interface Decoder {
  /**
   * Decodes rows `[from, to)` of `records` (Confluent framing: 0x00, schema id as int32 BE, Avro), replacing what `out`
   * held. A row that does not decode is added to `out.bad` with its reason and takes no row. At most `out.capacity` rows.
   * Costs time and memory bounded by the bytes of the rows, whatever they contain.
   */
  decode(records: Records, from: number, to: number, out: Columns): void;
}
