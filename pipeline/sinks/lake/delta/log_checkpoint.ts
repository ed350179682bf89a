/**
 * Checkpoints of a table's log: its state at one version as one Parquet file, so that readers need not play back all commits.
 *
 *     _delta_log/00000000000000000010.checkpoint.parquet
 *
 *     txn       struct<appId, version, lastUpdated>              a row has one of these columns; the others are null
 *     add       struct<path, partitionValues map, size, modificationTime, dataChange, stats, tags map>
 *     remove    struct<path, deletionTimestamp, dataChange, extendedFileMetadata, partitionValues map, size>
 *     metaData  struct<id, name, description, format struct, schemaString, partitionColumns list, configuration map, createdTime>
 *     protocol  struct<minReaderVersion, minWriterVersion>
 *
 *     _delta_log/_last_checkpoint   {"version":10,"size":<rows>,...}: where to begin; a hint only
 *
 * Source: the Delta Transaction Log Protocol, "Checkpoints".
 *
 * @module
 */
import { join } from "node:path";
import { ConfigError } from "../../../errors.ts";
import type { LakeDatabase } from "../database.ts";
import { duckdbFailure } from "../duckdb_failure.ts";
import type { ObjectStore, StoreOptions } from "../object_store.ts";
import { literal } from "../../../sql_text.ts";
import { checkAdd, checkMetaData, checkProtocol, checkRemove, checkTxn, logFolder, versionText } from "./actions.ts";
import { LogState } from "./log_state.ts";

/** DuckDB reads lines into a buffer of twice the longest, which may not be tiny. */
const LINE_BYTES_LEAST = 1024 * 1024;
/** Lines for DuckDB are written in pieces of about so many characters. */
const PIECE_CHARACTERS = 4_000_000;

const TEXTS = "MAP(VARCHAR, VARCHAR)";

const COLUMNS = {
  txn: "STRUCT(appId VARCHAR, version BIGINT, lastUpdated BIGINT)",
  add: `STRUCT(path VARCHAR, partitionValues ${TEXTS}, size BIGINT, modificationTime BIGINT, dataChange BOOLEAN, ` +
    `stats VARCHAR, tags ${TEXTS})`,
  remove: "STRUCT(path VARCHAR, deletionTimestamp BIGINT, dataChange BOOLEAN, extendedFileMetadata BOOLEAN, " +
    `partitionValues ${TEXTS}, size BIGINT)`,
  metaData:
    `STRUCT(id VARCHAR, name VARCHAR, description VARCHAR, format STRUCT(provider VARCHAR, options ${TEXTS}), ` +
    `schemaString VARCHAR, partitionColumns VARCHAR[], configuration ${TEXTS}, createdTime BIGINT)`,
  protocol: "STRUCT(minReaderVersion INTEGER, minWriterVersion INTEGER)",
} as const;

type Kind = keyof typeof COLUMNS;
const KINDS = Object.keys(COLUMNS) as readonly Kind[];

/** What a file that may be longer than memory likes needs. */
export interface CheckpointOptions extends StoreOptions {
  readonly store: ObjectStore;
  readonly database: LakeDatabase;
  readonly table: string;
}

export function checkpointKey(table: string, version: number): string {
  return `${logFolder(table)}${versionText(version)}.checkpoint.parquet`;
}

export function lastCheckpointKey(table: string): string {
  return `${logFolder(table)}_last_checkpoint`;
}

/** Writes the state at its version, then the hint. Twice is once: any writer's checkpoint of a version says the same. */
export async function writeCheckpoint(state: LogState, options: CheckpointOptions): Promise<void> {
  const { store, database, table, signal } = options;
  const { version, files } = state;
  await Deno.mkdir(store.scratch, { recursive: true });
  const lines = join(store.scratch, `${crypto.randomUUID()}.ndjson`);
  const parquet = join(store.scratch, `${crypto.randomUUID()}.parquet`);
  try {
    // Taken whole before the first wait: a commit may come meanwhile.
    const { rows, longest } = await writeLines(lines, Array.from(actionsOf(state)));
    const columns = KINDS.map((kind) => `${literal(kind)}: ${literal(COLUMNS[kind])}`).join(", ");
    await database.use((connection) =>
      connection.run(
        `COPY (FROM read_json(${literal(lines)}, format = 'newline_delimited', columns = {${columns}}, ` +
          `maximum_object_size = ${Math.max(longest, LINE_BYTES_LEAST)})) TO ${
            literal(parquet)
          } (FORMAT parquet, COMPRESSION zstd)`,
      )
    ).catch((error) => {
      throw duckdbFailure(error, `write a checkpoint of ${table}`);
    });
    const bytes = await Deno.readFile(parquet);
    await store.put(checkpointKey(table, version), bytes, { signal });
    const hint = { version, size: rows, sizeInBytes: bytes.length, numOfAddFiles: files.size };
    await store.put(lastCheckpointKey(table), new TextEncoder().encode(JSON.stringify(hint)), { signal });
  } finally {
    for (const path of [lines, parquet]) await Deno.remove(path).catch(() => {});
  }
}

