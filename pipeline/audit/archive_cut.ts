/**
 * A topic's archive at one moment: the committed table and, where it is short, what waits behind it.
 *
 * @module
 */
import type { DuckDBConnection } from "@duckdb/node-api";
import type { Plan } from "../plan/plan.ts";
import { type Archive, archiveAppId } from "../sinks/lake/archive/archive.ts";
import { duckdbType } from "../sinks/lake/delta/schema.ts";
import { keyOf } from "../sinks/lake/delta/data_path.ts";
import type { DataFile, Snapshot } from "../sinks/lake/delta/table.ts";
import type { Lake } from "../sinks/lake/lake.ts";
import { readFilesSql } from "../sinks/lake/parquet_files.ts";
import { identifier, literal } from "../sql_text.ts";
import type { WindowRange } from "./expected_sql.ts";

/** More rows behind the table than this are not read: they are committed soon. */
export const TAIL_ROWS_MAX = 2_500_000;
/** Files whose first offsets are asked for in one query. */
const FILES_AT_A_TIME = 16;

export interface ArchiveCut extends Disposable {
  readonly snapshot: Snapshot;
  /** By partition, the offset after the last record. */
  readonly positions: ReadonlyMap<number, number>;
  /** Why records cannot be told apart by partition and offset; null when they can. */
  readonly doubt: string | null;
  /** Does something with a query (in parentheses) that has all records of some event times, and perhaps more. */
  read<T>(range: WindowRange | null, work: (relation: string) => Promise<T>, signal: AbortSignal): Promise<T>;
}

/**
 * Freezes the archive; disposing lets go of it. Null while there is no table yet. What waits behind the table is written out for
 * it only when the table alone is not `isEnough`, by its positions.
 *
 * @throws UnavailableError while the lake, or the archive, cannot be read
 */
export async function cutArchive(
  plan: Plan,
  { archive, lake, topicId, isEnough, signal }: {
    readonly archive: Pick<Archive, "topic" | "table" | "status" | "tail">;
    readonly lake: Lake;
    readonly topicId: string | null;
    readonly isEnough: (positions: ReadonlyMap<number, number>) => boolean;
    readonly signal: AbortSignal;
  },
): Promise<ArchiveCut | null> {
  const committed = await (await lake.table(archive.table, { signal }))?.snapshot({ signal });
  const reached = committed ? committedPositions(committed, { topic: archive.topic, topicId }) : new Map();
  const { state, rowsWaiting } = archive.status();
  const isWanted = state === "running" && rowsWaiting <= TAIL_ROWS_MAX && !isEnough(reached);
  const tail = isWanted ? await archive.tail({ signal }) : null;
  const snapshot = tail?.snapshot ?? committed;
  if (!snapshot) return null;
  const positions = tail?.positions ?? reached;
  return {
    snapshot,
    positions,
    doubt: doubtOf(snapshot, archive.topic),
    read: async (range, work, signal) => {
      const files = range === null ? snapshot.files : snapshot.files.filter((file) => mayHold(plan, file, range));
      using local = await lake.store.local(files.map((file) => keyOf(snapshot.table, file)), { signal });
      const found = files.map(({ partitionValues }, i) => ({ path: local.paths[i], partitionValues }));
      const parts = [readFilesSql(found, snapshot.schema, snapshot.partitionColumns)];
      if (tail?.path) parts.push(tailSql(tail.path, snapshot));
      return await work(`(${parts.join("\nUNION ALL BY NAME\n")})`);
    },
    [Symbol.dispose]: () => tail?.[Symbol.dispose](),
  };
}

/** The tail's rows in the table's columns: its schema may be ahead of the table's. */
export function tailSql(path: string, { schema }: Snapshot): string {
  const empty = schema.fields.map(({ name, type }) => `NULL::${duckdbType(type)} AS ${identifier(name)}`);
  const columns = schema.fields.map(({ name, type }) =>
    `CAST(${identifier(name)} AS ${duckdbType(type)}) AS ${identifier(name)}`
  );
  return `SELECT ${columns.join(", ")} FROM (SELECT ${empty.join(", ")} WHERE false UNION ALL BY NAME ` +
    `SELECT * FROM read_parquet(${literal(path)}, hive_partitioning = false))`;
}

