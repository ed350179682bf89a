/**
 * How topics of a Kafka cluster are written down as a source.
 *
 * @module
 */
import type { ClusterReference } from "../definition.ts";
import type { SourceSpec } from "../source_spec.ts";

export interface KafkaTopicsOptions {
  /** The topics to read, by name .. */
  readonly topics?: readonly string[];
  /** .. or a regular expression that a whole name matches; topics that come later are found within half a minute. */
  readonly pattern?: string;
  /** The cluster that is read; Tailrace's own unless told. */
  readonly cluster?: ClusterReference;
  /** Where a topic that was not read before begins: `"earliest"` unless told. */
  readonly from?: "earliest" | "latest";
  /**
   * What becomes of the schema ids in values framed as Confluent does: `"translate"` (unless told) registers each schema in the registry
   * of the cluster that is written to, where that is another one, and writes its id there; `"keep"` passes all bytes on.
   */
  readonly schemas?: "translate" | "keep";
  /**
   * Deletes records from the cluster that is read once they are committed in the other, so that its disk holds only what is still to be
   * forwarded. No, unless told: others may read the topics too.
   */
  readonly deleteForwarded?: boolean;
}

/** Checked, and with all that was not told. */
export interface KafkaTopicsSpec extends SourceSpec {
  readonly kind: "kafkaTopics";
  readonly topics: readonly string[] | null;
  readonly pattern: string | null;
  readonly cluster: ClusterReference | null;
  readonly from: "earliest" | "latest";
  readonly schemas: "translate" | "keep";
  readonly deleteForwarded: boolean;
}

/**
 * Records of a Kafka cluster as they are: key, value, headers and timestamp, of each partition in their order. They go to topics of
 * the same names, behind the prefix of `to: topics(..)`.
 */
export function kafkaTopics(options: KafkaTopicsOptions): KafkaTopicsSpec {
  return {
    // What is no option is told when this is checked.
    ...options,
    kind: "kafkaTopics",
    topics: options.topics ?? null,
    pattern: options.pattern ?? null,
    cluster: options.cluster ?? null,
    from: options.from ?? "earliest",
    schemas: options.schemas ?? "translate",
    deleteForwarded: options.deleteForwarded ?? false,
  };
}
