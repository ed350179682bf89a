/**
 * One topic's archive from its stages to commits: when to flush, what a commit says, and the rows that wait.
 *
 * @module
 */
import { setImmediate } from "node:timers/promises";
import type { DuckDBConnection } from "@duckdb/node-api";
import type { Clock } from "../../../clock.ts";
import { ConflictError, UnavailableError } from "../../../errors.ts";
import type { FlushLimits } from "../../../plan/plan.ts";
import { identifier, literal } from "../../../sql_text.ts";
import { ZSTD_LEVEL } from "../columns/zstd_level.ts";
import type { LakeDatabase } from "../database.ts";
import { evolve } from "../delta/evolve.ts";
import { duckdbType } from "../delta/schema.ts";
import type { DeltaSchema, DeltaTable, Snapshot } from "../delta/table.ts";
import { fitTable } from "../delta/widen_table.ts";
import type { ObjectStore } from "../object_store.ts";
import { writeFiles } from "../parquet_files.ts";
import { ARCHIVE_PARTITION_COLUMN, archiveAppId } from "./archive.ts";
import { ArchiveColumns } from "./archive_columns.ts";
import type { Staged, Stager } from "./stager.ts";
import { type Stage, type StageScan, topicType } from "./stage.ts";

/** Bytes of memory that staged rows take, about; a flush begins at half of it, and reading waits at all of it. */
export const STAGED_BYTES_MAX = 512 * 1024 * 1024;
const DAY_MS = 86_400_000;
const BACK_OFF_MS = { first: 200, most: 10_000 };
/** Where nothing is committed, the table is looked at so often: others compact it, and remove the files it had before. */
const LOOK_EVERY_MS = 600_000;

export interface ArchiverOptions {
  readonly topic: string;
  readonly topicId: string | null;
  readonly table: DeltaTable;
  readonly store: ObjectStore;
  readonly database: LakeDatabase;
  /** Of that database, for writing files. */
  readonly connection: DuckDBConnection;
  readonly archive: ArchiveColumns;
  readonly stager: Stager;
  readonly flush: FlushLimits;
  readonly clock: Clock;
  readonly signal: AbortSignal;
  /** Told why nothing can be written, and null once it goes on. */
  readonly onWaiting: (reason: string | null) => void;
  /** Told of every commit. */
  readonly onCommitted: (
    commit: { readonly snapshot: Snapshot; readonly rows: number; readonly bytes: number },
  ) => void;
}

/** Rows after a snapshot, as a file. */
export interface WrittenTail {
  readonly snapshot: Snapshot;
  readonly path: string | null;
  readonly positions: ReadonlyMap<number, number>;
  readonly maxEventTimeMs: ReadonlyMap<number, number>;
}

export class Archiver {
  readonly #options: ArchiverOptions;
  #snapshot: Snapshot;
  /** When the snapshot was the newest, by the monotonic clock. */
  #lookedAt: number;
  #looking: Promise<void> = Promise.resolve();
  /** Being written; null when nothing is. */
  #writing: { readonly staged: Staged; readonly done: Promise<void> } | null = null;
  /** Of what is being written, while it is not in the snapshot. */
  #uncommitted: Staged | null = null;
  #failure: Error | null = null;
  /** Of the rows in the table. */
  #committed: ReadonlyMap<number, number>;
  readonly #tails = new Set<Promise<unknown>>();
  #tailsMade = 0;

  /** @param committed where each partition is in `snapshot`; only those that are there */
  constructor(snapshot: Snapshot, committed: ReadonlyMap<number, number>, options: ArchiverOptions) {
    this.#options = options;
    this.#snapshot = snapshot;
    this.#lookedAt = options.clock.monotonic();
    this.#committed = committed;
  }

  get snapshot(): Snapshot {
    return this.#snapshot;
  }

  /** Rows that are read and in no commit. */
  get rowsWaiting(): number {
    return this.#options.stager.rows + (this.#uncommitted?.rows ?? 0);
  }