/** All that a later reader needs; a file's line is made when it is written. */
function* actionsOf(state: LogState): Generator<() => object> {
  const { protocol, metaData } = state;
  yield () => ({ protocol });
  yield () => ({ metaData });
  for (const txn of state.applications.values()) yield () => ({ txn });
  for (const remove of state.removed.values()) yield () => ({ remove: { ...remove, dataChange: false } });
  for (const file of state.files.values()) {
    yield () => ({
      add: {
        path: file.path,
        partitionValues: file.partitionValues,
        size: file.bytes,
        modificationTime: file.modifiedMs,
        dataChange: false,
        stats: file.statsText,
        tags: file.tags,
      },
    });
  }
}

async function writeLines(
  path: string,
  actions: readonly (() => object)[],
): Promise<{ readonly rows: number; readonly longest: number }> {
  using file = await Deno.open(path, { write: true, createNew: true });
  const encoder = new TextEncoder();
  let piece = "";
  let longest = 0;
  for (let i = 0; i < actions.length; i++) {
    const line = JSON.stringify(actions[i]()) + "\n";
    // A character is at most three bytes of UTF-8 for each of its UTF-16 units.
    longest = Math.max(longest, 3 * line.length);
    piece += line;
    if (piece.length < PIECE_CHARACTERS && i < actions.length - 1) continue;
    const bytes = encoder.encode(piece);
    for (let at = 0; at < bytes.length;) at += await file.write(bytes.subarray(at));
    piece = "";
  }
  return { rows: actions.length, longest };
}

/**
 * Reads a checkpoint, in one file or in parts, whoever wrote it. Its time is not in it: see `committedMs`.
 *
 * @throws ConfigError when it is none, or the table needs more than Tailrace can
 * @throws MissingObjectError when somebody removed it
 */
export async function readCheckpoint(
  keys: readonly string[],
  version: number,
  options: CheckpointOptions & { readonly committedMs: number },
): Promise<LogState> {
  const { store, database, table, signal } = options;
  using files = await store.local(keys, { signal });
  const where = `${store.url}/${keys[0]}`;
  const state = new LogState(table);
  // Columns that a writer left out are null, fields that it has beyond these are ignored.
  const none = KINDS.map((kind) => `NULL::${COLUMNS[kind]} AS "${kind}"`).join(", ");
  const lines = KINDS.map((kind) => `to_json(CAST("${kind}" AS ${COLUMNS[kind]}))`).join(", ");
  const paths = `[${files.paths.map(literal).join(", ")}]`;
  const sql = `SELECT ${lines} FROM (SELECT ${none} WHERE false UNION ALL BY NAME ` +
    `SELECT * FROM read_parquet(${paths}, hive_partitioning = false))`;
  try {
    await database.use(async (connection) => {
      const counted = await connection.run(`SELECT sum(num_rows)::BIGINT FROM parquet_file_metadata(${paths})`);
      const [[rows]] = await counted.getRowsJS();
      let read = 0;
      const result = await connection.stream(sql);
      for await (const some of result.yieldRowsJs()) {
        for (const row of some) takeRow(state, row as (string | null)[], where);
        read += some.length;
      }
      if (read === Number(rows)) return;
      // A stream that fails in its middle ends there without a word; what it failed of is told where nothing is streamed.
      await connection.run(`SELECT count(COLUMNS(*)) FROM (${sql})`);
      throw new Error(`${read} of its ${rows} rows came`);
    });
  } catch (error) {
    const passing = duckdbFailure(error, `read ${where}`);
    if (error instanceof ConfigError || passing !== error) throw passing;
    const why = (error instanceof Error ? error.message : String(error)).split("\n")[0];
    const problem =
      `is not a checkpoint that can be read (${why}): remove it and _last_checkpoint beside it, and the commits are read`;
    throw new ConfigError({ where, problem });
  }
  state.takeVersion(version, options.committedMs);
  return state;
}

function takeRow(state: LogState, row: readonly (string | null)[], where: string): void {
  const refuse = (kind: string): never => {
    throw new ConfigError({
      where,
      problem: `has ${kind} that is not whole: remove it and _last_checkpoint beside it`,
    });
  };
  const [txn, add, remove, metaData, protocol] = row.map((text) => text === null ? null : JSON.parse(text) as object);
  if (txn) {
    const known = checkTxn(txn) ?? refuse("a txn");
    state.applications.set(known.appId, known);
  }
  if (add) state.takeAdd(checkAdd(add) ?? refuse("a file"));
  if (remove) state.takeRemove(checkRemove(remove) ?? refuse("a removed file"));
  if (protocol) state.takeHead(checkProtocol(protocol) ?? refuse("a protocol"), null);
  if (metaData) state.takeHead(null, checkMetaData(metaData) ?? refuse("metaData"));
}
