import { ConflictError, UnavailableError } from "../../pipeline/errors.ts";
import type { ResultColumn } from "../../pipeline/plan/plan.ts";
import type { ResultRows, ResultValue, Sink, WriteOptions } from "../../pipeline/sinks/sink.ts";
import type { Subject } from "../contracts/sink_contract.ts";

/** What outlives a process. */
interface Store {
  readonly rows: Map<string, ResultValue[]>;
  owner: number;
}

/** The contract in its plainest form: a map from key and window to row. Also folds what append-only sinks keep. */
export class MemorySink implements Sink {
  readonly name: string;
  readonly #columns: readonly ResultColumn[];
  readonly #store: Store;
  #token: number | null = null;
  /** The next write happens, and its answer is lost. */
  losesAnswer = false;

  constructor(columns: readonly ResultColumn[], { name = "memory", store = { rows: new Map(), owner: 0 } }: {
    readonly name?: string;
    readonly store?: Store;
  } = {}) {
    this.name = name;
    this.#columns = columns;
    this.#store = store;
  }

  /** The same destination as a process sees it that starts later. */
  reopen(): MemorySink {
    return new MemorySink(this.#columns, { name: this.name, store: this.#store });
  }

  // deno-lint-ignore require-await -- async makes what is thrown a rejection
  async resume(): Promise<void> {
    this.#token ??= ++this.#store.owner;
    this.#checkOwner();
  }

  /** The rows themselves tell what is there. */
  position(): null {
    return null;
  }

  // deno-lint-ignore require-await -- as above
  async write(rows: ResultRows, { signal }: WriteOptions): Promise<void> {
    signal.throwIfAborted();
    this.#checkOwner();
    for (let row = 0; row < rows.length; row++) this.put(rows.values.map((values) => values[row]));
    if (!this.losesAnswer) return;
    this.losesAnswer = false;
    throw new UnavailableError("the answer was lost");
  }

  /** Keeps the row unless what is there is newer. */
  put(row: ResultValue[]): void {
    const key = JSON.stringify(this.#of(row, "key", "window_start").map(String));
    const present = this.#store.rows.get(key);
    if (present) {
      const [revision, final] = this.#of(row, "revision", "final");
      const [revisionThere, finalThere] = this.#of(present, "revision", "final");
      if (revision! < revisionThere! || (revision === revisionThere && !final && finalThere)) return;
    }
    this.#store.rows.set(key, row);
  }

  rows(): ResultValue[][] {
    return [...this.#store.rows.values()];
  }

  [Symbol.asyncDispose](): Promise<void> {
    return Promise.resolve();
  }

  #checkOwner(): void {
    if (this.#token !== this.#store.owner) throw new ConflictError("another process is the owner of the memory now");
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
    reopen: () => Promise.resolve(sink.reopen()),
    loseAnswer: () => sink.losesAnswer = true,
    [Symbol.asyncDispose]: () => sink[Symbol.asyncDispose](),
  });
}
