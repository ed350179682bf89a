/**
 * A topic's archived records at one moment, as DuckDB can read them.
 *
 * @module
 */
import { tailSql } from "../audit/archive_cut.ts";
import { ConfigError } from "../errors.ts";
import { archiveAppId, type ArchiveTail } from "../sinks/lake/archive/archive.ts";
import { keyOf } from "../sinks/lake/delta/data_path.ts";
import type { DataFile, DeltaSchema, Snapshot } from "../sinks/lake/delta/table.ts";
import type { ObjectStore } from "../sinks/lake/object_store.ts";
import { readFilesSql } from "../sinks/lake/parquet_files.ts";

/** What is read at a time where all of it has to be: of a store far away so much is copied here. */
const PART_BYTES_MAX = 512 * 1024 * 1024;

const [ARCHIVE] = archiveAppId("", null, 0).split("/");

/** Event times in milliseconds, `[fromMs, toMs)`. */
export interface TimeRange {
  readonly fromMs: number;
  readonly toMs: number;
}

export interface ArchivedTopic {
  readonly topic: string;
  /** The archive's table, for messages. */
  readonly table: string;
  /** The version of the table. */
  readonly version: number;
  readonly schema: DeltaSchema;
  /** By partition, the offset after the last record that is here. */
  readonly positions: ReadonlyMap<number, number>;
  /** The least and the largest event time, in this field, by what is noted of the files; null where that is not noted of all. */
  bounds(field: string): { readonly leastMs: number; readonly mostMs: number } | null;
  /** Calls `work` with relations that hold each record once, a bounded number of bytes at a time. */
  eachPart(work: (relation: string) => Promise<void>): Promise<void>;
  /** Calls `work` with a relation that holds at least all records whose event time, in this field, is in the range. */
  within<T>(range: TimeRange & { readonly field: string }, work: (relation: string) => Promise<T>): Promise<T>;
}

export interface ArchiveAt {
  readonly topic: string;
  /** Kafka's id of the topic; null where brokers know none. */
  readonly topicId: string | null;
  readonly partitions: readonly number[];
  readonly snapshot: Snapshot;
  readonly store: ObjectStore;
  /** What is not in the snapshot yet, if that is to be read too. */
  readonly tail?: ArchiveTail;
  readonly signal: AbortSignal;
}

/**
 * The archive of a topic as of a snapshot of its table.
 *
 * @throws ConfigError when it holds records of another topic of the same name, which was deleted since
 */
export function archivedTopic({ topic, topicId, partitions, snapshot, store, tail, signal }: ArchiveAt): ArchivedTopic {
  const { table, schema, applications, partitionColumns, files } = snapshot;
  const other = [...applications.keys()].map((appId) => appId.split("/"))
    .find(([kind, name, id]) => kind === ARCHIVE && name === topic && id !== (topicId ?? "-"));
  if (other !== undefined) {
    throw new ConfigError({
      where: `lake.${table}`,
      problem:
        `holds records of another topic ${topic}, which was deleted and created anew: they cannot be told apart. ` +
        `Archive the new topic under another name: archive: lake("${table}_2")`,
    });
  }
  const positions = new Map(
    partitions.flatMap((partition) => {
      const position = tail?.positions.get(partition) ??
        applications.get(archiveAppId(topic, topicId, partition));
      return position === undefined ? [] : [[partition, position] as const];
    }),
  );
  const relation = async <T>(some: readonly DataFile[], work: (relation: string) => Promise<T>): Promise<T> => {
    using local = await store.local(some.map((file) => keyOf(table, file)), { signal });
    const parts = some.map(({ partitionValues }, i) => ({ path: local.paths[i], partitionValues }));
    return await work(`(${readFilesSql(parts, schema, partitionColumns)})`);
  };
  const behind = tail?.path ? `(${tailSql(tail.path, snapshot)})` : null;
  return {
    topic,
    table,
    version: snapshot.version,
    schema,
    positions,
    bounds(field) {
      const all = files.map((file) => boundsOf(file, field));
      const [leastMs, mostMs] = [
        Math.min(...all.map(({ least }) => least)),
        Math.max(...all.map(({ most }) => most), ...tail?.maxEventTimeMs.values() ?? []),
      ];
      return Number.isFinite(leastMs) && Number.isFinite(mostMs) ? { leastMs, mostMs } : null;
    },
    async eachPart(work) {
      for (const part of parts(files)) await relation(part, work);
      if (behind !== null) await work(behind);
    },
    async within({ fromMs, toMs, field }, work) {
      const some = files.filter((file) => mayHold(file, field, { fromMs, toMs }));
      if (some.length === 0 && behind !== null) return await work(behind);
      // Of none that may hold some, any holds none.
      return await relation(
        some.length === 0 ? files.slice(0, 1) : some,
        (sql) => work(behind === null ? sql : `(FROM ${sql} UNION ALL BY NAME FROM ${behind})`),
      );
    },
  };
}

function* parts(files: readonly DataFile[]): Generator<DataFile[]> {
  let part: DataFile[] = [];
  let bytes = 0;
  for (const file of files) {
    if (part.length > 0 && bytes + file.bytes > PART_BYTES_MAX) {
      yield part;
      part = [];
      bytes = 0;
    }
    part.push(file);
    bytes += file.bytes;
  }
  if (part.length > 0) yield part;
}

/** Whether a file may hold event times of a range, by what the table's log says of it. */
function mayHold(file: DataFile, field: string, { fromMs, toMs }: TimeRange): boolean {
  const { least, most } = boundsOf(file, field);
  // Statistics may be cut to milliseconds.
  return !(least >= toMs || most + 1 < fromMs);
}

/** Milliseconds; NaN where nothing is noted. */
function boundsOf({ stats }: DataFile, field: string): { readonly least: number; readonly most: number } {
  const bound = (values: Readonly<Record<string, unknown>> | undefined) => {
    let value: unknown = values;
    for (const name of field.split(".")) value = (value as Record<string, unknown> | undefined)?.[name];
    return typeof value === "number" ? value : typeof value === "string" ? Date.parse(value) : NaN;
  };
  return { least: bound(stats?.minValues), most: bound(stats?.maxValues) };
}
