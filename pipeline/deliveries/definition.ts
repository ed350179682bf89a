/**
 * How a delivery is written down: a topic's records, one by one, to places outside.
 *
 * @module
 */
import type { Duration, FieldOf, SchemaReference, Topic } from "../definition.ts";
import type { DeliverySpec } from "./delivery_spec.ts";

export interface DeliveryOptions<S extends SchemaReference = SchemaReference> {
  /** Lower case, digits and `_`; names the delivery in the API, and its consumer group (`tailrace.<name>`). */
  readonly name: string;
  readonly from: Topic<S>;
  /** Fields that say which records are of the same thing, so that a newer one replaces an older; none to keep every record. */
  readonly key?: readonly FieldOf<NoInfer<S>>[];
  readonly to: readonly DeliverySpec[];
  /** Members of the consumer group in this process; 1 unless told. */
  readonly consumers?: number;
  /** A batch goes out when it has so many records (10,000 unless told) .. */
  readonly batchRows?: number;
  /** .. or is so old (1 second unless told). */
  readonly batchEvery?: Duration;
  /** Records per second at most; as fast as it goes unless told. */
  readonly limit?: number;
}

/** A delivery as it was written, not checked yet. */
export interface DeliveryDefinition {
  readonly kind: "delivery";
  readonly name: string;
  readonly from: Topic;
  readonly key?: readonly string[];
  readonly to: readonly DeliverySpec[];
  readonly consumers?: number;
  readonly batchRows?: number;
  readonly batchEvery?: Duration;
  readonly limit?: number;
}

/** Every record of a topic to where it is wanted: what `streams/*.ts` exports by default, where it does not export a pipeline. */
export function delivery<const S extends SchemaReference>(options: DeliveryOptions<S>): DeliveryDefinition {
  return { kind: "delivery", ...options } as unknown as DeliveryDefinition;
}
