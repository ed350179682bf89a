import type { ResultColumn } from "../../pipeline/plan/plan.ts";
import type { ResultRows, ResultValue, Sink, WriteOptions } from "../../pipeline/sinks/sink.ts";
import type { Subject } from "../contracts/sink_contract.ts";

/** The contract in its plainest form: a map from key and window to row. Also folds what append-only sinks keep. */
export class MemorySink implements Sink {
  readonly name = "memory";
  readonly #columns: readonly ResultColumn[];
  readonly #rows = new Map<string, ResultValue[]>();

  constructor(columns: readonly ResultColumn[]) {
    this.#columns = columns;
  }

  resume(): Promise<void> {
    return Promise.resolve();
  }

  position(): null {
    return null;
  }

  write(rows: ResultRows, { signal }: WriteOptions): Promise<void> {
    if (signal.aborted) return Promise.reject(signal.reason);
    for (let row = 0; row < rows.length; row++) this.put(rows.values.map((values) => values[row]));
    return Promise.resolve();
  }

  /** Keeps the row unless what is there is newer. */
  put(row: ResultValue[]): void {
    const key = JSON.stringify(this.#of(row, "key", "window_start").map(String));
    const present = this.#rows.get(key);
    if (present) {
      const [revision, final] = this.#of(row, "revision", "final");
      const [revisionThere, finalThere] = this.#of(present, "revision", "final");
      if (revision! < revisionThere! || (revision === revisionThere && !final && finalThere)) return;
    }
    this.#rows.set(key, row);
  }

  rows(): ResultValue[][] {
    return [...this.#rows.values()];
  }

  [Symbol.asyncDispose](): Promise<void> {
    return Promise.resolve();
  }

  #of(row: ResultValue[], ...roles: ResultColumn["role"][]): ResultValue[] {
    // "null" the text and null the value are different keys; String() above would make them one.
    return row.filter((_, index) => roles.includes(this.#columns[index].role))
      .map((value) => typeof value === "string" ? `"${value}` : value);
  }
}

export function memorySubject(columns: readonly ResultColumn[]): Promise<Subject> {
  const sink = new MemorySink(columns);
  return Promise.resolve({
    sink,
    read: () => Promise.resolve(sink.rows()),
    [Symbol.asyncDispose]: () => sink[Symbol.asyncDispose](),
  });
}
