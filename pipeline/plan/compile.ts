/**
 * From a definition to its plan, with every fault told at once.
 *
 * @module
 */
import { parseSchema } from "../codec/schema.ts";
import type { FieldType } from "../columns.ts";
import type { Definition, Destination } from "../definition.ts";
import { ConfigError, type Fault } from "../errors.ts";
import { parseDuration } from "./durations.ts";
import { FieldSet } from "./field_set.ts";
import { fingerprintOf } from "./fingerprint.ts";
import { columnNameFault, keyNameFault, pipelineNameFault, tableNameFault, topicNameFault } from "./names.ts";
import { parseExpression } from "./parse_expression.ts";
import type { AvroSchema, Plan, Selected, SinkSpec } from "./plan.ts";
import type { SchemaMap } from "./schemas.ts";
import { AccumulatorSet, selected } from "./select.ts";
import { showType } from "./sql_types.ts";

const DEFAULT_ALLOWED_LATENESS_MS = 5_000;
const DEFAULT_IDLE_AFTER_MS = 10_000;
/** A topic of which next to nothing can be read is not what the definition was written for. */
const DEFAULT_STOP_AT = { dead: 9_000, of: 10_000 };
const DEFAULT_EMIT_EVERY_MS = 1_000;
/** Most partitions a definition can ask for. */
export const PARTITIONS_MAX = 1_000;

/**
 * The plan of a definition. Schemas it names are looked up in `schemas`.
 *
 * @throws ConfigError with every fault, each naming `pipeline.part`, the field and its type
 */
export async function planOf(definition: Definition, schemas: SchemaMap): Promise<Plan> {
  return await new Planner(definition, schemas).plan();
}

class Planner {
  readonly #definition: Definition;
  readonly #schemas: SchemaMap;
  readonly #faults: Fault[] = [];

  constructor(definition: Definition, schemas: SchemaMap) {
    this.#definition = definition;
    this.#schemas = schemas;
  }

  async plan(): Promise<Plan> {
    const { name, from } = this.#definition;
    this.#check("name", pipelineNameFault(name));
    this.#check("from", topicNameFault(from?.topic));
    const window = this.#window();
    const timing = this.#timing();
    const sinks = this.#sinks();
    const schema = this.#schema();
    if (schema === null) throw new ConfigError(this.#faults);
    const fields = new FieldSet(schema);
    const groupBy = this.#groupBy(fields);
    const eventTime = this.#eventTime(fields);
    const { select, accumulators } = this.#select(fields);
    const where = await this.#where(fields);
    const dedupe = this.#dedupe(fields);
    const deadLetters = this.#deadLetters();
    this.#distinctColumns([...groupBy, ...select]);
    if (this.#faults.length > 0) throw new ConfigError(this.#faults);
    const plan = {
      name,
      topic: from.topic,
      schema,
      fields: fields.fields,
      eventTime,
      ...timing,
      where,
      dedupe,
      deadLetters,
      groupBy,
      window,
      accumulators,
      select,
      sinks,
    };
    return { ...plan, fingerprint: await fingerprintOf(plan) };
  }

  #fault(where: string, problem: string): void {
    const { name } = this.#definition;
    const stream = typeof name === "string" && name !== "" ? name : "pipeline";
    this.#faults.push({ where: where === "" ? stream : `${stream}.${where}`, problem });
  }

  #check(where: string, problem: string | null): void {
    if (problem !== null) this.#fault(where, problem);
  }

