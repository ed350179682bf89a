/**
 * A table's log, played back up to one version.
 *
 * @module
 */
import { ConfigError } from "../../../errors.ts";
import type { Add, Commit, MetaData, Protocol, Remove, Txn } from "./actions.ts";
import { parseSchema } from "./schema.ts";
import type { DataFile, DeltaSchema, FileStats, Snapshot } from "./table.ts";

/** What Tailrace reads and writes: no table features. */
export const READER_VERSION = 1;
export const WRITER_VERSION = 2;

/** A live file with what the log says of it beyond {@linkcode DataFile}. */
export interface LoggedFile extends DataFile {
  readonly statsText: string | null;
  readonly tags: Readonly<Record<string, string>> | null;
}

/** Grows with each commit. Whole commits only: one that cannot be taken changes nothing. */
export class LogState {
  readonly table: string;
  version = -1;
  committedMs = 0;
  protocol: Protocol | null = null;
  metaData: MetaData | null = null;
  /** By path, without the log's escapes; oldest first. */
  readonly files = new Map<string, LoggedFile>();
  /** Files that are no longer live, as far as the log remembers. */
  readonly removed = new Map<string, Remove>();
  readonly applications = new Map<string, Txn>();
  #schema: DeltaSchema | null = null;
  #snapshot: Snapshot | null = null;
  /** Thousands of files share few partitions. */
  readonly #partitions = new Map<string, Readonly<Record<string, string | null>>>();

  constructor(table: string) {
    this.table = table;
  }

  /** @throws ConfigError when the table needs more than Tailrace can */
  apply(commit: Commit): void {
    if (commit.version !== this.version + 1) throw new Error(`commit ${commit.version} after ${this.version}`);
    this.takeHead(commit.protocol, commit.metaData);
    for (const txn of commit.txns) this.applications.set(txn.appId, txn);
    // A commit may remove a file and add it again under its path.
    for (const remove of commit.removes) this.takeRemove(remove);
    for (const add of commit.adds) this.takeAdd(add);
    this.takeVersion(commit.version, commit.commitInfo?.timestamp ?? this.committedMs);
  }

  takeHead(protocol: Protocol | null, metaData: MetaData | null): void {
    if (protocol !== null && protocol.minReaderVersion > READER_VERSION) {
      throw new ConfigError({
        where: this.table,
        problem: `needs readers of version ${protocol.minReaderVersion} of the Delta protocol, Tailrace has ` +
          `${READER_VERSION}: another writer turned on a table feature`,
      });
    }
    if (metaData !== null) this.#schema = parseSchema(metaData.schemaString, this.table);
    this.protocol = protocol ?? this.protocol;
    this.metaData = metaData ?? this.metaData;
  }

  takeAdd(add: Add): void {
    const path = plainPath(add.path);
    this.removed.delete(path);
    this.files.delete(path);
    this.files.set(path, loggedFile(add, this.#partition(add.partitionValues)));
  }

  takeRemove(remove: Remove): void {
    const path = plainPath(remove.path);
    this.files.delete(path);
    this.removed.set(path, remove);
  }

  takeVersion(version: number, committedMs: number): void {
    this.version = version;
    this.committedMs = committedMs;
    this.#snapshot = null;
  }

  /** Forgets files that were removed before this time. */
  forgetRemoved(beforeMs: number): void {
    for (const [path, { deletionTimestamp }] of this.removed) {
      if ((deletionTimestamp ?? 0) < beforeMs) this.removed.delete(path);
    }
  }

  /** What is true at this version, whatever commits come later. */
  snapshot(): Snapshot {
    if (this.metaData === null || this.#schema === null || this.protocol === null) {
      throw new ConfigError({
        where: this.table,
        problem: `its log says no protocol or no schema up to version ${this.version}: restore what is missing`,
      });
    }
    this.#snapshot ??= Object.freeze({
      table: this.table,
      version: this.version,
      committedMs: this.committedMs,
      schema: this.#schema,
      partitionColumns: this.metaData.partitionColumns,
      files: [...this.files.values()],
      applications: new Map(Array.from(this.applications.values(), ({ appId, version }) => [appId, version])),
    });
    return this.#snapshot;
  }

  #partition(values: Readonly<Record<string, string | null>>): Readonly<Record<string, string | null>> {
    const id = JSON.stringify(values);
    const known = this.#partitions.get(id) ?? values;
    this.#partitions.set(id, known);
    return known;
  }
}

/** A path without the log's escapes: writers differ in what they escape. */
export function plainPath(path: string): string {
  try {
    return decodeURIComponent(path);
  } catch {
    return path;
  }
}

/** Statistics stay text until they are asked for: parsed, those of 100,000 files would take hundreds of megabytes. */
function loggedFile(add: Add, partitionValues: Readonly<Record<string, string | null>>): LoggedFile {
  const statsText = add.stats ?? null;
  return {
    path: add.path,
    partitionValues,
    bytes: add.size,
    modifiedMs: add.modificationTime,
    get stats() {
      return statsText === null ? null : parseStats(statsText);
    },
    statsText,
    tags: add.tags ?? null,
  };
}

/** Null for what no reader could use: statistics are optional. */
function parseStats(text: string): FileStats | null {
  try {
    const stats = JSON.parse(text) as Partial<FileStats> | null;
    if (typeof stats?.numRecords !== "number") return null;
    const { numRecords, minValues = {}, maxValues = {}, nullCount = {} } = stats;
    return { numRecords, minValues, maxValues, nullCount };
  } catch {
    return null;
  }
}
