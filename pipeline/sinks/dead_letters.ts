import { RejectedRowsError, type ResultRows, type Sink, type WriteOptions } from "./sink.ts";

/** A row that can never be written as it is. */
export interface RejectedRow {
  readonly row: number;
  readonly reason: string;
}

export interface DeadLettersOptions {
  /**
   * Keeps what was refused, each once however often it comes; resolves when it is durable. What it throws is what the write throws,
   * and the write is repeated then.
   */
  readonly setAside: (
    rejected: readonly RejectedRow[],
    rows: ResultRows,
    options: WriteOptions,
  ) => Promise<void>;
}

/** A sink whose writes resolve when every row is there, or is set aside with the reason why it cannot be. Worn outside of all others. */
export function withDeadLetters(sink: Sink, { setAside }: DeadLettersOptions): Sink {
  const { delivered } = sink;
  return {
    name: sink.name,
    resume: (position, { signal }) => sink.resume(position, { signal }),
    position: () => sink.position(),
    async write(rows, options) {
      try {
        await sink.write(rows, options);
      } catch (error) {
        if (!(error instanceof RejectedRowsError)) throw error;
        await setAside(error.rows, rows, options);
      }
    },
    ...(delivered ? { delivered: delivered.bind(sink) } : {}),
    [Symbol.asyncDispose]: () => Promise.resolve(sink[Symbol.asyncDispose]()),
  };
}
