/**
 * Final results into a Delta table: durable at once in a journal on the local disk, and in the table by the next flush.
 *
 *     write ──▶ journal ──▶ batch in DuckDB ──▶ Parquet files ──▶ one commit ──▶ the journal's files go
 *                              newest row         see merge.ts      says which of the journal's files are in it
 *
 * The table has one row per key and window, always, for every reader. Early rows are dropped: windows that are open are seen in
 * `live.<pipeline>`.
 *
 * A commit says two things of whoever writes. `txn {appId: journalAppId(..)}`: up to which file a journal is in the table, so that
 * one that was committed before a crash is not committed again. `txn {appId: MERGES}`: how many merges there were, as a
 * compare-and-set: of two processes that merge at the same time the second one finds the rows of the first and looks again. So a
 * process that was frozen and comes back cannot leave a second row, and as its rows are older it cannot replace one either.
 *
 * @module
 */
import type { DuckDBConnection } from "@duckdb/node-api";
import type { Disk } from "../../../disk.ts";
import { type Clock, systemClock } from "../../../clock.ts";
import { ConfigError, ConflictError, UnavailableError } from "../../../errors.ts";
import type { FlushLimits, ResultColumn } from "../../../plan/plan.ts";
import type { ResultRows, Sink, SinkPosition, WriteOptions } from "../../sink.ts";
import type { ApplicationVersion, Snapshot } from "../delta/table.ts";
import { duckdbFailure } from "../duckdb_failure.ts";
import type { Lake } from "../lake.ts";
import { MissingObjectError } from "../object_store.ts";
import { makeBatch, stageFiles } from "./batch.ts";
import { Journal, journalAppId, type JournalFile, TakenOverError } from "./journal.ts";
import { writeMerge } from "./merge.ts";
import { identityOf } from "./results_schema.ts";
import { openResultsTable } from "./results_table.ts";
import { finalRowsOf, projected } from "./rows.ts";

/** Counts the merges into a table, whoever made them. */
const MERGES = "tailrace.results";
/** Rows and bytes that wait at most while the lake is away; then the pipeline waits. */
export const ROWS_WAITING_MAX = 20_000_000;
export const BYTES_WAITING_MAX = 1024 ** 3;
/** Rows of one commit, about: more wait for the next. */
const ROWS_PER_COMMIT = 4_000_000;
/** Tries of one flush while others commit first. */
const TRIES_MAX = 20;
/** Wait after a first failure, milliseconds; doubles with each further one, up to the second. */
const RETRY_MS = 500;
const RETRY_MS_MAX = 30_000;
/** Where nothing is flushed, the table is looked at so often: others compact it, and remove the files it had before. */
const LOOK_EVERY_MS = 600_000;
/** How long a start waits for the lake: what it finds wrong then is told at once. */
const OPEN_WITHIN_MS = 5_000;
/** How long the end lets a last flush take. What is not committed then is by the next start. */
const END_WITHIN_MS = 2_000;

export interface LakeSinkOptions {
  readonly lake: Lake;
  readonly table: string;
  readonly columns: readonly ResultColumn[];
  readonly pipeline: string;
  readonly flush: FlushLimits;
  /** Where the journal is kept: a local folder of this pipeline's own. */
  readonly folder: string;
  readonly clock?: Clock;
  /** Ends what goes on in the background. */
  readonly signal?: AbortSignal;
  /** Told why rows wait for the lake, and null once they do not. */
  readonly onWaiting?: (reason: string | null) => void;
  readonly disk?: Disk;
  /** Instead of `ROWS_WAITING_MAX` and `BYTES_WAITING_MAX`. */
  readonly rowsWaitingMax?: number;
  readonly bytesWaitingMax?: number;
}

/** Durable rows that a snapshot does not have. Disposing lets their files go. */
export interface PendingRows extends Disposable {
  /** What they follow: these and the snapshot's rows are all there are. Null while the table has never been seen. */
  readonly snapshot: Snapshot | null;
  readonly length: number;
  /** The rows, some at a time, in the sink's columns; of one key and window there may be several, and newer ones in the snapshot. */
  rows(): AsyncIterable<ResultRows>;
}

