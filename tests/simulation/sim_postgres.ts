import { ConflictError } from "../../pipeline/errors.ts";
import type { ResultRows, ResultValue, Sink, SinkPosition, WriteOptions } from "../../pipeline/sinks/sink.ts";
import type { SimProcess } from "./sim_process.ts";

export type Row = readonly ResultValue[];

/** Rows in one statement. */
const STATEMENT_ROWS = 3;

/** A database that keeps the rules of the sink's statements: who may write, and which row replaces which. */
export class SimPostgres {
  readonly rows = new Map<string, Row>();
  readonly #onReplaced: (before: Row, after: Row) => void;
  #token = 0;

  constructor(onReplaced: (before: Row, after: Row) => void) {
    this.#onReplaced = onReplaced;
  }

  /** Makes the caller the owner, and all before it none. */
  own(): { token: number; generation: number } {
    return { token: ++this.#token, generation: 0 };
  }

  /** One statement: all of it or nothing. Columns: k, window_start, window_end, n, total, revision, final. */
  upsert(token: number, rows: readonly Row[]): void {
    if (token !== this.#token) throw new ConflictError(`owner ${this.#token} has taken over from ${token}`);
    for (const row of rows) {
      const key = JSON.stringify([row[0], row[1]]);
      const there = this.rows.get(key);
      if (there && !isNewer(row, there)) continue;
      if (there) this.#onReplaced(there, row);
      this.rows.set(key, row);
    }
  }
}

function isNewer(row: Row, there: Row): boolean {
  const [revision, final] = row.slice(-2) as [number, boolean];
  const [revisionThere, finalThere] = there.slice(-2) as [number, boolean];
  return revision > revisionThere || revision === revisionThere && final && !finalThere;
}

/** The sink of one process. */
export class SimPostgresSink implements Sink {
  readonly name = "postgres:results";
  readonly #postgres: SimPostgres;
  readonly #process: SimProcess;
  readonly #token: number;

  constructor(postgres: SimPostgres, process: SimProcess, token: number) {
    this.#postgres = postgres;
    this.#process = process;
    this.#token = token;
  }

  resume(): Promise<void> {
    return Promise.resolve();
  }

  position(): SinkPosition {
    return null;
  }

  async write(rows: ResultRows, { signal }: WriteOptions): Promise<void> {
    for (let from = 0; from < rows.length; from += STATEMENT_ROWS) {
      const to = Math.min(rows.length, from + STATEMENT_ROWS);
      const some = Array.from({ length: to - from }, (_, i) => rows.values.map((values) => values[from + i]));
      await this.#process.call(
        "postgres",
        `to take ${some.length} rows`,
        () => this.#postgres.upsert(this.#token, some),
        signal,
      );
    }
  }

  [Symbol.asyncDispose](): Promise<void> {
    return Promise.resolve();
  }
}
