/**
 * Fewer, larger writes: a wrapper that joins writes of one partition that wait together.
 *
 * @module
 */
import { type Clock, systemClock } from "../clock.ts";
import { joinRows, rowsBytes } from "./rows.ts";
import { RejectedRowsError, type ResultRows, type Sink, type WriteOptions } from "./sink.ts";

const ROWS = 10_000;
const BYTES = 8 * 1024 * 1024;
const AGE_MS = 1_000;

export interface BatchedOptions {
  readonly clock?: Clock;
  /** A batch is written when it has so many rows. Default 10,000. */
  readonly rows?: number;
  /** .. or takes so many bytes in memory, about. Default 8 MiB. */
  readonly bytes?: number;
  /** .. or its first rows have waited so long, milliseconds. Default 1,000. */
  readonly ageMs?: number;
}

/**
 * A sink that waits for more before it writes. A write still resolves only when its rows are durable, so this is for who begins the
 * next write without waiting for the one before. Writes go on in the order of the calls; rows of different partitions, and results of windows,
 * are not joined.
 */
export function batched(sink: Sink, options: BatchedOptions = {}): Sink {
  const batches = new Batches(sink, options);
  const { delivered } = sink;
  return {
    name: sink.name,
    resume: (position, { signal }) => sink.resume(position, { signal }),
    position: () => sink.position(),
    write: (rows, write) => batches.write(rows, write),
    ...(delivered ? { delivered: delivered.bind(sink) } : {}),
    async [Symbol.asyncDispose]() {
      await batches.settled();
      await sink[Symbol.asyncDispose]();
    },
  };
}

interface Waiting {
  readonly rows: ResultRows;
  readonly epoch: number;
  readonly signal: AbortSignal;
  readonly settle: (error: unknown) => void;
}

class Batches {
  readonly #sink: Sink;
  readonly #clock: Clock;
  readonly #bound: { readonly rows: number; readonly bytes: number; readonly ageMs: number };
  #waiting: Waiting[] = [];
  #rows = 0;
  #bytes = 0;
  /** Ends the wait for more. */
  #due = new AbortController();
  #last: Promise<void> = Promise.resolve();

  constructor(sink: Sink, { clock = systemClock, rows = ROWS, bytes = BYTES, ageMs = AGE_MS }: BatchedOptions) {
    this.#sink = sink;
    this.#clock = clock;
    this.#bound = { rows, bytes, ageMs };
  }

  write(rows: ResultRows, { epoch, signal }: WriteOptions): Promise<void> {
    if (signal.aborted) return Promise.reject(signal.reason);
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    const onAbort = () => reject(signal.reason);
    signal.addEventListener("abort", onAbort, { once: true });
    const settle = (error: unknown) => {
      signal.removeEventListener("abort", onAbort);
      if (error === null) resolve();
      else reject(error);
    };
    const before = this.#waiting.at(-1);
    if (before && !areJoined(before.rows, rows)) this.#flush();
    this.#waiting.push({ rows, epoch, signal, settle });
    this.#rows += rows.length;
    this.#bytes += rowsBytes(rows);
    const { rows: rowsMax, bytes: bytesMax, ageMs } = this.#bound;
    if (!rows.origin || this.#rows >= rowsMax || this.#bytes >= bytesMax) this.#flush();
    else if (this.#waiting.length === 1) this.#flushIn(ageMs, this.#due.signal);
    return promise;
  }

  /** Resolves when nothing waits any more. */
  async settled(): Promise<void> {
    this.#flush();
    await this.#last;
  }

  #flushIn(ageMs: number, due: AbortSignal): void {
    this.#clock.sleep(ageMs, due).then(() => this.#flush(), () => {});
  }

  #flush(): void {
    this.#due.abort();
    this.#due = new AbortController();
    const together = this.#waiting;
    this.#waiting = [];
    this.#rows = this.#bytes = 0;
    if (together.length > 0) this.#last = this.#last.then(() => this.#writeTogether(together));
  }

  /** Never rejects: each of the writes is told. */
  async #writeTogether(all: readonly Waiting[]): Promise<void> {
    const together = all.filter(({ signal }) => !signal.aborted);
    if (together.length === 0) return;
    const rows = joinRows(together.map(({ rows }) => rows));
    // Given up when nobody waits for it any more.
    const ending = new AbortController();
    const onAbort = () => {
      if (together.every(({ signal }) => signal.aborted)) ending.abort(together[0].signal.reason);
    };
    for (const { signal } of together) signal.addEventListener("abort", onAbort, { once: true });
    let failure: unknown = null;
    try {
      await this.#sink.write(rows, { epoch: together.at(-1)!.epoch, signal: ending.signal });
    } catch (error) {
      failure = error;
    }
    let from = 0;
    for (const { rows, signal, settle } of together) {
      signal.removeEventListener("abort", onAbort);
      settle(partOf(failure, from, from + rows.length));
      from += rows.length;
    }
  }
}

/** Whether rows follow on others of the same partition. */
function areJoined(rows: ResultRows, next: ResultRows): boolean {
  const { origin } = rows;
  return origin !== undefined && next.origin !== undefined && rows.columns === next.columns &&
    origin.topic === next.origin.topic && origin.partition === next.origin.partition &&
    next.origin.from >= origin.to;
}

/** What an error says of rows `[from, to)`. */
function partOf(error: unknown, from: number, to: number): unknown {
  if (!(error instanceof RejectedRowsError)) return error;
  const own = error.rows.filter(({ row }) => row >= from && row < to)
    .map(({ row, reason }) => ({ row: row - from, reason }));
  return own.length === 0 ? null : new RejectedRowsError(own);
}