export interface LakeSinkStatus {
  readonly table: string;
  /** Why rows wait for the lake; null when they only wait for the next flush. */
  readonly reason: string | null;
  /** The table's version after the last flush; null before the first. */
  readonly version: number | null;
  readonly committedMs: number | null;
  readonly rowsWaiting: number;
  readonly bytesWaiting: number;
  /** Rows put into the table since the start. */
  readonly rowsCommitted: number;
}

export interface LakeSink extends Sink {
  readonly table: string;
  /**
   * The rows that wait for the table, at this moment. `snapshot`, if told, is one of the table: what it has already is left out;
   * where the sink knows a newer one, that is taken instead.
   */
  pending(snapshot?: Snapshot | null): PendingRows;
  /**
   * Commits all that was written until now.
   *
   * @throws UnavailableError when the lake is away
   * @throws ConfigError when the table cannot take the rows
   */
  flush(options?: { readonly signal?: AbortSignal }): Promise<void>;
  status(): LakeSinkStatus;
}

/** A sink of final results into the table of a lake. Opens nothing until `resume`. */
export function createLakeSink(options: LakeSinkOptions): LakeSink {
  return new ResultsSink(options);
}

class ResultsSink implements LakeSink {
  readonly name: string;
  readonly table: string;
  readonly #options: LakeSinkOptions;
  readonly #clock: Clock;
  readonly #journal: Journal;
  readonly #identity: readonly string[];
  readonly #stop = new AbortController();
  #running: Promise<void> | null = null;
  /** One flush at a time. */
  #turn: Promise<unknown> = Promise.resolve();
  #snapshot: Snapshot | null = null;
  /** When the snapshot was the newest, by the monotonic clock. */
  #lookedAt = -Infinity;
  #committedMs: number | null = null;
  #rowsCommitted = 0;
  /** When the first of the rows that wait came, by the monotonic clock; null when none wait. */
  #waitingSince: number | null = null;
  /** Why the last flush did not succeed. */
  #problem: Error | null = null;
  #poked = Promise.withResolvers<void>();
  /** Resolved after each try to flush. */
  #tried = Promise.withResolvers<void>();

