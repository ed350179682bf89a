import { ConfigError, type Fault } from "../errors.ts";
import { PARTITIONS_MAX } from "../plan/compile.ts";
import { parseDuration } from "../plan/durations.ts";
import { eventTimeField } from "../plan/event_time.ts";
import { FieldSet } from "../plan/field_set.ts";
import { pipelineNameFault, topicNameFault } from "../plan/names.ts";
import type { SchemaMap } from "../plan/schemas.ts";
import { topicSchema } from "../plan/topic_schema.ts";
import { type KnownOptions, unknownOptions } from "../plan/unknown_options.ts";
import { secretNameFaults } from "../secrets.ts";
import { deliveryColumns } from "./columns.ts";
import type { DeliveryDefinition } from "./definition.ts";
import { deliveryKind, type DeliveryPlan, isDeliverySpec } from "./delivery_spec.ts";

const DEFAULT_BATCH = { rows: 10_000, everyMs: 1_000 };
/** Most records in a batch: they are in memory twice, as one is read while the one before is written. */
export const BATCH_ROWS_MAX = 100_000;
const BATCH_MS = { least: 10, most: 3_600_000 };
/** Members of a group in one process: each has connections and buffers of its own. */
export const CONSUMERS_MAX = 64;
const OPTIONS: KnownOptions<DeliveryDefinition> = {
  name: true,
  from: true,
  key: true,
  to: true,
  consumers: true,
  batchRows: true,
  batchEvery: true,
  limit: true,
};

/**
 * The plan of a delivery's definition. Schemas it names are looked up in `schemas`.
 *
 * @throws ConfigError with every fault, each naming `delivery.part`
 */
export async function planDelivery(definition: DeliveryDefinition, schemas: SchemaMap): Promise<DeliveryPlan> {
  const { name } = definition;
  const faults: Fault[] = unknownOptions(definition, OPTIONS, "");
  const stream = typeof name === "string" && name !== "" ? name : "delivery";
  const plan = collect(definition, { schemas, faults });
  if (plan !== null) faults.push(...await destinationFaults(plan));
  if (faults.length > 0 || plan === null) {
    throw new ConfigError(faults.map(({ where, problem }) => ({ where: `${stream}.${where}`, problem })));
  }
  return plan;
}

/** Null without destinations. Where the schema or the key has faults, the plan has the columns that are known all the same. */
function collect(
  definition: DeliveryDefinition,
  { schemas, faults }: { readonly schemas: SchemaMap; readonly faults: Fault[] },
): DeliveryPlan | null {
  const { name, from, key = [], to, consumers = 1, limit } = definition;
  const check = (where: string, problem: string | null) => problem !== null && faults.push({ where, problem });
  const whole = (where: string, value: number, most: number) => {
    const isGood = Number.isInteger(value) && value >= 1 && value <= most;
    check(where, isGood ? null : `${value} is not a whole number from 1 to ${most}`);
  };
  check("name", pipelineNameFault(name));
  check("from", topicNameFault(from?.topic));
  if (limit !== undefined && !(limit > 0)) check("limit", `${limit} is no number of records per second above 0`);
  whole("consumers", consumers, CONSUMERS_MAX);
  const partitions = from?.options?.partitions ?? null;
  if (partitions !== null) whole("from.partitions", partitions, PARTITIONS_MAX);
  const batch = batchOf(definition, faults);
  whole("batchRows", batch.rows, BATCH_ROWS_MAX);
  if (!Array.isArray(to) || to.length === 0) check("to", `say where records go, such as jsonFiles("${name}")`);
  const { schema, columns } = columnsOf(definition, { schemas, faults });
  if (!Array.isArray(to)) return null;
  faults.push(...secretNameFaults(to, "to"));
  const limitPerSecond = limit ?? null;
  return { name, topic: from?.topic, schema, key, columns, to, consumers, batch, limitPerSecond, partitions };
}

/** The schema and its columns; with faults, the columns there are without a key, or none. */
function columnsOf(
  { from, key = [] }: DeliveryDefinition,
  { schemas, faults }: { readonly schemas: SchemaMap; readonly faults: Fault[] },
): Pick<DeliveryPlan, "schema" | "columns"> {
  const found = topicSchema(from?.options?.schema, { schemas, where: "from" });
  if ("faults" in found) {
    faults.push(...found.faults);
    return { schema: "null", columns: [] };
  }
  const { schema } = found;
  const time = eventTimeField(new FieldSet(schema), from.options.eventTime);
  if (typeof time === "string") faults.push({ where: "from.eventTime", problem: time });
  if (!Array.isArray(key)) faults.push({ where: "key", problem: `is no list of fields, such as ["id"]` });
  const columns = (key: readonly string[], told: Fault[]) => {
    try {
      return deliveryColumns(schema, { key });
    } catch (error) {
      if (!(error instanceof ConfigError)) throw error;
      told.push(...error.faults);
      return null;
    }
  };
  return { schema, columns: columns(Array.isArray(key) ? key : [], faults) ?? columns([], []) ?? [] };
}

function batchOf({ batchRows, batchEvery }: DeliveryDefinition, faults: Fault[]): DeliveryPlan["batch"] {
  const rows = batchRows ?? DEFAULT_BATCH.rows;
  if (batchEvery === undefined) return { ...DEFAULT_BATCH, rows };
  const everyMs = parseDuration(batchEvery);
  const problem = typeof everyMs === "string"
    ? everyMs
    : everyMs < BATCH_MS.least || everyMs > BATCH_MS.most
    ? `"${batchEvery}" is not between ${BATCH_MS.least} ms and 1 hour`
    : null;
  if (problem !== null) faults.push({ where: "batchEvery", problem });
  return { rows, everyMs: typeof everyMs === "string" ? 0 : everyMs };
}

async function destinationFaults(plan: DeliveryPlan): Promise<Fault[]> {
  const faults: Fault[] = [];
  const claims = new Set<string>();
  for (const [i, spec] of plan.to.entries()) {
    if (!isDeliverySpec(spec)) {
      faults.push({ where: `to[${i}]`, problem: `is no destination: use jsonFiles("..") or another` });
      continue;
    }
    const kind = await deliveryKind(spec);
    const own = kind.check(spec, plan);
    faults.push(...own);
    // A claim is made of what was found to be good.
    if (own.length > 0) continue;
    const claim = kind.claim(spec);
    if (claims.has(claim)) faults.push({ where: `to[${i}]`, problem: `${claim} is there twice` });
    claims.add(claim);
  }
  return faults;
}
