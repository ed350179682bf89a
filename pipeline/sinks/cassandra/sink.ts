/**
 * Rows in a table of Cassandra, one for each key and window, key or record: the newest revision, in whatever order they come.
 *
 *     rows ──▶ encoded ──▶ by the node that has them ──▶ unlogged batches of a few rows ──▶ so many under way at a time
 *
 * @module
 */
import driver from "cassandra-driver";
import { type Clock, systemClock } from "../../clock.ts";
import { ConfigError } from "../../errors.ts";
import type { ResultColumn } from "../../plan/plan.ts";
import { NO_POSITION, RejectedRowsError, type ResultRows, type Sink, type WriteOptions } from "../sink.ts";
import { isOverload, isRefusal, shortMessage, sortedError } from "./errors.ts";
import { InFlight } from "./in_flight.ts";
import { type EncodedRow, type RefusedRow, RowEncoder } from "./row_encoder.ts";
import type { CassandraSession } from "./session.ts";
import { ensureTable, qualified, type Table } from "./table.ts";
import { keptIn } from "./types.ts";

/**
 * Rows and bytes of one batch: below what a node warns of unless told otherwise (10 partitions, 5 KiB). A batch costs a node less
 * than its rows one by one; none of the promises of a logged batch is needed.
 */
export const BATCH_ROWS_MAX = 10;
const BATCH_BYTES_MAX = 4_096;
/** Tries of a request of which a node says that it is too much; then the caller waits. */
const TRIES_MAX = 4;
const RETRY_MS = 100;
/** How long closing waits for what is under way. */
const LAST_WRITE_MS_MAX = 2_000;

export interface CassandraSinkOptions {
  readonly session: CassandraSession;
  readonly table: string;
  /** That of the session unless told. */
  readonly keyspace?: string | null;
  readonly ttlSeconds?: number | null;
  readonly columns: readonly ResultColumn[];
  /** What the rows are, for the comment on a table that is made: `Results of the pipeline ..`. */
  readonly of?: string;
  /** Throws ConflictError when another process has the right to write; asked before every write. */
  readonly assertOwner?: () => Promise<void>;
  readonly log?: (level: "info" | "warn" | "error", message: string) => void;
  readonly clock?: Clock;
  /** Instead of `BATCH_ROWS_MAX`; 1 for requests of one row each. */
  readonly batchRowsMax?: number;
  /** Instead of `REQUESTS_MAX`. */
  readonly requestsMax?: number;
}

/**
 * Connects, makes the table where it is missing, and gives the sink.
 *
 * @throws ConfigError when no Cassandra is configured, it refuses the user, or the table there does not fit
 * @throws UnavailableError when no node answers
 */
export async function createCassandraSink(options: CassandraSinkOptions): Promise<Sink> {
  const { session, columns, table: name, of = `Written by Tailrace`, log = () => {} } = options;
  const client = await session.client();
  const keyspace = options.keyspace ?? session.keyspace!;
  try {
    const table = await ensureTable(client, { keyspace, name, columns, of });
    for (const { column, loses } of losses(table, columns)) {
      log("warn", `Cassandra: ${qualified(table)}.${column} loses ${loses}`);
    }
    return new CassandraSink(table, options);
  } catch (error) {
    throw sortedError(error, `${keyspace}.${name}`);
  }
}

function losses(table: Table, columns: readonly ResultColumn[]) {
  return columns.flatMap(({ name, type }) => {
    const loses = keptIn(type, table.columns.find((column) => column.name === name)!.type)?.loses;
    return loses === undefined ? [] : [{ column: name, loses }];
  });
}

/** A batch that is being filled, or a row of its own. */
interface Batch {
  rows: EncodedRow[];
  bytes: number;
}

/** What the requests of a write share. */
interface Sending {
  readonly client: driver.Client;
  readonly refused: RefusedRow[];
  readonly signal: AbortSignal;
}

class CassandraSink implements Sink {
  readonly name: string;
  readonly resume = NO_POSITION.resume;
  readonly position = NO_POSITION.position;
  readonly #table: Table;
  readonly #options: CassandraSinkOptions;
  readonly #encoder: RowEncoder;
  readonly #inFlight: InFlight;
  readonly #clock: Clock;
  /** The write under way; never rejects. */
  #last: Promise<unknown> = Promise.resolve();

  constructor(table: Table, options: CassandraSinkOptions) {
    const { columns, ttlSeconds = null, clock = systemClock } = options;
    this.name = `cassandra:${qualified(table)}`;
    this.#table = table;
    this.#options = options;
    this.#clock = clock;
    this.#inFlight = new InFlight({ max: options.requestsMax });
    this.#encoder = new RowEncoder(table, { columns, ttlSeconds });
  }

