import { parseSchema } from "../codec/schema.ts";
import { ConfigError, type Fault } from "../errors.ts";
import type { AvroSchema } from "./plan.ts";
import type { SchemaMap } from "./schemas.ts";

/** The schema that a topic's definition names or holds, or all that is wrong with it; `where` is the topic's place in the definition. */
export function topicSchema(
  reference: AvroSchema | undefined,
  { schemas, where }: { readonly schemas: SchemaMap; readonly where: string },
): { readonly schema: AvroSchema } | { readonly faults: readonly Fault[] } {
  const fault = (problem: string) => ({ faults: [{ where: `${where}.schema`, problem }] });
  if (reference === undefined) {
    return fault(`name the records' schema: topic("..", { schema: "..", eventTime: ".." })`);
  }
  const schema = typeof reference === "string" ? schemas.get(reference) : reference;
  if (schema === undefined) {
    const known = [...schemas.keys()].join(", ") || "none";
    return fault(`there is no schemas/${reference}.avsc; schemas: ${known}`);
  }
  try {
    const { kind } = parseSchema(schema);
    return kind === "record" ? { schema } : fault(`is an Avro ${kind}; a topic's schema must be a record`);
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    return { faults: error.faults.map((one) => ({ ...one, where: `${where}.${one.where}` })) };
  }
}
