import type { KafkaTopicsSpec } from "./definition.ts";

/** Kafka's rule for names. */
export function isTopicName(name: string): boolean {
  return /^[a-zA-Z0-9._-]{1,249}$/.test(name) && name !== "." && name !== "..";
}

/**
 * Whether a topic is among those of a spec. Never by a pattern: those of Kafka and of Tailrace itself, and those that are written, which
 * begin with `prefix` where both clusters are one.
 */
export function isRead({ topics, pattern }: KafkaTopicsSpec, topic: string, prefix: string | null): boolean {
  if (topics !== null) return topics.includes(topic);
  if (topic.startsWith("__") || topic.startsWith("tailrace.") || topic === "_schemas") return false;
  if (prefix !== null && topic.startsWith(prefix)) return false;
  return new RegExp(`^(?:${pattern})$`).test(topic);
}
