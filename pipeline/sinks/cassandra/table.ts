/**
 * The table that rows go to: made when missing, checked when there, and never altered.
 *
 * What makes a row the same as another is its primary key, in whatever order and parts the table has it:
 *
 *     results of a pipeline     its keys, window_start          made as ((keys.., window_day), window_start)
 *     delivery with a key       its keys                        made as ((keys..))
 *     delivery without          kafka_partition, kafka_offset   made as ((kafka_partition, offset_block), kafka_offset)
 *
 * A table may have some of these computed columns, in its primary key or not:
 *
 *     window_day     date      the window's day, so that a key's partition does not grow for ever
 *     offset_block   bigint    kafka_offset / 10,000, for the same reason
 *     null_keys      int       bit n is set where the nth key is null; such a key is stored as its type's empty value.
 *                              In the primary key wherever a key may be null, as Cassandra's may not
 *
 * @module
 */
import type driver from "cassandra-driver";
import { ConfigError, type Fault } from "../../errors.ts";
import type { ResultColumn } from "../../plan/plan.ts";
import { quoted } from "./statements.ts";
import { cqlType, keptIn, showType, typesFor } from "./types.ts";

/** Records in one partition of a table of records. */
export const OFFSETS_PER_BLOCK = 10_000;

export const COMPUTED = { window_day: "date", offset_block: "bigint", null_keys: "int" } as const;
export type Computed = keyof typeof COMPUTED;

/** A table's column as Cassandra has it. */
export interface TableColumn {
  readonly name: string;
  /** As CQL writes it, such as `frozen<list<text>>`. */
  readonly type: string;
  readonly kind: "partition_key" | "clustering" | "regular" | "static";
  /** Within its part of the primary key. */
  readonly position: number;
  readonly isDescending: boolean;
}

export interface Table {
  readonly keyspace: string;
  readonly name: string;
  readonly columns: readonly TableColumn[];
}

/** A table in a statement: a word of CQL's own, such as `full`, needs quotes. */
export function tableSql({ keyspace, name }: { readonly keyspace: string; readonly name: string }): string {
  return `${quoted(keyspace)}.${quoted(name)}`;
}

/** A table where people read of it. */
export function qualified({ keyspace, name }: { readonly keyspace: string; readonly name: string }): string {
  return `${keyspace}.${name}`;
}

/** Columns of the rows that tell them apart, in order. */
export function identityOf(columns: readonly ResultColumn[]): ResultColumn[] {
  const keys = columns.filter(({ role }) => role === "key");
  const windowStart = columns.filter(({ role }) => role === "window_start");
  if (keys.length + windowStart.length > 0) return [...keys, ...windowStart];
  return columns.filter(({ name }) => name === "kafka_partition" || name === "kafka_offset");
}

/** One row for each record: nothing is ever replaced by something else. */
export function isAppendOnly(columns: readonly ResultColumn[]): boolean {
  return !columns.some(({ role }) => role === "key" || role === "window_start");
}

/**
 * The table, made where it is missing.
 *
 * @throws ConfigError when its keyspace is missing, or its columns or primary key do not fit, with the statement that mends it
 */
export async function ensureTable(
  client: driver.Client,
  options: {
    readonly keyspace: string;
    readonly name: string;
    readonly columns: readonly ResultColumn[];
    /** For the comment on the table. */
    readonly of: string;
  },
): Promise<Table> {
  const { keyspace, name, columns } = options;
  const fault = nameFault(columns);
  if (fault !== null) throw new ConfigError({ where: qualified(options), problem: fault });
  let table = await readTable(client, { keyspace, name });
  if (table === null) {
    await checkKeyspace(client, keyspace);
    await client.execute(createStatement(options));
    table = await readTable(client, { keyspace, name });
    if (table === null) throw new Error(`${qualified(options)} is not there although it was made`);
  }
  const faults = tableFaults(table, columns);
  if (faults.length > 0) throw new ConfigError(faults);
  return table;
}

/** Null when there is none. */
export async function readTable(
  client: driver.Client,
  { keyspace, name }: { readonly keyspace: string; readonly name: string },
): Promise<Table | null> {
  const { rows } = await client.execute(
    "SELECT column_name, type, kind, position, clustering_order FROM system_schema.columns " +
      "WHERE keyspace_name = ? AND table_name = ?",
    [keyspace, name],
    { prepare: true },
  );
  if (rows.length === 0) return null;
  const columns = rows.map((row): TableColumn => ({
    name: row.get("column_name"),
    type: row.get("type"),
    kind: row.get("kind"),
    position: row.get("position"),
    isDescending: row.get("clustering_order") === "desc",
  }));
  return { keyspace, name, columns };
}

async function checkKeyspace(client: driver.Client, keyspace: string): Promise<void> {
  const { rows } = await client.execute("SELECT keyspace_name FROM system_schema.keyspaces", [], { prepare: true });
  const names: string[] = rows.map((row) => row.get("keyspace_name"));
  if (names.includes(keyspace)) return;
  throw new ConfigError({
    where: keyspace,
    problem: `there is no such keyspace in Cassandra. Make it: CREATE KEYSPACE ${keyspace} WITH replication = ` +
      `{'class': 'NetworkTopologyStrategy', 'replication_factor': 3}`,
  });
}

