import type { Clock } from "../../clock.ts";
import type { Rejected, SourceRecord } from "../source.ts";

/** A batch is taken when it has so many records or bytes; whoever brings more waits then. */
export const BATCH_RECORDS_MAX = 5_000;
export const BATCH_BYTES_MAX = 4 * 1024 * 1024;
/** How long a batch waits to become full. */
const LINGER_MS = 30;

export interface Gathered {
  readonly records: readonly SourceRecord[];
  readonly rejected: readonly Rejected[];
}

/**
 * Where the readers of topics put what they have read, and the next batch is taken from: at most one batch and what each reader
 * brings at a time.
 */
export class BatchRoom {
  readonly #clock: Clock;
  #records: SourceRecord[] = [];
  #rejected: Rejected[] = [];
  #bytes = 0;
  /** Something other than records has to be written down, such as that records are lost. */
  #isUrgent = false;
  #emptied = Promise.withResolvers<void>();
  #changed = Promise.withResolvers<void>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  get #isFull(): boolean {
    return this.#bytes >= BATCH_BYTES_MAX || this.#records.length + this.#rejected.length >= BATCH_RECORDS_MAX;
  }

  /** Resolves when there is room. */
  async room(signal: AbortSignal): Promise<void> {
    while (this.#isFull && !signal.aborted) await either(this.#emptied.promise, signal);
  }

  /** Puts in what there was room for. */
  add(records: readonly SourceRecord[], { rejected, bytes }: { rejected: readonly Rejected[]; bytes: number }): void {
    for (const record of records) this.#records.push(record);
    for (const one of rejected) this.#rejected.push(one);
    this.#bytes += bytes;
    this.#tell();
  }

  /** Makes the next batch come, though it may have no records. */
  hurry(): void {
    this.#isUrgent = true;
    this.#tell();
  }

  /** Resolves when there is something to take, and a full batch or a little time has passed. */
  async ready(signal: AbortSignal): Promise<void> {
    const isEmpty = () => this.#bytes === 0 && this.#records.length + this.#rejected.length === 0 && !this.#isUrgent;
    while (isEmpty() && !signal.aborted) await either(this.#changed.promise, signal);
    const until = this.#clock.monotonic() + LINGER_MS;
    while (!this.#isFull && !this.#isUrgent && !signal.aborted) {
      const left = until - this.#clock.monotonic();
      if (left <= 0) return;
      const enough = new AbortController();
      const change = either(this.#changed.promise, signal);
      await Promise.race([change, this.#clock.sleep(left, AbortSignal.any([signal, enough.signal])).catch(() => {})]);
      enough.abort();
    }
  }

  take(): Gathered {
    const gathered = { records: this.#records, rejected: this.#rejected };
    this.#records = [];
    this.#rejected = [];
    this.#bytes = 0;
    this.#isUrgent = false;
    this.#emptied.resolve();
    this.#emptied = Promise.withResolvers();
    return gathered;
  }

  #tell(): void {
    this.#changed.resolve();
    this.#changed = Promise.withResolvers();
  }
}

/** Resolves with the promise, or when the signal is aborted. */
async function either(promise: Promise<unknown>, signal: AbortSignal): Promise<void> {
  if (signal.aborted) return;
  const ended = Promise.withResolvers<void>();
  const onAbort = () => ended.resolve();
  signal.addEventListener("abort", onAbort, { once: true });
  await Promise.race([promise, ended.promise]).finally(() => signal.removeEventListener("abort", onAbort));
}
