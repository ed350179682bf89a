import { fieldTypes } from "../codec/schema.ts";
import { ConfigError, type Fault } from "../errors.ts";
import { eventTimeField } from "../plan/event_time.ts";
import { FieldSet } from "../plan/field_set.ts";
import { pipelineNameFault, topicNameFault } from "../plan/names.ts";
import type { SchemaMap } from "../plan/schemas.ts";
import { topicSchema } from "../plan/topic_schema.ts";
import { type KnownOptions, unknownOptions } from "../plan/unknown_options.ts";
import { secretNameFaults } from "../secrets.ts";
import type { SourceDefinition } from "./definition.ts";
import { isSourceSpec, sourceKind, type SourcePlan } from "./source_spec.ts";

/** Most partitions a definition can ask for. */
const PARTITIONS_MAX = 1_000;
/** With the source's own name before it, and within Kafka's 249 characters. */
const PREFIX_CHARACTERS_MAX = 100;
const OPTIONS: KnownOptions<SourceDefinition> = {
  name: true,
  from: true,
  to: true,
  into: true,
  key: true,
  limit: true,
};

/**
 * The plan of a source's definition. Schemas it names are looked up in `schemas`.
 *
 * @throws ConfigError with every fault, each naming `source.part`
 */
export async function planSource(definition: SourceDefinition, schemas: SchemaMap): Promise<SourcePlan> {
  const { name, from, limit } = definition;
  const faults: Fault[] = unknownOptions(definition, OPTIONS, "");
  const stream = typeof name === "string" && name !== "" ? name : "source";
  const check = (where: string, problem: string | null) => problem !== null && faults.push({ where, problem });
  check("name", pipelineNameFault(name));
  if (limit !== undefined && !(limit > 0)) check("limit", `${limit} is no number of records per second above 0`);
  const to = target(definition, { schemas, faults });
  const partitions = partitionsOf(definition);
  if (partitions !== null && !(Number.isInteger(partitions) && partitions >= 1 && partitions <= PARTITIONS_MAX)) {
    check("to.partitions", `${partitions} is not a whole number from 1 to ${PARTITIONS_MAX}`);
  }
  const kind = isSourceSpec(from) ? await sourceKind(from) : null;
  if (kind === null) check("from", "say what is read, such as httpPoll({ .. })");
  else if (to !== null && kind.to !== to.kind) {
    check("to", kind.to === "topic" ? `name one topic: topic("..", { .. })` : `it names topics itself: topics("..")`);
  }
  faults.push(...secretNameFaults(from, "from"), ...secretNameFaults(definition.into, "into"));
  const rest = { name, from, into: definition.into ?? null, limitPerSecond: limit ?? null, partitions };
  if (kind !== null && (to === null ? kind.to === "topic" : kind.to === to.kind)) {
    // Without the topic's schema a kind looks at all but the fields it maps.
    faults.push(...kind.check(from, { ...rest, to: to ?? { kind: "topics", prefix: "" } }));
  }
  if (faults.length > 0 || to === null) {
    throw new ConfigError(faults.map(({ where, problem }) => ({ where: `${stream}.${where}`, problem })));
  }
  return { ...rest, to };
}

function partitionsOf({ to }: SourceDefinition): number | null {
  return (to !== undefined && "prefix" in to ? to.partitions : to?.options?.partitions) ?? null;
}

/** Null where there is too little to look at the source with. */
function target(
  { to, key }: SourceDefinition,
  { schemas, faults }: { readonly schemas: SchemaMap; readonly faults: Fault[] },
): SourcePlan["to"] | null {
  const fault = (where: string, problem: string) => {
    faults.push({ where, problem });
    return null;
  };
  if (to !== undefined && "prefix" in to) {
    const { prefix } = to;
    const problem = prefix === "" ? null : topicNameFault(prefix);
    if (problem !== null) return fault("to", problem);
    if (prefix.length > PREFIX_CHARACTERS_MAX) return fault("to", `${prefix} is longer than ${PREFIX_CHARACTERS_MAX}`);
    if (key !== undefined) return fault("key", "a source that names topics itself gives their keys, too: leave it out");
    return { kind: "topics", prefix };
  }
  const problem = topicNameFault(to?.topic);
  if (problem !== null) return fault("to", problem);
  const found = topicSchema(to.options?.schema, { schemas, where: "to" });
  if ("faults" in found) {
    faults.push(...found.faults);
    return null;
  }
  const fields = fieldTypes(found.schema);
  const { eventTime } = to.options;
  if (key !== undefined && !fields.has(key)) {
    fault("key", `${key} is no field of the schema; there are ${[...fields.keys()].join(", ")}`);
  }
  const time = eventTimeField(new FieldSet(found.schema), eventTime);
  if (typeof time === "string") fault("to.eventTime", time);
  return { kind: "topic", topic: to.topic, schema: found.schema, key: key ?? null, eventTime };
}
