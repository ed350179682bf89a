/**
 * Topics of a Kafka cluster as a source.
 *
 * @module
 */
import type { Fault } from "../../errors.ts";
import { createRegistryClient } from "../../log/registry_client.ts";
import { type KnownOptions, unknownOptions } from "../../plan/unknown_options.ts";
import type { SourceKind, SourcePlan } from "../source_spec.ts";
import { clusterAddress } from "../cluster_address.ts";
import type { KafkaTopicsSpec } from "./definition.ts";
import { KafkaTopicsSource, TOPICS_MAX } from "./kafka_topics_source.ts";
import { isTopicName } from "./topic_names.ts";

const OPTIONS: KnownOptions<KafkaTopicsSpec> = {
  topics: true,
  pattern: true,
  cluster: true,
  from: true,
  schemas: true,
  deleteForwarded: true,
};

export const kafkaTopicsKind: SourceKind<KafkaTopicsSpec> = {
  to: "topics",
  check,
  describe: ({ topics, pattern, cluster }) => {
    const what = topics === null
      ? `topics like ${pattern}`
      : `topic${topics.length > 1 ? "s" : ""} ${topics.join(", ")}`;
    return cluster === null ? what : `${what} of ${cluster.brokers.secret}`;
  },
  // deno-lint-ignore require-await -- so that what is not set is a rejection
  async open(spec, context) {
    const { plan, secrets, own, registry } = context;
    const from = clusterAddress(spec.cluster, { secrets, own });
    const into = clusterAddress(plan.into, { secrets, own });
    const isTranslated = spec.schemas === "translate" && from.registryUrl !== into.registryUrl;
    return new KafkaTopicsSource({
      spec,
      prefix: prefixOf(plan),
      from,
      into,
      registries: isTranslated ? { from: createRegistryClient({ url: from.registryUrl }), into: registry } : null,
      ensureTopics: context.ensureTopics,
      partitions: plan.partitions,
      clock: context.clock,
      log: context.log,
    });
  },
};

function prefixOf({ to }: SourcePlan): string {
  return to.kind === "topics" && to.prefix !== "" ? `${to.prefix}.` : "";
}

function check(spec: KafkaTopicsSpec, plan: SourcePlan): readonly Fault[] {
  const faults: Fault[] = unknownOptions(spec, OPTIONS, "from");
  const fault = (where: string, problem: string) => void faults.push({ where, problem });
  const { topics, pattern } = spec;
  if ((topics === null) === (pattern === null)) fault("from", "either topics or a pattern is named");
  if (topics !== null) {
    if (topics.length === 0) fault("from.topics", "at least one topic is named");
    if (topics.length > TOPICS_MAX) fault("from.topics", `${topics.length} topics are more than ${TOPICS_MAX}`);
    if (new Set(topics).size < topics.length) fault("from.topics", "a topic is named twice");
    for (const topic of topics) {
      if (!isTopicName(topic)) fault("from.topics", `${JSON.stringify(topic)} is no name of a topic`);
      else if (!isTopicName(prefixOf(plan) + topic)) fault("to", `${prefixOf(plan)}${topic} is no name of a topic`);
    }
  }
  if (pattern !== null) {
    try {
      new RegExp(pattern);
    } catch (error) {
      fault("from.pattern", (error as Error).message);
    }
  }
  if (!["earliest", "latest"].includes(spec.from)) fault("from.from", `is "earliest" or "latest"`);
  if (!["translate", "keep"].includes(spec.schemas)) fault("from.schemas", `is "translate" or "keep"`);
  const isOne = JSON.stringify(spec.cluster) === JSON.stringify(plan.into);
  if (isOne && prefixOf(plan) === "") {
    fault("to", 'topics would be forwarded to themselves: name another cluster (into), or a prefix: topics("copy")');
  }
  return faults;
}
