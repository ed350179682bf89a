/**
 * A topic's raw records in the lake, as the rest of Tailrace sees them.
 *
 * The table has, in this order, what is known of every record:
 *
 *     kafka_topic string, kafka_partition integer, kafka_offset long, kafka_timestamp timestamp, kafka_key binary,
 *     kafka_headers array<struct<key string, value binary>> (null for none), kafka_schema_id integer,
 *     kafka_fault string   why the record could not be decoded, or a field not be kept: that one is null; null for all others
 *     kafka_value binary   the bytes of a record with a fault; null for all others
 *
 * then the fields of its schema by their names, all nullable (a tombstone has none): records as structs, int and long as long,
 * float and double as double, timestamps as timestamp, times as long (microseconds), enums and uuids as string, arrays, maps and
 * unions as their JSON text; and at last the partition column `ingest_date date`, the day of kafka_timestamp in UTC.
 *
 * A commit says `txn {appId: archiveAppId(..), version: the offset after the last record}` for each partition, so that the table
 * itself knows where to go on: every record is there exactly once.
 *
 * @module
 */
import type { StoreOptions } from "../object_store.ts";
import type { Snapshot } from "../delta/table.ts";

/** The columns of every archive, ahead of the topic's own fields. */
export const ARCHIVE_COLUMNS = [
  "kafka_topic",
  "kafka_partition",
  "kafka_offset",
  "kafka_timestamp",
  "kafka_key",
  "kafka_headers",
  "kafka_schema_id",
  "kafka_fault",
  "kafka_value",
] as const;

export const ARCHIVE_PARTITION_COLUMN = "ingest_date";

/** Names a topic's partition in the table's log. A topic made anew under its name begins anew; `topicId` null where brokers know none. */
export function archiveAppId(topic: string, topicId: string | null, partition: number): string {
  return `tailrace.archive/${topic}/${topicId ?? "-"}/${partition}`;
}

/** The rows after a snapshot of the table: read, but not in it yet. */
export interface ArchiveTail extends Disposable {
  readonly snapshot: Snapshot;
  /** A local Parquet file with the table's columns (the partition column too), or null when there are none. Disposing removes it. */
  readonly path: string | null;
  /** By partition, the offset after the last record in snapshot and tail together. */
  readonly positions: ReadonlyMap<number, number>;
  /** The greatest event time, by partition, in milliseconds since the epoch; of partitions whose records have one. */
  readonly maxEventTimeMs: ReadonlyMap<number, number>;
}

export interface ArchiveStatus {
  readonly topic: string;
  readonly table: string;
  readonly state: "starting" | "running" | "waiting" | "failed" | "stopped";
  readonly reason: string | null;
  /** The version of the last commit; null before the first. */
  readonly version: number | null;
  readonly rowsArchived: number;
  /** Rows read since, which the next flush commits. */
  readonly rowsWaiting: number;
  readonly bytesWritten: number;
  readonly committedMs: number | null;
  readonly inPerSecond: number;
  readonly lagRecords: number;
}

/** One topic's archive, running. */
export interface Archive {
  readonly topic: string;
  readonly table: string;
  status(): ArchiveStatus;
  /** @throws UnavailableError while it has not begun, or waits for the lake */
  tail(options?: StoreOptions): Promise<ArchiveTail>;
  /** Commits what has been read until now; resolves when it is in the table. */
  flush(options?: StoreOptions): Promise<void>;
}
