import type postgres from "postgres";
import { UnavailableError } from "../pipeline/errors.ts";
import { sortedError } from "../pipeline/sinks/postgres_errors.ts";

/** How long a server may take to end a statement that it was asked to cancel; after that it is taken to be away. */
const CANCEL_MS_MAX = 1_000;
const CLOSE_SECONDS_MAX = 1;
/** By then the lost connection is closed, and the client makes new ones. */
const AGAIN_AFTER_MS = 50;

/** The values of a row, whose columns are all text. */
export type TextRow = readonly (string | null)[];

/** What the client's types do not tell of a statement. */
interface Query {
  /** The server has it. */
  readonly active: boolean;
  /** Asks the server to end it. The client's own `cancel` lets nobody hear that this failed, which ends the process. */
  canceller: ((query: Query) => Promise<void>) | null;
}

/**
 * Statements that are answered within a time limit or not waited for any longer, whatever becomes of server and network, and of
 * which none stands in the way of later ones.
 *
 * There are never more at the client than it has connections for: one that is taken back while the client is still connecting
 * leaves a connection that nobody uses again, so all have begun, or wait for their turn here, or are left to the client.
 */
export class Statements implements AsyncDisposable {
  readonly #connect: () => postgres.Sql;
  readonly #timeoutMs: number;
  readonly #waiting = new Set<() => void>();
  #sql: postgres.Sql;
  #free: number;

  /** `connect` makes a client, with as many connections as its `max` says; it is called again when one does not answer. */
  constructor(connect: () => postgres.Sql, { timeoutMs = 5_000 }: { readonly timeoutMs?: number } = {}) {
    this.#connect = connect;
    this.#timeoutMs = timeoutMs;
    this.#sql = connect();
    this.#free = this.#sql.options.max;
  }

  /**
   * Rows of a SELECT. It is asked once more when its connection is lost, for with one connection the client gives up all it has.
   *
   * @throws UnavailableError after the time limit; what the client throws
   */
  async rows(text: string, parameters: readonly string[]): Promise<readonly TextRow[]> {
    const late = Promise.withResolvers<never>();
    late.promise.catch(() => {});
    let isLate = false;
    let onLate = () => {};
    const timer = setTimeout(() => {
      isLate = true;
      late.reject(new UnavailableError(`the database of results did not answer within ${this.#timeoutMs} ms`));
      onLate();
    }, this.#timeoutMs);
    try {
      await this.#turn(late.promise);
      const ask = () => {
        const sql = this.#sql;
        const query = sql.unsafe(text, [...parameters]).values();
        onLate = () => this.#giveUp(sql, query as unknown as Query & Promise<unknown>);
        return query as Promise<unknown> as Promise<readonly TextRow[]>;
      };
      const answer = ask().catch(async (error) => {
        if (!(sortedError(error, "") instanceof UnavailableError)) throw error;
        await new Promise((resolve) => setTimeout(resolve, AGAIN_AFTER_MS));
        if (isLate) throw error;
        return await ask();
      }).finally(() => this.#pass());
      return await Promise.race([answer, late.promise]);
    } finally {
      clearTimeout(timer);
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#sql.end({ timeout: CLOSE_SECONDS_MAX });
  }

  async #turn(late: Promise<never>): Promise<void> {
    if (this.#free > 0) {
      this.#free--;
      return;
    }
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#waiting.add(resolve);
    try {
      await Promise.race([promise, late]);
    } catch (error) {
      if (!this.#waiting.delete(resolve)) this.#pass();
      throw error;
    }
  }

  #pass(): void {
    const [next] = this.#waiting;
    if (next === undefined) {
      this.#free++;
    } else {
      this.#waiting.delete(next);
      next();
    }
  }

  #giveUp(sql: postgres.Sql, query: Query & Promise<unknown>): void {
    // Where the client is still connecting the statement may yet reach the server.
    const connectingMs = query.active ? 0 : 1_000 * sql.options.connect_timeout;
    if (query.active) query.canceller?.(query).catch(() => {});
    const timer = setTimeout(() => {
      if (sql !== this.#sql) return;
      this.#sql = this.#connect();
      sql.end({ timeout: 0 });
    }, connectingMs + CANCEL_MS_MAX);
    query.catch(() => {}).finally(() => clearTimeout(timer));
  }
}