function committedPositions(
  { applications }: Snapshot,
  { topic, topicId }: { readonly topic: string; readonly topicId: string | null },
): Map<number, number> {
  const prefix = archiveAppId(topic, topicId, 0).slice(0, -1);
  const positions = new Map<number, number>();
  for (const [appId, version] of applications) {
    if (appId.startsWith(prefix)) positions.set(Number(appId.slice(prefix.length)), version);
  }
  return positions;
}

function doubtOf({ applications }: Snapshot, topic: string): string | null {
  const prefix = `tailrace.archive/${topic}/`;
  const ids = new Set(
    [...applications.keys()].filter((appId) => appId.startsWith(prefix)).map((appId) =>
      appId.slice(prefix.length).split("/")[0]
    ),
  );
  return ids.size <= 1 ? null : `topic ${topic} was deleted and created anew, and the archive holds both`;
}

/** Whether a file may hold records of these event times, by its statistics: theirs are in milliseconds, and never too narrow. */
function mayHold(plan: Plan, { stats }: DataFile, { fromMs, toMs }: WindowRange): boolean {
  const reachMs = plan.dedupe?.withinMs ?? 0;
  const [least, most] = [stats?.minValues, stats?.maxValues].map((values) => eventTimeIn(plan, values));
  return (least === null || least < toMs + reachMs + 1) && (most === null || most >= fromMs - reachMs - 1);
}

/** The least event time that the archive's files tell of, milliseconds; null when one does not. */
export function leastEventTime(plan: Plan, { files }: Snapshot): number | null {
  let least = Infinity;
  for (const { stats } of files) {
    const time = eventTimeIn(plan, stats?.minValues);
    if (time === null) return null;
    least = Math.min(least, time);
  }
  return Number.isFinite(least) ? least : null;
}

function eventTimeIn(plan: Plan, values: Readonly<Record<string, unknown>> | undefined): number | null {
  const { path, type } = plan.fields[plan.eventTime];
  let value: unknown = values;
  for (const name of path.split(".")) value = (value as Record<string, unknown> | undefined)?.[name];
  const ms = typeof value === "number" && type.type !== "date"
    ? type.type === "timestamp-micros" ? Math.floor(value / 1000) : value
    : typeof value === "string"
    ? Date.parse(value)
    : NaN;
  return Number.isNaN(ms) ? null : ms;
}

/**
 * The first offset of each partition in the archive. Files are asked in the order of their least offsets, until no further one
 * can hold an earlier record of any.
 */
export async function firstOffsets(
  connection: DuckDBConnection,
  cut: ArchiveCut,
  { lake, topic, signal }: { readonly lake: Lake; readonly topic: string; readonly signal: AbortSignal },
): Promise<Map<number, number>> {
  const { snapshot, positions } = cut;
  const leastIn = ({ stats }: DataFile) => {
    const least = stats?.minValues.kafka_offset;
    return typeof least === "number" ? least : -Infinity;
  };
  const files = snapshot.files.toSorted((a, b) => leastIn(a) - leastIn(b));
  const first = new Map<number, number>();
  const note = async (relation: string) => {
    const reader = await connection.runAndReadAll(
      `SELECT kafka_partition, min(kafka_offset) FROM (${relation}) WHERE kafka_topic = ${literal(topic)} GROUP BY 1`,
    );
    for (const [partition, offset] of reader.getRows()) {
      first.set(Number(partition), Math.min(Number(offset), first.get(Number(partition)) ?? Infinity));
    }
  };
  for (let from = 0; from < files.length; from += FILES_AT_A_TIME) {
    const isAll = [...positions.keys()].every((partition) => first.has(partition));
    if (isAll && leastIn(files[from]) >= Math.max(...first.values())) break;
    const some = files.slice(from, from + FILES_AT_A_TIME);
    using local = await lake.store.local(some.map((file) => keyOf(snapshot.table, file)), { signal });
    const found = some.map(({ partitionValues }, i) => ({ path: local.paths[i], partitionValues }));
    await note(readFilesSql(found, snapshot.schema, snapshot.partitionColumns));
  }
  // Of partitions that are in no file yet, the tail may hold the first.
  if ([...positions.keys()].some((partition) => !first.has(partition))) {
    await cut.read({ fromMs: Infinity, toMs: -Infinity }, note, signal);
  }
  return first;
}