  async write(rows: ResultRows, { signal }: WriteOptions): Promise<void> {
    signal.throwIfAborted();
    if (rows.length === 0) return;
    await this.#options.assertOwner?.();
    const work = this.#writeAll(rows, signal);
    this.#last = work.catch(() => {});
    const refused = await unlessAborted(work, signal);
    if (refused.length > 0) throw this.#rejection(rows, refused);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const controller = new AbortController();
    await Promise.race([this.#last, this.#clock.sleep(LAST_WRITE_MS_MAX, controller.signal).catch(() => {})]);
    controller.abort();
  }

  /** Rows that can never be written; all others are. */
  async #writeAll(rows: ResultRows, signal: AbortSignal): Promise<RefusedRow[]> {
    const client = await this.#options.session.client();
    const refused: RefusedRow[] = [];
    const running = new Set<Promise<void>>();
    let failure: unknown = null;
    for (const batch of this.#batches(rows, { client, refused })) {
      await this.#inFlight.enter();
      if (failure !== null || signal.aborted) {
        this.#inFlight.leave();
        break;
      }
      const sent: Promise<void> = this.#send(batch, { client, refused, signal })
        .catch((error) => {
          failure ??= error;
        })
        .finally(() => {
          this.#inFlight.leave();
          running.delete(sent);
        });
      running.add(sent);
    }
    await Promise.all(running);
    signal.throwIfAborted();
    if (failure !== null) throw sortedError(failure, qualified(this.#table));
    return refused.sort((a, b) => a.row - b.row);
  }

  *#batches(
    rows: ResultRows,
    { client, refused }: { readonly client: driver.Client; readonly refused: RefusedRow[] },
  ): Generator<EncodedRow[]> {
    const { batchRowsMax = BATCH_ROWS_MAX } = this.#options;
    const open = new Map<string, Batch>();
    const nodeOf = this.#nodeOf(client);
    for (let row = 0; row < rows.length; row++) {
      const encoded = this.#encoder.encode(rows, row);
      if ("reason" in encoded) {
        refused.push(encoded);
        continue;
      }
      const node = nodeOf(encoded);
      const batch = open.get(node) ?? { rows: [], bytes: 0 };
      if (batch.bytes + encoded.bytes > BATCH_BYTES_MAX && batch.rows.length > 0) {
        yield batch.rows;
        batch.rows = [];
        batch.bytes = 0;
      }
      batch.rows.push(encoded);
      batch.bytes += encoded.bytes;
      if (batch.rows.length >= batchRowsMax) {
        yield batch.rows;
        batch.rows = [];
        batch.bytes = 0;
      }
      open.set(node, batch);
    }
    for (const { rows } of open.values()) if (rows.length > 0) yield rows;
  }

  /** The first replica of a row's partition, so that a batch is for nodes that have it. */
  #nodeOf(client: driver.Client): (row: EncodedRow) => string {
    if (client.hosts.length === 1) return () => "";
    const { keyspace } = this.#table;
    return ({ routingKey }) => client.getReplicas(keyspace, routingKey)?.[0]?.address ?? "";
  }

  async #send(batch: EncodedRow[], sending: Sending): Promise<void> {
    const { refused } = sending;
    try {
      await this.#request(batch, sending);
    } catch (error) {
      if (!isRefusal(error)) throw error;
      if (batch.length === 1) {
        refused.push({ row: batch[0].row, reason: `Cassandra refuses the row: ${shortMessage(error as Error)}` });
        return;
      }
      // One of them is at fault, or the batch is larger than this cluster takes.
      for (const row of batch) await this.#send([row], sending);
    }
  }

  async #request(batch: EncodedRow[], { client, signal }: Sending): Promise<void> {
    const options = { prepare: true, routingKey: batch[0].routingKey } as const;
    for (let failures = 0;; failures++) {
      try {
        if (batch.length === 1) await client.execute(batch[0].statement, batch[0].parameters as unknown[], options);
        else {
          const queries = batch.map(({ statement, parameters }) => ({
            query: statement,
            params: parameters as unknown[],
          }));
          await client.batch(queries, { ...options, logged: false });
        }
        this.#inFlight.succeeded();
        return;
      } catch (error) {
        if (!isOverload(error)) throw error;
        this.#inFlight.overloaded();
        if (failures + 1 >= TRIES_MAX) throw error;
        await this.#clock.sleep(RETRY_MS * 2 ** failures, signal);
      }
    }
  }

  #rejection(rows: ResultRows, refused: readonly RefusedRow[]): Error {
    if (rows.origin !== undefined) return new RejectedRowsError(refused);
    const [{ row, reason }] = refused;
    const keys = rows.columns.flatMap(({ role, name }, index) =>
      role === "key" || role === "window_start" ? [`${name} ${String(rows.values[index][row]).slice(0, 80)}`] : []
    );
    return new ConfigError({ where: qualified(this.#table), problem: `${reason} (in the row of ${keys.join(", ")})` });
  }
}

/** Ends waiting with the signal; what was sent may still happen. */
async function unlessAborted<T>(work: Promise<T>, signal: AbortSignal): Promise<T> {
  const aborted = Promise.withResolvers<never>();
  const onAbort = () => aborted.reject(signal.reason);
  signal.addEventListener("abort", onAbort, { once: true });
  try {
    return await Promise.race([work, aborted.promise]);
  } catch (error) {
    if (signal.aborted) throw signal.reason;
    throw error;
  } finally {
    signal.removeEventListener("abort", onAbort);
  }
}
