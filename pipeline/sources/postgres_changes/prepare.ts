/**
 * What has to be there before changes can be read: a server that keeps them, a publication that names the tables, a slot that
 * holds the log. Makes what is missing, and never passes over what was lost.
 *
 * @module
 */
import { ConfigError, type Fault, UnavailableError } from "../../errors.ts";
import { identifier, literal } from "../../sql_text.ts";
import { readPublication, readServer, readSlot, readTables, sqlName, type TableInfo } from "./catalog.ts";
import type { PgConnection } from "./connection.ts";
import { parseLsn } from "./lsn.ts";
import { type ChangesPosition, Progress, type RowsRead, type TableState } from "./position.ts";

/** PostgreSQL 15: the first that lists a publication's columns and filters. */
const VERSION_MIN = 150_000;

export interface Wanted {
  readonly source: string;
  readonly slot: string;
  readonly publication: string;
  /** Made by the source for itself: tables are added to it. */
  readonly isOwnPublication: boolean;
  readonly tables: readonly { readonly schema: string; readonly table: string }[];
  readonly snapshot: boolean;
  readonly lostSlot: "stop" | "snapshot";
  readonly log: (level: "info" | "warn", message: string) => void;
}

export interface Prepared {
  readonly database: string;
  /** The end of the log. */
  readonly lsn: number;
  readonly tables: ReadonlyMap<string, TableInfo>;
  readonly progress: Progress;
}

/**
 * Looks at everything and makes what is missing.
 *
 * @throws ConfigError with every fault, and what to do
 */
export async function prepare(
  connection: PgConnection,
  wanted: Wanted,
  position: ChangesPosition | null,
): Promise<Prepared> {
  const server = await readServer(connection);
  const fault = (problem: string) => new ConfigError({ where: connection.where, problem });
  if (server.version < VERSION_MIN) throw fault("is older than PostgreSQL 15, the oldest whose changes are read");
  if (server.walLevel !== "logical") {
    throw fault(
      `has wal_level = ${server.walLevel}: set wal_level = logical (ALTER SYSTEM SET wal_level = 'logical') and start it again`,
    );
  }
  if (server.isStandby) throw fault("is a standby: name the primary, whose changes these are");
  const lost = position === null ? null : await whatIsLost(connection, wanted, position, server.system);
  if (lost !== null && wanted.lostSlot === "stop") {
    throw new ConfigError({
      where: `slot ${wanted.slot}`,
      problem:
        `changes since ${position!.lsn} are lost: ${lost}. Write lostSlot: "snapshot" into the definition to empty ` +
        "the tables for their readers and read all rows again",
    });
  }
  if (lost !== null) wanted.log("warn", `changes since ${position!.lsn} are lost: ${lost}. All rows are read again`);
  const tables = await publish(connection, wanted);
  const publication = (await readPublication(connection, wanted.publication))!;
  for (const { name, id } of lost === null ? tables : []) {
    const known = position?.tables[name];
    if (known === undefined || known.id === id || known.rows === "none") continue;
    wanted.log(
      "warn",
      `table ${name} was dropped and made again, or not in the publication meanwhile: it is emptied for its readers, and read again`,
    );
  }
  const held = lost === null ? position : null;
  const slotLsn = await holdSlot(connection, wanted, { hasPosition: held !== null, database: server.database });
  return {
    database: server.database,
    lsn: parseLsn(server.lsn),
    tables: new Map(tables.map((table) => [table.name, table])),
    progress: new Progress({
      system: server.system,
      slot: wanted.slot,
      publication,
      lsn: held?.lsn ?? slotLsn,
      partial: held?.partial ?? null,
      tables: Object.fromEntries(tables.map((table) => {
        const known = position?.tables[table.name];
        return [table.name, { id: table.id, rows: rowsOf(table, { known, isLost: lost !== null, wanted }) }];
      })),
    }),
  };
}

/** Which of a table's rows count as read. */
function rowsOf(
  { id }: TableInfo,
  { known, isLost, wanted }: { known: TableState | undefined; isLost: boolean; wanted: Wanted },
): RowsRead {
  if (!wanted.snapshot) return "all";
  if (known === undefined || known.rows === "none") return "none";
  return isLost || known.id !== id ? "again" : known.rows;
}

