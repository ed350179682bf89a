import { gravest, UnavailableError } from "../errors.ts";
import { sliceRows } from "./rows.ts";
import { RejectedRowsError, type ResultRows, type Sink, type SinkPosition, type WriteOptions } from "./sink.ts";

/**
 * A sink that writes to every one of `sinks` at the same time and resolves when all are durable.
 *
 * A write never rejects while one of them is still at work, so a repeat does not meet its own first try. An error that a
 * repeat cannot mend ends the waiting of the others; it is thrown rather than an UnavailableError. Wrap each of `sinks`
 * in a retry, not the whole: an outage of one then does not rewrite the others.
 *
 * Rows that some of them refuse are thrown when all have the rest. A sink that knows what it has of a partition (`delivered`) is
 * given only what comes after.
 */
export function fanOut(sinks: readonly Sink[]): Sink {
  return new FanOut(sinks);
}

class FanOut implements Sink {
  readonly name: string;
  readonly #sinks: readonly Sink[];
  /** What each sink has of a partition, as it said when the partition was taken over. */
  readonly #has = new Map<Sink, Map<string, number>>();

  constructor(sinks: readonly Sink[]) {
    this.#sinks = sinks;
    this.name = sinks.map(({ name }) => name).join(" + ");
  }

  /** Each by its name, so that a sink that a definition gained or lost leaves the others theirs. */
  position(): SinkPosition {
    return Object.fromEntries(this.#sinks.map((sink) => [sink.name, sink.position()]));
  }

  async resume(position: SinkPosition, { signal }: { readonly signal: AbortSignal }): Promise<void> {
    await this.#all(
      (sink, ending) => sink.resume((position?.[sink.name] ?? null) as SinkPosition, { signal: ending }),
      signal,
    );
  }

  async write(rows: ResultRows, { epoch, signal }: WriteOptions): Promise<void> {
    const refused: RejectedRowsError["rows"][number][] = [];
    await this.#all(async (sink, ending) => {
      const from = this.#firstMissing(sink, rows);
      if (from === rows.length && from > 0) return;
      try {
        await sink.write(from === 0 ? rows : sliceRows(rows, from, rows.length), { epoch, signal: ending });
      } catch (error) {
        // What one refuses keeps no other from having it.
        if (!(error instanceof RejectedRowsError)) throw error;
        for (const { row, reason } of error.rows) refused.push({ row: from + row, reason: `${sink.name}: ${reason}` });
      }
    }, signal);
    if (refused.length > 0) throw new RejectedRowsError(mergeRows(refused));
  }

  /** The least that all have; null when one cannot tell. Each that can is given only what it lacks. */
  async delivered(
    partition: { readonly topic: string; readonly partition: number },
    { signal }: { readonly signal: AbortSignal },
  ): Promise<number | null> {
    let least: number | null = Infinity;
    await this.#all(async (sink, ending) => {
      const offset = await sink.delivered?.(partition, { signal: ending }) ?? null;
      const has = this.#has.get(sink) ?? new Map<string, number>();
      this.#has.set(sink, has);
      if (offset === null) has.delete(idOf(partition));
      else has.set(idOf(partition), offset);
      least = offset === null || least === null ? null : Math.min(least, offset);
    }, signal);
    return least === Infinity ? null : least;
  }

  /** The first row that a sink does not have. */
  #firstMissing(sink: Sink, { origin, length }: ResultRows): number {
    const offset = origin && this.#has.get(sink)?.get(idOf(origin));
    if (origin === undefined || offset === undefined) return 0;
    if (offset <= origin.from) {
      this.#has.get(sink)!.delete(idOf(origin));
      return 0;
    }
    const first = origin.offsets.findIndex((at) => at >= offset);
    return first < 0 ? length : first;
  }

  async #all(work: (sink: Sink, ending: AbortSignal) => Promise<void>, signal: AbortSignal): Promise<void> {
    signal.throwIfAborted();
    const ending = new AbortController();
    const onAbort = () => ending.abort(signal.reason);
    signal.addEventListener("abort", onAbort, { once: true });
    const failures: unknown[] = [];
    try {
      await Promise.all(this.#sinks.map(async (sink) => {
        try {
          await work(sink, ending.signal);
        } catch (error) {
          failures.push(error);
          if (!(error instanceof UnavailableError)) ending.abort(error);
        }
      }));
    } finally {
      signal.removeEventListener("abort", onAbort);
    }
    if (signal.aborted && failures.length > 0) throw signal.reason;
    if (failures.length > 0) throw gravest(failures);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const ends = await Promise.allSettled(this.#sinks.map(async (sink) => await sink[Symbol.asyncDispose]()));
    const failed = ends.find((end) => end.status === "rejected");
    if (failed) throw failed.reason;
  }
}

function idOf({ topic, partition }: { readonly topic: string; readonly partition: number }): string {
  return `${topic}/${partition}`;
}

/** One of each row, with all that is said of it. */
function mergeRows(refused: RejectedRowsError["rows"]): RejectedRowsError["rows"] {
  return [...Map.groupBy(refused, ({ row }) => row)].toSorted(([a], [b]) => a - b)
    .map(([row, all]) => ({ row, reason: all.map(({ reason }) => reason).join("; ") }));
}
