import { Columns } from "../columns.ts";
import type { Decoder } from "../codec/decoder.ts";
import { schemaIdAt } from "../codec/framing.ts";
import { createDecoder, IncompatibleSchemaError } from "../codec/projection.ts";
import { ConfigError, MalformedRecordError } from "../errors.ts";
import type { RegistryClient } from "../log/registry_client.ts";
import { Records } from "../log/records.ts";
import { unusableReason, WindowAggregate } from "../operators/window_aggregate.ts";
import { compileFilter, type Filter } from "../plan/kernel.ts";
import type { Plan } from "../plan/plan.ts";
import { tumblingStart } from "../windows/tumbling.ts";
import { PartitionWatermark } from "../windows/watermark.ts";

/** What would become of a record if it came now. */
export type Forecast =
  | { readonly fate: "aggregated"; readonly windowStartMs: number; readonly windowEndMs: number }
  | { readonly fate: "filtered"; readonly reason: string }
  | { readonly fate: "dead"; readonly reason: string };

/** Writer schemas whose decoders are kept, per pipeline. */
const DECODERS_MAX = 64;

/** Reads single records as a pipeline would: with its definition, and the schemas as the registry has them now. */
export class Forecaster {
  readonly #plan: Plan;
  readonly #registry: Pick<RegistryClient, "schemaById">;
  readonly #columns: Columns;
  readonly #filter: Filter | null;
  readonly #decoders = new Map<number, Decoder>();

  constructor(plan: Plan, registry: Pick<RegistryClient, "schemaById">) {
    this.#plan = plan;
    this.#registry = registry;
    this.#columns = new Columns(plan.fields.map(({ type }) => type), 1);
    this.#filter = plan.where && compileFilter(plan.where.expression, plan.fields);
  }

  /** @throws UnavailableError when the registry is away */
  async forecast(value: Uint8Array | null, timestampMs: number): Promise<Forecast> {
    if (value === null) return { fate: "filtered", reason: "the value is null" };
    const id = schemaIdAt(value, 0, value.length);
    if (id < 0) return dead("the value does not start with a schema id (0x00 and four bytes)");
    const decoder = this.#decoders.get(id) ?? await this.#makeDecoder(id);
    return "refusal" in decoder ? dead(decoder.refusal) : this.#read(decoder, value, timestampMs);
  }

  #read(decoder: Decoder, value: Uint8Array, timestampMs: number): Forecast {
    const columns = this.#columns;
    decoder.decode(oneRecord(value), 0, 1, columns);
    const selected = columns.length === 0 ? 0 : this.#filter ? this.#filter(columns, new Int32Array(1)) : 1;
    if (columns.bad.length > 0) return dead(columns.bad[0].reason);
    if (selected === 0) return { fate: "filtered", reason: `it is not true that ${this.#plan.where!.sql}` };
    const folded = new WindowAggregate(this.#plan, 1).fold(columns, {
      selection: new Int32Array(1),
      selected: 1,
      watermark: new PartitionWatermark(0),
      timestamps: Float64Array.of(timestampMs),
    });
    if (folded.unusableLength > 0) return dead(unusableReason(folded, 0));
    const { sizeMs, offsetMs } = this.#plan.window;
    const start = tumblingStart(folded.times[0], sizeMs, offsetMs);
    return { fate: "aggregated", windowStartMs: start, windowEndMs: start + sizeMs };
  }

  async #makeDecoder(id: number): Promise<Decoder | { readonly refusal: string }> {
    const writer = await this.#registry.schemaById(id).catch((error) => {
      if (error instanceof MalformedRecordError) return error;
      throw error;
    });
    if (writer === null) return { refusal: `schema id ${id} is not in the registry` };
    if (writer instanceof MalformedRecordError) return { refusal: writer.message };
    try {
      const decoder = createDecoder({ writer, reader: this.#plan.schema, fields: this.#plan.fields });
      if (this.#decoders.size >= DECODERS_MAX) this.#decoders.delete(this.#decoders.keys().next().value!);
      this.#decoders.set(id, decoder);
      return decoder;
    } catch (error) {
      if (error instanceof IncompatibleSchemaError || error instanceof ConfigError) return { refusal: error.message };
      throw error;
    }
  }
}

function dead(reason: string): Forecast {
  return { fate: "dead", reason };
}

function oneRecord(value: Uint8Array): Records {
  const records = new Records(1);
  records.data = value;
  records.view = new DataView(value.buffer, value.byteOffset, value.byteLength);
  records.length = 1;
  records.keyStart[0] = records.keyEnd[0] = -1;
  records.valueEnd[0] = value.length;
  return records;
}
