import { gravest, UnavailableError } from "../errors.ts";
import type { ResultRows, Sink, SinkPosition, WriteOptions } from "./sink.ts";

/**
 * A sink that writes to every one of `sinks` at the same time and resolves when all are durable.
 *
 * A write never rejects while one of them is still at work, so a repeat does not meet its own first try. An error that a
 * repeat cannot mend ends the waiting of the others; it is thrown rather than an UnavailableError. Wrap each of `sinks`
 * in a retry, not the whole: an outage of one then does not rewrite the others.
 */
export function fanOut(sinks: readonly Sink[]): Sink {
  return new FanOut(sinks);
}

class FanOut implements Sink {
  readonly name: string;
  readonly #sinks: readonly Sink[];

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
    await this.#all((sink, ending) => sink.write(rows, { epoch, signal: ending }), signal);
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
