import { type Checkpoint, type CheckpointStore, decodeCheckpoint, encodeCheckpoint } from "../checkpoint/checkpoint.ts";
import type { HistoryStore, Sample } from "../checkpoint/history.ts";
import { UnavailableError } from "../errors.ts";
import type { ResultRows, SetAsideRecord, SetAsideSink, Sink } from "../sinks/sink.ts";

/** One run of a pipeline; what it writes after its end reaches nothing. */
export interface Life {
  ended: boolean;
}

/** What outlives a run, in memory: what was published, set aside and saved. */
export class Outside {
  /** All rows, in the order they were published. */
  readonly published: ResultRows[] = [];
  /** Late and dead records, in the order they were set aside. */
  readonly aside: SetAsideRecord[] = [];
  #checkpoint: Uint8Array | null = null;
  #samples: Sample[] = [];

  /** The last checkpoint, as bytes and back. */
  get checkpoint(): Checkpoint | null {
    return this.#checkpoint && decodeCheckpoint(this.#checkpoint);
  }

  sink(life: Life): Sink {
    return {
      name: "the test",
      ...memoryless,
      write: (rows) => write(life, () => this.published.push(rows)),
    };
  }

  setAside(life: Life): SetAsideSink {
    return { ...memoryless, write: (records) => write(life, () => this.aside.push(...records)) };
  }

  checkpoints(life: Life): CheckpointStore {
    return {
      load: () => Promise.resolve(this.checkpoint),
      save: (_, checkpoint) =>
        write(life, () => {
          this.#checkpoint = encodeCheckpoint(checkpoint);
        }),
    };
  }

  history(life: Life): HistoryStore {
    return {
      load: () => Promise.resolve([...this.#samples]),
      append: (_, samples) => write(life, () => this.#samples.push(...samples)),
      replace: (_, samples) => write(life, () => this.#samples = [...samples]),
    };
  }
}

/** Rows replace by key and window here, so nothing has to be found out again after a restart. */
const memoryless = {
  resume: () => Promise.resolve(),
  position: () => null,
  [Symbol.asyncDispose]: () => Promise.resolve(),
};

function write(life: Life, work: () => void): Promise<void> {
  if (life.ended) return Promise.reject(new UnavailableError("this run was ended by the test"));
  work();
  return Promise.resolve();
}
