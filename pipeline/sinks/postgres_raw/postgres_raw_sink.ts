import type postgres from "postgres";
import type { ResultColumn } from "../../plan/plan.ts";
import { CopyEncoder } from "../postgres_binary.ts";
import { chunks } from "../postgres_chunks.ts";
import { COPY_ROWS_MIN, copyIn, CopyPolicy, copyStatement } from "../postgres_copy.ts";
import { isValueError, shortMessage, sortedError } from "../postgres_errors.ts";
import { pickRows, sliceRows } from "../rows.ts";
import {
  NO_POSITION,
  RejectedRowsError,
  type ResultRows,
  type ResultValue,
  type Sink,
  type WriteOptions,
} from "../sink.ts";
import { Session } from "./session.ts";
import {
  deleteParameters,
  deleteStatement,
  identityColumns,
  insertParameters,
  insertStatement,
  isKeyed,
} from "./statements.ts";
import { ensureRawTable } from "./table.ts";

const STATEMENT_MS_MAX = 60_000;

export interface PostgresRawOptions {
  /** postgres:// URL. */
  readonly url: string;
  /** `table` or `schema.table`. */
  readonly table: string;
  readonly columns: readonly ResultColumn[];
  /** For the table's comment. */
  readonly delivery: string;
  readonly topic: string;
  /** Instead of `STATEMENT_MS_MAX`. */
  readonly statementMsMax?: number;
  /** Instead of `COPY_ROWS_MIN`; Infinity never copies. */
  readonly copyRowsMin?: number;
}

/**
 * Connects, makes the table where it is missing, and gives the sink.
 *
 * Records are known by partition and offset, or by key and offset: a repeat leaves what is there. Each chunk is one message, and
 * one transaction for the server.
 *
 * @throws ConfigError when the table there does not fit, or the server refuses user, database or rights
 * @throws UnavailableError when the server is away
 */
export async function createPostgresRawSink(options: PostgresRawOptions): Promise<Sink> {
  const { url, table, statementMsMax = STATEMENT_MS_MAX } = options;
  const session = new Session(url, { statementMsMax });
  try {
    const signal = new AbortController().signal;
    await session.run((sql) => ensureRawTable(sql, table, options), { signal, what: `looking at ${table}` });
  } catch (error) {
    await session[Symbol.asyncDispose]();
    throw sortedError(error, table);
  }
  return new PostgresRawSink(session, options);
}

class PostgresRawSink implements Sink {
  readonly name: string;
  readonly resume = NO_POSITION.resume;
  readonly position = NO_POSITION.position;
  readonly #options: PostgresRawOptions;
  readonly #session: Session;
  readonly #copy: string;
  readonly #insert: string;
  readonly #delete: string;
  readonly #encoder = new CopyEncoder();
  readonly #policy = new CopyPolicy();
  /** Columns that tell which rows of a chunk are of the same key; null where each row is one of its own. */
  readonly #key: readonly number[] | null;

  constructor(session: Session, options: PostgresRawOptions) {
    const { table, columns } = options;
    this.name = `postgres:${table}`;
    this.#session = session;
    this.#options = options;
    this.#copy = copyStatement(table, columns);
    this.#insert = insertStatement(table, columns);
    this.#delete = deleteStatement(table, columns);
    this.#key = isKeyed(columns) ? identityColumns(columns).map((column) => columns.indexOf(column)) : null;
  }

  async write(rows: ResultRows, { signal }: WriteOptions): Promise<void> {
    const rejected: RejectedRow[] = [];
    for (const [from, to] of chunks(rows)) {
      signal.throwIfAborted();
      try {
        await this.#session.run((sql) => this.#writeChunk(sql, rows, { from, to, rejected }), {
          signal,
          what: `writing ${this.#options.table}`,
        });
      } catch (error) {
        if (signal.aborted) throw signal.reason;
        throw sortedError(error, this.#options.table);
      }
    }
    if (rejected.length > 0) throw new RejectedRowsError(rejected);
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.#session[Symbol.asyncDispose]();
  }

  async #writeChunk(sql: postgres.Sql, all: ResultRows, chunk: Chunk): Promise<void> {
    const rows = this.#newest(all, chunk);
    const isLong = rows.length >= (this.#options.copyRowsMin ?? COPY_ROWS_MIN);
    if (isLong && rows.origin?.tombstones === undefined && this.#policy.worthTrying()) {
      if (await this.#copyRows(sql, rows)) return;
    }
    await this.#insertRows(sql, all, chunk);
  }

  /** False when the insert has to do it: a row is there already, or one is refused. */
  async #copyRows(sql: postgres.Sql, rows: ResultRows): Promise<boolean> {
    const bytes = this.#encoder.encode(rows, 0, rows.length);
    if (bytes === null) return false;
    try {
      await copyIn(sql, this.#copy, bytes);
      this.#policy.succeeded();
      return true;
    } catch (error) {
      if (!isValueError(error)) throw error;
      this.#policy.collided();
      return false;
    }
  }

  /** In halves where a value is refused, until the row it is in stands alone. */
  async #insertRows(sql: postgres.Sql, all: ResultRows, chunk: Chunk): Promise<void> {
    const { from, to, rejected } = chunk;
    const [gone, there] = divided(this.#newest(all, chunk));
    try {
      if (there.length > 0) await sql.unsafe(this.#insert, insertParameters(there), { prepare: true });
      if (gone.length > 0) await sql.unsafe(this.#delete, deleteParameters(gone), { prepare: true });
    } catch (error) {
      if (!isValueError(error)) throw error;
      if (to - from === 1) {
        rejected.push({ row: from, reason: `PostgreSQL refuses it: ${shortMessage(error as Error)}` });
        return;
      }
      const middle = (from + to) >> 1;
      await this.#insertRows(sql, all, { from, to: middle, rejected });
      await this.#insertRows(sql, all, { from: middle, to, rejected });
    }
  }

  /** The rows of a chunk, of each key only the last: one statement cannot write a row twice. */
  #newest(all: ResultRows, { from, to }: Chunk): ResultRows {
    if (this.#key === null) return sliceRows(all, from, to);
    const last = new Map<string, number>();
    for (let row = from; row < to; row++) {
      const id = JSON.stringify(this.#key.map((column) => keyText(all.values[column][row])));
      // Moved to its new place: rows stay in the order of their offsets.
      last.delete(id);
      last.set(id, row);
    }
    return last.size === to - from ? sliceRows(all, from, to) : pickRows(all, [...last.values()]);
  }
}

interface RejectedRow {
  readonly row: number;
  readonly reason: string;
}

interface Chunk {
  readonly from: number;
  readonly to: number;
  readonly rejected: RejectedRow[];
}

/** Rows of keys that are gone, and the others. */
function divided(rows: ResultRows): [gone: ResultRows, there: ResultRows] {
  const { tombstones } = rows.origin ?? {};
  const gone: number[] = [];
  const there: number[] = [];
  for (let row = 0; row < rows.length; row++) (tombstones?.has(row) ? gone : there).push(row);
  return [pickRows(rows, gone), gone.length === 0 ? rows : pickRows(rows, there)];
}

/** The same for the same key, also where a long comes as a bigint. */
function keyText(value: ResultValue): string | boolean | null {
  if (value === null || typeof value === "boolean") return value;
  return value instanceof Uint8Array ? value.toHex() : String(value);
}
