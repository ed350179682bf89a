/**
 * A Delta table over any store: its log played back and added to.
 *
 * A commit is an object with the next version's name, which only one writer can make. Whoever comes second reads what the first
 * did, sees whether its own change still holds, and tries the version after.
 *
 * @module
 */
import { ConfigError, ConflictError, UnavailableError } from "../../../errors.ts";
import {
  type Add,
  type Commit,
  type CommitInfo,
  commitKey,
  type MetaData,
  type Remove,
  renderCommit,
  type Txn,
} from "./actions.ts";
import { type CheckpointOptions, writeCheckpoint } from "./log_checkpoint.ts";
import { listLog, loadLog, readCommit, timeOf } from "./log_reader.ts";
import { type LogState, plainPath, READER_VERSION, WRITER_VERSION } from "./log_state.ts";
import { changesTypes, schemaFault, schemaText } from "./schema.ts";
import type {
  Change,
  CommitResult,
  DataFile,
  DeltaSchema,
  DeltaTable,
  FileStats,
  Snapshot,
  TableVersion,
} from "./table.ts";
import type { StoreOptions } from "../object_store.ts";

/** Every so many versions the state is written as a checkpoint. */
export const CHECKPOINT_EVERY = 10;
/** How long a removed file is remembered, for those who vacuum: as long as other Delta writers do unless told. */
export const REMOVED_KEPT_MS = 7 * 86_400_000;
/** A commit that lost so many races in a row gives up for now. */
const COMMIT_TRIES_MAX = 500;
/** What is known of the log is added to for so long; then it is loaded anew, because old commits are removed one day. */
const STATE_AGE_MAX_MS = 3_600_000;
/** A file that waited longer for its commit may have been taken for one that nobody wants. */
export const COMMIT_WITHIN_MS = 12 * 3_600_000;
/** Versions in a history unless told. */
const HISTORY_LIMIT = 100;

export interface DeltaTableOptions extends Omit<CheckpointOptions, "signal"> {
  /** Milliseconds since the epoch. */
  readonly now?: () => number;
}

/** Opens a table; null when there is none. */
export async function openDeltaTable(options: DeltaTableOptions, store: StoreOptions = {}): Promise<DeltaTable | null> {
  const state = await loadLog({ ...options, signal: store.signal });
  return state === null ? null : new LoggedTable(options, state);
}

/** Makes a table, empty, or opens the one that is there. */
export async function ensureDeltaTable(
  options: DeltaTableOptions,
  want: StoreOptions & { readonly schema: DeltaSchema; readonly partitionColumns: readonly string[] },
): Promise<DeltaTable> {
  const { store, table, now = Date.now } = options;
  const { schema, partitionColumns, signal } = want;
  const there = await openDeltaTable(options, { signal });
  if (there !== null) return there;
  const fault = schemaFault(schema, partitionColumns);
  if (fault !== null) throw new ConfigError({ where: table, problem: fault });
  const timestamp = now();
  const commit: Commit = {
    version: 0,
    commitInfo: {
      timestamp,
      operation: "CREATE TABLE",
      operationParameters: { partitionBy: JSON.stringify(partitionColumns) },
      isBlindAppend: true,
      engineInfo: "Tailrace",
      txnId: crypto.randomUUID(),
    },
    protocol: { minReaderVersion: READER_VERSION, minWriterVersion: WRITER_VERSION },
    metaData: {
      id: crypto.randomUUID(),
      format: { provider: "parquet", options: {} },
      schemaString: schemaText(schema),
      partitionColumns,
      configuration: {},
      createdTime: timestamp,
    },
    txns: [],
    adds: [],
    removes: [],
  };
  // Whether ours or another's: one empty table is as good as another's, and a schema is compared by who opens it.
  await store.putIfAbsent(commitKey(table, 0), renderCommit(commit), { signal });
  const made = await openDeltaTable(options, { signal });
  if (made === null) throw new Error(`${store.url}/${table} has no log right after its first commit`);
  return made;
}