  /**
   * Begins a flush where one is due. Null when more may be staged at once; else what to wait for.
   *
   * @throws what the last flush failed with
   */
  keepUp(): Promise<void> | null {
    if (this.#failure !== null) throw this.#failure;
    const { stager, flush } = this.#options;
    const isDue = stager.rows >= flush.rows || stager.bytes >= STAGED_BYTES_MAX / 2 || this.#isOld();
    if (!isDue) {
      this.#look();
      // DuckDB's threads ask for the rows that they write on this one.
      return this.#writing === null ? null : setImmediate();
    }
    if (this.#writing === null) {
      this.#begin();
      return null;
    }
    // The one before is being written: there is room for as much again.
    const isFull = stager.rows >= flush.rows || stager.bytes >= STAGED_BYTES_MAX / 2;
    return isFull ? this.#writing.done : setImmediate();
  }

  #isOld(): boolean {
    const { stager, flush, clock } = this.#options;
    return stager.since !== null && clock.monotonic() - stager.since >= flush.everyMs;
  }

  /** Goes on from a newer snapshot, if it has the same of the topic. A store that is away is told of by the next flush. */
  #look(): void {
    const { table, topic, topicId, clock, signal } = this.#options;
    if (this.#writing !== null || clock.monotonic() - this.#lookedAt < LOOK_EVERY_MS) return;
    this.#lookedAt = clock.monotonic();
    this.#looking = table.snapshot({ signal }).then((found) => {
      const isSame = [...this.#committed].every(([partition, position]) =>
        found.applications.get(archiveAppId(topic, topicId, partition)) === position
      );
      if (isSame && found.version > this.#snapshot.version) this.#snapshot = found;
    }).catch(() => {});
  }

  /** Commits all that is staged now. */
  async flush(): Promise<void> {
    await this.#writing?.done;
    // Others waited as well: one of them may have begun with all that is staged.
    if (this.#writing === null && this.#options.stager.rows > 0) this.#begin();
    await this.#writing?.done;
  }

  #begin(): void {
    const { stager } = this.#options;
    const positions = stager.positions();
    const staged = stager.handOver();
    this.#uncommitted = staged;
    const done = this.#write(staged, positions).then(() => {
      this.#writing = null;
    });
    done.catch((error) => this.#failure = error);
    this.#writing = { staged, done };
  }

  /** Writes and commits, again and again while the store is away. */
  async #write(staged: Staged, positions: ReadonlyMap<number, number>): Promise<void> {
    const { clock, signal, onWaiting, onCommitted } = this.#options;
    for (let pauseMs = BACK_OFF_MS.first;; pauseMs = Math.min(2 * pauseMs, BACK_OFF_MS.most)) {
      try {
        const bytes = await this.#commit(staged, positions);
        onWaiting(null);
        onCommitted({ snapshot: this.#snapshot, rows: staged.rows, bytes });
        break;
      } catch (error) {
        if (signal.aborted) throw signal.reason;
        if (error instanceof SupersededError || !isPassing(error)) throw error;
        onWaiting(`writing to ${this.#options.store.url}: ${(error as Error).message}`);
        await clock.sleep(pauseMs, signal);
      }
    }
  }

  async #commit({ stages, day }: Staged, positions: ReadonlyMap<number, number>): Promise<number> {
    const { topic, topicId, table, store, connection, archive, clock, signal } = this.#options;
    const base = await fitTable(table, archive.schema(), { store, connection, signal });
    using scans = this.#scan(stages);
    // Stages have codes of their own: together they are texts.
    const only = scans.all.length === 1 && isOfArchive(base.schema) ? scans.all[0] : null;
    const query = only === null
      ? this.#sql(scans.all, base.schema)
      : only.sql(topic, new ArchiveColumns(base.schema).columns);
    const add = await writeFiles(connection, query, {
      store,
      table: table.name,
      schema: base.schema,
      partitionColumns: [ARCHIVE_PARTITION_COLUMN],
      // Told, where it is one for all, DuckDB need not look for it in each row.
      partitionValues: day === null ? undefined : { [ARCHIVE_PARTITION_COLUMN]: dateText(day) },
      coded: [{ name: "kafka_topic", least: topic, most: topic }, ...only?.coded ?? []],
      zstdLevel: ZSTD_LEVEL,
      signal,
    });
    const moved = [...positions].filter(([partition, next]) => this.#committed.get(partition) !== next);
    const { kind, snapshot } = await table.commit({
      operation: "WRITE",
      parameters: { mode: "Append", topic },
      add,
      applications: moved.map(([partition, version]) => ({
        appId: archiveAppId(topic, topicId, partition),
        version,
        after: this.#committed.get(partition) ?? null,
      })),
    }, { base, signal });
    if (kind === "superseded") {
      const isOwn = moved.every(([partition, version]) =>
        snapshot.applications.get(archiveAppId(topic, topicId, partition)) === version
      );
      // A try before, whose outcome was not known, may have been it.
      if (!isOwn) throw new SupersededError(table.name);
    }
    this.#snapshot = snapshot;
    this.#lookedAt = clock.monotonic();
    this.#committed = positions;
    this.#uncommitted = null;
    return add.reduce((sum, file) => sum + file.bytes, 0);
  }

  #scan(stages: readonly Stage[]): Disposable & { readonly all: readonly StageScan[] } {
    const all = stages.map((stage) => stage.scan(this.#options.database));
    return { all, [Symbol.dispose]: () => all.forEach((scan) => scan[Symbol.dispose]()) };
  }

  /** The columns have the schema's types, but for `kafka_topic`. */
  #sql(scans: readonly StageScan[], schema: DeltaSchema): string {
    // The table may have columns that another process added, of types that no field comes to.
    const { columns } = new ArchiveColumns(schema);
    const { topic } = this.#options;
    return [nothing(schema, topic), ...scans.map((scan) => scan.sql(topic, columns))].join("\nUNION ALL BY NAME\n");
  }

  /** The rows behind the snapshot as a Parquet file in the store's scratch; the caller removes it. */
  async tail(): Promise<WrittenTail> {
    const { stager, store, table, archive } = this.#options;
    // One moment: no wait until the stages are named.
    const staged = stager.staged();
    const stages = [...this.#uncommitted?.stages ?? [], ...staged.stages];
    const tail = { snapshot: this.#snapshot, positions: stager.positions(), maxEventTimeMs: stager.maxEventTimes() };
    if (stages.every(({ rows }) => rows === 0)) return { ...tail, path: null };
    const path = `${store.scratch}/tail-${table.name}-${Deno.pid}-${++this.#tailsMade}.parquet`;
    const both = evolve(tail.snapshot.schema, archive.schema());
    const schema = both.kind === "impossible" ? archive.schema() : both.schema;
    const writing = this.#export(stages, { schema, path });
    this.#tails.add(writing);
    try {
      await writing;
      return { ...tail, path };
    } finally {
      this.#tails.delete(writing);
    }
  }

  async #export(stages: readonly Stage[], { schema, path }: { schema: DeltaSchema; path: string }): Promise<void> {
    const { store, database } = this.#options;
    // At once: what is added from here on is not of it.
    using scans = this.#scan(stages);
    await Deno.mkdir(store.scratch, { recursive: true });
    const sql = `COPY (${this.#sql(scans.all, schema)}) TO ${literal(path)} (FORMAT parquet, COMPRESSION snappy)`;
    // Over a connection of its own, a question need not wait for a flush.
    await database.use((connection) => connection.run(sql));
  }

  /** Waits for what is being written. */
  async end(): Promise<void> {
    await this.#writing?.done.catch(() => {});
    await this.#looking;
    await Promise.allSettled(this.#tails);
  }
}

/** Whether a table's columns are all of the archive's making. */
function isOfArchive(schema: DeltaSchema): boolean {
  const own = new Map(new ArchiveColumns(schema).schema().fields.map(({ name, type }) => [name, duckdbType(type)]));
  return schema.fields.every(({ name, type }) => own.get(name) === duckdbType(type));
}

/** No row, of columns of the schema's types. */
function nothing(schema: DeltaSchema, topic: string): string {
  const columns = schema.fields.map(({ name, type }) =>
    `NULL::${name === "kafka_topic" ? topicType(topic) : duckdbType(type)} AS ${identifier(name)}`
  );
  return `SELECT ${columns.join(", ")} WHERE false`;
}

function dateText(day: number): string {
  return new Date(day * DAY_MS).toISOString().slice(0, 10);
}

/** Another process archives the topic to the same table, and was ahead. */
export class SupersededError extends ConflictError {
  constructor(table: string) {
    super(`another process archives to ${table} and was ahead: reading on from where it is`);
  }
}

/** Of what a repeat may mend: the store is away or full, a file went away under a compaction, DuckDB could not write. */
function isPassing(error: unknown): boolean {
  return error instanceof UnavailableError || error instanceof ConflictError || /\bIO Error\b/.test(String(error));
}
