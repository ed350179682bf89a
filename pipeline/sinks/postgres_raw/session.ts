import type postgres from "postgres";
import { UnavailableError } from "../../errors.ts";
import { postgresClient } from "../../postgres_client.ts";

const CONNECT_SECONDS_MAX = 10;
const CLOSE_SECONDS_MAX = 1;
/** How long closing waits for a statement under way. */
const LAST_STATEMENT_MS_MAX = 2_000;

/** One connection to a database, whose statements take turns and have a time. */
export class Session implements AsyncDisposable {
  readonly #url: string;
  readonly #statementMsMax: number;
  #sql: postgres.Sql;
  #last: Promise<void> = Promise.resolve();

  constructor(url: string, { statementMsMax }: { readonly statementMsMax: number }) {
    this.#url = url;
    this.#statementMsMax = statementMsMax;
    this.#sql = connect(url);
  }

  /**
   * Runs work with the client to itself. What was sent when the waiting ends may still happen.
   *
   * @throws UnavailableError when it takes too long, or the signal's reason
   */
  run<T>(work: (sql: postgres.Sql) => Promise<T>, { signal, what }: { signal: AbortSignal; what: string }): Promise<T> {
    const turn = this.#last.then(() => {
      signal.throwIfAborted();
      return this.#within(work(this.#sql), { signal, what });
    });
    this.#last = turn.then(() => {}, () => {});
    return turn;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    let timer: ReturnType<typeof setTimeout> | undefined;
    const limit = new Promise<void>((resolve) => timer = setTimeout(resolve, LAST_STATEMENT_MS_MAX));
    await Promise.race([this.#last, limit]);
    clearTimeout(timer);
    // After a connection broke under a statement the client waits for its answer forever.
    await this.#sql.end({ timeout: CLOSE_SECONDS_MAX });
  }

  #within<T>(work: Promise<T>, { signal, what }: { signal: AbortSignal; what: string }): Promise<T> {
    const limitMs = this.#statementMsMax;
    return new Promise((resolve, reject) => {
      // Whoever comes next does not wait behind what is given up: it may never end.
      const giveUp = (reason: unknown) => {
        reject(reason);
        this.#sql.end({ timeout: 0 });
        this.#sql = connect(this.#url);
      };
      const timer = setTimeout(
        () => giveUp(new UnavailableError(`PostgreSQL did not finish ${what} in ${limitMs} ms`)),
        limitMs,
      );
      const onAbort = () => giveUp(signal.reason);
      signal.addEventListener("abort", onAbort, { once: true });
      work.then(resolve, reject).finally(() => {
        clearTimeout(timer);
        signal.removeEventListener("abort", onAbort);
      });
    });
  }
}

function connect(url: string): postgres.Sql {
  return postgresClient(url, {
    connect_timeout: CONNECT_SECONDS_MAX,
    // The caller's retry waits, with its own back-off.
    backoff: () => 0,
    connection: { application_name: "tailrace" },
  });
}
