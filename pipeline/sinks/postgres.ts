/**
 * Results in a PostgreSQL table, one row per key and window, with a view for BI tools beside it.
 *
 * @module
 */
import type postgres from "postgres";
import { UnavailableError } from "../errors.ts";
import type { ResultColumn } from "../plan/plan.ts";
import { postgresClient } from "../postgres_client.ts";
import type { Fence } from "./ownership.ts";
import { CopyEncoder } from "./postgres_binary.ts";
import { chunks } from "./postgres_chunks.ts";
import { COPY_ROWS_MIN, copyIn, CopyPolicy, copyStatement } from "./postgres_copy.ts";
import { isValueError, sortedError } from "./postgres_errors.ts";
import { ensureTable } from "./postgres_table.ts";
import { upsertParameters, upsertStatement } from "./postgres_upsert.ts";
import { refusedValue } from "./postgres_values.ts";
import type { ResultRows, Sink, SinkPosition, WriteOptions } from "./sink.ts";

/** How long one statement may take before the server is taken to be away. */
const STATEMENT_MS_MAX = 60_000;

/** How long a connection may take to come up. */
const CONNECT_SECONDS_MAX = 10;

/** How long closing waits for a statement under way, and then for the connection. */
const LAST_STATEMENT_MS_MAX = 2_000;
const CLOSE_SECONDS_MAX = 1;

const HOLD = "SELECT tailrace.hold_ownership($1, $2::bigint)";

export interface PostgresSinkOptions {
  /** A postgres.js client to share, left open on disposal; or `url`, for a client of its own with one connection. */
  readonly sql?: postgres.Sql;
  /** postgres:// URL. */
  readonly url?: string;
  /** `table` or `schema.table`. Made when missing. */
  readonly table: string;
  readonly columns: readonly ResultColumn[];
  /** The pipeline's name, for the comments on table and view. Default: the table's. */
  readonly pipeline?: string;
  /** Write only while this token is the pipeline's newest. Needs the migrations applied. */
  readonly fence?: Fence;
  /** False behind a pooler that cannot keep prepared statements, such as PgBouncer before 1.21. Default true. */
  readonly prepare?: boolean;
  /** Rows of a chunk from which on a COPY is tried first; Infinity never tries. Default 500. */
  readonly copyRowsMin?: number;
  readonly chunkRowsMax?: number;
  readonly chunkBytesMax?: number;
  readonly statementMsMax?: number;
}

/**
 * Connects, makes the table and its view where missing, and gives the sink.
 *
 * Every write is one message per chunk of rows, durable when it returns (synchronous_commit stays on), and no transaction
 * spans messages: a repeat after a lost connection finds nothing half done that it would not replace. With a fence each of
 * them checks in its own transaction that no other process took the pipeline over.
 *
 * @throws ConfigError when the table there has other columns, or the server refuses user, database or rights
 * @throws UnavailableError when the server is away
 */
export async function createPostgresSink(options: PostgresSinkOptions): Promise<Sink> {
  const shared = options.sql;
  if (!shared && !options.url) throw new Error("Cannot create a Postgres sink: neither sql nor url is given");
  const sql = shared ?? connect(options.url!, options.prepare ?? true);
  try {
    await ensureTable(sql, {
      table: options.table,
      columns: options.columns,
      pipeline: options.pipeline ?? options.table,
    });
  } catch (error) {
    if (!shared) await sql.end({ timeout: 0 });
    throw sortedError(error, options.table);
  }
  return new PostgresSink(sql, options);
}

function connect(url: string, prepare: boolean): postgres.Sql {
  return postgresClient(url, {
    prepare,
    connect_timeout: CONNECT_SECONDS_MAX,
    // The caller's retry waits, with its own back-off; two of them would multiply.
    backoff: () => 0,
    connection: { application_name: "tailrace" },
  });
}

class PostgresSink implements Sink {
  readonly name: string;
  readonly #options: PostgresSinkOptions;
  readonly #upsertStatement: string;
  readonly #copyStatement: string;
  readonly #encoder = new CopyEncoder();
  readonly #policy = new CopyPolicy();
  #sql: postgres.Sql;
  /** The statement under way, so that statements of several writes take turns; never rejects. */
  #last: Promise<void> = Promise.resolve();

  constructor(sql: postgres.Sql, options: PostgresSinkOptions) {
    this.name = `postgres:${options.table}`;
    this.#sql = sql;
    this.#options = options;
    const { table, columns, fence = null } = options;
    this.#upsertStatement = upsertStatement(table, columns, { isFenced: fence !== null });
    this.#copyStatement = copyStatement(table, columns, fence);
  }