class LoggedTable implements DeltaTable {
  readonly name: string;
  readonly #options: DeltaTableOptions;
  readonly #now: () => number;
  #state: LogState;
  #loadedMs: number;
  /** One at a time adds to the state. */
  #turn: Promise<unknown> = Promise.resolve();
  /** A checkpoint that failed for good; said by the next commit, since the commit before it did happen. */
  #checkpointFault: unknown = null;

  constructor(options: DeltaTableOptions, state: LogState) {
    this.name = options.table;
    this.#options = options;
    this.#now = options.now ?? Date.now;
    this.#state = state;
    this.#loadedMs = this.#now();
  }

  async snapshot(options: StoreOptions = {}): Promise<Snapshot> {
    return await this.#inTurn(async () => {
      await this.#refresh(options);
      return this.#state.snapshot();
    });
  }

  async at(
    when: { readonly version: number } | { readonly timeMs: number },
    options: StoreOptions = {},
  ): Promise<Snapshot | null> {
    const with_ = { ...this.#options, signal: options.signal };
    const version = "version" in when ? when.version : await versionAt(with_, when.timeMs);
    if (version === null || !Number.isSafeInteger(version) || version < 0) return null;
    const newest = await this.snapshot(options);
    if (version === newest.version) return newest;
    return version > newest.version ? null : (await loadLog(with_, version))?.snapshot() ?? null;
  }

  async commit(change: Change, options: StoreOptions & { readonly base: Snapshot }): Promise<CommitResult> {
    const { base, signal } = options;
    return await this.#inTurn(async () => {
      if (this.#checkpointFault !== null) {
        const fault = this.#checkpointFault;
        this.#checkpointFault = null;
        throw fault;
      }
      for (let tries = 0; tries < COMMIT_TRIES_MAX; tries++) {
        await this.#refresh({ signal });
        const current = this.#state.snapshot();
        if (isSuperseded(change, current)) return { kind: "superseded", snapshot: current };
        this.#check(change, { base, current });
        const commit = this.#commitOf(change, current);
        if (await this.#put(commit, { signal })) {
          this.#state.apply(commit);
          const snapshot = this.#state.snapshot();
          await this.#checkpoint({ signal });
          return { kind: "committed", snapshot };
        }
      }
      throw new UnavailableError(`${this.name}: others committed ${COMMIT_TRIES_MAX} times before this commit`);
    });
  }

  async history(options: StoreOptions & { readonly limit?: number } = {}): Promise<TableVersion[]> {
    const { signal, limit = HISTORY_LIMIT } = options;
    const { version } = await this.snapshot({ signal });
    const versions: TableVersion[] = [];
    for (let at = version; at >= 0 && versions.length < limit; at--) {
      const commit = await readCommit({ ...this.#options, signal }, at);
      if (commit === null) break;
      versions.push(describe(commit));
    }
    return versions;
  }

  /** Adds commits since the last look. */
  async #refresh(options: StoreOptions): Promise<void> {
    const with_ = { ...this.#options, signal: options.signal };
    if (this.#now() - this.#loadedMs > STATE_AGE_MAX_MS) {
      const state = await loadLog(with_);
      if (state === null) throw new ConfigError({ where: this.name, problem: "the table is gone: its log is empty" });
      this.#state = state;
    } else {
      for (;;) {
        const commit = await readCommit(with_, this.#state.version + 1);
        if (commit === null) break;
        this.#state.apply(commit);
      }
    }
    this.#loadedMs = this.#now();
  }

  /** @throws ConflictError, ConfigError */
  #check(change: Change, { base, current }: { readonly base: Snapshot; readonly current: Snapshot }): void {
    const { add = [], remove = [], schema } = change;
    const { protocol, metaData } = this.#state;
    if (protocol !== null && protocol.minWriterVersion > WRITER_VERSION) {
      throw new ConfigError({
        where: this.name,
        problem:
          `needs writers of version ${protocol.minWriterVersion} of the Delta protocol, Tailrace has ${WRITER_VERSION}: ` +
          "another writer turned on a table feature",
      });
    }
    if (current.schema.fields.some(({ metadata }) => "delta.invariants" in metadata)) {
      throw new ConfigError({
        where: this.name,
        problem: "has column invariants, which Tailrace does not check: drop them",
      });
    }
    if (metaData?.configuration["delta.appendOnly"] === "true" && remove.length > 0 && change.dataChange !== false) {
      throw new ConfigError({
        where: this.name,
        problem: "says delta.appendOnly, so no row of it can be replaced: unset it",
      });
    }
    const gone = remove.find(({ path }) => !this.#state.files.has(plainPath(path)));
    if (gone !== undefined) {
      throw new ConflictError(`${this.name}: another commit removed ${gone.path} since version ${base.version}`);
    }
    const sinceBase = schemaText(current.schema) !== schemaText(base.schema);
    if (schema !== undefined && sinceBase) {
      throw new ConflictError(`${this.name}: another commit changed the schema since version ${base.version}`);
    }
    if (sinceBase && add.length > 0 && changesTypes(base.schema, current.schema)) {
      throw new ConflictError(`${this.name}: another commit changed columns' types since version ${base.version}`);
    }
    if (schema !== undefined) this.#checkSchema(change, current);
    const tooOldMs = this.#now() - COMMIT_WITHIN_MS;
    for (const file of add) {
      const fits = current.partitionColumns.every((name) => name in file.partitionValues);
      if (!fits) throw new Error(`${this.name}: ${file.path} does not say its partition`);
      if (file.modifiedMs < tooOldMs) {
        throw new Error(
          `${this.name}: ${file.path} waited too long for its commit and may be removed any time: write it anew`,
        );
      }
    }
  }

  #checkSchema(change: Change, current: Snapshot): void {
    const schema = change.schema!;
    const fault = schemaFault(schema, current.partitionColumns);
    if (fault !== null) throw new ConfigError({ where: this.name, problem: fault });
    if (!changesTypes(current.schema, schema)) return;
    // A file that keeps the old type could not be read as the new one.
    const removed = new Set(change.remove?.map(({ path }) => plainPath(path)));
    const kept = current.files.find(({ path }) => !removed.has(plainPath(path)));
    if (kept !== undefined) {
      throw new ConflictError(`${this.name}: ${kept.path} was added meanwhile and has the columns' types from before`);
    }
  }

  #commitOf(change: Change, current: Snapshot): Commit {
    const { add = [], remove = [], applications = [], schema, dataChange = true } = change;
    // Grows with the version whatever clocks do, so that a time names one version.
    const timestamp = Math.max(this.#now(), current.committedMs + 1);
    const commitInfo: CommitInfo = {
      timestamp,
      operation: change.operation,
      operationParameters: change.parameters ?? {},
      operationMetrics: {
        numFiles: String(add.length),
        numRemovedFiles: String(remove.length),
        numOutputRows: String(add.reduce((rows, { stats }) => rows + (stats?.numRecords ?? 0), 0)),
        numOutputBytes: String(add.reduce((sum, { bytes }) => sum + bytes, 0)),
      },
      isBlindAppend: remove.length === 0 && schema === undefined,
      engineInfo: "Tailrace",
      txnId: crypto.randomUUID(),
    };
    const metaData: MetaData | null = schema === undefined
      ? null
      : { ...this.#state.metaData!, schemaString: schemaText(schema) };
    return {
      version: current.version + 1,
      commitInfo,
      protocol: null,
      metaData,
      txns: applications.map(({ appId, version }): Txn => ({ appId, version, lastUpdated: timestamp })),
      adds: add.map((file) => addOf(file, dataChange)),
      removes: remove.map((file) => removeOf(file, { dataChange, timestamp })),
    };
  }

  /** False when another has the version. */
  async #put(commit: Commit, options: StoreOptions): Promise<boolean> {
    const { store, table } = this.#options;
    try {
      if (await store.putIfAbsent(commitKey(table, commit.version), renderCommit(commit), options)) return true;
    } catch (error) {
      if (!(error instanceof UnavailableError)) throw error;
      // The answer may be what got lost. When nothing is there it may come yet: then the caller has to ask again.
      const there = await readCommit({ ...this.#options, ...options }, commit.version).catch(() => null);
      if (there === null) throw error;
      return there.commitInfo?.txnId === commit.commitInfo?.txnId;
    }
    // A try before whose answer was lost, repeated by the store, finds itself there.
    const there = await readCommit({ ...this.#options, ...options }, commit.version);
    return there?.commitInfo?.txnId === commit.commitInfo?.txnId;
  }

  async #checkpoint(options: StoreOptions): Promise<void> {
    if (this.#state.version % CHECKPOINT_EVERY !== 0) return;
    this.#state.forgetRemoved(this.#now() - REMOVED_KEPT_MS);
    try {
      await writeCheckpoint(this.#state, { ...this.#options, ...options });
    } catch (error) {
      // Nothing is lost without this one: the next comes soon.
      if (error instanceof UnavailableError || options.signal?.aborted) return;
      this.#checkpointFault = error;
    }
  }

  async #inTurn<T>(work: () => Promise<T>): Promise<T> {
    const turn = this.#turn.then(work);
    this.#turn = turn.catch(() => {});
    return await turn;
  }
}

function isSuperseded(change: Change, current: Snapshot): boolean {
  return (change.applications ?? []).some(({ appId, version, after }) => {
    const there = current.applications.get(appId) ?? null;
    return (there !== null && there >= version) || (after !== undefined && after !== there);
  });
}

function addOf(file: DataFile, dataChange: boolean): Add {
  return {
    path: file.path,
    partitionValues: file.partitionValues,
    size: file.bytes,
    modificationTime: file.modifiedMs,
    dataChange,
    ...(file.stats === null ? {} : { stats: JSON.stringify(file.stats satisfies FileStats) }),
  };
}

function removeOf(
  file: DataFile,
  { dataChange, timestamp }: { readonly dataChange: boolean; readonly timestamp: number },
): Remove {
  return {
    path: file.path,
    deletionTimestamp: timestamp,
    dataChange,
    extendedFileMetadata: true,
    partitionValues: file.partitionValues,
    size: file.bytes,
  };
}

function describe(commit: Commit): TableVersion {
  const { version, commitInfo, adds, removes } = commit;
  let rows: number | null = 0;
  for (const { stats } of adds) {
    const found = /"numRecords":\s*(\d+)/.exec(stats ?? "");
    rows = rows === null || found === null ? null : rows + Number(found[1]);
  }
  const parameters = Object.entries(commitInfo?.operationParameters ?? {}).map(([name, value]) =>
    [name, typeof value === "string" ? value : JSON.stringify(value)] as const
  );
  return {
    version,
    committedMs: commitInfo?.timestamp ?? 0,
    operation: commitInfo?.operation ?? "UNKNOWN",
    parameters: Object.fromEntries(parameters),
    filesAdded: adds.length,
    filesRemoved: removes.length,
    rowsAdded: rows,
  };
}

/** The last version committed at or before a time, of those that the log still leads to. */
async function versionAt(options: CheckpointOptions, timeMs: number): Promise<number | null> {
  const { commits, checkpoints } = await listLog(options);
  const first = commits[0]?.version === 0 ? 0 : checkpoints[0]?.version;
  const entries = commits.filter(({ version }) => first !== undefined && version >= first);
  // Times grow with versions, so half of what is left is left out at each look.
  let [low, high] = [0, entries.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (await timeOf(options, entries[middle]) <= timeMs) low = middle + 1;
    else high = middle;
  }
  return low === 0 ? null : entries[low - 1].version;
}
