/**
 * How a source is written down. As with pipelines, nothing is checked or run here.
 *
 * @module
 */
import type { FieldOf, SchemaReference, Topic } from "../definition.ts";
import type { SecretReference } from "../secrets.ts";
import type { SourceSpec } from "./source_spec.ts";

/** Topics that a source names itself and brings schemas for. */
export interface Topics {
  /** What their names begin with, followed by a dot; empty for nothing. */
  readonly prefix: string;
  /** Partitions to create them with. */
  readonly partitions?: number;
}

/** Where a source that reads several things writes to: `topics("shop")` for `shop.public.products` and its like. */
export function topics(prefix = "", { partitions }: { readonly partitions?: number } = {}): Topics {
  return { prefix, ...(partitions === undefined ? {} : { partitions }) };
}

/** A Kafka cluster other than Tailrace's own, by reference. */
export interface ClusterReference {
  /** `host:port,...` */
  readonly brokers: SecretReference;
  /** Its schema registry; Tailrace's own unless told. */
  readonly registry?: SecretReference;
  readonly ssl?: boolean;
  readonly sasl?: {
    readonly mechanism: "PLAIN" | "SCRAM-SHA-256" | "SCRAM-SHA-512";
    readonly username: SecretReference;
    readonly password: SecretReference;
  };
}

export interface SourceOptions<S extends SchemaReference = SchemaReference> {
  /** Lower case, digits and `_`; names the source in the API, and what is remembered of it. */
  readonly name: string;
  readonly from: SourceSpec;
  /** Where its records go, and how they are written; `topics(..)` for sources that name topics themselves. */
  readonly to: Topic<S> | Topics;
  /** The cluster that is written to; Tailrace's own unless told. */
  readonly into?: ClusterReference;
  /** The field whose value is the record's key; none for records that go round the partitions. */
  readonly key?: FieldOf<NoInfer<S>>;
  /** Records per second at most; as fast as it goes unless told. */
  readonly limit?: number;
}

/** A source as it was written, not checked yet. */
export interface SourceDefinition {
  readonly kind: "source";
  readonly name: string;
  readonly from: SourceSpec;
  readonly to: Topic | Topics;
  readonly into?: ClusterReference;
  readonly key?: string;
  readonly limit?: number;
}

/** Something outside that is read into a topic: what `streams/*.ts` exports by default, where it does not export a pipeline. */
export function source<const S extends SchemaReference>(options: SourceOptions<S>): SourceDefinition {
  return { kind: "source", ...options } as unknown as SourceDefinition;
}
