/**
 * Reads a Delta table in a folder by the protocol as written, with JSON and DuckDB's Parquet reader; it shares nothing with
 * Tailrace's own. It is strict: whatever should not be in a log is an error.
 *
 * @module
 */
import { type DuckDBConnection, DuckDBInstance } from "@duckdb/node-api";
import { queried, type TableRow } from "./rows.ts";

export interface PlainTable {
  readonly folder: string;
  readonly version: number;
  readonly columns: readonly string[];
  readonly partitionColumns: readonly string[];
  readonly files: readonly PlainFile[];
  readonly applications: ReadonlyMap<string, number>;
  /** Whether a checkpoint of the log was used. */
  readonly fromCheckpoint: boolean;
}

export interface PlainFile {
  /** Relative to the table's folder, decoded. */
  readonly path: string;
  readonly bytes: number;
  readonly partitionValues: Readonly<Record<string, string | null>>;
  readonly records: number | null;
}

interface Field {
  readonly name: string;
  readonly type: unknown;
}

type Actions = Readonly<Record<string, Record<string, unknown>>>;

const COMMIT = /^(\d{20})\.json$/;
const CHECKPOINT = /^(\d{20})\.checkpoint\.parquet$/;

/** A table's state at a version, the newest unless told. @throws when the log is not whole, or names a file that is not there */
export async function readPlainTable(
  folder: string,
  options: { readonly version?: number; readonly connection: DuckDBConnection },
): Promise<PlainTable> {
  const names = [...Deno.readDirSync(`${folder}/_delta_log`)].map(({ name }) => name);
  const commits = names.flatMap((name) => COMMIT.exec(name) ? [Number(name.slice(0, 20))] : []).sort((a, b) => a - b);
  const version = options.version ?? commits.at(-1);
  if (version === undefined) throw new Error(`${folder} has no commit`);
  const checkpoint = names.flatMap((name) => CHECKPOINT.exec(name) ? [Number(name.slice(0, 20))] : [])
    .filter((at) => at <= version).sort((a, b) => b - a)[0];
  const state = new State();
  if (checkpoint !== undefined) {
    const path = `${folder}/_delta_log/${String(checkpoint).padStart(20, "0")}.checkpoint.parquet`;
    const reader = await options.connection.runAndReadAll(
      `SELECT to_json(checkpoint)::VARCHAR FROM read_parquet(${quoted(path)}) AS checkpoint`,
    );
    for (const [line] of reader.getRows()) state.take(JSON.parse(line as string), path);
  }
  for (let at = checkpoint === undefined ? 0 : checkpoint + 1; at <= version; at++) {
    const path = `${folder}/_delta_log/${String(at).padStart(20, "0")}.json`;
    for (const line of (await Deno.readTextFile(path)).split("\n")) {
      if (line !== "") state.take(JSON.parse(line), path);
    }
  }
  if (state.schema === null) throw new Error(`${folder} has no metadata at version ${version}`);
  for (const { path, bytes } of state.files.values()) {
    const { size } = await Deno.stat(`${folder}/${path}`);
    if (size !== bytes) throw new Error(`${folder}/${path} has ${size} bytes, the log says ${bytes}`);
  }
  return {
    folder,
    version,
    columns: state.schema.map(({ name }) => name),
    partitionColumns: state.partitionColumns,
    files: [...state.files.values()],
    applications: state.applications,
    fromCheckpoint: checkpoint !== undefined,
  };
}

/** SQL over the rows of a table; columns that a file lacks are null. */
export function plainTableSql(table: PlainTable): string {
  const { folder, files, columns, partitionColumns } = table;
  const selected = columns.map((name) => `"${name}"`).join(", ");
  const parts = files.map(({ path, partitionValues }) => {
    const added = partitionColumns.map((name) => {
      const value = partitionValues[name];
      return `, ${value === null || value === undefined ? "NULL" : quoted(value)}::DATE AS "${name}"`;
    });
    return `SELECT *${added.join("")} FROM read_parquet(${quoted(`${folder}/${path}`)}, hive_partitioning = false)`;
  });
  // For columns that no file has.
  const none = `SELECT ${columns.map((name) => `NULL AS "${name}"`).join(", ")} WHERE false`;
  return `SELECT ${selected} FROM (${[...parts, none].join(" UNION ALL BY NAME ")})`;
}

