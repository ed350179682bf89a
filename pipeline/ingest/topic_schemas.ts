import { avroType, type AvroValues } from "../codec/avro_values.ts";
import type { Clock } from "../clock.ts";
import { ConfigError, MalformedRecordError } from "../errors.ts";
import type { LatestSchema, RegistryClient } from "../log/registry_client.ts";

/** How long a topic's newest schema is taken to be the newest. */
const SCHEMA_AGE_MS_MAX = 5_000;
/** Topics whose schema is remembered. */
const TOPICS_MAX = 1_000;

/** What values of a topic are written with. */
export type TopicSchema =
  | { readonly kind: "none" }
  | { readonly kind: "unusable"; readonly problem: string }
  | { readonly kind: "schema"; readonly latest: LatestSchema; readonly values: AvroValues };

/**
 * The newest value schema of a topic, and what reads and writes it; asked for again after five seconds.
 *
 * @throws UnavailableError when the registry is away
 */
export function createTopicSchemas(registry: RegistryClient, clock: Clock): (topic: string) => Promise<TopicSchema> {
  const known = new Map<string, { readonly found: TopicSchema; readonly atMs: number }>();
  return async (topic) => {
    const held = known.get(topic);
    if (held && clock.monotonic() - held.atMs < SCHEMA_AGE_MS_MAX) return held.found;
    const found = await readSchema(registry, topic);
    if (known.size >= TOPICS_MAX) known.delete(known.keys().next().value!);
    known.set(topic, { found, atMs: clock.monotonic() });
    return found;
  };
}

async function readSchema(registry: RegistryClient, topic: string): Promise<TopicSchema> {
  try {
    const latest = await registry.latest(`${topic}-value`);
    return latest ? { kind: "schema", latest, values: avroType(latest.schema) } : { kind: "none" };
  } catch (error) {
    if (!(error instanceof MalformedRecordError || error instanceof ConfigError)) throw error;
    return { kind: "unusable", problem: error.message };
  }
}
