/**
 * Brings a keyspace to the shape that the files of a folder describe: `0001_what.cql`, `0002_what.cql`, each applied once.
 *
 * Cassandra has no transactions over tables: a file that is broken off in the middle is run again from its start. So each of its
 * statements has to bear a repeat: `CREATE TABLE IF NOT EXISTS`, `ALTER TABLE .. ADD IF NOT EXISTS`, `DROP .. IF EXISTS`.
 *
 * @module
 */
import { createHash } from "node:crypto";
import { readdir, readFile } from "node:fs/promises";
import { hostname } from "node:os";
import { join } from "node:path";
import driver from "cassandra-driver";
import { systemClock } from "../../clock.ts";
import { ConfigError, type Fault, UnavailableError } from "../../errors.ts";
import { shortMessage } from "./errors.ts";
import { quoted, splitStatements } from "./statements.ts";

const FILE_NAME = /^(\d{4})_[a-z0-9_]+\.cql$/;

/** Table of the keyspace with what was applied; in it one row is the lock. */
const TABLE = "tailrace_migrations";
const LOCK = "lock";
/** A process that ends with the lock in its hands holds the others up so long. */
const LOCK_SECONDS = 60;
const LOCK_WAIT_MS = 500;
const LOCK_WAITS_MAX = 240;

const SERIAL = { consistency: driver.types.consistencies.localQuorum, prepare: true } as const;

interface Migration {
  readonly name: string;
  readonly statements: readonly string[];
  /** SHA-256 of the file, hexadecimal. */
  readonly checksum: string;
}

/**
 * Applies the files not yet applied to the keyspace that is the client's own, in order, and gives their names. Of any number of processes that do so at once, one does and
 * the others wait for it.
 *
 * @throws ConfigError when a file is misnamed, was edited or taken away after it was applied, or Cassandra refuses it
 * @throws UnavailableError when another process takes longer than two minutes
 */
export async function migrateCassandra(
  client: driver.Client,
  { keyspace, folder }: { readonly keyspace: string; readonly folder: string },
): Promise<string[]> {
  const migrations = await readMigrations(folder);
  const table = `${quoted(keyspace)}.${TABLE}`;
  await client.execute(
    `CREATE TABLE IF NOT EXISTS ${table} (name text PRIMARY KEY, checksum text, applied_at timestamp, owner text) ` +
      `WITH comment = 'Files of the folder migrations/cassandra that were applied to this keyspace.'`,
  );
  if (isDone(migrations, await appliedChecksums(client, table), folder)) return [];
  const owner = `${hostname()}:${Deno.pid}:${crypto.randomUUID()}`;
  await lock(client, { table, owner });
  try {
    const applied = await appliedChecksums(client, table);
    const done: string[] = [];
    if (isDone(migrations, applied, folder)) return done;
    for (const migration of migrations.filter(({ name }) => !applied.has(name))) {
      await apply(client, migration, folder);
      await client.execute(
        `INSERT INTO ${table} (name, checksum, applied_at) VALUES (?, ?, toTimestamp(now()))`,
        [migration.name, migration.checksum],
        { prepare: true },
      );
      done.push(migration.name);
    }
    return done;
  } finally {
    // Where this does not reach Cassandra the lock goes by itself.
    await client.execute(`DELETE FROM ${table} WHERE name = ? IF owner = ?`, [LOCK, owner], SERIAL).catch(() => {});
  }
}

async function readMigrations(folder: string): Promise<Migration[]> {
  const names = (await readdir(folder)).filter((name) => name.endsWith(".cql")).sort();
  const faults: Fault[] = [];
  const numbers = new Map<string, string>();
  for (const name of names) {
    const where = join(folder, name);
    const number = FILE_NAME.exec(name)?.[1];
    if (number === undefined) {
      faults.push({
        where,
        problem: "cannot be a migration's name: wanted four digits and words, as 0001_profiles.cql",
      });
    } else if (numbers.has(number)) {
      faults.push({ where, problem: `has the number of ${numbers.get(number)}. Give it the next free one` });
    } else {
      numbers.set(number, name);
    }
  }
  if (faults.length > 0) throw new ConfigError(faults);
  return await Promise.all(names.map(async (name) => {
    // A checkout with other line ends is the same migration.
    const text = (await readFile(join(folder, name), "utf8")).replaceAll("\r\n", "\n");
    const checksum = createHash("sha256").update(text).digest("hex");
    return { name, statements: splitStatements(text), checksum };
  }));
}

async function appliedChecksums(client: driver.Client, table: string): Promise<Map<string, string>> {
  const { rows } = await client.execute(`SELECT name, checksum FROM ${table}`, [], { prepare: true });
  return new Map(rows.filter((row) => row.get("name") !== LOCK).map((row) => [row.get("name"), row.get("checksum")]));
}

/** True when there is nothing left to apply. @throws ConfigError when what was applied is not what is here */
function isDone(migrations: readonly Migration[], applied: ReadonlyMap<string, string>, folder: string): boolean {
  const faults: Fault[] = [];
  for (const { name, checksum } of migrations) {
    if (applied.has(name) && applied.get(name) !== checksum) {
      faults.push({
        where: join(folder, name),
        problem: "was edited after it was applied. Undo the edit, and put the change in a new file",
      });
    }
  }
  const names = new Set(migrations.map(({ name }) => name));
  for (const name of applied.keys()) {
    if (names.has(name)) continue;
    faults.push({
      where: join(folder, name),
      problem:
        "was applied to this keyspace and is not here. The keyspace is of a newer version, or the file was removed",
    });
  }
  if (faults.length > 0) throw new ConfigError(faults);
  return migrations.every(({ name }) => applied.has(name));
}

/** Waits until no other process has the lock. */
async function lock(
  client: driver.Client,
  { table, owner }: { readonly table: string; readonly owner: string },
): Promise<void> {
  const insert = `INSERT INTO ${table} (name, owner) VALUES (?, ?) IF NOT EXISTS USING TTL ${LOCK_SECONDS}`;
  let holder = "";
  for (let waits = 0; waits < LOCK_WAITS_MAX; waits++) {
    const row = (await client.execute(insert, [LOCK, owner], SERIAL)).first();
    // The answer to a first try may have been lost.
    if (row.get("[applied]") === true || row.get("owner") === owner) return;
    holder = row.get("owner");
    await systemClock.sleep(LOCK_WAIT_MS);
  }
  throw new UnavailableError(`Another process (${holder}) is still changing the tables of Cassandra`);
}

/** The driver waits after each change until all nodes know of it. */
async function apply(client: driver.Client, { name, statements }: Migration, folder: string): Promise<void> {
  for (const [index, statement] of statements.entries()) {
    try {
      await client.execute(statement, [], { prepare: false });
    } catch (error) {
      const isRefused = error instanceof driver.errors.ResponseError && error.code >= 0x2000;
      if (!isRefused) throw error;
      throw new ConfigError({
        where: join(folder, name),
        problem: `Cassandra refuses statement ${index + 1}: ${shortMessage(error)}`,
      });
    }
  }
}