/** In words; null when all is there that comes after the position. */
async function whatIsLost(
  connection: PgConnection,
  { slot, publication }: Wanted,
  position: ChangesPosition,
  system: string,
): Promise<string | null> {
  if (position.system !== system) return "this is another server than before";
  if (position.slot !== slot) return `the slot was ${position.slot} before`;
  const found = await readSlot(connection, slot);
  if (found === null) return "the slot is gone; somebody dropped it, or the server was restored";
  const reason = found.invalidation_reason ?? null;
  if (reason !== null || found.wal_status === "lost") {
    return `the server gave up the slot (${
      reason ?? "its log was removed"
    }); max_slot_wal_keep_size says how much it keeps`;
  }
  if (found.confirmed_flush_lsn !== null && parseLsn(found.confirmed_flush_lsn) > parseLsn(position.lsn)) {
    return `somebody else read from the slot, up to ${found.confirmed_flush_lsn}`;
  }
  if (await readPublication(connection, publication) !== position.publication) {
    return `publication ${publication} was dropped, and published nothing then`;
  }
  return null;
}

/** Makes sure that the publication has the tables. @throws ConfigError */
async function publish(connection: PgConnection, wanted: Wanted): Promise<TableInfo[]> {
  const { publication, isOwnPublication } = wanted;
  const before = await readTables(connection, wanted.tables, publication);
  const faults: Fault[] = [];
  for (const { schema, table } of wanted.tables) {
    const name = `${schema}.${table}`;
    const found = before.find((one) => one.name === name);
    const fault = (problem: string) => void faults.push({ where: `table ${name}`, problem });
    if (!found) fault("is not there (as a table)");
    else if (found.identity === "n") {
      fault(`says REPLICA IDENTITY NOTHING: ALTER TABLE ${sqlName(found)} REPLICA IDENTITY DEFAULT`);
    } else if (found.key.length === 0) fault("has no primary key, so that nothing names its rows: add one");
  }
  if (faults.length > 0) throw new ConfigError(faults);
  // A member all the same: of a partitioned table only the partitions are published, under their own names.
  const inParts = before.filter(({ kind, id, isPublished }) => kind === "p" && !isPublished && !id.endsWith(".0"));
  if (inParts.length > 0) {
    throw new ConfigError({
      where: `publication ${publication}`,
      problem: `publishes the partitions of ${inParts.map(({ name }) => name).join(", ")}, not the table: ` +
        `ALTER PUBLICATION ${identifier(publication)} SET (publish_via_partition_root = true)`,
    });
  }
  const missing = before.filter(({ isPublished }) => !isPublished).map((table) => sqlName(table));
  if (missing.length > 0) {
    const exists = await readPublication(connection, publication) !== null;
    const change = `ALTER PUBLICATION ${identifier(publication)} ADD TABLE ${missing.join(", ")}`;
    if (exists && !isOwnPublication) {
      throw new ConfigError({ where: `publication ${publication}`, problem: `lacks tables: ${change}` });
    }
    const all = before.map((table) => sqlName(table)).join(", ");
    await connection.query(
      exists
        ? change
        : `CREATE PUBLICATION ${identifier(publication)} FOR TABLE ${all} WITH (publish_via_partition_root = true)`,
    );
    wanted.log("info", `publication ${publication}: ${exists ? "added" : "made for"} ${missing.join(", ")}`);
  }
  const tables = await readTables(connection, wanted.tables, publication);
  for (const { name, key, columns } of tables) {
    const hidden = key.filter((part) => !columns.some((column) => column.name === part.name));
    if (hidden.length > 0) {
      throw new ConfigError({
        where: `publication ${publication}`,
        problem: `leaves out ${hidden.map((part) => part.name).join(", ")}, which names the rows of ${name}`,
      });
    }
  }
  // As the definition has them.
  return wanted.tables.map(({ schema, table }) => tables.find(({ name }) => name === `${schema}.${table}`)!);
}

/** Makes sure that there is a slot, and says from where on it holds the log. @throws ConfigError */
async function holdSlot(
  connection: PgConnection,
  { slot, source, log }: Wanted,
  { hasPosition, database }: { readonly hasPosition: boolean; readonly database: string },
): Promise<string> {
  const found = await readSlot(connection, slot);
  if (found !== null) {
    if (found.plugin !== "pgoutput" || found.database !== database || found.temporary) {
      throw new ConfigError({
        where: `slot ${slot}`,
        problem: "is there already, for something else: name another in the definition",
      });
    }
    const isUsable = found.wal_status !== "lost" && (found.invalidation_reason ?? null) === null;
    // Without a position it is left from a start that did not get far.
    if (isUsable && (hasPosition || !found.active)) return found.confirmed_flush_lsn!;
    if (isUsable) {
      throw new UnavailableError(
        `slot ${slot} is read by something else, while ${source} has read nothing yet: wait for its end, or name another`,
      );
    }
    await connection.query(`SELECT pg_drop_replication_slot(${literal(slot)})`);
  }
  const [[, lsn]] = await connection.query(
    `CREATE_REPLICATION_SLOT ${identifier(slot)} LOGICAL pgoutput (SNAPSHOT 'nothing')`,
  );
  log("info", `made slot ${slot} at ${lsn}`);
  return lsn!;
}
