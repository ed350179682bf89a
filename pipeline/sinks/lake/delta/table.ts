/**
 * A Delta table as the rest of Tailrace sees it: snapshots to read, commits to write.
 *
 *     <root>/<table>/_delta_log/00000000000000000007.json               one commit: an action per line
 *                               00000000000000000010.checkpoint.parquet the state so far
 *                               _last_checkpoint
 *     <root>/<table>/ingest_date=2026-11-21/part-<uuid>.zstd.parquet    data
 *
 * Reader version 1, writer version 2 of the protocol: what every Delta reader opens. Source: the Delta Transaction Log Protocol.
 *
 * @module
 */
import type { StoreOptions } from "../object_store.ts";

/** A type as the table's schema names it: `string`, `long`, `decimal(18,2)`, `timestamp` (microseconds, UTC), or nested. */
export type DeltaType =
  | "string"
  | "long"
  | "integer"
  | "short"
  | "byte"
  | "float"
  | "double"
  | "boolean"
  | "binary"
  | "date"
  | "timestamp"
  | `decimal(${number},${number})`
  | { readonly type: "struct"; readonly fields: readonly DeltaField[] }
  | { readonly type: "array"; readonly elementType: DeltaType; readonly containsNull: boolean }
  | {
    readonly type: "map";
    readonly keyType: DeltaType;
    readonly valueType: DeltaType;
    readonly valueContainsNull: boolean;
  };

/** One that has no types inside. */
export type SimpleType = Exclude<DeltaType, { readonly type: string }>;

export interface DeltaField {
  readonly name: string;
  readonly type: DeltaType;
  readonly nullable: boolean;
  readonly metadata: Readonly<Record<string, string>>;
}

export interface DeltaSchema {
  readonly type: "struct";
  readonly fields: readonly DeltaField[];
}

/** Bounds of one data file, by column; of structs nested by field. Values as JSON: timestamps as ISO 8601 text in UTC, decimals as numbers. */
export interface FileStats {
  readonly numRecords: number;
  readonly minValues: Readonly<Record<string, unknown>>;
  readonly maxValues: Readonly<Record<string, unknown>>;
  readonly nullCount: Readonly<Record<string, unknown>>;
}

/** A live data file. `path` is relative to the table's folder, percent-encoded as the log has it; see `keyOf`. */
export interface DataFile {
  readonly path: string;
  readonly partitionValues: Readonly<Record<string, string | null>>;
  readonly bytes: number;
  readonly modifiedMs: number;
  readonly stats: FileStats | null;
}

/** A table at one version. Immutable. */
export interface Snapshot {
  readonly table: string;
  readonly version: number;
  readonly committedMs: number;
  readonly schema: DeltaSchema;
  readonly partitionColumns: readonly string[];
  readonly files: readonly DataFile[];
  /** The last version that each application committed, by its id. */
  readonly applications: ReadonlyMap<string, number>;
}

/** Says that an application got as far as `version`. */
export interface ApplicationVersion {
  readonly appId: string;
  readonly version: number;
  /**
   * What the table must say before (null: nothing), so that parts follow each other without a gap; undefined only asks that
   * it is less than `version`.
   */
  readonly after?: number | null;
}

/** What a commit does. `add` and `remove` together are one step: readers see both or neither. */
export interface Change {
  /** `WRITE`, `MERGE`, `OPTIMIZE`, `CREATE TABLE`, `ADD COLUMNS`, ...: for the table's history. */
  readonly operation: string;
  readonly parameters?: Readonly<Record<string, string>>;
  readonly add?: readonly DataFile[];
  /** Live files, of the snapshot that the change was made from. */
  readonly remove?: readonly DataFile[];
  /** False when rows only moved between files. True unless told. */
  readonly dataChange?: boolean;
  readonly applications?: readonly ApplicationVersion[];
  /** A new schema: what is added must fit it. */
  readonly schema?: DeltaSchema;
}

/** What became of a commit. `superseded`: one of the applications is already there, or elsewhere than `after` says; nothing was written. */
export type CommitResult =
  | { readonly kind: "committed"; readonly snapshot: Snapshot }
  | { readonly kind: "superseded"; readonly snapshot: Snapshot };

export interface TableVersion {
  readonly version: number;
  readonly committedMs: number;
  readonly operation: string;
  readonly parameters: Readonly<Record<string, string>>;
  readonly filesAdded: number;
  readonly filesRemoved: number;
  readonly rowsAdded: number | null;
}

/** One table. Safe to be used by several processes at once: whoever comes second to a version tries the next. */
export interface DeltaTable {
  readonly name: string;
  /** The newest snapshot: reads only the commits since the last one. */
  snapshot(options?: StoreOptions): Promise<Snapshot>;
  /**
   * An earlier one: of this version, or the last that was committed at or before this time. Null when the log does not hold it
   * (any more).
   */
  at(
    when: { readonly version: number } | { readonly timeMs: number },
    options?: StoreOptions,
  ): Promise<Snapshot | null>;
  /**
   * Commits, on top of whatever others committed meanwhile.
   *
   * @throws ConflictError when a file to remove is gone, or `schema` was changed by another since `base`
   */
  commit(change: Change, options: StoreOptions & { readonly base: Snapshot }): Promise<CommitResult>;
  /** Newest first, as far as the log holds them. */
  history(options?: StoreOptions & { readonly limit?: number }): Promise<TableVersion[]>;
}
