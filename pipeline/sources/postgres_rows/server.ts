/**
 * A connection to the database that is read, and what is asked of the server itself: which transactions are open.
 *
 * @module
 */
import type postgres from "postgres";
import { ConfigError, UnavailableError } from "../../errors.ts";
import { postgresClient } from "../../postgres_client.ts";
import { sortedError } from "../../sinks/postgres_errors.ts";
import type { Origin } from "./progress.ts";

const CONNECT_SECONDS_MAX = 10;
/** How long the server may take for one answer, of a statement or of the next rows of one. */
export const ANSWER_MS_MAX = 5 * 60_000;

/** The transactions at one moment. */
export interface Horizon {
  /** The least number that is open; all below it have ended. */
  readonly settled: number;
  /** The first number that was not given yet. */
  readonly next: number;
  /** Nobody who writes from `next` on began before this, in ISO 8601 with microseconds. */
  readonly oldest: string;
  /** Which are open, as the server writes it. */
  readonly text: string;
}

/** The transaction that the horizon waits for. */
export interface Holder {
  readonly who: string;
  /** How long it is open; null where this user may not see that. */
  readonly seconds: number | null;
}

/** Reads only, one statement after the other. */
export class Server implements AsyncDisposable {
  readonly sql: postgres.Sql;
  readonly #where: string;
  readonly #answerMsMax: number;

  /** `where` is what it is asked about, for messages. */
  constructor(url: string, where: string, { answerMsMax = ANSWER_MS_MAX }: { readonly answerMsMax?: number } = {}) {
    this.#where = where;
    this.#answerMsMax = answerMsMax;
    try {
      this.sql = postgresClient(url, {
        // Statements are few, and a prepared one fails once its table has changed.
        prepare: false,
        connect_timeout: CONNECT_SECONDS_MAX,
        backoff: () => 0,
        connection: {
          application_name: "tailrace",
          default_transaction_read_only: true,
          DateStyle: "ISO, YMD",
          IntervalStyle: "iso_8601",
          bytea_output: "hex",
          extra_float_digits: 1,
          statement_timeout: 0,
        },
      });
    } catch {
      // The client's own message would show the text, and the password in it.
      throw new ConfigError({ where, problem: "the database's address is not a postgres:// URL" });
    }
  }

  /** @throws UnavailableError, ConfigError; UnavailableError too when no answer comes in time */
  async ask<T>(work: (sql: postgres.Sql) => Promise<T>, signal: AbortSignal): Promise<T> {
    signal.throwIfAborted();
    const { promise, reject } = Promise.withResolvers<never>();
    const onAbort = () => reject(signal.reason);
    const timer = setTimeout(
      () =>
        reject(new UnavailableError(`PostgreSQL gave no answer about ${this.#where} in ${this.#answerMsMax / 1000} s`)),
      this.#answerMsMax,
    );
    signal.addEventListener("abort", onAbort, { once: true });
    const answer = work(this.sql);
    answer.catch(() => {}); // where the time limit was first
    try {
      return await Promise.race([answer, promise]);
    } catch (error) {
      if (signal.aborted) throw signal.reason;
      throw sortedError(error, this.#where);
    } finally {
      clearTimeout(timer);
      signal.removeEventListener("abort", onAbort);
    }
  }

  /**
   * Who is open is looked at before the snapshot is taken: whoever gets a number after the snapshot and began before the look was open
   * at the look, and is seen.
   */
  async horizon(signal: AbortSignal): Promise<Horizon> {
    const [open] = await this.ask(async (sql) =>
      await sql.unsafe(
        `SELECT ${
          iso(
            "least(clock_timestamp(), (SELECT min(xact_start) FROM pg_stat_activity WHERE datname = current_database()))",
          )
        } AS oldest`,
      ), signal);
    const [snapshot] = await this.ask(async (sql) =>
      await sql.unsafe(
        `SELECT pg_snapshot_xmin(s)::text AS xmin, pg_snapshot_xmax(s)::text AS xmax, s::text AS text
         FROM pg_current_snapshot() s`,
      ), signal);
    return { settled: Number(snapshot.xmin), next: Number(snapshot.xmax), oldest: open.oldest, text: snapshot.text };
  }

  /** Who has the least number that is open; null when nobody has one any more. */
  async holder(signal: AbortSignal): Promise<Holder | null> {
    const [row] = await this.ask(async (sql) =>
      await sql.unsafe(
        `SELECT who, floor(extract(epoch FROM clock_timestamp() - since))::int AS seconds FROM (
           SELECT 'process ' || pid || coalesce(' (' || nullif(application_name, '') || ')', '') ||
             coalesce(' of ' || usename, '') || coalesce(' in ' || datname, '') AS who, xact_start AS since, backend_xid AS xid
           FROM pg_stat_activity WHERE backend_xid IS NOT NULL
           UNION ALL
           SELECT 'the prepared transaction ' || gid || ' of ' || owner || ' in ' || database, prepared, transaction
           FROM pg_prepared_xacts
         ) t ORDER BY age(xid) DESC LIMIT 1`,
      ), signal);
    return row === undefined ? null : { who: row.who, seconds: row.seconds };
  }

  /** Whether it sees when transactions of other users began. */
  async seesOthers(signal: AbortSignal): Promise<boolean> {
    const [row] = await this.ask(
      async (sql) => await sql.unsafe("SELECT pg_has_role(current_user, 'pg_read_all_stats', 'USAGE') AS sees"),
      signal,
    );
    return row.sees;
  }

  async origin(oid: string, signal: AbortSignal): Promise<Origin> {
    const [row] = await this.ask(async (sql) =>
      await sql.unsafe(
        `SELECT (SELECT system_identifier::text FROM pg_control_system()) AS system,
           CASE WHEN NOT pg_is_in_recovery() THEN left(pg_walfile_name(pg_current_wal_lsn()), 8) END AS timeline`,
      ), signal);
    return { system: row.system, timeline: row.timeline, oid };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    // With any time left the client would connect again for a statement that was given up while it waited for its turn.
    await this.sql.end({ timeout: 0 });
  }
}

function iso(expression: string): string {
  return `to_char(${expression} AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')`;
}
