/**
 * A PostgreSQL's changes as a source.
 *
 * @module
 */
import type { Fault } from "../../errors.ts";
import { parseDuration } from "../../plan/durations.ts";
import { topicNameFault } from "../../plan/names.ts";
import { type KnownOptions, unknownOptions } from "../../plan/unknown_options.ts";
import { tableName } from "../../sinks/postgres_types.ts";
import type { SourceContext, SourceKind, SourcePlan } from "../source_spec.ts";
import { parseDatabaseUrl } from "./database_url.ts";
import type { PostgresChangesSpec } from "./definition.ts";
import { type ChangesOptions, PostgresChangesSource } from "./postgres_changes_source.ts";

/** So that the position stays small, and one slot is not all that a server does. */
export const TABLES_MAX = 500;
const HEARTBEAT_MS = 10_000;
const OPTIONS: KnownOptions<PostgresChangesSpec> = {
  database: true,
  tables: true,
  slot: true,
  publication: true,
  snapshot: true,
  tombstones: true,
  heartbeat: true,
  lostSlot: true,
  tooLarge: true,
};

export const postgresChangesKind: SourceKind<PostgresChangesSpec> = {
  to: "topics",
  check,
  describe: ({ tables }) => `changes of ${tables.join(", ")}`,
  // deno-lint-ignore require-await -- so that what is not set is a rejection
  open: async (spec, context) => new PostgresChangesSource(changesOptions(spec, context)),
};

function ownName({ name }: SourcePlan): string {
  return `tailrace_${name}`;
}

function slotOf({ slot }: PostgresChangesSpec, plan: SourcePlan): string {
  return slot ?? ownName(plan);
}

function prefixOf({ to }: SourcePlan): string {
  return to.kind === "topics" && to.prefix !== "" ? `${to.prefix}.` : "";
}

function check(spec: PostgresChangesSpec, plan: SourcePlan): readonly Fault[] {
  const faults: Fault[] = unknownOptions(spec, OPTIONS, "from");
  const fault = (where: string, problem: string) => void faults.push({ where: `from.${where}`, problem });
  const { tables, publication, heartbeat, lostSlot, tooLarge } = spec;
  if (!Array.isArray(tables) || tables.length === 0) fault("tables", "at least one table is named");
  else if (tables.length > TABLES_MAX) fault("tables", `${tables.length} tables are more than ${TABLES_MAX}`);
  else {
    const names = tables.map((table) => {
      const { schema, name } = tableName(String(table));
      return `${schema}.${name}`;
    });
    if (new Set(names).size < names.length) fault("tables", "a table is named twice");
    for (const name of names) {
      // The topic is named after the table, and what PostgreSQL cuts could be two tables'.
      const parts = name.split(".");
      const isName = parts.length === 2 && parts.every((part) => part !== "" && part.length <= 63);
      const problem = isName ? topicNameFault(prefixOf(plan) + name) : `${JSON.stringify(name)} is no schema.table`;
      if (problem !== null) fault("tables", problem);
    }
  }
  // What the server takes for slots holds for all.
  const slot = slotOf(spec, plan);
  if (!/^[a-z0-9_]{1,63}$/.test(slot)) {
    fault("slot", `${JSON.stringify(slot)} is no slot's name: 1 to 63 of a-z, 0-9, _`);
  }
  if (publication !== undefined && !/^[^\0]{1,63}$/.test(publication)) fault("publication", "has 1 to 63 characters");
  const every = heartbeat === undefined ? HEARTBEAT_MS : parseDuration(heartbeat);
  if (typeof every === "string") fault("heartbeat", every);
  else if (every < 100 || every > 3_600_000) fault("heartbeat", "is from 100ms to 1h");
  if (lostSlot !== undefined && !["stop", "snapshot"].includes(lostSlot)) fault("lostSlot", `is "stop" or "snapshot"`);
  if (tooLarge !== undefined && !["stop", "reject"].includes(tooLarge)) fault("tooLarge", `is "stop" or "reject"`);
  if (lostSlot === "snapshot" && spec.snapshot === false) {
    fault("lostSlot", `what was lost can only be read again with a snapshot: leave out snapshot: false`);
  }
  return faults;
}

/** @throws ConfigError when the address is not set, or none */
export function changesOptions(spec: PostgresChangesSpec, context: SourceContext): ChangesOptions {
  const { plan, secrets, databaseUrl } = context;
  const address = spec.database
    ? parseDatabaseUrl(secrets.get(spec.database), `secret ${spec.database.secret}`)
    : parseDatabaseUrl(databaseUrl, "DATABASE_URL");
  return {
    address,
    wanted: {
      source: plan.name,
      slot: slotOf(spec, plan),
      publication: spec.publication ?? ownName(plan),
      isOwnPublication: spec.publication === undefined,
      tables: spec.tables.map((table) => {
        const { schema, name } = tableName(table);
        return { schema, table: name };
      }),
      snapshot: spec.snapshot ?? true,
      lostSlot: spec.lostSlot ?? "stop",
      log: context.log,
    },
    prefix: prefixOf(plan),
    partitions: plan.partitions,
    tombstones: spec.tombstones ?? true,
    rejectsTooLarge: spec.tooLarge === "reject",
    heartbeatMs: spec.heartbeat === undefined ? HEARTBEAT_MS : parseDuration(spec.heartbeat) as number,
    context,
  };
}