  constructor(options: LakeSinkOptions) {
    const { table, folder, pipeline, columns, disk, clock = systemClock, signal } = options;
    this.name = `lake:${table}`;
    this.table = table;
    this.#options = options;
    this.#clock = clock;
    this.#identity = identityOf(columns);
    this.#journal = new Journal({ folder, pipeline, table, columns, disk });
    signal?.addEventListener("abort", () => this.#stop.abort(signal.reason), { once: true });
    if (signal?.aborted) this.#stop.abort(signal.reason);
  }

  position(): null {
    return null;
  }

  /** Reads what an earlier process left, and looks at the table; while the lake is away it goes on without. */
  async resume(_position: SinkPosition, { signal }: { readonly signal: AbortSignal }): Promise<void> {
    signal.throwIfAborted();
    await this.#journal.recover();
    if (this.#journal.rows > 0) this.#waitingSince ??= -Infinity;
    await this.#exclusively(() => this.#look(signal));
    this.#tell(null);
    this.#running ??= this.#run();
    this.#poke();
  }

  async write(rows: ResultRows, { signal }: WriteOptions): Promise<void> {
    signal.throwIfAborted();
    if (this.#problem !== null && !(this.#problem instanceof UnavailableError)) throw this.#problem;
    const final = finalRowsOf(rows);
    if (final.length === 0) return;
    await this.#room(signal);
    await this.#journal.append(rows, final);
    this.#waitingSince ??= this.#clock.monotonic();
    this.#poke();
  }

  pending(given: Snapshot | null = null): PendingRows {
    const known = this.#snapshot;
    const snapshot = given === null || (known !== null && known.version > given.version) ? known : given;
    const journal = this.#journal;
    const { columns } = this.#options;
    const files = this.#journal.files().filter((file) => !this.#isIn(snapshot, file));
    const hold = journal.hold();
    return {
      snapshot,
      length: files.reduce((sum, { rows }) => sum + rows, 0),
      async *rows() {
        for (const file of files) {
          for (const some of await journal.read(file) ?? []) yield projected(some, columns);
        }
      },
      [Symbol.dispose]: () => hold[Symbol.dispose](),
    };
  }

  async flush({ signal }: { readonly signal?: AbortSignal } = {}): Promise<void> {
    const stop = this.#stop.signal;
    await this.#attempt(signal === undefined ? stop : AbortSignal.any([stop, signal]));
  }

  status(): LakeSinkStatus {
    return {
      table: this.table,
      reason: this.#problem?.message ?? null,
      version: this.#snapshot?.version ?? null,
      committedMs: this.#committedMs,
      rowsWaiting: this.#journal.rows,
      bytesWaiting: this.#journal.bytes,
      rowsCommitted: this.#rowsCommitted,
    };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (!this.#stop.signal.aborted && this.#problem === null && this.#running !== null) {
      const late = new AbortController();
      const timer = new AbortController();
      this.#clock.sleep(END_WITHIN_MS, timer.signal).then(() => late.abort(), () => {});
      // What it does not come to is in the journal.
      await this.flush({ signal: late.signal }).catch(() => {});
      timer.abort();
    }
    this.#stop.abort(new UnavailableError(`${this.name} was closed`));
    await this.#running;
    await this.#turn;
    await this.#journal[Symbol.asyncDispose]();
  }

  /** Flushes whenever it is due. */
  async #run(): Promise<void> {
    const { signal } = this.#stop;
    let failures = 0;
    while (!signal.aborted) {
      const lookInMs = Math.max(0, this.#lookedAt + LOOK_EVERY_MS - this.#clock.monotonic());
      await this.#wait(Math.min(this.#dueInMs(), lookInMs));
      if (signal.aborted) return;
      if (this.#dueInMs() === 0) {
        failures = await this.#attempt(signal).then(() => 0, () => failures + 1);
        if (failures > 0) await this.#pause(Math.min(RETRY_MS * 2 ** (failures - 1), RETRY_MS_MAX));
      } else if (this.#clock.monotonic() >= this.#lookedAt + LOOK_EVERY_MS) {
        this.#lookedAt = this.#clock.monotonic();
        await this.#exclusively(() => this.#look(signal)).catch(() => {});
      }
    }
  }

  /** Milliseconds until the next flush; 0 when it is due, Infinity while nothing waits. */
  #dueInMs(): number {
    const { rows, everyMs } = this.#options.flush;
    if (this.#journal.rows === 0 || this.#waitingSince === null) return Infinity;
    if (this.#journal.rows >= rows || this.#isFull()) return 0;
    return Math.max(0, this.#waitingSince + everyMs - this.#clock.monotonic());
  }

  /** Waits so long, or until something happens that may make a flush due. */
  async #wait(ms: number): Promise<void> {
    const ended = new AbortController();
    const { signal } = this.#stop;
    const poke = () => this.#poke();
    signal.addEventListener("abort", poke, { once: true });
    if (signal.aborted) return;
    const slept = ms === Infinity ? new Promise<never>(() => {}) : this.#clock.sleep(ms, ended.signal).catch(() => {});
    await Promise.race([slept, this.#poked.promise]);
    signal.removeEventListener("abort", poke);
    ended.abort();
    this.#poked = Promise.withResolvers();
  }

  async #pause(ms: number): Promise<void> {
    await this.#clock.sleep(ms, this.#stop.signal).catch(() => {});
  }

  #poke(): void {
    this.#poked.resolve();
  }

  #isFull(): boolean {
    const { rowsWaitingMax = ROWS_WAITING_MAX, bytesWaitingMax = BYTES_WAITING_MAX } = this.#options;
    return this.#journal.rows >= rowsWaitingMax || this.#journal.bytes >= bytesWaitingMax;
  }

  /** Waits while too many rows wait. @throws UnavailableError while the lake is away */
  async #room(signal: AbortSignal): Promise<void> {
    while (this.#isFull()) {
      if (this.#problem !== null) {
        const { rows } = this.#journal;
        throw new UnavailableError(`${rows} rows wait for ${this.name}, as many as may: ${this.#problem.message}`);
      }
      this.#poke();
      await unlessAborted(this.#tried.promise, signal);
    }
  }

  #exclusively<T>(work: () => Promise<T>): Promise<T> {
    const done = this.#turn.then(work);
    this.#turn = done.catch(() => {});
    return done;
  }

  /** Says why rows wait, or that they do not. */
  #tell(problem: Error | null): void {
    const before = this.#problem;
    this.#problem = problem;
    if (before?.message !== problem?.message) this.#options.onWaiting?.(problem?.message ?? null);
  }

  /** Opens the table, to tell what is wrong with it. */
  async #look(signal: AbortSignal): Promise<void> {
    const { lake, table, columns } = this.#options;
    const late = new AbortController();
    const timer = new AbortController();
    this.#clock.sleep(OPEN_WITHIN_MS, timer.signal).then(() => late.abort(), () => {});
    try {
      const opened = await openResultsTable({
        lake,
        table,
        columns,
        signal: AbortSignal.any([signal, late.signal, this.#stop.signal]),
      });
      this.#see(opened.snapshot);
    } catch (error) {
      signal.throwIfAborted();
      if (!late.signal.aborted && !(error instanceof UnavailableError) && !(error instanceof ConflictError)) {
        throw error;
      }
    } finally {
      timer.abort();
    }
  }

  /** A flush, whose failure is told. */
  async #attempt(signal: AbortSignal): Promise<void> {
    await this.#exclusively(async () => {
      try {
        signal.throwIfAborted();
        await this.#flushAll(signal);
        this.#tell(null);
      } catch (thrown) {
        signal.throwIfAborted();
        const error = duckdbFailure(thrown, `write the results of ${this.name}`);
        this.#tell(error as Error);
        throw error;
      } finally {
        this.#tried.resolve();
        this.#tried = Promise.withResolvers();
      }
    });
  }

  async #flushAll(signal: AbortSignal): Promise<void> {
    const since = this.#waitingSince;
    this.#waitingSince = null;
    try {
      const files = await this.#journal.close();
      for (let from = 0; from < files.length;) {
        let to = from;
        for (let rows = 0; to < files.length && rows < ROWS_PER_COMMIT; to++) rows += files[to].rows;
        await this.#flushFiles(files.slice(from, to), signal);
        from = to;
      }
      this.#committedMs = this.#clock.now();
    } catch (error) {
      this.#waitingSince = since ?? this.#waitingSince;
      throw error;
    }
  }

  async #flushFiles(files: readonly JournalFile[], signal: AbortSignal): Promise<void> {
    for (let tries = 0; tries < TRIES_MAX; tries++) {
      signal.throwIfAborted();
      try {
        const isDone = await this.#options.lake.database.use(async (connection) => {
          const interrupt = () => connection.interrupt();
          signal.addEventListener("abort", interrupt, { once: true });
          try {
            return await this.#tryFlush(connection, files, signal);
          } finally {
            signal.removeEventListener("abort", interrupt);
          }
        });
        if (isDone) return;
      } catch (error) {
        signal.throwIfAborted();
        if (error instanceof TakenOverError) throw error;
        // Others committed first: what they did is looked at.
        if (!(error instanceof ConflictError) && !(error instanceof MissingObjectError)) throw error;
      }
    }
    throw new UnavailableError(`${this.name}: others committed first, ${TRIES_MAX} times in a row`);
  }

  /** False when another commit came first. */
  async #tryFlush(
    connection: DuckDBConnection,
    files: readonly JournalFile[],
    signal: AbortSignal,
  ): Promise<boolean> {
    const { lake, table: name, columns } = this.#options;
    const { table, snapshot } = await openResultsTable({ lake, table: name, columns, signal });
    const left = files.filter((file) => !this.#isIn(snapshot, file));
    if (left.length === 0) {
      await this.#settle(files, snapshot);
      return true;
    }
    const { sets, gone } = await stageFiles(connection, left, { journal: this.#journal, signal });
    if (gone.length > 0) {
      await this.#assertIn(gone, { signal });
      return false;
    }
    await makeBatch(connection, sets, { schema: snapshot.schema, identity: this.#identity });
    const options = { snapshot, store: lake.store, identity: this.#identity, signal };
    const { add, remove, rows } = await writeMerge(connection, options);
    if (add.length === 0 && remove.length === 0) {
      await this.#settle(files, snapshot);
      return true;
    }
    const operation = remove.length === 0 ? "WRITE" : "MERGE";
    const change = { operation, add, remove, applications: this.#applications(snapshot, left) };
    const result = await table.commit(change, { base: snapshot, signal });
    if (result.kind === "superseded") return false;
    this.#rowsCommitted += rows;
    await this.#settle(files, result.snapshot);
    return true;
  }

  /** What is in the table now: from here on it is no longer pending. Both at one moment. */
  async #settle(files: readonly JournalFile[], snapshot: Snapshot): Promise<void> {
    this.#see(snapshot);
    await this.#journal.settle(files);
  }

  #see(snapshot: Snapshot): void {
    this.#snapshot = snapshot;
    this.#lookedAt = this.#clock.monotonic();
  }

  #isIn(snapshot: Snapshot | null, { journal, number }: JournalFile): boolean {
    const version = snapshot?.applications.get(journalAppId(this.#options.pipeline, journal));
    return version !== undefined && version >= number;
  }

  #applications({ applications }: Snapshot, files: readonly JournalFile[]): ApplicationVersion[] {
    const last = new Map<string, number>();
    for (const { journal, number } of files) last.set(journal, Math.max(number, last.get(journal) ?? 0));
    const merges = applications.get(MERGES);
    return [
      { appId: MERGES, version: (merges ?? 0) + 1, after: merges ?? null },
      ...Array.from(last, ([journal, version]) => {
        const appId = journalAppId(this.#options.pipeline, journal);
        return { appId, version, after: applications.get(appId) ?? null };
      }),
    ];
  }

  /** A file that is gone was taken over, or committed and removed, by another process. */
  async #assertIn(gone: readonly JournalFile[], { signal }: { readonly signal: AbortSignal }): Promise<void> {
    const { lake, table, columns } = this.#options;
    const { snapshot } = await openResultsTable({ lake, table, columns, signal });
    const lost = gone.filter((file) => !this.#isIn(snapshot, file));
    if (lost.length === 0) return;
    for (const file of lost) {
      if (!await this.#journal.isTaken(file)) continue;
      throw new TakenOverError(`another process has taken over the journal of ${this.name}: ${file.path}`);
    }
    await this.#journal.settle(lost);
    throw new ConfigError({
      where: lost.map(({ path }) => path).join(", "),
      problem:
        `was removed before its final results were in the lake's table ${table}. They are not in it; compute them ` +
        `again with: tailrace rewind ${this.#options.pipeline}`,
    });
  }
}

/** @throws the signal's reason when that comes first */
async function unlessAborted(promise: Promise<unknown>, signal: AbortSignal): Promise<void> {
  signal.throwIfAborted();
  const aborted = Promise.withResolvers<never>();
  const onAbort = () => aborted.reject(signal.reason);
  signal.addEventListener("abort", onAbort, { once: true });
  try {
    await Promise.race([promise, aborted.promise]);
  } finally {
    signal.removeEventListener("abort", onAbort);
  }
}