/** What makes a table for these columns. */
export function createStatement(
  { keyspace, name, columns, of }: {
    readonly keyspace: string;
    readonly name: string;
    readonly columns: readonly ResultColumn[];
    readonly of?: string;
  },
): string {
  const identity = identityOf(columns);
  const computed = computedFor(columns);
  const last = identity.at(-1)!;
  const isClustered = last.role !== "key";
  const partition = [
    ...identity.slice(0, isClustered ? -1 : undefined).map((column) => column.name),
    ...computed,
  ];
  const lines = [
    ...columns.map((column) => `  ${quoted(column.name)} ${cqlType(column.type)}`),
    ...computed.map((column) => `  ${column} ${COMPUTED[column]}`),
    `  PRIMARY KEY ((${partition.map(quoted).join(", ")})${isClustered ? `, ${quoted(last.name)}` : ""})`,
  ];
  const options = [
    ...(last.role === "window_start" ? [`CLUSTERING ORDER BY (${quoted(last.name)} DESC)`] : []),
    ...(of === undefined ? [] : [`comment = '${of.replaceAll("'", "''")}'`]),
  ];
  return `CREATE TABLE IF NOT EXISTS ${tableSql({ keyspace, name })} (\n${lines.join(",\n")}\n)` +
    (options.length === 0 ? "" : ` WITH ${options.join(" AND ")}`);
}

function computedFor(columns: readonly ResultColumn[]): Computed[] {
  const keys = columns.filter(({ role }) => role === "key");
  return [
    ...(columns.some(({ role }) => role === "window_start") ? ["window_day" as const] : []),
    ...(isAppendOnly(columns) ? ["offset_block" as const] : []),
    ...(keys.some(({ type }) => type.nullable) ? ["null_keys" as const] : []),
  ];
}

function nameFault(columns: readonly ResultColumn[]): string | null {
  const taken = columns.find(({ name }) => name in COMPUTED);
  return taken === undefined ? null : `${taken.name} is the name of a column that is computed: rename the field`;
}

/** All that stands between rows of these columns and the table. */
export function tableFaults(table: Table, columns: readonly ResultColumn[]): Fault[] {
  const where = qualified(table);
  const faults: Fault[] = [];
  const found = new Map(table.columns.map((column) => [column.name, column]));
  const remake = `Drop the table, and a restart makes it: ${createStatement({ ...table, columns })}`;
  for (const { name, type } of columns) {
    const column = found.get(name);
    if (column === undefined) {
      const problem = `the column is missing. ALTER TABLE ${tableSql(table)} ADD ${quoted(name)} ${cqlType(type)}`;
      faults.push({ where: `${where}.${name}`, problem });
    } else if (keptIn(type, column.type) === null) {
      const problem =
        `is ${column.type}, which does not hold ${showType(type)}; wanted ${typesFor(type).join(" or ")}. ` +
        remake;
      faults.push({ where: `${where}.${name}`, problem });
    } else if (column.kind === "static") {
      faults.push({ where: `${where}.${name}`, problem: `is static, one for all rows of a partition. ${remake}` });
    }
  }
  for (const [name, type] of Object.entries(COMPUTED)) {
    const column = found.get(name);
    if (column !== undefined && column.type !== type) {
      faults.push({ where: `${where}.${name}`, problem: `is ${column.type}, wanted ${type}. ${remake}` });
    }
  }
  // Of a column that is missing nothing else need be said.
  return faults.length > 0 ? faults : primaryKeyFaults(table, columns, remake);
}

function primaryKeyFaults(table: Table, columns: readonly ResultColumn[], remake: string): Fault[] {
  const where = qualified(table);
  const primary = table.columns.filter(({ kind }) => kind === "partition_key" || kind === "clustering")
    .map(({ name }) => name);
  const identity = identityOf(columns);
  const needed = [
    ...identity.map(({ name }) => name),
    ...(identity.some(({ role, type }) => role === "key" && type.nullable) ? ["null_keys"] : []),
  ];
  const missing = needed.filter((name) => !primary.includes(name));
  // A record never changes, so any of its fields may stand beside where it was.
  const others = isAppendOnly(columns) ? columns.map(({ name }) => name) : [];
  // Computed of what tells rows apart, so that no row gets another one.
  const allowed = [...needed, ...computedFor(columns), "null_keys", ...others];
  const foreign = primary.filter((name) => !allowed.includes(name));
  const problems = [
    ...(missing.length > 0
      ? [`the primary key has to have ${missing.join(", ")}, or different rows would be one`]
      : []),
    ...(foreign.length > 0 ? [`the primary key has ${foreign.join(", ")}, so that one row would be several`] : []),
  ];
  return problems.map((problem) => ({ where, problem: `${problem}. ${remake}` }));
}
