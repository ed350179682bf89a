/**
 * From a definition to its plan, with every fault told at once.
 *
 * @module
 */
import type { FieldType } from "../columns.ts";
import type { Definition, Destination, LakeOptions } from "../definition.ts";
import { ConfigError, type Fault } from "../errors.ts";
import { cassandraNameFault, type CassandraTable, ttlSecondsOf } from "../sinks/cassandra/definition.ts";
import { parseDuration } from "./durations.ts";
import { eventTimeField } from "./event_time.ts";
import { FieldSet } from "./field_set.ts";
import { fingerprintOf } from "./fingerprint.ts";
import {
  columnNameFault,
  keyNameFault,
  lakeTableFault,
  pipelineNameFault,
  tableNameFault,
  topicNameFault,
} from "./names.ts";
import { parseExpression } from "./parse_expression.ts";
import {
  type ArchiveSpec,
  type AvroSchema,
  type FlushLimits,
  type Plan,
  type Selected,
  type SinkSpec,
  targetOf,
} from "./plan.ts";
import type { SchemaMap } from "./schemas.ts";
import { AccumulatorSet, selected } from "./select.ts";
import { topicSchema } from "./topic_schema.ts";

const DEFAULT_ALLOWED_LATENESS_MS = 5_000;
const DEFAULT_IDLE_AFTER_MS = 10_000;
/** A topic of which next to nothing can be read is not what the definition was written for. */
const DEFAULT_STOP_AT = { dead: 9_000, of: 10_000 };
const DEFAULT_EMIT_EVERY_MS = 1_000;
const DEFAULT_FLUSH = { everyMs: 60_000, rows: 1_000_000 };
/** Most rows that wait in memory for a flush. */
const FLUSH_ROWS_MAX = 10_000_000;
const TARGET_FAULTS = {
  postgres: tableNameFault,
  kafka: topicNameFault,
  lake: lakeTableFault,
  // Its two names are looked at one by one.
  cassandra: () => null,
};
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
    const archive = this.#archive();
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
      ...(archive === null ? {} : { archive }),
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
    const sinks: SinkSpec[] = [];
    for (const destination of to as readonly Destination[]) {
      const sink = this.#sink(destination);
      if (sink === null) continue;
      const target = targetOf(sink);
      this.#check("to", TARGET_FAULTS[sink.kind](target));
      if (sink.kind === "kafka" && target === from?.topic) {
        this.#fault("to", `kafka("${target}") is the topic that records come from: results would be read as records`);
      }
      const key = `${sink.kind}("${target}")`;
      if (seen.has(key)) this.#fault("to", `${key} is there twice`);
      seen.add(key);
      sinks.push(sink);
    }
    return sinks;
  }

  #sink(destination: Destination): SinkSpec | null {
    switch (destination?.kind) {
      case "postgres":
      case "kafka":
        return destination;
      case "lake":
        if (destination.table !== null) {
          return { kind: "lake", table: destination.table, flush: this.#flush("to", destination.options) };
        }
        this.#fault("to", `name the table: lake("${this.#definition.name}")`);
        return null;
      case "cassandra":
        return this.#cassandra(destination);
      default:
        this.#fault("to", `use postgres("table"), kafka("topic"), lake("table") or cassandra("table")`);
        return null;
    }
  }

  #cassandra({ table, options }: CassandraTable): SinkSpec {
    const { keyspace = null, ttl } = options ?? {};
    this.#check("to", cassandraNameFault(table));
    if (keyspace !== null) this.#check("to.keyspace", cassandraNameFault(keyspace));
    const ttlSeconds = ttlSecondsOf(ttl);
    if (typeof ttlSeconds === "string") this.#fault("to.ttl", ttlSeconds);
    return { kind: "cassandra", table, keyspace, ttlSeconds: typeof ttlSeconds === "string" ? null : ttlSeconds };
  }

  #flush(where: string, options: LakeOptions | undefined): FlushLimits {
    const { flushEvery, flushRows } = options ?? {};
    const rows = flushRows ?? DEFAULT_FLUSH.rows;
    if (!Number.isInteger(rows) || rows < 1 || rows > FLUSH_ROWS_MAX) {
      this.#fault(`${where}.flushRows`, `${rows} is not a whole number from 1 to ${FLUSH_ROWS_MAX}`);
    }
    const everyMs = flushEvery === undefined
      ? DEFAULT_FLUSH.everyMs
      : this.#duration(`${where}.flushEvery`, flushEvery, { least: 100 });
    return { everyMs, rows };
  }

  #archive(): ArchiveSpec | null {
    const { from } = this.#definition;
    const archive = from?.options?.archive;
    if (archive === undefined) return null;
    if (archive?.kind !== "lake") {
      this.#fault("from.archive", `use lake() or lake("table")`);
      return null;
    }
    // A topic's name may have dots and dashes, which would need quotes in every query.
    const table = archive.table ?? String(from.topic).toLowerCase().replace(/[^a-z0-9_]/g, "_");
    this.#check("from.archive", lakeTableFault(table));
    if (this.#definition.to?.some?.((destination) => destination?.kind === "lake" && destination.table === table)) {
      this.#fault("from.archive", `lake("${table}") is the table of the results, too: name another`);
    }
    return { table, flush: this.#flush("from.archive", archive.options) };
  }

  #schema(): AvroSchema | null {
    const found = topicSchema(this.#definition.from?.options?.schema, { schemas: this.#schemas, where: "from" });
    if ("schema" in found) return found.schema;
    for (const { where, problem } of found.faults) this.#fault(where, problem);
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
    const found = eventTimeField(fields, this.#definition.from?.options?.eventTime);
    if (typeof found === "number") return found;
    this.#fault("from.eventTime", found);
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

function keyFault(path: string, type: FieldType): string | null {
  if (type.type === "bytes") return `${path} is bytes, which make no readable key`;
  if (type.type !== "float" && type.type !== "double") return null;
  return `${path} is a ${type.type}: numbers that look equal differ in their last digits, and would be keys of their own`;
}