  /** The table itself tells which rows are there; what is looked at is whose it is. */
  async resume(_position: SinkPosition, { signal }: { readonly signal: AbortSignal }): Promise<void> {
    signal.throwIfAborted();
    const { fence, table, prepare = true } = this.#options;
    if (!fence) return;
    const hold = async () => {
      await this.#sql.unsafe(HOLD, [fence.pipeline, String(fence.token)], { prepare });
    };
    try {
      await this.#within(this.#inTurn(hold, signal), signal);
    } catch (error) {
      if (signal.aborted) throw signal.reason;
      throw sortedError(error, table);
    }
  }

  position(): null {
    return null;
  }

  async write(rows: ResultRows, { signal }: WriteOptions): Promise<void> {
    const { table, chunkRowsMax, chunkBytesMax } = this.#options;
    for (const [from, to] of chunks(rows, { rowsMax: chunkRowsMax, bytesMax: chunkBytesMax })) {
      signal.throwIfAborted();
      try {
        await this.#within(this.#inTurn(() => this.#writeChunk(rows, from, to), signal), signal);
      } catch (error) {
        if (signal.aborted) throw signal.reason;
        const refused = isValueError(error) ? refusedValue(error as Error, rows, { from, to, table }) : null;
        throw refused ?? sortedError(error, table);
      }
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await settledWithin(this.#last, LAST_STATEMENT_MS_MAX);
    // After a connection broke under a statement the client waits for its answer forever, hence never without a time limit.
    if (!this.#options.sql) await this.#sql.end({ timeout: CLOSE_SECONDS_MAX });
  }

  async #writeChunk(rows: ResultRows, from: number, to: number): Promise<void> {
    // On a shared client a COPY would stand in the way of others' queries.
    const mayCopy = !this.#options.sql && to - from >= (this.#options.copyRowsMin ?? COPY_ROWS_MIN);
    if (mayCopy && this.#policy.worthTrying() && await this.#copy(rows, from, to)) return;
    const { fence } = this.#options;
    const parameters = upsertParameters(rows, from, to);
    if (fence) parameters.push(fence.pipeline, String(fence.token));
    await this.#sql.unsafe(this.#upsertStatement, parameters, { prepare: this.#options.prepare ?? true });
  }

  /** False when the upsert has to do it: a row is there already, or the upsert's message is the better one. */
  async #copy(rows: ResultRows, from: number, to: number): Promise<boolean> {
    const bytes = this.#encoder.encode(rows, from, to);
    if (bytes === null) return false;
    try {
      await copyIn(this.#sql, this.#copyStatement, bytes);
      this.#policy.succeeded();
      return true;
    } catch (error) {
      if (!isValueError(error)) throw error;
      this.#policy.collided();
      return false;
    }
  }

  #inTurn(work: () => Promise<void>, signal: AbortSignal): Promise<void> {
    if (this.#options.sql) return work(); // upserts only, and the client has its own order
    const turn = this.#last.then(() => signal.aborted ? undefined : work());
    this.#last = turn.catch(() => {});
    return turn;
  }

  /** Waits no longer than the signal and the time limit allow. What was sent may still happen; a repeat is harmless. */
  #within(work: Promise<void>, signal: AbortSignal): Promise<void> {
    const { table, statementMsMax: limitMs = STATEMENT_MS_MAX } = this.#options;
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => {
        reject(new UnavailableError(`PostgreSQL did not finish writing ${table} in ${limitMs} ms`));
        this.#startAnew();
      }, limitMs);
      const onAbort = () => reject(signal.reason);
      signal.addEventListener("abort", onAbort, { once: true });
      work.then(resolve, reject).finally(() => {
        clearTimeout(timer);
        signal.removeEventListener("abort", onAbort);
      });
    });
  }

  /** Gives up a connection that does not answer: the server may be gone without a word. */
  #startAnew(): void {
    if (this.#options.sql) return;
    this.#sql.end({ timeout: 0 });
    this.#sql = connect(this.#options.url!, this.#options.prepare ?? true);
  }
}

async function settledWithin(work: Promise<void>, ms: number): Promise<void> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const limit = new Promise<void>((resolve) => timer = setTimeout(resolve, ms));
  await Promise.race([work, limit]);
  clearTimeout(timer);
}