  /** Milliseconds of a duration of at least `least`; 0 where it has a fault. */
  #duration(where: string, text: unknown, { least }: { readonly least: number }): number {
    const ms = parseDuration(text);
    if (typeof ms === "string") this.#fault(where, ms);
    else if (ms < least) this.#fault(where, `"${text}" is too short: ${least} ms is the least`);
    return typeof ms === "string" ? 0 : ms;
  }

  #window(): Plan["window"] {
    const { window } = this.#definition;
    if (window?.kind !== "tumbling") this.#fault("window", `use tumbling("1 minute")`);
    return { kind: "tumbling", sizeMs: this.#duration("window", window?.size, { least: 1 }), offsetMs: 0 };
  }

  #timing(): Pick<Plan, "allowedLatenessMs" | "idleAfterMs" | "emitEveryMs" | "partitions"> {
    const { from, emit } = this.#definition;
    const { allowedLateness, idleAfter, partitions } = from?.options ?? {};
    const validPartitions = partitions === undefined ||
      (Number.isInteger(partitions) && partitions >= 1 && partitions <= PARTITIONS_MAX);
    if (!validPartitions) {
      this.#fault("from.partitions", `${partitions} is not a whole number from 1 to ${PARTITIONS_MAX}`);
    }
    return {
      allowedLatenessMs: allowedLateness === undefined
        ? DEFAULT_ALLOWED_LATENESS_MS
        : this.#duration("from.allowedLateness", allowedLateness, { least: 0 }),
      idleAfterMs: idleAfter === undefined
        ? DEFAULT_IDLE_AFTER_MS
        : this.#duration("from.idleAfter", idleAfter, { least: 1 }),
      emitEveryMs: emit === undefined
        ? DEFAULT_EMIT_EVERY_MS
        : emit === "final"
        ? null
        : this.#duration("emit.every", emit?.every, { least: 10 }),
      ...(partitions === undefined ? {} : { partitions }),
    };
  }

  #sinks(): SinkSpec[] {
    const { to, from } = this.#definition;
    if (!Array.isArray(to) || to.length === 0) {
      this.#fault("to", `results go nowhere: name at least one, such as postgres("table") or kafka("topic")`);
      return [];
    }
    const seen = new Set<string>();
    for (const destination of to as readonly Destination[]) {
      if (destination?.kind !== "postgres" && destination?.kind !== "kafka") {
        this.#fault("to", `use postgres("table") or kafka("topic")`);
        continue;
      }
      const target = destination.kind === "postgres" ? destination.table : destination.topic;
      this.#check("to", destination.kind === "postgres" ? tableNameFault(target) : topicNameFault(target));
      if (destination.kind === "kafka" && target === from?.topic) {
        this.#fault("to", `kafka("${target}") is the topic that records come from: results would be read as records`);
      }
      const key = `${destination.kind}("${target}")`;
      if (seen.has(key)) this.#fault("to", `${key} is there twice`);
      seen.add(key);
    }
    return [...to];
  }

  #schema(): AvroSchema | null {
    const reference: AvroSchema | undefined = this.#definition.from?.options?.schema;
    if (reference === undefined) {
      this.#fault("from.schema", `name the records' schema: topic("..", { schema: "..", eventTime: ".." })`);
      return null;
    }
    const schema = typeof reference === "string" ? this.#schemas.get(reference) : reference;
    if (schema === undefined) {
      const known = [...this.#schemas.keys()].join(", ") || "none";
      this.#fault("from.schema", `there is no schemas/${reference}.avsc; schemas: ${known}`);
      return null;
    }
    try {
      const { kind } = parseSchema(schema);
      if (kind === "record") return schema;
      this.#fault("from.schema", `is an Avro ${kind}; a topic's schema must be a record`);
    } catch (error) {
      if (!(error instanceof ConfigError)) throw error;
      for (const { where, problem } of error.faults) this.#fault(`from.${where}`, problem);
    }
    return null;
  }

  #groupBy(fields: FieldSet): Plan["groupBy"] {
    const { groupBy } = this.#definition;
    if (!Array.isArray(groupBy)) {
      this.#fault("groupBy", "list the fields that make the key; [] gives one result per window");
      return [];
    }
    const key: { name: string; field: number }[] = [];
    for (const path of groupBy as readonly string[]) {
      const found = fields.find(String(path));
      if (typeof found === "string") {
        this.#fault("groupBy", found);
        continue;
      }
      this.#check("groupBy", keyFault(path, found.type));
      this.#check("groupBy", keyNameFault(path.replaceAll(".", "_")));
      // A nested field's dots would need quotes in every query on the result.
      key.push({ name: path.replaceAll(".", "_"), field: found.field });
    }
    return key;
  }

  #dedupe(fields: FieldSet): Plan["dedupe"] {
    const { dedupe } = this.#definition;
    if (dedupe === undefined || dedupe === null) return null;
    const withinMs = this.#duration("dedupe.within", dedupe.within, { least: 1 });
    const found = fields.find(String(dedupe.by));
    if (typeof found === "string") {
      this.#fault("dedupe.by", found);
      return null;
    }
    this.#check("dedupe.by", keyFault(dedupe.by, found.type));
    return { field: found.field, withinMs };
  }

  #deadLetters(): Plan["deadLetters"] {
    const stopAt = this.#definition.deadLetters?.stopAt ?? DEFAULT_STOP_AT;
    if (stopAt === "never") return null;
    const { dead, of } = stopAt;
    const isValid = [dead, of].every((count) => Number.isSafeInteger(count) && count >= 1) && dead <= of;
    if (!isValid) {
      this.#fault(
        "deadLetters.stopAt",
        `write how many of the last how many records, such as { dead: 10, of: 100 }, or "never"`,
      );
    }
    return { dead, of };
  }

  #eventTime(fields: FieldSet): number {
    const path = this.#definition.from?.options?.eventTime;
    if (typeof path !== "string") {
      this.#fault("from.eventTime", "name the field that says when a record happened");
      return 0;
    }
    const found = fields.find(path);
    if (typeof found === "string") {
      this.#fault("from.eventTime", found);
      return 0;
    }
    if (isEventTime(found.type)) return found.field;
    const others = fields.like(isEventTime);
    const problem = `${path} is a ${
      showType(found.type)
    }, not a timestamp, date or long (milliseconds); those are: ${others}`;
    this.#fault("from.eventTime", problem);
    return 0;
  }

  #select(fields: FieldSet): { select: Selected[]; accumulators: Plan["accumulators"] } {
    const accumulators = new AccumulatorSet();
    const select: Selected[] = [];
    const entries = Object.entries(this.#definition.select ?? {});
    if (entries.length === 0) this.#fault("select", "select at least one result, such as { n: count() }");
    for (const [name, aggregation] of entries) {
      this.#check(`select.${name}`, columnNameFault(name));
      const column = selected({ name, aggregation: aggregation ?? {} }, { fields, accumulators });
      if (typeof column === "string") this.#fault(`select.${name}`, column);
      else select.push(column);
    }
    return { select, accumulators: accumulators.accumulators };
  }

  async #where(fields: FieldSet): Promise<Plan["where"]> {
    const { where } = this.#definition;
    if (where === undefined || where === null) return null;
    if (typeof where !== "string") {
      this.#fault("where", `is not text: write the condition as SQL, such as "amount > 0"`);
      return null;
    }
    const parsed = await parseExpression(where, (path) => fields.find(path));
    if ("expression" in parsed) return { sql: where, expression: parsed.expression };
    for (const problem of parsed.problems) this.#fault("where", problem);
    return null;
  }

  /** Column names fold to lower case in SQL, so they must differ by more than that. */
  #distinctColumns(columns: readonly { readonly name: string }[]): void {
    const seen = new Set<string>();
    for (const { name } of columns) {
      if (seen.has(name.toLowerCase())) this.#fault("select", `two result columns are called "${name}"`);
      seen.add(name.toLowerCase());
    }
  }
}

function isEventTime({ type }: FieldType): boolean {
  return type === "timestamp-millis" || type === "timestamp-micros" || type === "date" || type === "long";
}

function keyFault(path: string, type: FieldType): string | null {
  if (type.type === "bytes") return `${path} is bytes, which make no readable key`;
  if (type.type !== "float" && type.type !== "double") return null;
  return `${path} is a ${type.type}: numbers that look equal differ in their last digits, and would be keys of their own`;
}
