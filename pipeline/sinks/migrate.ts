/**
 * Brings a database to the shape that the files of a folder describe: `0001_what.sql`, `0002_what.sql`, each applied once.
 *
 * @module
 */
import { createHash } from "node:crypto";
import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import type postgres from "postgres";
import { ConfigError, type Fault } from "../errors.ts";
import { literal } from "../sql_text.ts";
import { codeOf, shortMessage, sortedError } from "./postgres_errors.ts";
import { SCHEMA_LOCK } from "./postgres_table.ts";

const FILE_NAME = /^(\d{4})_[a-z0-9_]+\.sql$/;
const UNIQUE_VIOLATION = "23505";

interface Migration {
  readonly name: string;
  readonly sql: string;
  /** SHA-256 of the file, hexadecimal. */
  readonly checksum: string;
}

/**
 * Applies the files not yet applied, in order, and gives their names. Any number of processes may do so at once.
 *
 * Each file goes to the server in one message together with the note that it was applied: without an explicit BEGIN the
 * server runs a message as one transaction, so a file is applied whole or not at all, wherever the connection breaks.
 * `CREATE INDEX CONCURRENTLY` and other statements that refuse a transaction cannot be in a file.
 *
 * @throws ConfigError when a file is misnamed, was edited or taken away after it was applied, or PostgreSQL refuses it
 * @throws UnavailableError when the server is away
 */
export async function migrate(sql: postgres.Sql, folder: string): Promise<string[]> {
  const migrations = await readMigrations(folder);
  try {
    await prepare(sql);
    let applied = await appliedChecksums(sql);
    check(migrations, applied, folder);
    const done: string[] = [];
    for (const migration of migrations) {
      if (!applied.has(migration.name)) {
        if (await apply(sql, migration, folder)) done.push(migration.name);
        else check(migrations, applied = await appliedChecksums(sql), folder);
      }
    }
    return done;
  } catch (error) {
    throw sortedError(error, folder);
  }
}

async function readMigrations(folder: string): Promise<Migration[]> {
  const names = (await readdir(folder)).filter((name) => name.endsWith(".sql")).sort();
  const faults: Fault[] = [];
  const numbers = new Map<string, string>();
  for (const name of names) {
    const where = join(folder, name);
    const number = FILE_NAME.exec(name)?.[1];
    if (number === undefined) {
      faults.push({
        where,
        problem: "cannot be a migration's name: wanted four digits and words, as 0001_pipelines.sql",
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
    return { name, sql: text, checksum: createHash("sha256").update(text).digest("hex") };
  }));
}

async function prepare(sql: postgres.Sql): Promise<void> {
  const [{ there }] = await sql<{ there: boolean }[]>`SELECT to_regclass('tailrace.migrations') IS NOT NULL AS there`;
  if (there) return;
  await sql.unsafe(`
    SELECT pg_advisory_xact_lock(${SCHEMA_LOCK});
    CREATE SCHEMA IF NOT EXISTS tailrace;
    CREATE TABLE IF NOT EXISTS tailrace.migrations (
      name text PRIMARY KEY,
      checksum text NOT NULL,
      applied_at timestamptz NOT NULL DEFAULT now()
    );
    COMMENT ON SCHEMA tailrace IS 'What Tailrace keeps for itself.';
    COMMENT ON TABLE tailrace.migrations IS 'Files of the migrations folder that were applied to this database.';
    COMMENT ON COLUMN tailrace.migrations.checksum IS 'SHA-256 of the file as it was applied.';`);
}

async function appliedChecksums(sql: postgres.Sql): Promise<Map<string, string>> {
  const rows = await sql<{ name: string; checksum: string }[]>`SELECT name, checksum FROM tailrace.migrations`;
  return new Map(rows.map(({ name, checksum }) => [name, checksum]));
}

/** False when another process applied it in the meantime. */
async function apply(sql: postgres.Sql, migration: Migration, folder: string): Promise<boolean> {
  try {
    await sql.unsafe(
      `SELECT pg_advisory_xact_lock(${SCHEMA_LOCK});\n` +
        `INSERT INTO tailrace.migrations (name, checksum) ` +
        `VALUES (${literal(migration.name)}, ${literal(migration.checksum)});\n${migration.sql}`,
    );
    return true;
  } catch (error) {
    if (codeOf(error) === UNIQUE_VIOLATION && (error as { table_name?: string }).table_name === "migrations") {
      return false;
    }
    const sorted = sortedError(error, join(folder, migration.name));
    if (!(error instanceof Error) || codeOf(error).length !== 5 || sorted !== error) throw sorted;
    throw new ConfigError({
      where: join(folder, migration.name),
      problem: `PostgreSQL refuses: ${shortMessage(error)} (${codeOf(error)})`,
    });
  }
}

function check(migrations: readonly Migration[], applied: ReadonlyMap<string, string>, folder: string): void {
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
    if (!names.has(name)) {
      faults.push({
        where: join(folder, name),
        problem:
          "was applied to this database and is not here. The database is of a newer version, or the file was removed",
      });
    }
  }
  if (faults.length > 0) throw new ConfigError(faults);
}