/** All rows of a table in a folder. */
export async function plainRows(folder: string, options: { readonly version?: number } = {}): Promise<TableRow[]> {
  return await withDuckDb(async (connection) => {
    const table = await readPlainTable(folder, { ...options, connection });
    const rows = await queried(connection, plainTableSql(table));
    const told = table.files.reduce<number | null>(
      (sum, { records }) => records === null ? null : (sum ?? 0) + records,
      0,
    );
    if (told !== null && told !== rows.length) {
      throw new Error(`${folder}: the statistics say ${told} rows, the files have ${rows.length}`);
    }
    return rows;
  });
}

/** Data files in a table's folder that its newest version does not name. */
export async function orphans(folder: string): Promise<string[]> {
  const table = await withDuckDb((connection) => readPlainTable(folder, { connection }));
  const known = new Set(table.files.map(({ path }) => path));
  const found: string[] = [];
  const walk = (below: string) => {
    for (const { name, isDirectory } of Deno.readDirSync(`${folder}/${below}`)) {
      if (isDirectory && !name.startsWith("_")) walk(`${below}${name}/`);
      else if (name.endsWith(".parquet") && !known.has(`${below}${name}`)) found.push(`${below}${name}`);
    }
  };
  walk("");
  return found;
}

/** A DuckDB in UTC for some questions. */
export async function withDuckDb<T>(work: (connection: DuckDBConnection) => Promise<T>): Promise<T> {
  const instance = await DuckDBInstance.create(":memory:", { threads: "1" });
  const connection = await instance.connect();
  try {
    await connection.run("SET TimeZone = 'UTC'");
    return await work(connection);
  } finally {
    connection.closeSync();
    instance.closeSync();
  }
}

/** What the actions so far come to. */
class State {
  schema: readonly Field[] | null = null;
  partitionColumns: readonly string[] = [];
  readonly files = new Map<string, PlainFile>();
  readonly applications = new Map<string, number>();

  take(actions: Actions, where: string): void {
    for (const [kind, action] of Object.entries(actions)) {
      // A checkpoint has a column for each kind of action, and one in each row.
      if (action === null) continue;
      if (kind === "protocol") {
        const { minReaderVersion, minWriterVersion } = action;
        if (Number(minReaderVersion) !== 1 || Number(minWriterVersion) !== 2) {
          throw new Error(`${where}: protocol ${minReaderVersion}, ${minWriterVersion} instead of 1, 2`);
        }
      } else if (kind === "metaData") {
        this.schema = JSON.parse(action.schemaString as string).fields;
        this.partitionColumns = action.partitionColumns as string[];
      } else if (kind === "add") {
        const path = decodeURIComponent(action.path as string);
        const stats = action.stats ? JSON.parse(action.stats as string) : null;
        this.files.set(path, {
          path,
          bytes: Number(action.size),
          partitionValues: values(action.partitionValues),
          records: stats?.numRecords ?? null,
        });
      } else if (kind === "remove") {
        const path = decodeURIComponent(action.path as string);
        // In a checkpoint these are tombstones of files that are not there any more.
        const isTombstone = where.endsWith(".parquet");
        if (!this.files.delete(path) && !isTombstone) throw new Error(`${where} removes ${path}, which is not there`);
      } else if (kind === "txn") {
        this.applications.set(action.appId as string, Number(action.version));
      } else if (kind !== "commitInfo") throw new Error(`${where} has an action ${kind}, which is not expected`);
    }
  }
}

/** A map as JSON has it, or as DuckDB writes one of a checkpoint. */
function values(map: unknown): Record<string, string | null> {
  if (Array.isArray(map)) return Object.fromEntries(map.map(({ key, value }) => [key, value]));
  return map as Record<string, string | null>;
}

function quoted(text: string): string {
  return `'${text.replaceAll("'", "''")}'`;
}
