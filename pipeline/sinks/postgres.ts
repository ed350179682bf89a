/**
 * Results in a PostgreSQL table, one row per key and window, with a view for BI tools beside it.
 *
 * @module
 */
import postgres from "postgres";
import { UnavailableError } from "../errors.ts";
import type { ResultColumn } from "../plan/plan.ts";
import { chunks } from "./postgres_chunks.ts";
import { isValueError, sortedError } from "./postgres_errors.ts";
import { ensureTable } from "./postgres_table.ts";
import { upsertParameters, upsertStatement } from "./postgres_upsert.ts";
import { refusedValue } from "./postgres_values.ts";
import type { ResultRows, Sink, WriteOptions } from "./sink.ts";

/** How long one statement may take before the server is taken to be away. */
const STATEMENT_MS_MAX = 60_000;

/** How long a connection may take to come up. */
const CONNECT_SECONDS_MAX = 10;

/** How long closing waits for a statement under way. */
const CLOSE_SECONDS_MAX = 5;

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
  /** False behind a pooler that cannot keep prepared statements, such as PgBouncer before 1.21. Default true. */
  readonly prepare?: boolean;
  readonly chunkRowsMax?: number;
  readonly chunkBytesMax?: number;
  readonly statementMsMax?: number;
}

/**
 * Connects, makes the table and its view where missing, and gives the sink.
 *
 * Every write is one statement per chunk of rows, durable when it returns (synchronous_commit stays on), and no
 * transaction spans statements: a repeat after a lost connection finds nothing half done that it would not replace.
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
  return postgres(url, {
    max: 1,
    prepare,
    connect_timeout: CONNECT_SECONDS_MAX,
    // The caller's retry waits, with its own back-off; two of them would multiply.
    backoff: () => 0,
    // The list of types is for arrays of JavaScript values; this sink writes array literals itself.
    fetch_types: false,
    onnotice: () => {},
    connection: { application_name: "tailrace" },
  });
}

class PostgresSink implements Sink {
  readonly name: string;
  readonly #sql: postgres.Sql;
  readonly #options: PostgresSinkOptions;
  readonly #statement: string;

  constructor(sql: postgres.Sql, options: PostgresSinkOptions) {
    this.name = `postgres:${options.table}`;
    this.#sql = sql;
    this.#options = options;
    this.#statement = upsertStatement(options.table, options.columns);
  }

  async write(rows: ResultRows, { signal }: WriteOptions): Promise<void> {
    const { chunkRowsMax, chunkBytesMax } = this.#options;
    for (const [from, to] of chunks(rows, { rowsMax: chunkRowsMax, bytesMax: chunkBytesMax })) {
      signal.throwIfAborted();
      try {
        await this.#within(this.#upsert(rows, from, to), signal);
      } catch (error) {
        if (signal.aborted) throw signal.reason;
        const refused = isValueError(error)
          ? refusedValue(error as Error, rows, { from, to, table: this.#options.table })
          : null;
        throw refused ?? sortedError(error, this.#options.table);
      }
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (!this.#options.sql) await this.#sql.end({ timeout: CLOSE_SECONDS_MAX });
  }

  async #upsert(rows: ResultRows, from: number, to: number): Promise<void> {
    await this.#sql.unsafe(this.#statement, upsertParameters(rows, from, to), {
      prepare: this.#options.prepare ?? true,
    });
  }

  /** Waits no longer than the signal and the time limit allow. What was sent may still happen; a repeat is harmless. */
  #within(work: Promise<void>, signal: AbortSignal): Promise<void> {
    const limitMs = this.#options.statementMsMax ?? STATEMENT_MS_MAX;
    return new Promise((resolve, reject) => {
      const timer = setTimeout(
        () => reject(new UnavailableError(`PostgreSQL did not finish writing ${this.#options.table} in ${limitMs} ms`)),
        limitMs,
      );
      const onAbort = () => reject(signal.reason);
      signal.addEventListener("abort", onAbort, { once: true });
      work.then(resolve, reject).finally(() => {
        clearTimeout(timer);
        signal.removeEventListener("abort", onAbort);
      });
    });
  }
}
