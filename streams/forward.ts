import { kafkaTopics, secret, source, topics } from "../pipeline/mod.ts";

/**
 * Sensor readings on their way to a cluster elsewhere, from a machine whose link is not always there: this broker keeps them until then.
 * Rests until the other cluster's brokers are given: TAILRACE_SECRET_UPSTREAM_BROKERS, and its schema registry,
 * TAILRACE_SECRET_UPSTREAM_REGISTRY. Each machine has a name of its own there: TAILRACE_EDGE. See docs/kafka-to-kafka.md.
 */
export default source({
  name: `forward_${Deno.env.get("TAILRACE_EDGE") ?? "edge"}`,
  from: kafkaTopics({ topics: ["sensor_readings"] }),
  to: topics(),
  into: { brokers: secret("upstream_brokers"), registry: secret("upstream_registry") },
});
